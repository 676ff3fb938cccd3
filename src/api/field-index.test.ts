import fc from "fast-check";
import { expect, it } from "vitest";
import type { Resource } from "../resource/object.ts";
import type { Cached } from "./cache.ts";
import { FieldIndexes } from "./field-index.ts";
import { type Equality, fieldAt } from "./selectors.ts";

const PATHS = [
  ["spec", "host"],
  ["metadata", "name"],
  ["status", "phase"],
];

const entry = fc.record({
  name: fc.constantFrom("x", "y", "z", "w"),
  host: fc.constantFrom("", "one", "two"),
});
const ask = fc.record({ path: fc.constantFrom(...PATHS), value: fc.constantFrom("", "one", "x") });
const step = fc.oneof(
  entry.map((put) => ({ put })),
  fc.constantFrom("x", "y", "z", "w").map((gone) => ({ gone })),
  ask.map((asked) => ({ asked })),
);

const cached = (name: string, host: string): Cached => {
  const object = { metadata: { name }, spec: host ? { host } : {} };
  // Only what the index reads.
  return { key: `instances/${name}`, object: object as unknown as Resource, revision: 1 };
};

it("finds what a look at all finds, in order, whatever came, changed and went before and after a field was first asked for", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const all = new Map<string, Cached>();
      const indexes = new FieldIndexes();
      const look = ({ path, value }: Equality) =>
        [...all.values()]
          .filter(({ object }) => fieldAt(object, path) === value)
          .map(({ key }) => key)
          .sort();
      for (const each of steps) {
        if ("put" in each) {
          const made = cached(each.put.name, each.put.host);
          const before = all.get(made.key);
          if (before) indexes.delete(before);
          all.set(made.key, made);
          indexes.add(made);
        } else if ("gone" in each) {
          const before = all.get(`instances/${each.gone}`);
          if (before) indexes.delete(before);
          all.delete(`instances/${each.gone}`);
        } else expect(indexes.find(each.asked, all.values()).map(({ key }) => key)).toEqual(look(each.asked));
      }
    }),
  );
});
