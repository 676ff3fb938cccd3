/**
 * Policies as they were stored in v1: rules were an attribute, an operator and values, and are expressions (expressions.ts) now; there was one goal. There are
 * only stored ones: nobody can write them any more. Pure.
 */
import { Type } from "typebox";
import { isFields } from "../resource/fields.ts";
import type { KindVersion } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";

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

/** A value of the rule as CEL writes it; undefined: nothing can be equal to it. */
function literal(attribute: string, value: string): string | undefined {
  if (attribute === BOOLEAN) return value === "true" || value === "false" ? value : undefined;
  if (!isNumber(attribute)) return JSON.stringify(value);
  if (value.trim() !== "" && Number.isFinite(Number(value))) {
    const number = Number(value);
    // Watts are no whole numbers.
    return attribute.startsWith("power.") && Number.isInteger(number) ? `${number}.0` : `${number}`;
  }
  return attribute === "memory.bytes" ? `quantity(${JSON.stringify(value)})` : undefined;
}

/** The same in CEL. What is no rule stays as it is, for its mark to tell (resource/invalid.ts). */
export function inCel(rule: unknown): unknown {
  const { attribute, operator, values } = isFields(rule) ? rule : {};
  if (typeof attribute !== "string" || !Array.isArray(values)) return rule;
  const path = `host.${attribute}`;
  const all = values.flatMap((value) => literal(attribute, String(value)) ?? []);
  const [first] = all;
  switch (operator) {
    case "AtLeast":
      return first === undefined ? "false" : `${path} >= ${first}`;
    case "AtMost":
      return first === undefined ? "false" : `${path} <= ${first}`;
    case "In":
      if (first === undefined) return "false";
      if (all.length > 1) return `${path} in [${all.join(", ")}]`;
      return attribute === BOOLEAN ? (first === "true" ? path : `!${path}`) : `${path} == ${first}`;
    case "NotIn":
      if (first === undefined) return "true";
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
