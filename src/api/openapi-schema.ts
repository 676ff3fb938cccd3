/** Turns the schemas of kinds into what OpenAPI v2 and v3 of Kubernetes look like: structural, no patternProperties, no unions. */
import { isFields } from "../resource/fields.ts";
import type { Kind } from "../resource/kind.ts";

/** A schema of OpenAPI, as far as we write them. */
export interface Schema {
  $ref?: string;
  type?: string;
  format?: string;
  title?: string;
  description?: string;
  default?: unknown;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  uniqueItems?: boolean;
  pattern?: string;
  enum?: readonly unknown[];
  required?: readonly string[];
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema | true;
  [extension: `x-${string}`]: unknown;
}

const META = "io.k8s.apimachinery.pkg.apis.meta.v1";
const OBJECT_META = `${META}.ObjectMeta`;
const LIST_META = `${META}.ListMeta`;
export const DELETE_OPTIONS = `${META}.DeleteOptions`;
export const STATUS = `${META}.Status`;

const string: Schema = { type: "string" };
const strings: Schema = { type: "object", additionalProperties: string };
const time: Schema = { type: "string", format: "date-time" };
const int64: Schema = { type: "integer", format: "int64" };

const object = (properties: Record<string, Schema>, more: Schema = {}): Schema => ({
  type: "object",
  properties,
  ...more,
});

/** The definitions that all kinds share, under the names that clients look for. */
const SHARED: Record<string, Schema> = {
  [OBJECT_META]: object(
    {
      name: { ...string, description: "Name of the object, unique among its kind in its namespace." },
      generateName: { ...string, description: "Prefix of a name that the server makes up." },
      namespace: string,
      uid: { ...string, description: "Unique in time and space; given by the server." },
      resourceVersion: {
        ...string,
        description: "Changes with every write; makes an update a compare-and-swap.",
      },
      generation: { ...int64, description: "Rises with every change of what was asked for." },
      creationTimestamp: time,
      deletionTimestamp: time,
      deletionGracePeriodSeconds: int64,
      labels: strings,
      annotations: strings,
      finalizers: {
        type: "array",
        items: string,
        description: "The object stays until these are all removed by those who put them there.",
        "x-kubernetes-list-type": "set",
        "x-kubernetes-patch-strategy": "merge",
      },
      ownerReferences: {
        type: "array",
        description: "Objects that this one depends on: when they are all gone it is deleted.",
        items: object(
          {
            apiVersion: string,
            kind: string,
            name: string,
            uid: string,
            controller: { type: "boolean" },
            blockOwnerDeletion: { type: "boolean" },
          },
          { required: ["apiVersion", "kind", "name", "uid"] },
        ),
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["uid"],
        "x-kubernetes-patch-merge-key": "uid",
        "x-kubernetes-patch-strategy": "merge",
      },
      managedFields: {
        type: "array",
        items: object({
          manager: string,
          operation: string,
          apiVersion: string,
          time,
          fieldsType: string,
          fieldsV1: { type: "object" },
          subresource: string,
        }),
      },
    },
    { description: "Metadata that all objects have." },
  ),
  [LIST_META]: object({ resourceVersion: string, continue: string, remainingItemCount: int64 }),
  [DELETE_OPTIONS]: object({
    apiVersion: string,
    kind: string,
    dryRun: { type: "array", items: string },
    gracePeriodSeconds: int64,
    propagationPolicy: string,
    preconditions: object({ uid: string, resourceVersion: string }),
  }),
  [STATUS]: object({
    apiVersion: string,
    kind: string,
    status: string,
    message: string,
    reason: string,
    code: { type: "integer", format: "int32" },
    details: { type: "object" },
  }),
};

const KEPT = [
  "type",
  "format",
  "title",
  "description",
  "default",
  "minimum",
  "maximum",
  "minLength",
  "maxLength",
  "minItems",
  "maxItems",
  "pattern",
  "enum",
] as const;

/**
 * A TypeBox schema as a structural one. Fields with a default are not `required` here: the server fills them, and kubectl 1.20 would
 * refuse on its side what the server takes.
 */
export function structural(schema: unknown): Schema {
  if (!isFields(schema)) return {};
  const result: Record<string, unknown> = {};
  for (const key of KEPT) if (schema[key] !== undefined) result[key] = schema[key];
  for (const [key, value] of Object.entries(schema)) if (key.startsWith("x-")) result[key] = value;
  if (isFields(schema.properties)) {
    const { properties } = schema;
    result.properties = Object.fromEntries(
      Object.entries(properties).map(([key, value]) => [key, structural(value)]),
    );
    const required = (Array.isArray(schema.required) ? schema.required : []).filter((key) => {
      const property: unknown = properties[String(key)];
      return !(isFields(property) && property.default !== undefined);
    });
    if (required.length) result.required = required;
  }
  if (schema.items !== undefined) result.items = structural(schema.items);
  const [anyKey] = isFields(schema.patternProperties) ? Object.values(schema.patternProperties) : [];
  if (isFields(anyKey)) result.additionalProperties = structural(anyKey);
  else if (isFields(schema.additionalProperties))
    result.additionalProperties = structural(schema.additionalProperties);
  // Type.Unknown and the like.
  if (result.type === undefined && result.enum === undefined)
    result["x-kubernetes-preserve-unknown-fields"] = true;
  return result;
}

/** dev.vireo.v1.VirtualMachine */
export function definitionName(kind: Kind): string {
  const group = kind.group ? kind.group.split(".").reverse().join(".") : "io.k8s.api.core";
  return `${group}.${kind.version}.${kind.kind}`;
}

/** The definitions of the kinds and of what they refer to; `prefix` is where references point. */
export function definitionsOf(kinds: readonly Kind[], prefix: string): Record<string, Schema> {
  const definitions: Record<string, Schema> = { ...SHARED };
  for (const kind of kinds) {
    const gvk = { group: kind.group, version: kind.version, kind: kind.kind };
    const name = definitionName(kind);
    const own = structural(kind.schema);
    definitions[name] = {
      ...own,
      properties: {
        apiVersion: { ...string, description: "Group and version of the kind." },
        kind: { ...string, description: "The kind of the object." },
        metadata: { $ref: prefix + OBJECT_META },
        ...own.properties,
      },
      "x-kubernetes-group-version-kind": [gvk],
    };
    definitions[`${name}List`] = object(
      {
        apiVersion: string,
        kind: string,
        metadata: { $ref: prefix + LIST_META },
        items: { type: "array", items: { $ref: prefix + name } },
      },
      {
        required: ["items"],
        description: `A list of ${kind.plural}.`,
        "x-kubernetes-group-version-kind": [{ ...gvk, kind: `${kind.kind}List` }],
      },
    );
  }
  return definitions;
}
