/**
 * The kinds of role-based access control, as Kubernetes has them (rbac.authorization.k8s.io/v1), so that `kubectl create role` and the
 * tools around it work. What they mean is in rbac.ts.
 */
import { Type } from "typebox";
import { invalidValue } from "../resource/errors.ts";
import { type Kind, Words } from "../resource/kind.ts";

const strings = (description: string) =>
  Type.Optional(Type.Array(Type.String(), { description, maxItems: 500 }));

const Rule = Type.Object({
  verbs: Type.Array(Type.String(), {
    minItems: 1,
    description: "get, list, watch, create, update, patch, delete, deletecollection, or * for all.",
  }),
  apiGroups: strings('Groups, "" for the core group, * for all.'),
  resources: strings("Plurals, with /status for a subresource; * for all."),
  resourceNames: strings("Only objects of these names; empty: all. Never matches create, list and watch."),
  nonResourceURLs: strings("Paths such as /metrics, or /logs/*. Only in ClusterRoles."),
});
const Rules = Type.Array(Rule, { maxItems: 1000, "x-kubernetes-list-type": "atomic" });

const RoleRef = Type.Object(
  {
    apiGroup: Words(["rbac.authorization.k8s.io"], { default: "rbac.authorization.k8s.io" }),
    kind: Words(["Role", "ClusterRole"]),
    name: Type.String({ minLength: 1 }),
  },
  { description: "The role that is given. Cannot be changed." },
);
const Subjects = Type.Optional(
  Type.Array(
    Type.Object({
      kind: Words(["User", "Group", "ServiceAccount"]),
      apiGroup: Type.Optional(Type.String()),
      name: Type.String({ minLength: 1 }),
      namespace: Type.Optional(Type.String()),
    }),
    { maxItems: 10_000, "x-kubernetes-list-type": "atomic", description: "Who it is given to." },
  ),
);

export const RBAC_GROUP = "rbac.authorization.k8s.io";

function rbacKind(kind: string, namespaced: boolean, description: string, fields: "role" | "binding"): Kind {
  const schema =
    fields === "role"
      ? Type.Object({ rules: Type.Optional(Rules) }, { description })
      : Type.Object({ subjects: Subjects, roleRef: RoleRef }, { description });
  const role = { name: "Role", type: "string" as const, jsonPath: ".roleRef.name" };
  return {
    group: RBAC_GROUP,
    version: "v1",
    kind,
    plural: `${kind.toLowerCase()}s`,
    singular: kind.toLowerCase(),
    shortNames: [],
    categories: [],
    namespaced,
    schema,
    hasStatus: false,
    columns: [
      ...(fields === "binding" ? [role] : []),
      { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
    ],
    selectableFields: [],
    check: (object, old) => {
      const [now, before] = [Reflect.get(object, "roleRef"), old && Reflect.get(old, "roleRef")];
      if (!old || fields === "role" || JSON.stringify(now) === JSON.stringify(before)) return [];
      return [invalidValue("roleRef", now, "cannot change roleRef: delete the binding and make it anew")];
    },
  };
}

export const Role = rbacKind("Role", true, "Role is a set of permissions in a namespace.", "role");
export const ClusterRole = rbacKind(
  "ClusterRole",
  false,
  "ClusterRole is a set of permissions, for bindings of any namespace or of all.",
  "role",
);
export const RoleBinding = rbacKind(
  "RoleBinding",
  true,
  "RoleBinding gives the permissions of a role within its namespace.",
  "binding",
);
export const ClusterRoleBinding = rbacKind(
  "ClusterRoleBinding",
  false,
  "ClusterRoleBinding gives the permissions of a ClusterRole everywhere.",
  "binding",
);

export const RBAC_KINDS: readonly Kind[] = [Role, ClusterRole, RoleBinding, ClusterRoleBinding];
