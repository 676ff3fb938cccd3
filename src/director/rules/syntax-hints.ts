/** What a text that is no CEL was meant to say, by what people write who come from other languages; and which characters are in the way. Pure. */
import { parseBytes } from "../../resource/quantity.ts";

/** What of other languages is no CEL, and what CEL has instead. */
const INSTEAD: readonly [written: RegExp, instead: string][] = [
  [/^=>/, ">="],
  [/^=</, "<="],
  [/^=/, "=="],
  [/^&/, "&&"],
  [/^\|/, "||"],
  [/^and\b/i, "&&"],
  [/^or\b/i, "||"],
  [/^not\b/i, "!"],
  [/^[“”„‘’«»]/, '"'],
];

/** "64Gi", "64GB" or "64 GiB" as quantity() takes it; undefined: it is no size. */
function sizeOf(number: string, unit: string): string | undefined {
  const size = `${number}${unit.replace(/b$/i, "")}`;
  try {
    parseBytes(size);
    return size;
  } catch {
    return undefined;
  }
}

/** A number with its unit behind it. */
function hintForUnit(number: string, unit: string): string {
  const clock = { mhz: 1, ghz: 1000 }[unit.toLowerCase()];
  if (clock) return `; a number has no unit, did you mean ${Math.round(Number(number) * clock)}?`;
  const size = sizeOf(number, unit);
  return size ? `; did you mean quantity("${size}")?` : "; a number has no unit";
}

/**
 * Of an error of the parser that is about a character or a word. @param at where it points @param told what the parser says: it names the last character of the word there, and where
 * a word is followed by another the second one @returns where to point, and what to say
 */
export function syntaxProblem(text: string, at: number, told: string): [at: number, why: string] {
  const [before, rest] = [text.slice(0, at), text.slice(at)];
  if (/^Expected RPAREN, got COMMA/.test(told) && /\bin\s*\([^()]*$/.test(before))
    return [at, 'a list is written in brackets: in ["a", "b"]'];
  const isGreater = /^Unexpected token: GT/.test(told) && before.endsWith("<");
  if (isGreater) return [at - 1, '"<>" is not expected here; did you mean !=?'];
  if (!/^Unexpected character/.test(told)) return [at, told];
  const here = (place: number, token: string, hint: string): [number, string] => [
    place,
    `${JSON.stringify(token)} is not expected here${hint}`,
  ];
  const not = /(?<![\w.])(not)\s+$/i.exec(before);
  if (not) return here(not.index, not[1] ?? "", "; did you mean !?");
  // The third of "===" is what is too much.
  if (before.endsWith("==") && rest.startsWith("=")) return here(at - 2, "===", "; did you mean ==?");
  const token = /^(?:=>|=<|\w+|[^\s])/u.exec(rest)?.[0] ?? "";
  const number = /(?<![\w.])(\d+(?:\.\d+)?)\s*$/.exec(before)?.[1];
  for (const [written, instead] of INSTEAD)
    if (written.test(rest)) return here(at, token, `; did you mean ${instead}?`);
  return here(at, token, number && /^[A-Za-z]/.test(token) ? hintForUnit(number, token) : "");
}
