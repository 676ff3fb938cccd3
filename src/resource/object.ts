/**
 * What every resource has in common: the Kubernetes object conventions (metadata, spec, status, conditions).
 * Source: Kubernetes API conventions (sig-architecture/api-conventions.md).
 *
 * Users write `spec`; exactly one component owns each field of `status`. Who owns what is written beside the field
 * in the room that declares the kind.
 */

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ManagedFieldsEntry {
  manager?: string;
  operation?: "Apply" | "Update";
  apiVersion?: string;
  time?: string;
  fieldsType?: string;
  fieldsV1?: Record<string, unknown>;
  subresource?: string;
}

/** Times are RFC 3339 in UTC; resourceVersion is the store's revision as an opaque string. */
export interface ObjectMeta {
  name: string;
  generateName?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  deletionGracePeriodSeconds?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
  managedFields?: ManagedFieldsEntry[];
}

/** Any resource. Rooms use the precise type of their kind; only generic code (store, api, informer) uses this one. */
export interface Resource<Spec = unknown, Status = unknown> {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
  spec?: Spec;
  status?: Status;
}

/** One observation about an object, by the API conventions. `observedGeneration` is always written: kubectl wait relies on it. */
export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
  lastTransitionTime: string;
  observedGeneration?: number;
}

/** A condition as its writer gives it; the time of the last transition is kept by setCondition. */
export type ConditionInput = Omit<Condition, "lastTransitionTime">;

/** Returns a new list in which `input` replaces the condition of its type; keeps lastTransitionTime while the status stays. */
export function setCondition(
  conditions: readonly Condition[] | undefined,
  input: ConditionInput,
  now: string,
): Condition[] {
  const list = conditions ?? [];
  const old = list.find((c) => c.type === input.type);
  const next: Condition = {
    ...input,
    lastTransitionTime: old && old.status === input.status ? old.lastTransitionTime : now,
  };
  return old ? list.map((c) => (c === old ? next : c)) : [...list, next];
}

export function getCondition(
  conditions: readonly Condition[] | undefined,
  type: string,
): Condition | undefined {
  return conditions?.find((c) => c.type === type);
}

/** "namespace/name", or "name" for cluster-scoped objects: the key within one kind. */
export function keyOf(object: { metadata: ObjectMeta }): string {
  const { namespace, name } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

/** The oldest first; of the same second by name. */
export const byAge = ({ metadata: a }: { metadata: ObjectMeta }, { metadata: b }: { metadata: ObjectMeta }) =>
  (a.creationTimestamp ?? "").localeCompare(b.creationTimestamp ?? "") || a.name.localeCompare(b.name);

/** RFC 3339 in whole seconds, as Kubernetes writes metadata times. */
export function timestamp(date: Date): string {
  return date.toISOString().replace(/\.\d+Z$/, "Z");
}
