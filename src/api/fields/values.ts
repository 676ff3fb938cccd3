/**
 * Values and the sets of their fields, by the schema of their kind: what is in a value, what changed between two, one merged into
 * another, fields taken out of one.
 *
 * How a value is divided: objects into their fields, lists of `x-kubernetes-list-type: map` into items known by their keys, those of
 * type `set` into items known by their value. All else (atomic lists and maps, plain values) is owned as a whole.
 *
 * Source: sigs.k8s.io/structured-merge-diff, typed.
 */

import { isDeepStrictEqual } from "node:util";
import { ApiError, requiredField } from "../../resource/errors.ts";
import { type Fields, isFields } from "../../resource/fields.ts";
import { childOf, isNamed, type Schema } from "../../resource/schema.ts";
import { set as setField } from "../patch.ts";
import { EMPTY, type FieldSet, isEmpty, isMember, LEAF, nodeOf, union } from "./set.ts";

type Shape = "map" | "keyed" | "set" | "leaf";

const ANY: Schema = {};
const below = (schema: Schema, field: string): Schema => childOf(schema, field) ?? ANY;
const itemsOf = (schema: Schema): Schema => schema.items ?? ANY;

function shapeOf(value: unknown, schema: Schema): Shape {
  if (Array.isArray(value)) {
    const type = schema["x-kubernetes-list-type"];
    return type === "map" ? "keyed" : type === "set" ? "set" : "leaf";
  }
  return isFields(value) && schema["x-kubernetes-map-type"] !== "atomic" ? "map" : "leaf";
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : {});

/** The name of a list's item. @throws ApiError Invalid when it lacks a key */
function elementOf(item: unknown, schema: Schema, path: string): string {
  if (schema["x-kubernetes-list-type"] === "set") return `v:${JSON.stringify(item)}`;
  const keys: Fields = {};
  for (const key of [...(schema["x-kubernetes-list-map-keys"] ?? [])].sort()) {
    const value = fieldsOf(item)[key] ?? below(itemsOf(schema), key).default;
    if (value === undefined)
      throw new ApiError(
        "Invalid",
        `${path}: Required value: every item needs ${key}, which tells it apart`,
        {
          causes: [requiredField(path, key)],
        },
      );
    keys[key] = value;
  }
  return `k:${JSON.stringify(keys)}`;
}

/** A list's items by their names. @throws ApiError Invalid for two of one name */
function byElement(list: readonly unknown[], schema: Schema, path = "list"): Map<string, unknown> {
  const found = new Map<string, unknown>();
  for (const item of list) {
    const element = elementOf(item, schema, path);
    if (found.has(element))
      throw new ApiError("Invalid", `${path}: Duplicate value: ${element.slice(2)}`, {
        causes: [
          { field: path, reason: "FieldValueDuplicate", message: `Duplicate value: ${element.slice(2)}` },
        ],
      });
    found.set(element, item);
  }
  return found;
}

/** What whoever applies this value says about: its leaves, items of lists, and keys of maps. @throws ApiError Invalid */
export function fieldSetOf(value: unknown, schema: Schema, path = ""): FieldSet {
  const result: Record<string, FieldSet> = {};
  const put = (element: string, member: boolean, inner: FieldSet) => {
    const node = nodeOf(member, { ...inner });
    if (node) result[element] = node;
  };
  const shape = shapeOf(value, schema);
  if (shape === "map")
    for (const [field, inner] of Object.entries(fieldsOf(value))) {
      if (inner === undefined) continue;
      const own = below(schema, field);
      const at = path ? `${path}.${field}` : field;
      const isBare = inner === null || (isFields(inner) && Object.keys(inner).length === 0);
      const isLeaf = isBare || shapeOf(inner, own) === "leaf" || !isNamed(schema, field);
      put(`f:${field}`, isLeaf, fieldSetOf(inner, own, at));
    }
  else if (shape !== "leaf")
    for (const [element, item] of byElement(listOf(value), schema, path))
      put(element, true, shape === "set" ? EMPTY : fieldSetOf(item, itemsOf(schema), path));
  return result;
}

/** A value with all that is below it, containers too: what is new, or gone, when it comes or goes. */
function everything(value: unknown, schema: Schema): FieldSet {
  const children: Record<string, FieldSet> = {};
  const shape = shapeOf(value, schema);
  if (shape === "map") {
    for (const [field, inner] of Object.entries(fieldsOf(value)))
      if (inner !== undefined) children[`f:${field}`] = everything(inner, below(schema, field));
  } else if (shape !== "leaf")
    for (const item of listOf(value))
      children[elementOf(item, schema, "list")] = shape === "set" ? LEAF : everything(item, itemsOf(schema));
  return nodeOf(true, children) ?? LEAF;
}

export interface Comparison {
  /** What is new or has another value. */
  changed: FieldSet;
  removed: FieldSet;
}

/** What became different from `old` to `next`, both of this schema and maps at their root. */
export function compare(old: Fields, next: Fields, schema: Schema): Comparison {
  const changed: Record<string, FieldSet> = {};
  const removed: Record<string, FieldSet> = {};
  compareChildren(old, next, schema, "map", changed, removed);
  return { changed, removed };
}

function compareChildren(
  old: unknown,
  next: unknown,
  schema: Schema,
  shape: Shape,
  changed: Record<string, FieldSet>,
  removed: Record<string, FieldSet>,
): void {
  const one = (element: string, before: unknown, after: unknown, own: Schema) => {
    if (before === after) return;
    if (after === undefined) removed[element] = everything(before, own);
    else if (before === undefined) changed[element] = everything(after, own);
    else if (shape !== "set") compareValues(element, before, after, own, changed, removed);
  };
  if (shape === "map") {
    const [before, after] = [fieldsOf(old), fieldsOf(next)];
    for (const field in after) one(`f:${field}`, ownValue(before, field), after[field], below(schema, field));
    for (const field in before)
      if (ownValue(after, field) === undefined)
        one(`f:${field}`, before[field], undefined, below(schema, field));
    return;
  }
  const [before, after] = [byElement(listOf(old), schema), byElement(listOf(next), schema)];
  const own = itemsOf(schema);
  for (const [element, item] of after) one(element, before.get(element), item, own);
  for (const [element, item] of before) if (!after.has(element)) one(element, item, undefined, own);
}

const ownValue = (fields: Fields, field: string) =>
  Object.hasOwn(fields, field) ? fields[field] : undefined;

function compareValues(
  element: string,
  old: unknown,
  next: unknown,
  schema: Schema,
  changed: Record<string, FieldSet>,
  removed: Record<string, FieldSet>,
): void {
  const [before, after] = [shapeOf(old, schema), shapeOf(next, schema)];
  if (before === after && before !== "leaf") {
    const more: Record<string, FieldSet> = {};
    const less: Record<string, FieldSet> = {};
    compareChildren(old, next, schema, before, more, less);
    if (!isEmpty(more)) changed[element] = more;
    if (!isEmpty(less)) removed[element] = less;
    return;
  }
  if (isDeepStrictEqual(old, next)) return;
  // Another sort of value: what was below it is gone, what is below it now is new.
  changed[element] = everything(next, schema);
  const { ".": _, ...gone } = everything(old, schema);
  if (!isEmpty(gone)) removed[element] = gone;
}

/** `config` laid over `live`; neither is changed. Items of lists keep their order: that of `config` where it names them. */
export function merge(live: unknown, config: unknown, schema: Schema): unknown {
  const shape = shapeOf(config, schema);
  if (shape === "leaf" || shapeOf(live, schema) !== shape) return config;
  if (shape === "map") {
    const result = { ...fieldsOf(live) };
    for (const [field, value] of Object.entries(fieldsOf(config))) {
      const before = ownValue(result, field);
      setField(result, field, before === undefined ? value : merge(before, value, below(schema, field)));
    }
    return result;
  }
  const [before, after] = [byElement(listOf(live), schema), byElement(listOf(config), schema)];
  const result: unknown[] = [];
  const rest = [...after];
  const push = (element: string, item: unknown) =>
    result.push(before.has(element) ? merge(before.get(element), item, itemsOf(schema)) : item);
  for (const [element, item] of before) {
    if (!after.has(element)) {
      result.push(item);
      continue;
    }
    // In the place of one that both have comes the next that both have, in the order of the config, after the new ones before it.
    for (let next = rest.shift(); next; next = rest.shift()) {
      push(...next);
      if (before.has(next[0])) break;
    }
  }
  for (const next of rest) push(...next);
  return result;
}

/** The value without these fields; undefined when nothing is left of a list or map that had something. */
export function remove(value: unknown, set: FieldSet, schema: Schema): unknown {
  if (isEmpty(set)) return value;
  const shape = shapeOf(value, schema);
  if (shape === "leaf") return value;
  if (shape === "map") {
    const result: Fields = {};
    const fields = fieldsOf(value);
    for (const field of Object.keys(fields)) {
      const node = set[`f:${field}`];
      if (node && isMember(node)) continue;
      const kept = node ? remove(fields[field], node, below(schema, field)) : fields[field];
      if (kept !== undefined) setField(result, field, kept);
    }
    return Object.keys(result).length > 0 || Object.keys(fields).length === 0 ? result : undefined;
  }
  const items = [...byElement(listOf(value), schema)].flatMap(([element, item]) => {
    const node = set[element];
    if (node && isMember(node)) return [];
    return [node ? (remove(item, node, itemsOf(schema)) ?? {}) : item];
  });
  return items.length > 0 || listOf(value).length === 0 ? items : undefined;
}

/** The set with every field that the schema names on the way to its members: what is owned within `spec` keeps `spec` there. */
export function withNamedParents(set: FieldSet, schema: Schema): FieldSet {
  const result: Record<string, FieldSet> = {};
  for (const [element, node] of Object.entries(set)) {
    if (element === ".") continue;
    const isField = element.startsWith("f:");
    const own = isField ? below(schema, element.slice(2)) : itemsOf(schema);
    const member = isMember(node) || (isField && isNamed(schema, element.slice(2)));
    const made = nodeOf(member, { ...withNamedParents(node, own) });
    if (made) result[element] = made;
  }
  return result;
}

export const unionAll = (sets: Iterable<FieldSet>): FieldSet => {
  let all = EMPTY;
  for (const set of sets) all = union(all, set);
  return all;
};
