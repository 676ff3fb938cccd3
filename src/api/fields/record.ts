/** Field ownership of whole objects: which part of them has owners, and what a write makes of metadata.managedFields. */
import { isDeepStrictEqual } from "node:util";
import { ApiError } from "../../resource/errors.ts";
import type { Kind } from "../../resource/kind.ts";
import { type ManagedFieldsEntry, type Resource, timestamp } from "../../resource/object.ts";
import type { Schema } from "../../resource/schema.ts";
import { METADATA_SCHEMA } from "../metadata.ts";
import { nameMismatch, settleNamespace } from "../overwrite.ts";
import { decode } from "../prepare.ts";
import { groupVersion } from "../served.ts";
import type { WriteOptions } from "../service.ts";
import { allowedByLastApplied, followLastApplied } from "./last-applied.ts";
import { apply, checkManagers, recordUpdate, type Version, type Versions, type View } from "./managers.ts";
import { isEmpty } from "./set.ts";

/** Metadata that clients set; the rest is the server's. */
const METADATA_FIELDS = ["generateName", "labels", "annotations", "finalizers", "ownerReferences"] as const;

/** The part of an object that a write to this subresource sets. */
function viewOf(kind: Kind, object: Resource | undefined, subresource: WriteOptions["subresource"]): View {
  if (subresource === "status") return object?.status === undefined ? {} : { status: object.status };
  const metadata: View = {};
  if (!object) return { metadata };
  for (const field of METADATA_FIELDS)
    if (object.metadata[field] !== undefined) metadata[field] = object.metadata[field];
  const { apiVersion: _version, kind: _kind, metadata: _metadata, status, ...rest } = object;
  return { metadata, ...rest, ...(kind.hasStatus || status === undefined ? {} : { status }) };
}

/** The object with the fields of the view instead of its own. */
function withView(
  kind: Kind,
  object: Resource,
  view: View,
  subresource: WriteOptions["subresource"],
): Resource {
  if (subresource === "status") return { ...object, status: view.status };
  const { metadata: fields, ...rest } = view;
  const metadata = { ...object.metadata };
  for (const field of METADATA_FIELDS) {
    const value: unknown = Reflect.get(Object(fields), field);
    if (value === undefined) delete metadata[field];
    else Reflect.set(metadata, field, value);
  }
  const kept = kind.hasStatus && object.status !== undefined ? { status: object.status } : {};
  return { apiVersion: object.apiVersion, kind: object.kind, metadata, ...kept, ...rest };
}

const schemas = new WeakMap<object, Schema>();

function schemaOf(kind: Pick<Kind, "schema">): Schema {
  const kept = schemas.get(kind);
  if (kept) return kept;
  const own: Schema = kind.schema;
  const made: Schema = { ...own, properties: { ...own.properties, metadata: METADATA_SCHEMA } };
  schemas.set(kind, made);
  return made;
}

/** A conversion of whole objects, for views. */
const through =
  (kind: Kind, convert: (object: Resource) => Resource) =>
  (view: View): View => {
    const metadata = { name: "", ...Object(view.metadata) };
    const whole = structuredClone({ ...view, apiVersion: groupVersion(kind), kind: kind.kind, metadata });
    const { apiVersion: _version, kind: _kind, metadata: turned, ...rest } = convert(whole);
    const { name: _name, ...fields } = turned;
    return "metadata" in view ? { metadata: fields, ...rest } : rest;
  };

function versionsOf(kind: Kind): Versions {
  const apiVersion = groupVersion(kind);
  const same: Version = { schema: schemaOf(kind), to: (view) => view, from: (view) => view };
  return {
    apiVersion,
    of(wanted) {
      if (wanted === apiVersion) return same;
      // Recorded when another version was the stored one, or by a client that says so.
      const other = kind.versions?.find(
        ({ version }) => groupVersion({ group: kind.group, version }) === wanted,
      );
      return (
        other && {
          schema: schemaOf(other),
          to: through(kind, other.fromStored),
          from: through(kind, other.toStored),
        }
      );
    },
  };
}

export type ManagedFields = readonly ManagedFieldsEntry[];

/** Changes the object, which must be the caller's own. */
export function setManagedFields({ metadata }: Resource, fields: ManagedFields): void {
  if (fields.length > 0) metadata.managedFields = [...fields];
  else delete metadata.managedFields;
}

/**
 * Whether a write makes of the stored object the same again, but for the times at which managers wrote: then there is nothing to write. An apply that
 * leaves out what has a default inside an atomic list looks like a change until the default is back.
 */
export function isSameWrite(next: Resource, stored: Resource): boolean {
  const rest = ({ metadata: { managedFields: _, ...metadata }, ...others }: Resource) => ({
    ...others,
    metadata,
  });
  const untimed = ({ metadata: { managedFields = [] } }: Resource) =>
    managedFields.map(({ time: _, ...entry }) => JSON.stringify(entry)).sort();
  return (
    next.metadata.managedFields?.length === stored.metadata.managedFields?.length &&
    isDeepStrictEqual(rest(next), rest(stored)) &&
    isDeepStrictEqual(untimed(next), untimed(stored))
  );
}

/** The object that is applied, as the client sent it. @throws ApiError BadRequest, Invalid */
export function decodeConfig(
  kind: Kind,
  namespace: string | undefined,
  name: string,
  body: unknown,
  options: WriteOptions,
  warnings: string[],
): Resource {
  const config = decode(kind, body, options, warnings);
  const { metadata } = config;
  if (metadata.managedFields) throw new ApiError("BadRequest", "metadata.managedFields must be nil");
  metadata.name ||= name;
  if (metadata.name !== name) throw nameMismatch(metadata.name, name);
  settleNamespace(kind, namespace, config);
  return config;
}

const managerOf = ({ fieldManager, user, subresource }: WriteOptions) => ({
  manager: fieldManager || user.name,
  ...(subresource ? { subresource } : {}),
});

/**
 * What a client has made of managedFields in its object: as they are stored when it left them out, none when it wants them reset
 * (`[{}]`), and what it says otherwise (kubectl moves fields from client-side to server-side apply so). @throws ApiError Invalid
 */
function settled(stored: ManagedFields | undefined, sent: ManagedFields | undefined) {
  if (!sent || sent.length === 0 || sent === stored || isDeepStrictEqual(sent, stored)) return stored;
  const [first] = sent;
  if (sent.length === 1 && first && Object.keys(first).length === 0) return [];
  checkManagers(sent);
  return sent;
}

/** managedFields of `next`, an update of `old` (undefined: a create). `sent`: those that the client's object has. */
export function recordWrite(
  kind: Kind,
  old: Resource | undefined,
  next: Resource,
  sent: ManagedFields | undefined,
  options: WriteOptions,
  now: Date,
): ManagedFields {
  const { subresource } = options;
  const stored = settled(old?.metadata.managedFields, subresource ? undefined : sent);
  const [before, after] = [viewOf(kind, old, subresource), viewOf(kind, next, subresource)];
  return recordUpdate(stored, before, after, versionsOf(kind), managerOf(options), timestamp(now));
}

/** `config` applied to `live` (undefined: a create). @throws ApiError Conflict, Invalid */
export function applyConfig(
  kind: Kind,
  live: Resource | undefined,
  config: Resource,
  options: WriteOptions & { force: boolean },
  now: Date,
): { object: Resource; managedFields: ManagedFields } {
  const { subresource, force } = options;
  const who = managerOf(options);
  const view = viewOf(kind, config, subresource);
  // An empty one would be a field, and its owner this manager.
  if (isEmpty(Object(view.metadata))) delete view.metadata;
  const base = viewOf(kind, live, subresource);
  const allowed =
    live && !subresource
      ? allowedByLastApplied(live, who.manager, schemaOf(kind), (object) => viewOf(kind, object, undefined))
      : undefined;
  const applied = apply(live?.metadata.managedFields, base, view, versionsOf(kind), who, {
    force,
    now: timestamp(now),
    ...(allowed ? { allowed } : {}),
  });
  const object = withView(kind, live ?? config, applied.view, subresource);
  // In the config these two are preconditions; whoever writes the object checks them.
  const { uid, resourceVersion } = config.metadata;
  const metadata = {
    ...object.metadata,
    ...(uid ? { uid } : {}),
    ...(resourceVersion ? { resourceVersion } : {}),
  };
  // A copy: parts of it are the stored object's, which nobody may change.
  const copy = structuredClone({ ...object, metadata });
  if (!subresource) followLastApplied(copy, config, who.manager);
  return { object: copy, managedFields: applied.managedFields };
}
