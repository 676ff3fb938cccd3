/** Server-side apply, with test vectors of structured-merge-diff (merge/*_test.go), which name the case in their titles. */

import { describe, expect, it } from "vitest";
import { isApiError } from "../../resource/errors.ts";
import type { ManagedFieldsEntry } from "../../resource/object.ts";
import { SCHEMA, yaml } from "../testing/fields.ts";
import { apply, recordUpdate, type Versions, type View } from "./managers.ts";
import { pathsOf } from "./set.ts";

const VERSIONS: Versions = {
  apiVersion: "v1",
  of: (version) =>
    version === "v1" ? { schema: SCHEMA, to: (view) => view, from: (view) => view } : undefined,
};

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
