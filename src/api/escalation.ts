/**
 * Nobody gives away more than he has: who writes a role must hold every permission in it, and who binds one must hold what it gives, unless
 * he has the verb `escalate` on roles, or `bind` on that role. As in Kubernetes. Nor does anybody bind more than he may write: fields
 * that have a say beyond their namespace (Kind.estateFields) are for who may update the kind in the whole cluster.
 */
import { isDeepStrictEqual } from "node:util";
import { ApiError, isApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { type Authorizer, bindingOf, rulesIn } from "./authorizer.ts";
import { mergePatch } from "./patch.ts";
import { describeRule, missing } from "./rbac.ts";
import { RBAC_GROUP } from "./rbac-kinds.ts";
import type { Service, User, WriteOptions, Written } from "./service.ts";

const ATTEMPTS = 5;
const SHOWN = 5;

/** @throws ApiError Forbidden, naming what is missing */
function refuseEscalation(authorizer: Authorizer, kind: Kind, object: Resource, user: User): void {
  const { name, namespace } = object.metadata;
  const isRole = kind.plural.endsWith("roles");
  const { roleRef } = isRole ? { roleRef: { kind: kind.kind, name } } : bindingOf(object);
  const resource = roleRef.kind === "Role" ? "roles" : "clusterroles";
  const verb = isRole ? "escalate" : "bind";
  const asked = { verb, group: RBAC_GROUP, resource, namespace, name: roleRef.name };
  if (authorizer.decide(user, asked).allowed) return;
  const wanted = isRole ? rulesIn(object) : authorizer.rulesOfRole(roleRef, namespace);
  const lacking = missing([...authorizer.rulesOf(user, namespace)], wanted);
  if (lacking.length === 0) return;
  const shown = lacking.slice(0, SHOWN).map(describeRule).join("; ");
  const more = lacking.length > SHOWN ? `; and ${lacking.length - SHOWN} more` : "";
  throw new ApiError(
    "Forbidden",
    `${kind.plural}.${RBAC_GROUP} ${JSON.stringify(name)} is forbidden: User "${user.name}" is attempting to grant permissions not currently held: ${shown}${more}`,
    { name, group: RBAC_GROUP, kind: kind.plural },
  );
}

/** Those of its fields that are for the whole cluster's writers, and not as they were. @param now undefined: it is to go */
function changedForEstate(kind: Kind, now: Resource | undefined, old: Resource | undefined): string[] {
  const fieldOf = (object: Resource | undefined, field: string) =>
    isFields(object?.spec) ? object.spec[field] : undefined;
  // It goes with its owners.
  const isGivenAway =
    now && old && !isDeepStrictEqual(now.metadata.ownerReferences, old.metadata.ownerReferences);
  return (kind.estateFields ?? []).filter(
    (field) =>
      !isDeepStrictEqual(fieldOf(now, field), fieldOf(old, field)) ||
      (isGivenAway && fieldOf(old, field) !== undefined),
  );
}

/** @throws ApiError Forbidden, naming the fields */
function refuseForEstate(kind: Kind, fields: readonly string[], name: string, user: User): void {
  if (fields.length === 0) return;
  const resource = `${kind.plural}.${kind.group}`;
  const named = fields.map((field) => `spec.${field}`).join(" and ");
  throw new ApiError(
    "Forbidden",
    `${resource} ${JSON.stringify(name)} is forbidden: User "${user.name}" cannot set, change or remove ${named}, which binds hosts for all namespaces: that is for who may update ${resource} in the whole cluster (by a ClusterRoleBinding)`,
    { name, group: kind.group, kind: kind.plural },
  );
}

/** What is applied, with the uid and the version of the object as preconditions. */
function appliedTo(body: unknown, { metadata: { uid, resourceVersion } }: Resource): unknown {
  return mergePatch(body, { metadata: { uid, resourceVersion } });
}

/** The service with the check in front of writes of roles and bindings, and of what has fields for the estate. */
export function withEscalationCheck(service: Service, authorizer: Authorizer): Service {
  const boundTo = (kind: Kind, user: User) =>
    kind.estateFields !== undefined &&
    !authorizer.decide(user, { verb: "update", group: kind.group, resource: kind.plural }).allowed;
  const isChecked = (kind: Kind, user: User) => kind.group === RBAC_GROUP || boundTo(kind, user);
  /** @param planned what the write would come to, of the object as it is: that is read after it, so one that changed meanwhile is a conflict for the write itself */
  const refuse = async (kind: Kind, { object, created }: Written, user: User): Promise<void> => {
    if (kind.group === RBAC_GROUP) return refuseEscalation(authorizer, kind, object, user);
    const { namespace, name } = object.metadata;
    const old = created ? undefined : await service.get(kind, namespace, name);
    refuseForEstate(kind, changedForEstate(kind, object, old), name, user);
  };
  /** What the write would come to is checked, then just that is written. */
  const checked = async (
    kind: Kind,
    options: WriteOptions,
    write: (options: WriteOptions) => Promise<Written>,
    again: (planned: Resource) => Promise<Written>,
  ): Promise<Written> => {
    for (let attempt = 1; ; attempt++) {
      const planned = await write({ ...options, dryRun: true });
      await refuse(kind, planned, options.user);
      if (options.dryRun) return planned;
      try {
        const { object, warnings } = planned.created ? await write(options) : await again(planned.object);
        return { object, warnings, created: planned.created };
      } catch (error) {
        // Somebody changed it in between: what the write comes to may be another thing now.
        if (!isApiError(error, "Conflict") || attempt >= ATTEMPTS) throw error;
      }
    }
  };
  return {
    kinds: service.kinds,
    get: (...all) => service.get(...all),
    list: (...all) => service.list(...all),
    watch: (...all) => service.watch(...all),
    delete: async (kind, namespace, name, request) => {
      if (boundTo(kind, request.user)) {
        const old = await service.get(kind, namespace, name);
        refuseForEstate(kind, changedForEstate(kind, undefined, old), name, request.user);
      }
      return service.delete(kind, namespace, name, request);
    },
    create: async (kind, namespace, body, options) => {
      if (isChecked(kind, options.user)) {
        const planned = await service.create(kind, namespace, body, { ...options, dryRun: true });
        await refuse(kind, planned, options.user);
      }
      return service.create(kind, namespace, body, options);
    },
    update: async (kind, namespace, name, body, options) => {
      if (isChecked(kind, options.user)) {
        const planned = await service.update(kind, namespace, name, body, { ...options, dryRun: true });
        await refuse(kind, planned, options.user);
      }
      // With its resourceVersion the update comes to the same, or to nothing.
      return service.update(kind, namespace, name, body, options);
    },
    patch(kind, namespace, name, patch, options) {
      if (!isChecked(kind, options.user)) return service.patch(kind, namespace, name, patch, options);
      // What is applied is applied again, to just the version that was looked at: as an update it would have another owner.
      const again = (planned: Resource) =>
        patch.type === "apply"
          ? service.patch(kind, namespace, name, { ...patch, body: appliedTo(patch.body, planned) }, options)
          : service.update(kind, namespace, name, planned, options);
      return checked(kind, options, (o) => service.patch(kind, namespace, name, patch, o), again);
    },
  };
}
