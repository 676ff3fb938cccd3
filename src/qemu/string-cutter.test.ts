import fc from "fast-check";
import { expect, it } from "vitest";
import { StringCutter } from "./string-cutter.ts";

const UNITS = 1000;

/** What is kept of a text that comes in pieces of that length. */
function cut(text: string, piece: number): string {
  const cutter = new StringCutter(UNITS);
  let kept = "";
  for (let at = 0; at < text.length; at += piece) kept += cutter.next(text.slice(at, at + piece));
  return kept;
}

it("leaves JSON as it is, in whatever pieces it comes, as long as its strings are short", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.integer({ min: 1, max: 40 }), (value, piece) => {
      const text = `${JSON.stringify(value)}\n`;
      expect(cut(text, piece)).toBe(text);
    }),
  );
});

it("cuts long strings, and what is left is JSON", () => {
  const ends = ["", "x", '"', "\\", "\\\\", "\n", "\u0001", '\u0001"\\'];
  for (const end of ends)
    for (let around = UNITS - 7; around < UNITS + 2; around++) {
      const long = `${"a".repeat(around)}${end.repeat(3)}${"b".repeat(9)}`;
      const text = `${JSON.stringify({ [long]: [long, 1], "\\": long })}\n`;
      for (const piece of [1, 7, text.length]) {
        const value: unknown = JSON.parse(cut(text, piece));
        const whole = Object.values(Object(value)).flat().map(String);
        expect(whole[1]).toBe("1");
        for (const part of [whole[0], whole[2]]) {
          expect(part?.length).toBeLessThan(UNITS + 7);
          expect(long.startsWith(part ?? "?")).toBe(true);
        }
      }
    }
});

it("begins anew with each line, after half an answer of before", () => {
  expect(cut(`{"return": "${"x".repeat(UNITS)}yyy\n{"return": "a\\"b"}\n`, 999)).toBe(
    `{"return": "${"x".repeat(UNITS)}\n{"return": "a\\"b"}\n`,
  );
});
