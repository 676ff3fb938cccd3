/**
 * Field ownership and server-side apply, with test vectors of structured-merge-diff (merge/*_test.go, typed/*_test.go), which name the
 * case in their titles.
 */

import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { isApiError } from "../../resource/errors.ts";
import type { ManagedFieldsEntry } from "../../resource/object.ts";
import type { Schema } from "../../resource/schema.ts";
import { apply, recordUpdate, type Versions, type View } from "./managers.ts";
import { difference, intersection, isFieldSet, pathsOf, union } from "./set.ts";
import { compare, fieldSetOf, merge, remove } from "./values.ts";

const text: Schema = { type: "string" };
const number: Schema = { type: "number" };
const strings: Schema = { type: "array", items: text, "x-kubernetes-list-type": "set" };
const byName = (properties: Record<string, Schema>): Schema => ({
  type: "array",
  "x-kubernetes-list-type": "map",
  "x-kubernetes-list-map-keys": ["name"],
  items: { type: "object", properties: { name: text, ...properties } },
});
const SCHEMA: Schema = {
  properties: {
    numeric: number,
    string: text,
    bool: { type: "boolean" },
    setStr: strings,
    setNumeric: { ...strings, items: number },
    list: byName({ value: number }),
    listOfLists: byName({ value: strings }),
    struct: {
      type: "object",
      properties: { name: text, scalar: text, complex: { type: "object", properties: { name: text } } },
    },
    mapOfMaps: {
      type: "object",
      additionalProperties: { type: "object", additionalProperties: text },
    },
    color: {
      type: "object",
      "x-kubernetes-map-type": "atomic",
      properties: { r: number, g: number },
    },
    args: { type: "array", items: text },
    pair: {
      type: "array",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["key", "id"],
      items: {
        type: "object",
        properties: {
          key: text,
          id: { ...number, default: 1 },
          value: { type: "object", additionalProperties: text },
        },
      },
    },
    free: { "x-kubernetes-preserve-unknown-fields": true },
  },
};
const VERSIONS: Versions = {
  apiVersion: "v1",
  of: (version) =>
    version === "v1" ? { schema: SCHEMA, to: (view) => view, from: (view) => view } : undefined,
};

const yaml = (source: string): View => Object(parse(source));

/** A step: [who, "apply" | "force" | "update", YAML]; `conflicts`: the fields that the step is refused for. */
type Step = readonly [
  who: string,
  how: "apply" | "force" | "update",
  object: string,
  conflicts?: readonly string[],
];

function play(steps: readonly Step[], versions = VERSIONS) {
  let object: View = {};
  let managed: readonly ManagedFieldsEntry[] = [];
  for (const [manager, how, source, conflicts] of steps) {
    const given = yaml(source);
    if (how === "update") {
      managed = recordUpdate(managed, object, given, versions, { manager }, "2026-01-01T00:00:00Z");
      object = given;
      continue;
    }
    const run = () =>
      apply(
        managed,
        object,
        given,
        versions,
        { manager },
        { force: how === "force", now: "2026-01-01T00:00:00Z" },
      );
    if (conflicts) {
      expect(conflictsOf(run)).toEqual(conflicts);
      continue;
    }
    const applied = run();
    object = applied.view;
    managed = applied.managedFields;
  }
  const owners = Object.fromEntries(
    managed.map((entry) => [entry.manager, pathsOf(Object(entry.fieldsV1)).sort()]),
  );
  return { object, owners };
}

function conflictsOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (isApiError(error, "Conflict")) return (error.details.causes ?? []).map(({ field }) => field);
    throw error;
  }
  return [];
}

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

describe("apply", () => {
  const a = '.list[name="a"]';
  const item = (name: string) => [`.list[name="${name}"]`, `.list[name="${name}"].name`];

  it.each<[string, readonly Step[], string, Record<string, readonly string[]>]>([
    [
      "MultipleAppliersSet remove_one",
      [
        ["one", "apply", "list: [{name: a}, {name: b}]"],
        ["two", "apply", "list: [{name: c}]"],
        ["one", "apply", "list: [{name: a}]"],
      ],
      "list: [{name: a}, {name: c}]",
      { one: item("a"), two: item("c") },
    ],
    [
      "MultipleAppliersSet same_value_no_conflict",
      [
        ["one", "apply", "list: [{name: a, value: 0}]"],
        ["two", "apply", "list: [{name: a, value: 0}]"],
      ],
      "list: [{name: a, value: 0}]",
      { one: [...item("a"), `${a}.value`], two: [...item("a"), `${a}.value`] },
    ],
    [
      "MultipleAppliersSet change_value_yes_conflict",
      [
        ["one", "apply", "list: [{name: a, value: 0}]"],
        ["two", "apply", "list: [{name: a, value: 1}]", [`${a}.value`]],
      ],
      "list: [{name: a, value: 0}]",
      { one: [...item("a"), `${a}.value`] },
    ],
    [
      "forced, the field changes hands",
      [
        ["one", "apply", "list: [{name: a, value: 0}]"],
        ["two", "force", "list: [{name: a, value: 1}]"],
      ],
      "list: [{name: a, value: 1}]",
      { one: item("a"), two: [...item("a"), `${a}.value`] },
    ],
    [
      "MultipleAppliersSet remove_one_keep_one",
      [
        ["one", "apply", "list: [{name: a}, {name: b}, {name: c}]"],
        ["two", "apply", "list: [{name: c}, {name: d}]"],
        ["one", "apply", "list: [{name: a}]"],
      ],
      "list: [{name: a}, {name: c}, {name: d}]",
      { one: item("a"), two: [...item("c"), ...item("d")] },
    ],
    [
      "FieldUnsetting unset_scalar_sole_owner",
      [
        ["one", "apply", "struct: {name: a, scalar: a}"],
        ["one", "apply", "struct: {name: a}"],
      ],
      "struct: {name: a}",
      { one: [".struct.name"] },
    ],
    [
      "FieldUnsetting unset_scalar_shared_with_applier",
      [
        ["one", "apply", "struct: {name: a, scalar: a}"],
        ["two", "apply", "struct: {scalar: a}"],
        ["one", "apply", "struct: {name: a}"],
      ],
      "struct: {name: a, scalar: a}",
      { one: [".struct.name"], two: [".struct.scalar"] },
    ],
    [
      "FieldUnsetting unset_scalar_shared_with_updater",
      [
        ["updater", "update", "struct: {name: a, scalar: a}"],
        ["one", "apply", "struct: {name: a, scalar: a}"],
        ["one", "apply", "struct: {name: a}"],
      ],
      "struct: {name: a, scalar: a}",
      { updater: [".struct", ".struct.name", ".struct.scalar"], one: [".struct.name"] },
    ],
    [
      "FieldUnsetting updater_claims_field",
      [
        ["one", "apply", "struct: {name: a, scalar: a}"],
        ["updater", "update", "struct: {name: a, scalar: b}"],
      ],
      "struct: {name: a, scalar: b}",
      { one: [".struct.name"], updater: [".struct.scalar"] },
    ],
    [
      "FieldUnsetting unset_complex_sole_owner",
      [
        ["one", "apply", "struct: {name: a, complex: {name: b}}"],
        ["one", "apply", "struct: {name: a}"],
      ],
      "struct: {name: a}",
      { one: [".struct.name"] },
    ],
    [
      "FieldUnsetting unset_complex_shared_with_applier",
      [
        ["one", "apply", "struct: {name: a, complex: {name: b}}"],
        ["two", "apply", "struct: {complex: {name: b}}"],
        ["one", "apply", "struct: {name: a}"],
      ],
      "struct: {name: a, complex: {name: b}}",
      { one: [".struct.name"], two: [".struct.complex.name"] },
    ],
    [
      "NestedType remove_one_keep_one_with_two_sub_items",
      [
        ["one", "apply", "listOfLists: [{name: a}, {name: b, value: [c]}]"],
        ["two", "apply", "listOfLists: [{name: b, value: [d]}]"],
        ["one", "apply", "listOfLists: [{name: a}]"],
      ],
      "listOfLists: [{name: a}, {name: b, value: [d]}]",
      {
        one: ['.listOfLists[name="a"]', '.listOfLists[name="a"].name'],
        two: ['.listOfLists[name="b"]', '.listOfLists[name="b"].name', '.listOfLists[name="b"].value[="d"]'],
      },
    ],
    [
      "NestedType remove_one_keep_one_with_dangling_subitem",
      [
        ["one", "apply", "listOfLists: [{name: a}, {name: b, value: [c]}]"],
        ["two", "apply", "listOfLists: [{name: b, value: [d]}]"],
        ["controller", "update", "listOfLists: [{name: a}, {name: b, value: [c, d, e]}]"],
        ["one", "apply", "listOfLists: [{name: a}]"],
      ],
      "listOfLists: [{name: a}, {name: b, value: [d, e]}]",
      {
        one: ['.listOfLists[name="a"]', '.listOfLists[name="a"].name'],
        two: ['.listOfLists[name="b"]', '.listOfLists[name="b"].name', '.listOfLists[name="b"].value[="d"]'],
        controller: ['.listOfLists[name="b"].value[="e"]'],
      },
    ],
    [
      "NestedType remove_one_with_dangling_subitem_keep_one",
      [
        ["one", "apply", "listOfLists: [{name: a}, {name: b, value: [c]}]"],
        ["two", "apply", "listOfLists: [{name: a, value: [b]}]"],
        ["controller", "update", "listOfLists: [{name: a, value: [b]}, {name: b, value: [c, d]}]"],
        ["one", "apply", "listOfLists: [{name: a}]"],
      ],
      "listOfLists: [{name: a, value: [b]}]",
      {
        one: ['.listOfLists[name="a"]', '.listOfLists[name="a"].name'],
        two: ['.listOfLists[name="a"]', '.listOfLists[name="a"].name', '.listOfLists[name="a"].value[="b"]'],
      },
    ],
    [
      "maps: the last key of a manager takes the map with it",
      [
        ["one", "apply", "mapOfMaps: {a: {b: c}}"],
        ["two", "apply", "mapOfMaps: {a: {d: e}}"],
        ["one", "apply", "string: x"],
        ["two", "apply", "string: x"],
      ],
      "string: x",
      { one: [".string"], two: [".string"] },
    ],
    [
      "atomic: one owner of all",
      [
        ["one", "apply", "color: {r: 1}"],
        ["two", "apply", "color: {g: 1}", [".color"]],
        ["two", "force", "color: {g: 1}"],
      ],
      "color: {g: 1}",
      { two: [".color"] },
    ],
    [
      "nothing of one's own any more: no entry",
      [
        ["one", "apply", "{string: a, numeric: 1}"],
        ["updater", "update", "{string: b, numeric: 2}"],
      ],
      "{string: b, numeric: 2}",
      { updater: [".numeric", ".string"] },
    ],
    [
      "an update that removes a field takes it from all",
      [
        ["one", "apply", "{string: a, numeric: 1}"],
        ["updater", "update", "{numeric: 1}"],
      ],
      "{numeric: 1}",
      { one: [".numeric"] },
    ],
  ])("%s", (_name, steps, object, owners) => {
    const result = play(steps);
    expect(result.object).toEqual(yaml(object));
    expect(result.owners).toEqual(
      Object.fromEntries(Object.entries(owners).map(([who, paths]) => [who, [...paths].sort()])),
    );
  });

  it("refuses items without their key and two of one name", () => {
    const refused = (source: string) => () => play([["one", "apply", source]]);
    expect(refused("list: [{value: 1}]")).toThrow(/list: Required value: every item needs name/);
    expect(refused("list: [{name: a}, {name: a}]")).toThrow(/list: Duplicate value/);
    expect(refused("setStr: [a, a]")).toThrow(/setStr: Duplicate value: "a"/);
  });

  it("conflicts name the manager and the field as Kubernetes does", () => {
    const base = play([["one", "apply", "{string: a, numeric: 1}"]]);
    expect(base.owners.one).toHaveLength(2);
    const managed: ManagedFieldsEntry[] = [
      {
        manager: "kubectl",
        operation: "Update",
        apiVersion: "v1",
        time: "2026-01-01T00:00:00Z",
        fieldsType: "FieldsV1",
        fieldsV1: { "f:string": {} },
        subresource: "status",
      },
      { manager: "one", operation: "Apply", apiVersion: "v1", fieldsV1: { "f:numeric": {} } },
    ];
    const run = (config: string) => () =>
      apply(
        managed,
        yaml("{string: a, numeric: 1}"),
        yaml(config),
        VERSIONS,
        { manager: "two" },
        { force: false, now: "" },
      );
    expect(run("{string: b}")).toThrow(
      'Apply failed with 1 conflict: conflict with "kubectl" with subresource "status" using v1 at 2026-01-01T00:00:00Z: .string',
    );
    expect(run("{string: b, numeric: 2}")).toThrow(
      /Apply failed with 2 conflicts: conflicts with "kubectl".*:\n- .string\nconflicts with "one":\n- .numeric/,
    );
  });

  it("programs that change their name at each write do not fill the object", () => {
    let managed: readonly ManagedFieldsEntry[] = [];
    for (let i = 0; i < 50; i++) {
      const at = `2026-01-01T00:00:${String(i).padStart(2, "0")}Z`;
      const all = (n: number) => ({
        free: Object.fromEntries(Array.from({ length: n }, (_, k) => [`k${k}`, 1])),
      });
      managed = recordUpdate(managed, all(i), all(i + 1), VERSIONS, { manager: `m${i}` }, at);
    }
    expect(managed).toHaveLength(10);
    const ancient = managed.find(({ manager }) => manager === "ancient-changes");
    expect(pathsOf(Object(ancient?.fieldsV1))).toContain(".free.k0");
  });
});
