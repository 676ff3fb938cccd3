/** From what a client sent to an object that may be stored: pruned, defaulted, validated; or an error naming each wrong field. */
import { isDeepStrictEqual } from "node:util";
import { ApiError, type Cause } from "../resource/errors.ts";
import { invalidity } from "../resource/invalid.ts";
import type { Kind, Lookup } from "../resource/kind.ts";
import type { ObjectMeta, Resource } from "../resource/object.ts";
import { checkRules } from "../resource/rules.ts";
import { applyDefaults, pruneUnknown, type Schema, validate } from "../resource/schema.ts";
import { checkMetadata, METADATA_SCHEMA } from "./metadata.ts";
import type { WriteOptions } from "./service.ts";
import { setMark } from "./stored.ts";

export const apiVersionOf = (kind: Kind) => (kind.group ? `${kind.group}/${kind.version}` : kind.version);
export const qualifiedName = (kind: Kind) => (kind.group ? `${kind.kind}.${kind.group}` : kind.kind);
export const resourceName = (kind: Pick<Kind, "group" | "plural">) =>
  kind.group ? `${kind.plural}.${kind.group}` : kind.plural;

const STRING: Schema = { type: "string" };

/** The schema of the whole object, metadata and all. */
function wholeSchema(kind: Kind): Schema {
  const schema: Schema = kind.schema;
  return {
    ...schema,
    properties: { apiVersion: STRING, kind: STRING, metadata: METADATA_SCHEMA, ...schema.properties },
  };
}

export function invalid(kind: Kind, name: string, causes: Cause[]): ApiError {
  const shown = causes.map((cause) => `${cause.field}: ${cause.message}`);
  return new ApiError(
    "Invalid",
    `${qualifiedName(kind)} ${JSON.stringify(name)} is invalid: ${shown.length === 1 ? shown[0] : `[${shown.slice(0, 20).join(", ")}]`}`,
    { name, group: kind.group, kind: kind.kind, causes: causes.slice(0, 100) },
  );
}

/**
 * Copies the body, drops unknown fields (an error under Strict, a warning under Warn) and checks that it is an object of this
 * kind with sane metadata. Defaults and validation come later (`finish`), when the server's own fields are in.
 */
export function decode(
  kind: Kind,
  body: unknown,
  options: Pick<WriteOptions, "fieldValidation" | "duplicateFields">,
  warnings: string[],
): Resource {
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw new ApiError("BadRequest", `the body is not an object of kind ${kind.kind}`);
  const object: Record<string, unknown> = structuredClone(body) as Record<string, unknown>;
  object.apiVersion ??= apiVersionOf(kind);
  object.kind ??= kind.kind;
  if (object.apiVersion !== apiVersionOf(kind) || object.kind !== kind.kind)
    throw new ApiError(
      "BadRequest",
      `${String(object.kind)} in version ${JSON.stringify(object.apiVersion)} cannot be handled as a ${kind.kind}: the body must say apiVersion: ${apiVersionOf(kind)}, kind: ${kind.kind}`,
    );
  object.metadata ??= {};
  const unknown = pruneUnknown(object, wholeSchema(kind));
  const mode = options.fieldValidation ?? "Warn";
  if (mode !== "Ignore") {
    const messages = [
      ...unknown.map((path) => `unknown field ${JSON.stringify(path)}`),
      ...(options.duplicateFields ?? []).map((path) => `duplicate field ${JSON.stringify(path)}`),
    ];
    if (messages.length > 0 && mode === "Strict")
      throw new ApiError(
        "BadRequest",
        `${kind.kind} in version ${JSON.stringify(kind.version)} cannot be handled as a ${kind.kind}: strict decoding error: ${messages.slice(0, 20).join(", ")}`,
      );
    warnings.push(...messages.slice(0, 20));
  }
  const causes = validate(object.metadata, METADATA_SCHEMA, "metadata");
  if (causes.length > 0) throw invalid(kind, "", causes);
  dropNulls(object.metadata);
  // Safe: apiVersion, kind and metadata have been checked against their schemas just now; spec and status are unknown.
  return object as unknown as Resource;
}

/** Go clients write absent fields as null: creationTimestamp, labels, finalizers. */
function dropNulls(metadata: unknown): void {
  if (typeof metadata !== "object" || metadata === null) return;
  for (const [field, value] of Object.entries(metadata))
    if (value === null) Reflect.deleteProperty(metadata, field);
}

/**
 * Fills defaults and checks everything. What a write leaves as it was is not held against it: an object that a newer
 * version's rules would refuse still takes status, and can still be deleted. @returns what its writer should know @throws ApiError Invalid, Forbidden
 */
export function finish(kind: Kind, object: Resource, old: Resource | undefined, lookup: Lookup): string[] {
  const schema: Schema = kind.schema;
  applyDefaults(object, schema);
  const { metadata, apiVersion: _version, kind: _kind, ...rest } = object;
  const changed = new Map<string, boolean>();
  const isNew = ({ field }: Cause) => {
    const [top = ""] = field.split(/[.[]/, 1);
    if (!old || top === "metadata") return true;
    const known = changed.get(top) ?? !isDeepStrictEqual(Reflect.get(object, top), Reflect.get(old, top));
    changed.set(top, known);
    return known;
  };
  const shape = validate(rest, schema);
  setMark(metadata, shape);
  const causes = [...checkMetadata(metadata), ...shape].filter(isNew);
  // Rules only read objects of their kind's shape. One that was not is not held against the write that mends it: judged as a new one.
  const before = old && invalidity(old) === undefined ? old : undefined;
  if (causes.length === 0 && shape.length === 0) {
    causes.push(...checkRules(object, before, schema).filter(isNew));
    if (kind.check) causes.push(...kind.check(object, before, lookup).filter(isNew));
  }
  if (causes.length > 0) throw invalid(kind, metadata.name, causes);
  const why = shape.length === 0 ? kind.admit?.(object, before, lookup) : undefined;
  if (why !== undefined) throw forbidden(kind, metadata.name, why);
  return shape.length === 0 ? (kind.warn?.(object, before, lookup) ?? []) : [];
}

/** What is right in itself, but may not be done as things are. */
export function forbidden(kind: Kind, name: string, why: string, causes?: Cause[]): ApiError {
  return new ApiError("Forbidden", `${resourceName(kind)} ${JSON.stringify(name)} is forbidden: ${why}`, {
    name,
    group: kind.group,
    kind: kind.plural,
    ...(causes ? { causes } : {}),
  });
}

/** Metadata that only the server writes: a client's values for these are replaced by the stored ones. */
export const SERVER_FIELDS = [
  "uid",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "generation",
  "generateName",
  "selfLink",
] as const satisfies readonly (keyof ObjectMeta | "selfLink")[];
