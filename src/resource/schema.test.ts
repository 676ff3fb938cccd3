import fc from "fast-check";
import { type TObject, Type } from "typebox";
import { describe, expect, it } from "vitest";
import { AS_SET, keyedBy, Name, Quantity, Words } from "./kind.ts";
import { applyDefaults, pruneUnknown, type Schema, validate } from "./schema.ts";

const Disk = Type.Object({
  name: Name("Its name."),
  size: Quantity({ description: "Its size.", minimum: 2 ** 20, maximum: 2 ** 40 }),
});
const spec: TObject = Type.Object({
  cpus: Type.Integer({ minimum: 1, maximum: 8, default: 2 }),
  ratio: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
  mode: Words(["fast", "slow"], { default: "fast" }),
  title: Type.Optional(Type.String({ minLength: 2, maxLength: 5 })),
  tags: Type.Array(Type.String(), { default: [], maxItems: 3, uniqueItems: true }),
  disks: Type.Optional(Type.Array(Disk, { minItems: 1 })),
  labels: Type.Optional(Type.Record(Type.String(), Type.String({ maxLength: 5 }))),
  nested: Type.Optional(Type.Object({ deep: Type.Boolean({ default: true }) })),
});
const whole: TObject = Type.Object({ spec });
const schema: Schema = whole;

/** As the API does it. */
function take(value: unknown): { value: unknown; unknown: string[]; errors: string[] } {
  const copy = structuredClone(value);
  const unknown = pruneUnknown(copy, schema);
  applyDefaults(copy, schema);
  const errors = validate(copy, schema).map((cause) => `${cause.field}: ${cause.message} [${cause.reason}]`);
  return { value: copy, unknown, errors };
}
const errorsOf = (fields: unknown) => take({ spec: fields }).errors;

describe("defaults", () => {
  it("fill what is missing or null, deep down, and leave what is given", () => {
    expect(take({ spec: { nested: {}, mode: null } }).value).toEqual({
      spec: { cpus: 2, mode: "fast", tags: [], nested: { deep: true } },
    });
    expect(take({ spec: { cpus: 4, nested: { deep: false } } }).value).toMatchObject({
      spec: { cpus: 4, nested: { deep: false } },
    });
  });
  it("are copies: one object's list is not another's", () => {
    const [a, b] = [{ spec: {} }, { spec: {} }];
    applyDefaults(a, schema);
    applyDefaults(b, schema);
    expect(Reflect.get(a.spec, "tags")).not.toBe(Reflect.get(b.spec, "tags"));
  });
});

describe("unknown fields", () => {
  it("are dropped and named, with their place in lists and maps", () => {
    const { value, unknown } = take({
      spec: {
        colour: 1,
        disks: [
          { name: "a", size: "1Gi" },
          { name: "b", size: "1Gi", speed: 3 },
        ],
        labels: { any: "thing" },
      },
      extra: {},
    });
    expect(unknown).toEqual(["spec.colour", "spec.disks[1].speed", "extra"]);
    expect(JSON.stringify(value)).not.toMatch(/colour|speed|extra/);
    expect(value).toMatchObject({ spec: { labels: { any: "thing" } } });
  });
  it("are kept where the schema says so", () => {
    const free: Schema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
    const value = { a: { b: 1 } };
    expect(pruneUnknown(value, free)).toEqual([]);
    expect(value).toEqual({ a: { b: 1 } });
  });
  it("called like what every object inherits are fields like others", () => {
    const value: unknown = JSON.parse(
      '{"spec":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}},"toString":"x"}}',
    );
    expect(pruneUnknown(value, schema).sort()).toEqual([
      "spec.__proto__",
      "spec.constructor",
      "spec.toString",
    ]);
    applyDefaults(value, schema);
    expect(validate(value, schema)).toEqual([]);
    expect(Reflect.get({}, "polluted")).toBeUndefined();
    // Required is asked of the object itself, too.
    const needs: Schema = { type: "object", required: ["toString"], properties: {} };
    expect(validate({}, needs)).toHaveLength(1);
  });
});

describe("validation", () => {
  it.each<[unknown, string]>([
    [
      { cpus: 0 },
      "spec.cpus: Invalid value: 0: spec.cpus in body should be greater than or equal to 1 [FieldValueInvalid]",
    ],
    [
      { cpus: 9 },
      "spec.cpus: Invalid value: 9: spec.cpus in body should be less than or equal to 8 [FieldValueInvalid]",
    ],
    [
      { cpus: "2" },
      'spec.cpus: Invalid value: "string": spec.cpus in body must be of type integer: "string" [FieldValueTypeInvalid]',
    ],
    [
      { cpus: 1.5 },
      'spec.cpus: Invalid value: "number": spec.cpus in body must be of type integer: "number" [FieldValueTypeInvalid]',
    ],
    [
      { mode: "odd" },
      'spec.mode: Unsupported value: "odd": supported values: "fast", "slow" [FieldValueNotSupported]',
    ],
    [
      { title: "x" },
      'spec.title: Invalid value: "x": spec.title in body should be at least 2 chars long [FieldValueInvalid]',
    ],
    [{ title: "toolong" }, "spec.title: Too long: may not be longer than 5 [FieldValueTooLong]"],
    [
      { title: null },
      'spec.title: Invalid value: "null": spec.title in body must be of type string: "null" [FieldValueTypeInvalid]',
    ],
    [{ tags: ["a", "b", "a"] }, 'spec.tags[2]: Duplicate value: "a" [FieldValueDuplicate]'],
    [{ tags: ["a", "b", "c", "d"] }, "spec.tags: Too many: 4: must have at most 3 items [FieldValueInvalid]"],
    [
      { disks: [] },
      "spec.disks: Invalid value: 0: spec.disks in body should have at least 1 items [FieldValueInvalid]",
    ],
    [{ disks: [{ name: "a" }] }, "spec.disks[0].size: Required value [FieldValueRequired]"],
    [
      { labels: { long: "123456" } },
      "spec.labels.long: Too long: may not be longer than 5 [FieldValueTooLong]",
    ],
    [
      { labels: { n: 1 } },
      'spec.labels.n: Invalid value: "integer": spec.labels.n in body must be of type string: "integer" [FieldValueTypeInvalid]',
    ],
    [
      { nested: [] },
      'spec.nested: Invalid value: "array": spec.nested in body must be of type object: "array" [FieldValueTypeInvalid]',
    ],
  ])("of %j says %s", (fields, message) => {
    expect(errorsOf(fields)).toEqual([message]);
  });

  it.each<[unknown, string]>([
    [512, '512 has no unit; write for example "512Mi" or "512Gi"'],
    ["512", '"512" has no unit; write for example "512Mi" or "512Gi"'],
    ["-1Gi", '"-1Gi" is negative; write for example "512Mi"'],
    ["1e99Gi", '"1e99Gi" is not a size; write digits and a unit, for example "512Mi" or "1.5Gi"'],
    ["1Qi", '"1Qi" has the unknown unit "Qi"; units are Ki, Mi, Gi, Ti, Pi, k, M, G, T, P'],
    ["9000Pi", '"9000Pi" is more than the largest size, 8191Ti'],
    ["1Ki", '"1Ki": must be at least 1Mi'],
    ["2Ti", '"2Ti": must be at most 1Ti'],
    [{}, '{} is not a size; write for example "512Mi"'],
    [null, 'null is not a size; write for example "512Mi"'],
  ])("of the size %j says %s", (size, message) => {
    expect(errorsOf({ disks: [{ name: "a", size }] })).toEqual([
      `spec.disks[0].size: Invalid value: ${message} [FieldValueInvalid]`,
    ]);
  });

  it.each(["../x", "a/b", "", "A", "-a", "a\n", "a".repeat(64)])(
    "refuses %j as the name of an object",
    (name) => {
      const [error] = errorsOf({ disks: [{ name, size: "1Gi" }] });
      expect(error).toContain("spec.disks[0].name: Invalid value");
    },
  );

  it("finds what is in a list twice by its keys, or by all of it in whatever order its fields are", () => {
    const lists: TObject = Type.Object({
      keyed: Type.Array(Type.Any(), keyedBy("name", "port")),
      set: Type.Array(Type.Any(), AS_SET),
    });
    const keyed = [{ name: "a", port: 1 }, { name: "a" }, { port: 1, name: "a", size: 2 }, { name: "a" }];
    const set = [{ a: 1, b: [2] }, { a: 1, b: [3] }, { b: [2], a: 1 }, "1", 1, "__proto__", "1"];
    expect(validate({ keyed, set }, lists).map(({ field }) => field)).toEqual([
      "keyed[2]",
      "keyed[3]",
      "set[2]",
      "set[6]",
    ]);
  });

  // Comparing each with each takes minutes.
  it("looks through a list of 300,000 once", () => {
    const keys = Array.from({ length: 300_000 }, (_, i) => `ssh-${i.toString(36)}`);
    expect(validate(keys, Type.Array(Type.String(), AS_SET))).toEqual([]);
    const same: TObject = Type.Object({ keys: Type.Array(Type.String(), AS_SET) });
    expect(validate({ keys: keys.fill("ssh-1") }, same)).toHaveLength(keys.length - 1);
  });

  it("reports everything that is wrong at once", () => {
    expect(errorsOf({ cpus: 0, mode: "odd", disks: [{}] })).toHaveLength(4);
    expect(take({}).errors).toEqual(["spec: Required value [FieldValueRequired]"]);
    expect(take({ spec: 7 }).errors[0]).toContain("must be of type object");
  });

  it("does not give large values back", () => {
    const [error] = errorsOf({ mode: "x".repeat(1_000_000) });
    expect(error?.length).toBeLessThan(300);
  });

  it("takes any JSON without throwing, and what it lets pass it lets pass again unchanged", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (fields) => {
        const first = take({ spec: fields });
        if (first.errors.length > 0) return;
        const again = take(first.value);
        expect(again).toEqual({ value: first.value, unknown: [], errors: [] });
      }),
    );
  });
});
