/** What is said of two selectors, against all labels that there could be. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { excludes, implies, type LabelSelector, selects } from "./selector.ts";

const KEYS = ["a", "b"];
/** One that no selector names, too. */
const VALUES = ["1", "2", "3", "other"];
const ALL_LABELS = [undefined, ...VALUES].flatMap((a) =>
  [undefined, ...VALUES].map((b) => ({ ...(a ? { a } : {}), ...(b ? { b } : {}) })),
);

const value = fc.constantFrom("1", "2", "3");
const selector: fc.Arbitrary<LabelSelector> = fc.record({
  matchLabels: fc.dictionary(fc.constantFrom(...KEYS), value, { maxKeys: 1 }),
  matchExpressions: fc.array(
    fc.oneof(
      fc.record({
        key: fc.constantFrom(...KEYS),
        operator: fc.constantFrom("In" as const, "NotIn" as const),
        values: fc.array(value, { minLength: 1, maxLength: 3 }),
      }),
      fc.record({
        key: fc.constantFrom(...KEYS),
        operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const),
      }),
    ),
    { maxLength: 3 },
  ),
});

it("tells which exclude each other, and which one is within another, as trying all labels does", () => {
  const seen = { excluded: 0, implied: 0 };
  fc.assert(
    fc.property(selector, selector, (a, b) => {
      const by = (of: LabelSelector) => ALL_LABELS.filter((labels) => selects(of, labels));
      const [mine, others] = [by(a), new Set(by(b))];
      const excluded = !mine.some((labels) => others.has(labels));
      const implied = mine.every((labels) => others.has(labels));
      expect(excludes(a, b)).toBe(excluded);
      expect(implies(a, b)).toBe(implied);
      seen.excluded += Number(excluded);
      seen.implied += Number(implied && mine.length > 0);
    }),
    { numRuns: 3000, seed: 11 },
  );
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(100);
});
