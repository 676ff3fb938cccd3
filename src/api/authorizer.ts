/** Who may do what, by the roles and bindings as they are now: a copy of them is kept in step by watches, so that a decision costs no wait. */
import { isApiError } from "../resource/errors.ts";
import { hostOfUser } from "../resource/host-name.ts";
import { invalidity } from "../resource/invalid.ts";
import type { Kind } from "../resource/kind.ts";
import { keyOf, type Resource } from "../resource/object.ts";
import { type Attributes, authorizeHost, type Decision } from "./authorize.ts";
import { ADMINS, HOSTS } from "./pki.ts";
import { allows, allowsPath, BUILT_IN, isSubject, type Rule, type Subject } from "./rbac.ts";
import { ClusterRole, ClusterRoleBinding, RBAC_KINDS, Role, RoleBinding } from "./rbac-kinds.ts";
import type { Service, User } from "./service.ts";

const YES: Decision = { allowed: true };
/** Every logged-in client may ask what it may do. */
const REVIEW_GROUPS = ["authorization.k8s.io", "authentication.k8s.io"];

interface Binding {
  namespace: string | undefined;
  subjects: readonly Subject[];
  roleRef: { kind: string; name: string };
}

export class Authorizer {
  /** By kind, then "namespace/name". Objects here have passed the schemas of rbac-kinds.ts. */
  readonly #objects = new Map<Kind, Map<string, Resource>>(RBAC_KINDS.map((kind) => [kind, new Map()]));
  readonly #stops: (() => void)[] = [];

  /** Follows the service's roles and bindings; those kinds need not be among the served ones (then only the built-in roles count). */
  static async open(service: Service): Promise<Authorizer> {
    const authorizer = new Authorizer();
    for (const kind of RBAC_KINDS) {
      const served = service.kinds.find(
        ({ group, plural }) => group === kind.group && plural === kind.plural,
      );
      if (served) await authorizer.#follow(service, kind, served);
    }
    return authorizer;
  }

  async #follow(service: Service, kind: Kind, served: Kind): Promise<void> {
    const objects = this.#objects.get(kind) ?? new Map<string, Resource>();
    const request = { resourceVersion: "", sendInitialEvents: true };
    const stop = await service.watch(served, request, (event) => {
      if (event.type === "BOOKMARK") return;
      const key = keyOf(event.object);
      if (event.type === "DELETED" || invalidity(event.object) !== undefined) objects.delete(key);
      else objects.set(key, event.object);
    });
    this.#stops.push(stop);
  }

  close(): void {
    for (const stop of this.#stops) stop();
  }

  decide(user: User, attributes: Attributes): Decision {
    if (user.groups.includes(ADMINS)) return YES;
    if (REVIEW_GROUPS.includes(attributes.group) && user.groups.includes("system:authenticated")) return YES;
    const host = hostOfUser(user.name);
    if (host !== undefined && user.groups.includes(HOSTS)) return authorizeHost(host, attributes);
    for (const rule of this.rulesOf(user, attributes.namespace)) if (allows(rule, attributes)) return YES;
    return { allowed: false, reason: "no rule of its roles allows it" };
  }

  /** For paths that are no resources. */
  decidePath(user: User, verb: string, path: string): boolean {
    return (
      user.groups.includes(ADMINS) ||
      [...this.rulesOf(user, undefined)].some((rule) => allowsPath(rule, verb, path))
    );
  }

  /** The rules that count for a user: everywhere, and in the namespace if one is given. */
  *rulesOf(user: User, namespace: string | undefined): Generator<Rule> {
    if (user.groups.includes(ADMINS)) yield* BUILT_IN["cluster-admin"] ?? [];
    for (const kind of [ClusterRoleBinding, RoleBinding])
      for (const object of this.#objects.get(kind)?.values() ?? []) {
        const binding = bindingOf(object);
        if (kind === RoleBinding && binding.namespace !== namespace) continue;
        if (binding.subjects.some((subject) => isSubject(subject, user, binding.namespace)))
          yield* this.rulesOfRole(binding.roleRef, binding.namespace);
      }
  }

  /** What a role gives; nothing when there is no such role. */
  rulesOfRole(
    { kind, name }: { kind: string; name: string },
    namespace: string | undefined,
  ): readonly Rule[] {
    if (kind === "Role") return rulesIn(this.#objects.get(Role)?.get(`${namespace}/${name}`));
    return rulesIn(this.#objects.get(ClusterRole)?.get(name));
  }
}

// The casts are safe: only objects that have the shape of their kind are kept.

export function rulesIn(role: Resource | undefined): readonly Rule[] {
  return role ? ((Reflect.get(role, "rules") ?? []) as readonly Rule[]) : [];
}

export function bindingOf(object: Resource): Binding {
  return {
    namespace: object.metadata.namespace,
    subjects: (Reflect.get(object, "subjects") ?? []) as readonly Subject[],
    roleRef: Reflect.get(object, "roleRef") as Binding["roleRef"],
  };
}

const BOOTSTRAP = { "kubernetes.io/bootstrapping": "rbac-defaults" };

/** Makes the built-in ClusterRoles, and brings them up to this version: what a user changed in them comes back. */
export async function ensureBuiltInRoles(service: Service): Promise<void> {
  const kind = service.kinds.find(
    ({ group, plural }) => group === ClusterRole.group && plural === ClusterRole.plural,
  );
  if (!kind) return;
  const options = { user: { name: "system:bootstrap", groups: [ADMINS] } };
  for (const [name, rules] of Object.entries(BUILT_IN)) {
    const body = { metadata: { name, labels: BOOTSTRAP }, rules };
    await service.create(kind, undefined, body, options).catch((error: unknown) => {
      if (!isApiError(error, "AlreadyExists")) throw error;
      return service.patch(kind, undefined, name, { type: "merge", body: { rules } }, options);
    });
  }
}
