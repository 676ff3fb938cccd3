/** Where in a YAML text a field is, for what is said against it. Pure. */
import { type Document, isMap, isScalar, isSeq, parseDocument } from "yaml";

export interface Problem {
  from: number;
  to: number;
  message: string;
}

/** "spec.goals[0].during" as keys and numbers; ["x"] and 'x' in brackets are keys. */
export function pathOf(field: string): (string | number)[] {
  return [...field.matchAll(/\[(\d+)\]|\["([^"]*)"\]|\['([^']*)'\]|\[([^\]]*)\]|([^.[\]]+)/g)].map(
    ([, index, double, single, bare, key]) =>
      index === undefined ? (double ?? single ?? bare ?? key ?? "") : Number(index),
  );
}

/** What stands at the path, or at as much of it as there is: of a key that is missing, what it is missing in. */
function rangeOf(document: Document.Parsed, path: readonly (string | number)[]): [number, number] {
  let node: unknown = document.contents;
  let range: [number, number] = [0, 0];
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (!pair) return range;
      const [key, value] = [pair.key, pair.value];
      const ofKey = isScalar(key) ? key.range : undefined;
      const ofValue = isScalar(value) ? value.range : undefined;
      if (ofKey) range = [ofKey[0], ofValue && ofValue[1] > ofValue[0] ? ofValue[1] : ofKey[1]];
      node = value;
    } else if (isSeq(node) && typeof step === "number") {
      node = node.items[step];
      if (isScalar(node) && node.range) range = [node.range[0], node.range[1]];
    } else return range;
  }
  if (isScalar(node) && node.range && node.range[1] > node.range[0]) return [node.range[0], node.range[1]];
  return range;
}

/** Into an expression: rules are refused with "column 16: …", and two lines that show it there. */
const COLUMN = /\bcolumn (\d+): /;

/** Where a word of the server's belongs; of an expression, from the place on that it names. */
export function problemAt(text: string, { field, message }: { field: string; message: string }): Problem {
  const document = parseDocument(text);
  let [from, to] = rangeOf(document, pathOf(field));
  const column = Number(COLUMN.exec(message)?.[1] ?? Number.NaN);
  const shown = text.slice(from, to);
  // Quotes are not of the expression; with escapes, or over lines, its columns are not those of the text.
  const quoted = /^(["'])(.*)\1$/s.exec(shown);
  const inner = quoted?.[2] ?? shown;
  if (column >= 1 && !/[\n\\]|''/.test(inner)) {
    from += (quoted ? 1 : 0) + Math.min(column - 1, Math.max(0, inner.length - 1));
    const word = /^[\w"']+/.exec(text.slice(from, to));
    to = from + Math.max(1, word?.[0].length ?? 1);
  }
  return { from, to: Math.max(to, from), message };
}

/** What makes it no YAML at all. */
export const syntaxProblems = (text: string): Problem[] =>
  parseDocument(text).errors.map(({ pos: [from, to], message }) => ({
    from,
    to: Math.max(to, from),
    message: message.split("\n")[0] ?? message,
  }));

export interface Cursor {
  /** Keys down to the one that is written, or whose value is; lists are left out. */
  path: string[];
  at: "key" | "value";
  /** Where what is written begins. */
  from: number;
  /** Keys that are there already beside it. */
  beside: Set<string>;
}

const LINE = /^( *)((?:- +)*)(?:(["']?)([^\s:#"'-][^:#"']*)\3\s*:(?=\s|$))?/;

/** Of a line: its key, the column of that, and of the dash before it. */
function keyOn(line: string): { name: string | undefined; column: number; dash: number; end: number } {
  const [all = "", indent = "", dashes = "", , name] = LINE.exec(line) ?? [];
  return {
    name,
    column: indent.length + dashes.length,
    dash: dashes === "" ? -1 : indent.length,
    end: all.length,
  };
}

/** What is being written at a place of a text in block style, as people write objects: by its indentation. */
export function cursorAt(text: string, position: number): Cursor | undefined {
  const before = text.slice(0, position).split("\n");
  const line = before.pop() ?? "";
  if (/^\s*#/.test(line)) return undefined;
  const here = keyOn(line);
  let { column, dash } = here;
  const path = here.name === undefined ? [] : [here.name];
  const beside = new Set<string>();
  let isBeside = true;
  for (const each of before.toReversed()) {
    const { name, ...at } = keyOn(each);
    if (name === undefined) continue;
    // The items of a list may stand as far left as its key.
    if (at.column <= (dash >= 0 ? dash : column - 1)) {
      path.unshift(name);
      ({ column, dash } = at);
      isBeside = false;
    } else if (dash < 0 && at.column === column) {
      if (isBeside) beside.add(name);
      // Here begins the item of a list that it is in.
      dash = at.dash;
    }
  }
  for (const each of text.slice(position).split("\n").slice(1)) {
    const { name, ...at } = keyOn(each);
    if (name === undefined) continue;
    if (at.column < here.column || (at.dash >= 0 && at.column === here.column)) break;
    if (at.column === here.column) beside.add(name);
  }
  const start =
    here.name === undefined ? here.column : here.end + (/^\s*/.exec(line.slice(here.end))?.[0].length ?? 0);
  return {
    path,
    at: here.name === undefined ? "key" : "value",
    from: position - line.length + Math.min(start, line.length),
    beside,
  };
}
