import fc from "fast-check";
import { expect, it } from "vitest";
import { mergePatch } from "../api/patch.ts";
import { collide, mergePatchOf } from "./merge-patch.ts";

const value = fc.letrec<{ object: Record<string, unknown>; value: unknown }>((tie) => ({
  value: fc.oneof(
    fc.boolean(),
    fc.integer({ min: 0, max: 3 }),
    fc.array(tie("object"), { maxLength: 2 }),
    tie("object"),
  ),
  object: fc.dictionary(fc.constantFrom("a", "b", "c"), tie("value"), { maxKeys: 3 }),
})).object;

it("makes the one of the other, as the server applies it, and says nothing of what is the same", () => {
  fc.assert(
    fc.property(value, value, (before, after) => {
      expect(mergePatch(before, mergePatchOf(before, after))).toEqual(after);
      expect(mergePatchOf(after, structuredClone(after))).toEqual({});
    }),
  );
});

it("does not count the order of fields", () => {
  expect(mergePatchOf({ a: [{ b: 1, c: 2 }], d: 1 }, { d: 1, a: [{ c: 2, b: 1 }] })).toEqual({});
});

it("patches that do not collide come to the same in either order", () => {
  const both = (object: object, ...patches: object[]) => patches.reduce(mergePatch, object);
  fc.assert(
    fc.property(value, value, value, (before, one, other) => {
      const [mine, theirs] = [mergePatchOf(before, one), mergePatchOf(before, other)];
      fc.pre(!collide(mine, theirs));
      expect(collide(theirs, mine)).toBe(false);
      expect(both(before, mine, theirs)).toEqual(both(before, theirs, mine));
    }),
  );
  expect(collide({ spec: { disks: [1], cpus: 2 } }, { spec: { disks: [], memory: 3 } })).toBe(true);
  expect(collide({ spec: { guest: { user: "a" } } }, { spec: { guest: null } })).toBe(true);
  expect(collide({ spec: { guest: { user: "a" } } }, { spec: { guest: { hostname: "b" } } })).toBe(false);
});
