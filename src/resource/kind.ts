/**
 * A kind: everything the API needs to serve one sort of resource. From its single schema come validation, defaults,
 * OpenAPI and (through TypeBox's Static) the TypeScript types; nothing about a kind is written twice.
 *
 * Each room declares its kinds in its `kinds.ts`; the list of all of them is made in one place, src/kinds.ts, and
 * handed to the server: the api room knows no kind by name.
 */
import { type Static, type TObject, type TSchema, Type } from "typebox";
import type { Cause } from "./errors.ts";
import type { Resource } from "./object.ts";
import { formatBytes } from "./quantity.ts";
import type { Rule } from "./schema.ts";

export const GROUP = "vireo.dev";
export const VERSION = "v1";
export const API_VERSION = `${GROUP}/${VERSION}`;

/** A column of `kubectl get`; priority > 0 shows only with -o wide. jsonPath is the dotted subset kubectl's CRD columns use. */
export interface Column {
  name: string;
  type: "string" | "integer" | "number" | "date" | "boolean";
  jsonPath: string;
  description?: string;
  priority?: number;
}

/** A column whose text is made by the server, where no path says it. */
export interface MadeColumn<T extends Resource> extends Column {
  text?: (object: T) => string | number | null;
}

/**
 * Another version in which a kind is served; it is stored in the kind's own, and what is stored in this one from before is turned into that
 * (api/stored-versions.ts). Both functions get an object of their own to change, all of it
 * or (for field ownership and what is applied) some: they must bear with missing fields, and should lose nothing.
 */
export interface KindVersion {
  version: string;
  /** False: there is no such version for clients any more, only stored objects. */
  served?: boolean;
  schema: TObject;
  columns?: readonly Column[];
  toStored: (object: Resource) => Resource;
  fromStored: (object: Resource) => Resource;
  /** "is deprecated; use v1": shown to those who still write it. */
  deprecated?: string;
}

/** What rules across objects may look at: the other stored objects, read-only, at the moment of the write. */
export interface Lookup {
  /** @param begin only those of the namespace whose names begin so: writes of others are not waited for then, as they are else, nor do they undo this one */
  list<T extends Resource>(kind: Kind<T>, namespace?: string, begin?: string): readonly T[];
}

export interface Kind<T extends Resource = Resource> {
  group: string;
  version: string;
  kind: string;
  plural: string;
  singular: string;
  shortNames: readonly string[];
  categories: readonly string[];
  namespaced: boolean;
  /** Structural JSON schema of the object without apiVersion, kind and metadata: properties spec, status (or others). */
  schema: TObject;
  /** Whether status is a subresource: main writes keep it, /status writes change nothing else. */
  hasStatus: boolean;
  /** Vireo itself makes the objects, and users only read them: with those they see the id of the request (telemetry/request-id.ts). */
  madeByVireo?: boolean;
  /** Dotted paths of the fields that the subresource `scale` stands for, as in a CustomResourceDefinition. */
  scale?: { replicas: string; statusReplicas: string; selector?: string };
  /** Other versions, newest first. */
  versions?: readonly KindVersion[];
  columns: readonly MadeColumn<T>[];
  /** Field selectors besides metadata.name and metadata.namespace, as dotted paths. */
  selectableFields: readonly string[];
  /** Labels by which its objects are found all the time: the API keeps up which object has which value. */
  indexedLabels?: readonly string[];
  /**
   * Rules the schema cannot say: fields that depend on each other, on the old object (immutable fields) or on other
   * objects. Pure; runs after defaults and schema validation. `old` is undefined on create.
   */
  check?: (object: T, old: T | undefined, lookup: Lookup) => Cause[];
  /** What its writer should know, though it is written: told in the answer (the header Warning). Pure; runs after `check`. */
  warn?: (object: T, old: T | undefined, lookup: Lookup) => string[];
  /**
   * Whether an object that is right in itself may be: why not, or undefined; refused as Forbidden. Pure; runs after `check`, in the same turn,
   * so that what it looks over holds until the write is done.
   */
  admit?: (object: T, old: T | undefined, lookup: Lookup) => string | undefined;
  /** Why the object may not be deleted now, or undefined; refused as Forbidden. Pure; in the turn of the deletion, as `admit`. */
  admitDelete?: (object: T, lookup: Lookup) => string | undefined;
  /** Fields of spec that bind more than the object's own namespace: only who may update the kind in the whole cluster sets, changes or removes them. */
  estateFields?: readonly string[];
  /** Type only: carries T so that client.get(kind) is typed. Never set. */
  readonly _type?: T;
}

/** Declares a kind of group vireo.dev. The type of the object is derived from the spec and status schemas. */
export function defineKind<S extends TSchema, U extends TSchema>(declaration: {
  kind: string;
  /** In which it is stored; v1 when absent. */
  version?: string;
  versions?: readonly KindVersion[];
  plural: string;
  shortNames?: readonly string[];
  namespaced: boolean;
  description: string;
  spec: S;
  status?: U;
  madeByVireo?: boolean;
  /** It is not for people to look through: `get all` leaves it out. */
  hidden?: boolean;
  scale?: Kind["scale"];
  columns: readonly MadeColumn<Resource<Static<S>, Static<U>> & { spec: Static<S> }>[];
  selectableFields?: readonly string[];
  indexedLabels?: readonly string[];
  estateFields?: Kind["estateFields"];
}): Kind<Resource<Static<S>, Static<U>> & { spec: Static<S> }> {
  const { kind, plural, spec, status } = declaration;
  return {
    group: GROUP,
    version: declaration.version ?? VERSION,
    ...(declaration.versions ? { versions: declaration.versions } : {}),
    kind,
    plural,
    singular: kind.toLowerCase(),
    shortNames: declaration.shortNames ?? [],
    categories: declaration.hidden ? [] : ["all", "vireo"],
    namespaced: declaration.namespaced,
    schema: Type.Object(status ? { spec, status: Type.Optional(status) } : { spec }, {
      description: declaration.description,
    }),
    hasStatus: status !== undefined,
    madeByVireo: declaration.madeByVireo ?? false,
    ...(declaration.scale ? { scale: declaration.scale } : {}),
    columns: [...declaration.columns, { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" }],
    selectableFields: declaration.selectableFields ?? [],
    ...(declaration.indexedLabels ? { indexedLabels: declaration.indexedLabels } : {}),
    ...(declaration.estateFields ? { estateFields: declaration.estateFields } : {}),
  };
}

/** A kind as it is served in another version. Field selectors of the stored version's fields are not offered there. */
export function versionOf(stored: Kind, { version, schema, columns }: KindVersion): Kind {
  const { versions: _, check: _check, warn: _warn, ...shared } = stored;
  return { ...shared, version, schema, columns: columns ?? stored.columns, selectableFields: [] };
}

/** The object type of a kind: `ObjectOf<typeof VirtualMachine>`. */
export type ObjectOf<K> = K extends Kind<infer T> ? T : never;

// --- pieces of schemas that several kinds use ---

/** A size with a unit, "512Mi". The keyword `x-vireo-quantity` makes the validator use parseBytes and its messages. */
export function Quantity(options: {
  description: string;
  minimum?: number;
  maximum?: number;
  default?: string;
}) {
  const { minimum, maximum, ...rest } = options;
  const bounds = [
    minimum === undefined ? "" : `at least ${formatBytes(minimum)}`,
    maximum === undefined ? "" : `at most ${formatBytes(maximum)}`,
  ].filter(Boolean);
  return Type.String({
    ...rest,
    description: `${options.description} A size with a unit, such as 512Mi or 4Gi${bounds.length ? ` (${bounds.join(", ")})` : ""}.`,
    "x-vireo-quantity": {
      ...(minimum === undefined ? {} : { minimum }),
      ...(maximum === undefined ? {} : { maximum }),
    },
  });
}

/** The name of another object: an RFC 1123 label, so it can never be a path. */
export function Name(description: string, options: { default?: string } = {}) {
  return Type.String({ description, pattern: "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$", ...options });
}

/** A closed set of words. Emitted as a plain `enum`, the structural form Kubernetes clients understand. */
export function Words<const W extends readonly string[]>(
  words: W,
  options: { description?: string; default?: W[number] } = {},
) {
  return Type.Unsafe<W[number]>({ type: "string", enum: [...words], ...options });
}

/** Options with rules in CEL, see rules.ts. */
export const rules = (...all: Rule[]) => ({ "x-kubernetes-validations": all });
/** That a field of the value stays as it was. */
export const immutable = (field: string, hint: string, optional = false): Rule => {
  const same = `self.${field} == oldSelf.${field}`;
  return {
    rule: optional ? `has(self.${field}) == has(oldSelf.${field}) && (!has(self.${field}) || ${same})` : same,
    message: hint,
    fieldPath: `.${field}`,
    reason: "FieldValueForbidden",
  };
};

/** Options of a list whose items are told apart by these fields: each item has an owner of its own. */
export const keyedBy = (...keys: string[]) => ({
  "x-kubernetes-list-type": "map",
  "x-kubernetes-list-map-keys": keys,
});
/** Options of a list without an order in which no item is twice: each item has an owner of its own. */
export const AS_SET = { "x-kubernetes-list-type": "set" };
/** Options of an object that is written as a whole, by one: nobody owns a part of it. */
export const AS_ONE = { "x-kubernetes-map-type": "atomic" };

const ConditionSchema = Type.Object({
  type: Type.String(),
  status: Words(["True", "False", "Unknown"]),
  reason: Type.String(),
  message: Type.String(),
  lastTransitionTime: Type.String({ format: "date-time" }),
  observedGeneration: Type.Optional(Type.Integer()),
});

export const Conditions = Type.Array(ConditionSchema, {
  description: "Latest observations of the object's state.",
  ...keyedBy("type"),
});

/** Adds a kind's rules (its room's checks.ts, quota.ts) to it, and forgets the precise type: how src/kinds.ts makes the registry. */
export function register<T extends Resource>(
  kind: Kind<T>,
  rules: Pick<Kind<T>, "check" | "warn" | "admit" | "admitDelete"> = {},
): Kind {
  // The registry treats all kinds alike. Safe: the server calls a kind's rules only with objects that its schema accepted.
  return { ...kind, ...rules } as unknown as Kind;
}
