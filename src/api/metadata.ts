/** Object metadata: which fields there are, and what is allowed in them. */
import type { Cause } from "../resource/errors.ts";
import type { Schema } from "../resource/schema.ts";

const string: Schema = { type: "string" };
const strings: Schema = { type: "object", additionalProperties: string };

export const METADATA_SCHEMA: Schema = {
  type: "object",
  properties: {
    name: string,
    generateName: string,
    namespace: string,
    selfLink: string,
    uid: string,
    resourceVersion: string,
    generation: { type: "integer" },
    creationTimestamp: { type: "string", nullable: true },
    deletionTimestamp: { type: "string", nullable: true },
    deletionGracePeriodSeconds: { type: "integer", nullable: true },
    labels: { ...strings, nullable: true },
    annotations: { ...strings, nullable: true },
    finalizers: { type: "array", items: string, nullable: true, "x-kubernetes-list-type": "set" },
    ownerReferences: {
      type: "array",
      nullable: true,
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["uid"],
      items: {
        type: "object",
        "x-kubernetes-map-type": "atomic",
        required: ["apiVersion", "kind", "name", "uid"],
        properties: {
          apiVersion: string,
          kind: string,
          name: string,
          uid: string,
          controller: { type: "boolean" },
          blockOwnerDeletion: { type: "boolean" },
        },
      },
    },
    managedFields: {
      type: "array",
      nullable: true,
      items: {
        type: "object",
        properties: {
          manager: { ...string, maxLength: 128 },
          operation: string,
          apiVersion: string,
          time: { ...string, nullable: true },
          fieldsType: string,
          fieldsV1: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
          subresource: string,
        },
      },
    },
  },
};

const NAME = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL_NAME = /^([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$/;
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

/** DNS subdomain of at most 63 characters: names become file names and host names, so Kubernetes' 253 would not fit. */
export function isName(name: string): boolean {
  return name.length <= 63 && NAME.test(name);
}

/** A key of labels, annotations or finalizers: [prefix/]name. */
function isQualifiedName(key: string): boolean {
  const at = key.indexOf("/");
  const [prefix, name] = at < 0 ? [undefined, key] : [key.slice(0, at), key.slice(at + 1)];
  return LABEL_NAME.test(name) && (prefix === undefined || (prefix.length <= 253 && NAME.test(prefix)));
}

/** Checks what the schema above cannot say. `metadata` has passed that schema. */
export function checkMetadata(metadata: {
  name?: string;
  namespace?: string;
  labels?: Record<string, string> | null;
  annotations?: Record<string, string> | null;
  finalizers?: string[] | null;
}): Cause[] {
  const causes: Cause[] = [];
  const wrong = (field: string, message: string, reason: Cause["reason"] = "FieldValueInvalid") =>
    causes.push({ field, reason, message });
  const shown = (value: string) => JSON.stringify(value.length > 80 ? `${value.slice(0, 80)}…` : value);
  for (const field of ["name", "namespace"] as const) {
    const value = metadata[field];
    if (value === undefined) {
      if (field === "name")
        wrong("metadata.name", "Required value: name or generateName is required", "FieldValueRequired");
    } else if (!isName(value) || (field === "namespace" && value.includes(".")))
      wrong(
        `metadata.${field}`,
        `Invalid value: ${shown(value)}: a lowercase RFC 1123 ${field === "name" ? "subdomain" : "label"} of at most 63 characters must consist of lower case alphanumeric characters${field === "name" ? ", '-' or '.'" : " or '-'"}, and must start and end with an alphanumeric character`,
      );
  }
  for (const [key, value] of Object.entries(metadata.labels ?? {})) {
    if (!isQualifiedName(key))
      wrong(
        "metadata.labels",
        `Invalid value: ${shown(key)}: a label's key is a name of at most 63 letters, digits, '-', '_' or '.', with an optional DNS prefix and '/'`,
      );
    if (value.length > 63 || !LABEL_VALUE.test(value))
      wrong(
        "metadata.labels",
        `Invalid value: ${shown(value)}: a valid label must be an empty string or consist of at most 63 alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character`,
      );
  }
  for (const key of Object.keys(metadata.annotations ?? {}))
    if (!isQualifiedName(key))
      wrong("metadata.annotations", `Invalid value: ${shown(key)}: not a valid annotation key`);
  const size = Object.entries(metadata.annotations ?? {}).reduce(
    (sum, [k, v]) => sum + k.length + v.length,
    0,
  );
  if (size > 262_144)
    wrong(
      "metadata.annotations",
      "Too long: may not be longer than 262144 bytes in all",
      "FieldValueTooLong",
    );
  for (const [i, finalizer] of (metadata.finalizers ?? []).entries())
    if (
      !["orphan", "foregroundDeletion"].includes(finalizer) &&
      (!finalizer.includes("/") || !isQualifiedName(finalizer))
    )
      wrong(
        `metadata.finalizers[${i}]`,
        `Invalid value: ${shown(finalizer)}: name is neither a standard finalizer name nor is it fully qualified`,
      );
  return causes;
}
