/** What becomes of a stored object when a client writes over it: who may change which part. Pure. */
import { isDeepStrictEqual } from "node:util";
import { ApiError, forbiddenField } from "../resource/errors.ts";
import type { Kind, Lookup } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { requestOf, withRequest } from "../telemetry/request-id.ts";
import { finish, invalid, resourceName, SERVER_FIELDS } from "./prepare.ts";
import type { WriteOptions } from "./service.ts";

export const modified = (kind: Kind, name: string, cause?: unknown) =>
  new ApiError(
    "Conflict",
    `Operation cannot be fulfilled on ${resourceName(kind)} ${JSON.stringify(name)}: the object has been modified; please apply your changes to the latest version and try again`,
    { name, group: kind.group, kind: kind.plural },
    { cause },
  );

export function preconditionFailed(
  kind: Kind,
  name: string,
  what: "UID" | "ResourceVersion",
  wanted: string,
  found: string | undefined,
) {
  return new ApiError(
    "Conflict",
    `Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${found}`,
    { name, group: kind.group, kind: kind.plural },
  );
}

export const nameMismatch = (given: string, name: string) =>
  new ApiError(
    "BadRequest",
    `metadata.name: the name of the object (${given}) is not the name on the URL (${name})`,
  );

/** Puts the object into the namespace of the request; objects of cluster-wide kinds have none. */
export function settleNamespace(kind: Kind, namespace: string | undefined, { metadata }: Resource): void {
  if (!kind.namespaced) {
    delete metadata.namespace;
    return;
  }
  if (metadata.namespace && namespace && metadata.namespace !== namespace)
    throw new ApiError(
      "BadRequest",
      `metadata.namespace: the namespace of the object (${metadata.namespace}) is not that of the request (${namespace})`,
    );
  metadata.namespace = namespace ?? metadata.namespace ?? "default";
}

/**
 * Main writes keep status, status writes keep everything else; the server's own metadata stays; a resourceVersion or uid
 * that the client gives is a precondition. `next` is changed. @throws ApiError
 */
export function overwrite(
  kind: Kind,
  old: Resource,
  next: Resource,
  subresource: WriteOptions["subresource"],
  lookup: Lookup,
): { merged: Resource; warnings: string[] } {
  const given = next.metadata;
  const { name, namespace } = old.metadata;
  if (given.name !== name) throw nameMismatch(given.name, name);
  settleNamespace(kind, namespace, next);
  if (given.uid && given.uid !== old.metadata.uid)
    throw preconditionFailed(kind, name, "UID", given.uid, old.metadata.uid);
  if (given.resourceVersion && given.resourceVersion !== old.metadata.resourceVersion)
    throw modified(kind, name);
  const merged = subresource === "status" ? withStatus(old, next) : withoutStatus(kind, old, next);
  if (merged.status === undefined) delete merged.status;
  merged.metadata.resourceVersion = old.metadata.resourceVersion ?? "";
  const warnings = finish(kind, merged, old, lookup);
  refuseNewFinalizers(kind, old, merged);
  const wanted = ({ metadata: _m, status: _s, ...rest }: Resource) => rest;
  if (subresource !== "status" && !isDeepStrictEqual(wanted(merged), wanted(old)))
    merged.metadata.generation = (old.metadata.generation ?? 0) + 1;
  return { merged, warnings };
}

function withStatus(old: Resource, next: Resource): Resource {
  return { ...structuredClone(old), status: next.status };
}

function withoutStatus(kind: Kind, old: Resource, next: Resource): Resource {
  for (const field of SERVER_FIELDS) {
    const value: unknown = Reflect.get(old.metadata, field);
    if (value === undefined) Reflect.deleteProperty(next.metadata, field);
    else Reflect.set(next.metadata, field, value);
  }
  if (old.metadata.managedFields) next.metadata.managedFields = old.metadata.managedFields;
  else delete next.metadata.managedFields;
  if (!kind.hasStatus) return next;
  return { ...withRequest(next, requestOf(old)), status: structuredClone(old.status) };
}

function refuseNewFinalizers(kind: Kind, old: Resource, next: Resource): void {
  if (!old.metadata.deletionTimestamp) return;
  const before = old.metadata.finalizers ?? [];
  const added = (next.metadata.finalizers ?? []).find((finalizer) => !before.includes(finalizer));
  if (added === undefined) return;
  throw invalid(kind, old.metadata.name, [
    forbiddenField(
      "metadata.finalizers",
      `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
    ),
  ]);
}
