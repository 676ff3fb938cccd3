import { Type } from "typebox";
import { describe, expect, it } from "vitest";
import { structural } from "../api/openapi-schema.ts";
import { KINDS } from "../kinds.ts";
import { keyedBy, rules } from "./kind.ts";
import { checkRules, compileRule } from "./rules.ts";
import type { Rule, Schema } from "./schema.ts";

const schema = Type.Object(
  {
    min: Type.Integer(),
    max: Type.Integer(),
    share: Type.Optional(Type.Number()),
    disks: Type.Optional(
      Type.Array(
        Type.Object(
          { name: Type.String(), size: Type.Integer() },
          rules({ rule: "self.size >= oldSelf.size", message: "cannot shrink", fieldPath: ".size" }),
        ),
        {
          ...keyedBy("name"),
          maxItems: 10,
          ...rules({ rule: "self.all(d, d.size > 0)", message: "no empty disks" }),
        },
      ),
    ),
    ports: Type.Optional(
      Type.Array(
        Type.Object({ port: Type.Integer() }, rules({ rule: "self == oldSelf", message: "never asked" })),
      ),
    ),
  },
  rules({ rule: "self.min <= self.max", message: "must be at most max", fieldPath: ".min" }),
);
const said = (value: unknown, old?: unknown) =>
  checkRules(value, old, schema, "spec").map(({ field, message }) => `${field}: ${message}`);

describe("rules in schemas", () => {
  it("say what fields have to do with each other, and which is to blame", () => {
    expect(said({ min: 1, max: 2 })).toEqual([]);
    expect(said({ min: 3, max: 2 })).toEqual(["spec.min: Invalid value: 3: must be at most max"]);
    expect(said({ min: 1, max: 2, disks: [{ name: "a", size: 0 }] })).toEqual([
      'spec.disks: Invalid value: [{"name":"a","size":0}]: no empty disks',
    ]);
  });

  it("about a change are asked of what was there, items of lists by their keys", () => {
    const of = (...sizes: [string, number][]) => ({
      min: 1,
      max: 2,
      disks: sizes.map(([name, size]) => ({ name, size })),
    });
    expect(said(of(["b", 1], ["a", 2]), of(["a", 2]))).toEqual([]);
    expect(said(of(["b", 1], ["a", 1]), of(["a", 2]))).toEqual([
      "spec.disks[1].size: Invalid value: 1: cannot shrink",
    ]);
    expect(said(of(["a", 1]))).toEqual([]);
    // Without keys nobody knows which item became which.
    expect(said({ min: 1, max: 2, ports: [{ port: 2 }] }, { min: 1, max: 2, ports: [{ port: 1 }] })).toEqual(
      [],
    );
  });

  it("tell reasons apart", () => {
    const one = (reason: Rule["reason"]): Schema => ({
      "x-kubernetes-validations": [{ rule: "false", message: "m", ...(reason ? { reason } : {}) }],
    });
    const all = ["FieldValueForbidden", "FieldValueRequired", "FieldValueInvalid"] as const;
    expect(all.map((reason) => checkRules({}, undefined, one(reason), "f")[0])).toEqual([
      { field: "f", reason: "FieldValueForbidden", message: "Forbidden: m" },
      { field: "f", reason: "FieldValueRequired", message: "Required value: m" },
      { field: "f", reason: "FieldValueInvalid", message: "Invalid value: {}: m" },
    ]);
  });

  it("that cannot be decided refuse, and name themselves", () => {
    const odd: Schema = { "x-kubernetes-validations": [{ rule: "self.a.b == 1", message: "m" }] };
    expect(checkRules({ a: {} }, undefined, odd, "f")[0]?.message).toMatch(
      /rule "self.a.b == 1" cannot be decided: No such key/,
    );
    expect(() => compileRule("self.a ==")).toThrow();
    expect(() => compileRule("nothing == 1")).toThrow(/not valid/);
    expect(() => compileRule(Array.from({ length: 300 }, () => "1").join("+"))).toThrow();
  });

  it("whole numbers are integers, keys are keys", () => {
    const whole: Schema = {
      properties: { a: { type: "integer" } },
      "x-kubernetes-validations": [{ rule: "self.a / 2 == 1", message: "m" }],
    };
    expect(checkRules({ a: 3 }, undefined, whole)).toEqual([]);
    const map: Schema = {
      additionalProperties: { type: "string" },
      "x-kubernetes-validations": [{ rule: "!('constructor' in self) && size(self) == 1", message: "m" }],
    };
    expect(checkRules(JSON.parse('{"__proto__": "x"}'), undefined, map)).toEqual([]);
  });
});

describe("the rules of our kinds", () => {
  const found: { kind: string; path: string; rule: Rule; schema: Schema }[] = [];
  const walk = (kind: string, part: Schema, path: string) => {
    for (const rule of part["x-kubernetes-validations"] ?? []) found.push({ kind, path, rule, schema: part });
    for (const [key, inner] of Object.entries(part.properties ?? {})) walk(kind, inner, `${path}.${key}`);
    if (part.items) walk(kind, part.items, `${path}[]`);
  };
  for (const { kind, schema: own } of KINDS) walk(kind, own, "");

  it("are CEL, of bounded cost, blame fields that exist, and are published", () => {
    expect(found.length).toBeGreaterThan(10);
    for (const { kind, path, rule, schema: part } of found) {
      const where = `${kind}${path}: ${rule.rule}`;
      expect(() => compileRule(rule.rule), where).not.toThrow();
      // Regular expressions belong in `pattern`; going through a list needs a list that ends.
      expect(rule.rule, where).not.toMatch(/\bmatches\(|\.(all|exists|exists_one|map|filter)\(/);
      const blamed = (rule.fieldPath ?? "").split(".").slice(1);
      const at = blamed.reduce<Schema | undefined>((inner, name) => inner?.properties?.[name], part);
      expect(at, where).toBeDefined();
      expect(structural(part)["x-kubernetes-validations"], where).toEqual(part["x-kubernetes-validations"]);
    }
  });
});
