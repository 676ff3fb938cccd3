import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isApiError } from "../resource/errors.ts";
import { jsonPatch, mergePatch } from "./patch.ts";

describe("merge patch", () => {
  // The examples of RFC 7386, appendix A.
  it.each<[unknown, unknown, unknown]>([
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [
      ["a", "b"],
      ["c", "d"],
      ["c", "d"],
    ],
    [{ a: "b" }, ["c"], ["c"]],
    [{ a: "foo" }, null, null],
    [{ a: "foo" }, "bar", "bar"],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])("of %j with %j", (target, patch, result) => {
    expect(mergePatch(target, patch)).toEqual(result);
  });

  it("changes neither argument and touches no prototype", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (target, patch) => {
        const before = JSON.stringify([target, patch]);
        mergePatch(target, patch);
        expect(JSON.stringify([target, patch])).toBe(before);
      }),
    );
    const evil: unknown = JSON.parse(
      '{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}',
    );
    const result = mergePatch({}, evil);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
    expect(JSON.parse(JSON.stringify(result))).toEqual(evil);
  });
});

describe("JSON patch", () => {
  const document = { a: [1, 2, 3], "m/n": { "x~y": 1 }, o: { deep: true } };
  it.each<[object[], object]>([
    [[{ op: "add", path: "/a/1", value: 9 }], { ...document, a: [1, 9, 2, 3] }],
    [[{ op: "add", path: "/a/-", value: 9 }], { ...document, a: [1, 2, 3, 9] }],
    [[{ op: "remove", path: "/a/0" }], { ...document, a: [2, 3] }],
    [[{ op: "replace", path: "/a/2", value: 9 }], { ...document, a: [1, 2, 9] }],
    [[{ op: "replace", path: "/m~1n/x~0y", value: 2 }], { ...document, "m/n": { "x~y": 2 } }],
    [[{ op: "move", from: "/o/deep", path: "/p" }], { ...document, o: {}, p: true }],
    [
      [{ op: "copy", from: "/o", path: "/o/again" }],
      { ...document, o: { deep: true, again: { deep: true } } },
    ],
    [[{ op: "test", path: "/o", value: { deep: true } }], document],
    [[{ op: "replace", path: "", value: { z: 1 } }], { z: 1 }],
  ])("%j", (patch, result) => {
    const before = structuredClone(document);
    expect(jsonPatch(document, patch)).toEqual(result);
    expect(document).toEqual(before);
  });

  it.each<[unknown, string]>([
    [{ op: "add" }, "a JSON patch is a list of operations"],
    [["add"], "patch operation 0: is not an object"],
    [[{ op: "eat", path: "/a" }], 'op "eat" is unknown'],
    [[{ op: "add", path: "a", value: 1 }], 'path "a" is not a JSON pointer'],
    [[{ op: "add", path: "/a/9", value: 1 }], "nothing at"],
    [[{ op: "remove", path: "/a/-" }], "nothing at"],
    [[{ op: "remove", path: "/none" }], 'nothing at "none"'],
    [[{ op: "move", from: "/o", path: "/o/x" }], "nothing at"],
    [[{ op: "test", path: "/a/0", value: 2 }], "test of /a/0 failed"],
    [[{ op: "add", path: "/__proto__/polluted", value: 1 }], "nothing at"],
    [[{ op: "add", path: "/constructor/prototype/polluted", value: 1 }], "nothing at"],
  ])("%j is refused: %s", (patch, text) => {
    expect(() => jsonPatch(document, patch)).toThrow(text);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
  });

  it("cannot be made to blow up", () => {
    const doubling = Array.from({ length: 60 }, (_, i) => ({ op: "copy", from: "", path: `/c${i}` }));
    expect(() => jsonPatch({ text: "x".repeat(100) }, doubling)).toThrow(
      "the copies of this patch are larger than",
    );
    const many = Array.from({ length: 10_001 }, () => ({ op: "test", path: "", value: {} }));
    expect(() => jsonPatch({}, many)).toThrow("may have 10000 operations");
  });

  it("fails with an error for users, whatever it is", () => {
    const pointer = fc.constantFrom("", "/a", "/a/0", "/a/-", "/o/deep", "/x/y", "o");
    const op = fc.constantFrom("add", "remove", "replace", "move", "copy", "test");
    const operation = fc.record({ op, path: pointer, from: pointer, value: fc.jsonValue() });
    fc.assert(
      fc.property(fc.oneof(fc.jsonValue(), fc.array(operation, { maxLength: 6 })), (patch) => {
        try {
          jsonPatch(document, patch);
        } catch (error) {
          expect(isApiError(error, "BadRequest", "Invalid", "RequestEntityTooLarge")).toBe(true);
        }
      }),
    );
  });
});
