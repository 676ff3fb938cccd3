/**
 * Who has set which field: metadata.managedFields. Every write is recorded in it, under the name that the client gives itself
 * (fieldManager), the operation (Apply: server-side apply; Update: all others) and the subresource. Server-side apply merges what a
 * manager applies into the object, removes what it applied before and applies no more, and refuses to change what others have set.
 *
 * Source: Kubernetes "Server-Side Apply"; k8s.io/apimachinery managedfields; structured-merge-diff merge.
 */
import { isDeepStrictEqual } from "node:util";
import { ApiError, invalidField } from "../../resource/errors.ts";
import type { ManagedFieldsEntry } from "../../resource/object.ts";
import type { Schema } from "../../resource/schema.ts";
import {
  difference,
  EMPTY,
  type FieldSet,
  intersection,
  isEmpty,
  isFieldSet,
  pathsOf,
  union,
} from "./set.ts";
import { type Comparison, compare, fieldSetOf, merge, remove, unionAll, withNamedParents } from "./values.ts";

/** The part of an object whose fields have owners, by the schema of its version. */
export type View = Record<string, unknown>;

export interface Manager {
  manager: string;
  operation: "Apply" | "Update";
  apiVersion: string;
  subresource?: string;
}

interface Entry extends Manager {
  time?: string;
  set: FieldSet;
}

/** A version of a kind: its schema, and how views of the version that is written are turned into it and back. */
export interface Version {
  schema: Schema;
  to(view: View): View;
  from(view: View): View;
}

/** The versions of a kind, seen from the one that is written. */
export interface Versions {
  /** The one that is written. */
  apiVersion: string;
  /** Undefined: there is none such any more. */
  of(apiVersion: string): Version | undefined;
}

/** Old entries of updates become one: programs that change their name each time would fill the object. */
const MAX_UPDATERS = 10;
const ANCIENT = "ancient-changes";

/** @throws ApiError Invalid: what a client wrote into metadata.managedFields is not understood */
export function checkManagers(given: readonly ManagedFieldsEntry[]): void {
  for (const [i, { operation, fieldsType, fieldsV1 }] of given.entries()) {
    const wrong = (field: string, message: string): never => {
      const path = `metadata.managedFields[${i}].${field}`;
      throw new ApiError("Invalid", `${path}: Invalid value: ${message}`, {
        causes: [invalidField(path, message)],
      });
    };
    if (operation !== "Apply" && operation !== "Update") wrong("operation", "must be `Apply` or `Update`");
    if (fieldsType !== undefined && fieldsType !== "FieldsV1") wrong("fieldsType", "must be `FieldsV1`");
    if (!isFieldSet(fieldsV1 ?? {})) wrong("fieldsV1", "not a set of fields");
  }
}

function decodeManagers(given: readonly ManagedFieldsEntry[] | undefined): Entry[] {
  return (given ?? []).map(({ manager, operation, apiVersion, subresource, time, fieldsV1 }) => ({
    manager: manager ?? "unknown",
    operation: operation ?? "Update",
    apiVersion: apiVersion ?? "",
    ...(subresource ? { subresource } : {}),
    ...(time ? { time } : {}),
    // Safe: checkManagers saw it when it came in, and nothing else writes it.
    set: (fieldsV1 ?? EMPTY) as FieldSet,
  }));
}

function encodeManagers(entries: readonly Entry[]): ManagedFieldsEntry[] {
  const order = ({ operation, time, manager, subresource }: Entry) =>
    `${operation} ${time ?? ""} ${manager} ${subresource ?? ""}`;
  return entries
    .filter(({ set }) => !isEmpty(set))
    .sort((a, b) => (order(a) < order(b) ? -1 : 1))
    .map(({ manager, operation, apiVersion, subresource, time, set }) => ({
      manager,
      operation,
      apiVersion,
      ...(time ? { time } : {}),
      fieldsType: "FieldsV1",
      fieldsV1: set,
      ...(subresource ? { subresource } : {}),
    }));
}

const isSame = (a: Manager, b: Manager) =>
  a.manager === b.manager &&
  a.operation === b.operation &&
  (a.subresource ?? "") === (b.subresource ?? "") &&
  // What somebody applies is one thing, in whichever version it is written.
  (a.operation === "Apply" || a.apiVersion === b.apiVersion);

/** The comparison in the version of each manager; undefined for one of a version that is no more. */
function comparisons(versions: Versions, old: View, next: View) {
  const made = new Map<string, Comparison | undefined>();
  return (apiVersion: string): Comparison | undefined => {
    if (!made.has(apiVersion)) made.set(apiVersion, compareIn(versions, apiVersion, old, next));
    return made.get(apiVersion);
  };
}

function compareIn(versions: Versions, apiVersion: string, old: View, next: View): Comparison | undefined {
  const version = versions.of(apiVersion);
  return version && compare(version.to(old), version.to(next), version.schema);
}

/** The others without what has changed; those of versions that are no more are forgotten. */
function withoutChanged(
  others: readonly Entry[],
  compared: (apiVersion: string) => Comparison | undefined,
): Entry[] {
  return others.flatMap((entry) => {
    const changes = compared(entry.apiVersion);
    if (!changes) return [];
    const set = difference(difference(entry.set, changes.changed), changes.removed);
    return set === entry.set ? [entry] : isEmpty(set) ? [] : [{ ...entry, set }];
  });
}

/**
 * managedFields after an update (create, PUT, merge or JSON patch) of `old` to `next`: what has changed is the manager's now.
 * @param stored managedFields as they are, or as the client rewrites them
 */
export function recordUpdate(
  stored: readonly ManagedFieldsEntry[] | undefined,
  old: View,
  next: View,
  versions: Versions,
  who: Omit<Manager, "operation" | "apiVersion">,
  now: string,
): readonly ManagedFieldsEntry[] {
  const me: Manager = { ...who, operation: "Update", apiVersion: versions.apiVersion };
  const compared = comparisons(versions, old, next);
  const mine = compared(me.apiVersion) ?? { changed: EMPTY, removed: EMPTY };
  if (isEmpty(mine.changed) && isEmpty(mine.removed)) return stored ?? [];
  const entries = decodeManagers(stored);
  const before = entries.find((entry) => isSame(entry, me));
  const others = withoutChanged(
    entries.filter((entry) => entry !== before),
    compared,
  );
  const set = union(difference(before?.set ?? EMPTY, mine.removed), mine.changed);
  const time = isEmpty(mine.changed) ? (before?.time ?? now) : now;
  return encodeManagers(capped([...others, { ...me, time, set }]));
}

function capped(entries: Entry[]): Entry[] {
  const updates = entries.filter(({ operation }) => operation === "Update");
  const tooMany = updates.length - MAX_UPDATERS;
  if (tooMany <= 0) return entries;
  const oldest = updates.sort((a, b) => ((a.time ?? "") < (b.time ?? "") ? -1 : 1)).slice(0, tooMany + 1);
  const joined = new Map<string, Entry>();
  for (const { apiVersion, time, set } of oldest) {
    const first = joined.get(apiVersion);
    joined.set(apiVersion, {
      manager: ANCIENT,
      operation: "Update",
      apiVersion,
      ...(time ? { time } : {}),
      set: first ? union(first.set, set) : set,
    });
  }
  return [...entries.filter((entry) => !oldest.includes(entry)), ...joined.values()];
}

export interface Applied {
  view: View;
  managedFields: ManagedFieldsEntry[];
}

/**
 * Lays `config` over `old` for its manager. `allowed`: fields that may be taken over from others without force.
 * @throws ApiError Conflict with a cause for each field that others have set to something else; Invalid
 */
export function apply(
  stored: readonly ManagedFieldsEntry[] | undefined,
  old: View,
  config: View,
  versions: Versions,
  who: Omit<Manager, "operation" | "apiVersion">,
  options: { force: boolean; now: string; allowed?: FieldSet },
): Applied {
  const { apiVersion } = versions;
  const schema = versions.of(apiVersion)?.schema ?? {};
  const me: Manager = { ...who, operation: "Apply", apiVersion };
  const entries = decodeManagers(stored);
  const last = entries.find((entry) => isSame(entry, me));
  const others = entries.filter((entry) => entry !== last);
  const set = fieldSetOf(config, schema);
  const merged = asView(merge(old, config, schema));
  const view = last ? prune(merged, last, [...others, { ...me, set }], versions) : merged;
  const compared = comparisons(versions, old, view);
  if (!options.force) refuseConflicts(others, compared, options.allowed ?? EMPTY);
  const isUnchanged = last && last.apiVersion === apiVersion && isDeepStrictEqual(last.set, set);
  const changes = compared(apiVersion);
  const isNoop = isUnchanged && changes && isEmpty(changes.changed) && isEmpty(changes.removed);
  const time = isNoop ? (last.time ?? options.now) : options.now;
  return { view, managedFields: encodeManagers([...withoutChanged(others, compared), { ...me, time, set }]) };
}

const asView = (value: unknown): View =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};

/**
 * Takes away what the manager applied last and applies no more, unless somebody else has it, too. What each has is named in the
 * version in which it was written, so that is where it is looked for.
 */
function prune(merged: View, last: Entry, entries: readonly Entry[], versions: Versions): View {
  const then = versions.of(last.apiVersion);
  if (!then) return merged;
  const lastSet = withNamedParents(last.set, then.schema);
  let pruned = then.from(asView(remove(then.to(merged), lastSet, then.schema)));
  for (const apiVersion of new Set([last.apiVersion, ...entries.map((entry) => entry.apiVersion)])) {
    const version = versions.of(apiVersion);
    if (!version) continue;
    const present = (view: View) =>
      withNamedParents(fieldSetOf(version.to(view), version.schema), version.schema);
    const owned = unionAll(entries.filter((entry) => entry.apiVersion === apiVersion).map(({ set }) => set));
    const keep = union(present(pruned), withNamedParents(owned, version.schema));
    const gone = difference(present(merged), keep);
    pruned = version.from(asView(remove(version.to(merged), gone, version.schema)));
  }
  // What was never this manager's stays, even if it was within something that went.
  const present = (view: View) => withNamedParents(fieldSetOf(then.to(view), then.schema), then.schema);
  const gone = intersection(difference(present(merged), present(pruned)), lastSet);
  return isEmpty(gone) ? merged : then.from(asView(remove(then.to(merged), gone, then.schema)));
}

function refuseConflicts(
  others: readonly Entry[],
  compared: (apiVersion: string) => Comparison | undefined,
  allowed: FieldSet,
): void {
  const conflicts = others.flatMap((entry) => {
    const changes = compared(entry.apiVersion);
    const paths = changes ? pathsOf(difference(intersection(entry.set, changes.changed), allowed)) : [];
    return paths.length > 0 ? [{ who: shown(entry), paths }] : [];
  });
  const all = conflicts.flatMap(({ who, paths }) => paths.map((field) => ({ who, field })));
  const [only] = all;
  if (!only) return;
  const message =
    all.length === 1
      ? `Apply failed with 1 conflict: conflict with ${only.who}: ${only.field}`
      : `Apply failed with ${all.length} conflicts: ${conflicts
          .map(({ who, paths }) => `conflicts with ${who}:\n${paths.map((path) => `- ${path}`).join("\n")}`)
          .join("\n")}`;
  throw new ApiError("Conflict", message, {
    causes: all.map(({ who, field }) => ({
      reason: "FieldManagerConflict",
      message: `conflict with ${who}`,
      field,
    })),
  });
}

function shown({ manager, operation, apiVersion, subresource, time }: Entry): string {
  const name = `${JSON.stringify(manager)}${subresource ? ` with subresource ${JSON.stringify(subresource)}` : ""}`;
  if (operation === "Apply") return name;
  return `${name} using ${apiVersion}${time ? ` at ${time}` : ""}`;
}
