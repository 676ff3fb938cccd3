/**
 * Structural schemas at work: unknown fields are found and dropped, defaults filled in, values checked. Messages are those
 * of Kubernetes' API server, which kubectl prints as they are; sizes have our own (quantity.ts).
 */

import { canonical } from "./canonical.ts";
import type { Cause } from "./errors.ts";
import { isFields } from "./fields.ts";
import { formatBytes, parseBytes, QuantityError } from "./quantity.ts";

/** The part of JSON schema that kinds use. TypeBox schemas are such objects. */
export interface Schema {
  type?: string;
  description?: string;
  format?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: boolean | Schema;
  patternProperties?: Record<string, Schema>;
  enum?: unknown[];
  default?: unknown;
  pattern?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  nullable?: boolean;
  "x-vireo-quantity"?: { minimum?: number; maximum?: number };
  "x-kubernetes-preserve-unknown-fields"?: boolean;
  /** How a list is divided among those who write it: items by keys, items by value, or (the default) not at all. */
  "x-kubernetes-list-type"?: "map" | "set" | "atomic";
  "x-kubernetes-list-map-keys"?: readonly string[];
  /** atomic: an object or map that is owned as a whole. */
  "x-kubernetes-map-type"?: "granular" | "atomic";
  "x-kubernetes-validations"?: readonly Rule[];
}

/** A rule in CEL on the value where it stands, `self`, and what it was before, `oldSelf` (rules.ts). */
export interface Rule {
  rule: string;
  message: string;
  /** The field within that is to blame, such as `.tcp`. */
  fieldPath?: string;
  reason?: "FieldValueInvalid" | "FieldValueForbidden" | "FieldValueRequired" | "FieldValueDuplicate";
}

/** What a map (TypeBox Record) allows for its values; undefined for objects with fixed fields. */
function valuesOf(schema: Schema): Schema | undefined {
  const [pattern] = Object.values(schema.patternProperties ?? {});
  if (pattern) return pattern;
  return typeof schema.additionalProperties === "object" ? schema.additionalProperties : undefined;
}

const own = (schema: Schema, key: string): Schema | undefined =>
  schema.properties && Object.hasOwn(schema.properties, key) ? schema.properties[key] : undefined;

/** The schema of a field of an object or map; undefined when it knows none such. */
export const childOf = (schema: Schema, field: string): Schema | undefined =>
  own(schema, field) ?? valuesOf(schema);

/** Whether the schema names this field, in contrast to the keys of a map. */
export const isNamed = (schema: Schema, field: string): boolean => own(schema, field) !== undefined;

const join = (path: string, key: string) => (path ? `${path}.${key}` : key);

/** Removes fields the schema does not know, in place. @returns their paths */
export function pruneUnknown(value: unknown, schema: Schema, path = ""): string[] {
  if (schema["x-kubernetes-preserve-unknown-fields"]) return [];
  if (Array.isArray(value)) {
    const { items } = schema;
    return items ? value.flatMap((item, i) => pruneUnknown(item, items, `${path}[${i}]`)) : [];
  }
  if (!isFields(value)) return [];
  const values = valuesOf(schema);
  const unknown: string[] = [];
  for (const key of Object.keys(value)) {
    const known = own(schema, key) ?? values;
    if (known) append(unknown, pruneUnknown(value[key], known, join(path, key)));
    // A type error is reported by validate; an object without properties takes anything only when it says so.
    else {
      unknown.push(join(path, key));
      delete value[key];
    }
  }
  return unknown;
}

/** Fills missing fields that have a default, in place. @returns whether there were any */
export function applyDefaults(value: unknown, schema: Schema): boolean {
  let isFilled = false;
  const within = (part: unknown, of: Schema) => {
    if (applyDefaults(part, of)) isFilled = true;
  };
  if (Array.isArray(value)) {
    if (schema.items) for (const item of value) within(item, schema.items);
    return isFilled;
  }
  if (!isFields(value)) return false;
  const { properties = {} } = schema;
  for (const key in properties) {
    const field = properties[key];
    if (!field) continue;
    const given = Object.hasOwn(value, key) ? value[key] : undefined;
    if (field.default !== undefined && (given === undefined || given === null)) {
      value[key] = structuredClone(field.default);
      isFilled = true;
    }
    if (Object.hasOwn(value, key)) within(value[key], field);
  }
  const values = valuesOf(schema);
  if (values) for (const key of Object.keys(value)) if (!own(schema, key)) within(value[key], values);
  return isFilled;
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

const patterns = new Map<string, RegExp>();
function matches(pattern: string, value: string): boolean {
  let compiled = patterns.get(pattern);
  if (!compiled) {
    compiled = new RegExp(pattern, "u");
    patterns.set(pattern, compiled);
  }
  return compiled.test(value);
}

/** Values in messages are cut: a 2 MiB string must not come back in an error. */
function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

/** One by one: as arguments of one push there may be too many. */
export function append<T>(list: T[], more: readonly T[]): void {
  for (const each of more) list.push(each);
}

/** Items of a list that are there already, by the whole of them or by their keys. */
function duplicates(list: readonly unknown[], schema: Schema, path: string): Cause[] {
  const type = schema["x-kubernetes-list-type"];
  const keys = type === "map" ? schema["x-kubernetes-list-map-keys"] : undefined;
  if (!keys && type !== "set" && !schema.uniqueItems) return [];
  const seen = new Set<string>();
  return list.flatMap((item, i) => {
    const id = keys
      ? Object.fromEntries(keys.map((key) => [key, isFields(item) ? item[key] : undefined]))
      : item;
    const text = canonical(id);
    if (!seen.has(text)) {
      seen.add(text);
      return [];
    }
    return [
      { field: `${path}[${i}]`, reason: "FieldValueDuplicate", message: `Duplicate value: ${shown(id)}` },
    ];
  });
}

/** @returns everything that is wrong, with the path of each field */
export function validate(value: unknown, schema: Schema, path = ""): Cause[] {
  if (value === null && schema.nullable) return [];
  const causes: Cause[] = [];
  const wrong = (message: string, reason: Cause["reason"] = "FieldValueInvalid") =>
    causes.push({ field: path, reason, message });
  const type = typeOf(value);

  const size = schema["x-vireo-quantity"];
  if (size) {
    try {
      const count = parseBytes(value);
      if (size.minimum !== undefined && count < size.minimum)
        wrong(`Invalid value: ${shown(value)}: must be at least ${formatBytes(size.minimum)}`);
      if (size.maximum !== undefined && count > size.maximum)
        wrong(`Invalid value: ${shown(value)}: must be at most ${formatBytes(size.maximum)}`);
    } catch (error) {
      if (!(error instanceof QuantityError)) throw error;
      wrong(`Invalid value: ${error.message}`);
    }
    return causes;
  }

  if (schema.type && type !== schema.type && !(schema.type === "number" && type === "integer")) {
    wrong(
      `Invalid value: "${type}": ${path} in body must be of type ${schema.type}: "${type}"`,
      "FieldValueTypeInvalid",
    );
    return causes;
  }
  if (schema.enum && !schema.enum.includes(value))
    wrong(
      `Unsupported value: ${shown(value)}: supported values: ${schema.enum.map((word) => JSON.stringify(word)).join(", ")}`,
      "FieldValueNotSupported",
    );
  if (typeof value === "string") {
    if (schema.maxLength !== undefined && value.length > schema.maxLength)
      wrong(`Too long: may not be longer than ${schema.maxLength}`, "FieldValueTooLong");
    else if (schema.pattern !== undefined && !matches(schema.pattern, value))
      wrong(`Invalid value: ${shown(value)}: ${path} in body should match '${schema.pattern}'`);
    if (schema.minLength !== undefined && value.length < schema.minLength)
      wrong(
        `Invalid value: ${shown(value)}: ${path} in body should be at least ${schema.minLength} chars long`,
      );
  }
  if (typeof value === "number") {
    if (schema.minimum !== undefined && value < schema.minimum)
      wrong(`Invalid value: ${value}: ${path} in body should be greater than or equal to ${schema.minimum}`);
    if (schema.maximum !== undefined && value > schema.maximum)
      wrong(`Invalid value: ${value}: ${path} in body should be less than or equal to ${schema.maximum}`);
  }
  if (Array.isArray(value)) {
    if (schema.minItems !== undefined && value.length < schema.minItems)
      wrong(`Invalid value: ${value.length}: ${path} in body should have at least ${schema.minItems} items`);
    if (schema.maxItems !== undefined && value.length > schema.maxItems) {
      wrong(`Too many: ${value.length}: must have at most ${schema.maxItems} items`);
      return causes;
    }
    const { items } = schema;
    for (const [i, item] of value.entries()) {
      if (items) append(causes, validate(item, items, `${path}[${i}]`));
    }
    append(causes, duplicates(value, schema, path));
  }
  if (isFields(value)) {
    for (const key of schema.required ?? [])
      if (!Object.hasOwn(value, key) || value[key] === undefined)
        causes.push({ field: join(path, key), reason: "FieldValueRequired", message: "Required value" });
    const values = valuesOf(schema);
    for (const [key, field] of Object.entries(value)) {
      const known = own(schema, key) ?? values;
      if (known && field !== undefined) append(causes, validate(field, known, join(path, key)));
    }
  }
  return causes;
}
