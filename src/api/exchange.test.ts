/** How answers are written. */
import { expect, it } from "vitest";
import { warningHeaders } from "./exchange.ts";

it("warnings say when they are cut, and how many more there are", () => {
  expect(warningHeaders(['a "b"', "rule (x…) – y"])).toEqual([
    '299 - "a \\"b\\""',
    '299 - "rule (x...) ? y"',
  ]);
  expect(warningHeaders(["x".repeat(300)])).toEqual([`299 - "${"x".repeat(300)}"`]);
  expect(warningHeaders(["x".repeat(301)])).toEqual([`299 - "${"x".repeat(297)}..."`]);
  const many = Array.from({ length: 23 }, (_, i) => `${i}`);
  expect(warningHeaders(many.slice(0, 20)).at(-1)).toBe('299 - "19"');
  expect(warningHeaders(many).slice(19)).toEqual(['299 - "19"', '299 - "and 3 more"']);
});
