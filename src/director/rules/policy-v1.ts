/**
 * Policies as they were stored in v1: rules were an attribute, an operator and values, and are expressions (expressions.ts) now; there was one goal. There are
 * only stored ones: nobody can write them any more. Each rule is kept by the hosts that kept it, but for what a host cannot tell of itself (a model
 * or clock that was "" or 0): by that no rule is kept now. Pure.
 */
import { Type } from "typebox";
import { isFields } from "../../resource/fields.ts";
import type { KindVersion } from "../../resource/kind.ts";
import type { Resource } from "../../resource/object.ts";
import { parseBytes } from "../../resource/quantity.ts";

const BOOLEAN = "disk.ssd";
const NUMBERS = [
  "cpu.cores",
  "cpu.mhz",
  "memory.bytes",
  "link.mbps",
  "power.idleWatts",
  "power.maxWatts",
] as const;
const isNumber = (attribute: string) => NUMBERS.some((one) => one === attribute);

/** Of CEL's int, so that it is one. */
const MOST_INT = 2n ** 63n - 1n;

function int(value: number): string {
  const whole = BigInt(value);
  return String(whole > MOST_INT ? MOST_INT : whole < -MOST_INT ? -MOST_INT : whole);
}

/** As JavaScript writes it, with a point or an exponent. */
const double = (value: number): string => (/^-?\d+$/.test(`${value}`) ? `${value}.0` : `${value}`);

// Watts are no whole numbers.
const isDouble = (attribute: string) => attribute.startsWith("power.");

/** A value that In and NotIn name, as CEL writes it; v1 compared it as a text. Undefined: no host's value is written so. */
function constant(attribute: string, value: string): string | undefined {
  if (attribute === BOOLEAN) return value === "true" || value === "false" ? value : undefined;
  if (!isNumber(attribute)) return JSON.stringify(value);
  const number = Number(value);
  if (!Number.isFinite(number) || String(number) !== value) return undefined;
  if (isDouble(attribute)) return double(number);
  return Number.isSafeInteger(number) ? value : undefined;
}

/** The number that AtLeast (`round` up) and AtMost (down) name, as CEL writes it; undefined: it is none, and no host keeps the rule. */
function limit(attribute: string, text: string, round: (value: number) => number): string | undefined {
  if (!isNumber(attribute)) return undefined;
  if (attribute === "memory.bytes" && !/^\d+$/.test(text))
    return isSize(text) ? `quantity(${JSON.stringify(text)})` : undefined;
  const number = Number(text);
  if (text.trim() === "" || !Number.isFinite(number)) return undefined;
  return isDouble(attribute) ? double(number) : int(round(number));
}

function isSize(text: string): boolean {
  try {
    parseBytes(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * The same in CEL, however long: the limits of rules (checks.ts) are for those that are written now. What is no rule stays as it is, for its mark to
 * tell (resource/invalid.ts).
 */
export function inCel(rule: unknown): unknown {
  const { attribute, operator, values } = isFields(rule) ? rule : {};
  if (typeof attribute !== "string" || !Array.isArray(values)) return rule;
  const path = `host.${attribute}`;
  const all = values.flatMap((value) => constant(attribute, String(value)) ?? []);
  const [first] = all;
  const text = String(values[0] ?? "");
  switch (operator) {
    case "AtLeast": {
      const least = limit(attribute, text, Math.ceil);
      return least === undefined ? "false" : `${path} >= ${least}`;
    }
    case "AtMost": {
      const most = limit(attribute, text, Math.floor);
      return most === undefined ? "false" : `${path} <= ${most}`;
    }
    case "In":
      if (first === undefined) return "false";
      if (all.length > 1) return `${path} in [${all.join(", ")}]`;
      return attribute === BOOLEAN ? (first === "true" ? path : `!${path}`) : `${path} == ${first}`;
    case "NotIn":
      // Not kept by a host that does not tell.
      if (first === undefined) return isDouble(attribute) ? `has(${path})` : "true";
      if (all.length > 1) return `!(${path} in [${all.join(", ")}])`;
      return attribute === BOOLEAN ? (first === "true" ? `!${path}` : path) : `${path} != ${first}`;
    default:
      return rule;
  }
}

function toStored(object: Resource): Resource {
  const spec: Record<string, unknown> = { ...(isFields(object.spec) ? object.spec : {}) };
  if (Array.isArray(spec.required)) spec.required = spec.required.map(inCel);
  if (Array.isArray(spec.preferred))
    spec.preferred = spec.preferred.map((each: unknown) =>
      isFields(each) ? { ...each, rule: inCel(each.rule) } : each,
    );
  const { goal, ...others } = spec;
  const goals = typeof goal === "string" ? { goals: [{ goal, weight: 1 }] } : {};
  const managedFields = object.metadata.managedFields?.map((entry) => ({
    ...entry,
    apiVersion: "vireo.dev/v2",
    ...(entry.fieldsV1 ? { fieldsV1: owned(entry.fieldsV1) } : {}),
  }));
  return {
    ...object,
    metadata: { ...object.metadata, ...(managedFields ? { managedFields } : {}) },
    ...(object.spec === undefined ? {} : { spec: { ...others, ...goals } }),
  };
}

/** Whoever set the goal has set the goals. */
function owned(fields: Record<string, unknown>): Record<string, unknown> {
  const spec = fields["f:spec"];
  if (!isFields(spec) || !("f:goal" in spec)) return fields;
  const { "f:goal": _, ...others } = spec;
  return { ...fields, "f:spec": { ...others, "f:goals": {} } };
}

export const POLICY_V1: KindVersion = {
  version: "v1",
  served: false,
  schema: Type.Object({}),
  toStored,
  fromStored: (object) => object,
};
