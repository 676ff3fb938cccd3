/** Values and the sets of their fields, with test vectors of structured-merge-diff (typed/*_test.go). */
import { describe, expect, it } from "vitest";
import { SCHEMA, yaml } from "../testing/fields.ts";
import { difference, intersection, isFieldSet, pathsOf, union } from "./set.ts";
import { compare, fieldSetOf, merge, remove } from "./values.ts";

describe("sets of fields", () => {
  const set = (object: string) => fieldSetOf(yaml(object), SCHEMA);

  it.each([
    ["{numeric: 1}", [".numeric"]],
    ["{setStr: [a, b]}", ['.setStr[="a"]', '.setStr[="b"]']],
    ["{setNumeric: [1, 3.14159]}", [".setNumeric[=1]", ".setNumeric[=3.14159]"]],
    ["{color: {}}", [".color"]],
    ["{color: null}", [".color"]],
    ["{color: {r: 255, g: 0}}", [".color"]],
    ["{args: []}", [".args"]],
    ["{args: [a, a]}", [".args"]],
    ["{list: []}", []],
    ["{struct: {}}", [".struct"]],
    ["{mapOfMaps: {a: {b: c}}}", [".mapOfMaps.a", ".mapOfMaps.a.b"]],
    [
      "{pair: [{key: a, id: 1, value: {a: a}}]}",
      [
        '.pair[id=1,key="a"]',
        '.pair[id=1,key="a"].id',
        '.pair[id=1,key="a"].key',
        '.pair[id=1,key="a"].value.a',
      ],
    ],
    // A key that is not given has its default.
    ["{pair: [{key: a}]}", ['.pair[id=1,key="a"]', '.pair[id=1,key="a"].key']],
  ])("of %s", (object, paths) => {
    expect(pathsOf(set(object)).sort()).toEqual([...paths].sort());
  });

  it("are joined, cut and taken from each other", () => {
    const a = { "f:x": { ".": {}, "f:y": {} }, "f:z": {} };
    const b = { "f:x": {}, "f:w": { "f:v": {} } };
    expect(union(a, b)).toEqual({ "f:x": { ".": {}, "f:y": {} }, "f:z": {}, "f:w": { "f:v": {} } });
    expect(union({ "f:x": {} }, { "f:x": { "f:y": {} } })).toEqual({ "f:x": { ".": {}, "f:y": {} } });
    expect(intersection(a, b)).toEqual({ "f:x": {} });
    expect(difference(a, b)).toEqual({ "f:x": { "f:y": {} }, "f:z": {} });
    expect(difference(a, a)).toEqual({});
  });

  it("are told from what is none", () => {
    expect(isFieldSet({ "f:x": { ".": {}, 'k:{"a":1}': {}, "v:1": {}, "i:0": {} } })).toBe(true);
    for (const wrong of [[], null, 1, { x: {} }, { "f:x": 1 }, { "k:{": {} }, { "k:[": {} }])
      expect(isFieldSet(wrong)).toBe(false);
  });
});

describe("comparison", () => {
  it.each([
    ["{numeric: 1}", "{numeric: 1}", [], []],
    ["{numeric: 1}", "{numeric: 2}", [".numeric"], []],
    ["{string: a}", "{bool: true}", [".bool"], [".string"]],
    ["{setStr: [a, b]}", "{setStr: [a, b, c]}", ['.setStr[="c"]'], []],
    ["{setStr: [a, b]}", "{setStr: []}", [], ['.setStr[="a"]', '.setStr[="b"]']],
    ["{}", "{struct: {}}", [".struct"], []],
    [
      "{}",
      "{list: [{name: a, value: 1}]}",
      [".list", '.list[name="a"]', '.list[name="a"].name', '.list[name="a"].value'],
      [],
    ],
    ["{list: [{name: a, value: 1}]}", "{list: [{name: a, value: 2}]}", ['.list[name="a"].value'], []],
    [
      "{list: [{name: a}]}",
      "{list: [{name: b}]}",
      ['.list[name="b"]', '.list[name="b"].name'],
      ['.list[name="a"]', '.list[name="a"].name'],
    ],
    ["{args: [a]}", "{args: [a, b]}", [".args"], []],
    ["{color: {r: 1}}", "{color: {r: 1, g: 2}}", [".color"], []],
    ["{free: {a: {b: 1}}}", "{free: {a: {b: 1, c: [1]}}}", [".free.a.c"], []],
    ["{free: {a: {b: 1}}}", "{free: {a: x}}", [".free.a"], [".free.a.b"]],
    ["{free: {a: x}}", "{free: {a: {b: 1}}}", [".free.a", ".free.a.b"], []],
  ])("of %s and %s", (old, next, changed, removed) => {
    const result = compare(yaml(old), yaml(next), SCHEMA);
    expect(pathsOf(result.changed).sort()).toEqual([...changed].sort());
    expect(pathsOf(result.removed).sort()).toEqual([...removed].sort());
  });
});

describe("merging and removing", () => {
  it.each([
    [
      "{list: [{name: a, value: 1}, {name: b}]}",
      "{list: [{name: b, value: 2}, {name: c}]}",
      "{list: [{name: a, value: 1}, {name: b, value: 2}, {name: c}]}",
    ],
    [
      "{list: [{name: a}, {name: x}, {name: b}]}",
      "{list: [{name: b}, {name: n}, {name: a}]}",
      "{list: [{name: b}, {name: x}, {name: n}, {name: a}]}",
    ],
    ["{setStr: [a, b]}", "{setStr: [b, c]}", "{setStr: [a, b, c]}"],
    ["{args: [a, b]}", "{args: [c]}", "{args: [c]}"],
    ["{mapOfMaps: {a: {b: c}}}", "{mapOfMaps: {a: {d: e}, f: {}}}", "{mapOfMaps: {a: {b: c, d: e}, f: {}}}"],
    ["{color: {r: 1}}", "{color: {g: 1}}", "{color: {g: 1}}"],
  ])("%s with %s", (live, config, result) => {
    expect(merge(yaml(live), yaml(config), SCHEMA)).toEqual(yaml(result));
  });

  it("takes fields out; what is emptied goes", () => {
    const object = yaml("{list: [{name: a, value: 1}], setStr: [a], struct: {name: x}}");
    const set = {
      "f:list": { 'k:{"name":"a"}': { "f:value": {} } },
      "f:setStr": { 'v:"a"': {} },
      "f:struct": { "f:name": {} },
    };
    expect(remove(object, set, SCHEMA)).toEqual(yaml("{list: [{name: a}]}"));
  });

  it("keys like __proto__ are keys", () => {
    const config: unknown = JSON.parse('{"mapOfMaps": {"__proto__": {"a": "b"}}}');
    const merged = merge({ mapOfMaps: { x: {} } }, config, SCHEMA);
    expect(JSON.stringify(merged)).toBe('{"mapOfMaps":{"x":{},"__proto__":{"a":"b"}}}');
    expect(pathsOf(fieldSetOf(config, SCHEMA))).toContain(".mapOfMaps.__proto__.a");
  });
});
