import fc from "fast-check";
import { expect, it } from "vitest";
import { NOTHING, Tuples } from "./tuples.ts";

it("numbers the same alike, and nothing else", () => {
  const value = fc.constantFrom<unknown>(undefined, "", "1", 1, 0, true, Number.NaN);
  fc.assert(
    fc.property(fc.array(fc.array(value, { maxLength: 4 })), (all) => {
      const tuples = new Tuples();
      const numbers = all.map((values) =>
        values.reduce<number>((known, each) => tuples.with(known, each), NOTHING),
      );
      const same = (a: readonly unknown[], b: readonly unknown[]) =>
        a.length === b.length && a.every((each, i) => Object.is(each, b[i]));
      for (const [i, a] of all.entries())
        for (const [j, b] of all.entries()) expect(numbers[i] === numbers[j]).toBe(same(a, b));
    }),
  );
});
