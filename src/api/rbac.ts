/**
 * Role-based access control: what rules allow, and who has which. Pure. Source: Kubernetes' documentation of RBAC and its
 * rule evaluation (plugin/pkg/auth/authorizer/rbac, pkg/registry/rbac/validation).
 */

export interface Rule {
  verbs: readonly string[];
  apiGroups?: readonly string[];
  resources?: readonly string[];
  resourceNames?: readonly string[];
  nonResourceURLs?: readonly string[];
}

export interface Subject {
  kind: "User" | "Group" | "ServiceAccount";
  name: string;
  namespace?: string;
}

export interface Asked {
  verb: string;
  group: string;
  resource: string;
  subresource?: string | undefined;
  /** Empty or undefined: no object of a name is meant. */
  name?: string | undefined;
}

const has = (list: readonly string[] | undefined, value: string) =>
  list !== undefined && (list.includes("*") || list.includes(value));

/** Whether one rule allows it. */
export function allows(rule: Rule, { verb, group, resource, subresource, name }: Asked): boolean {
  const { resources, resourceNames } = rule;
  const full = subresource ? `${resource}/${subresource}` : resource;
  return (
    has(rule.verbs, verb) &&
    has(rule.apiGroups, group) &&
    (has(resources, full) || (subresource !== undefined && has(resources, `*/${subresource}`))) &&
    (!resourceNames?.length || (!!name && resourceNames.includes(name)))
  );
}

/** Whether one rule allows a path that is no resource. */
export function allowsPath(rule: Rule, verb: string, path: string): boolean {
  return (
    has(rule.verbs, verb) &&
    (rule.nonResourceURLs ?? []).some(
      (allowed) =>
        allowed === "*" ||
        allowed === path ||
        (allowed.endsWith("*") && path.startsWith(allowed.slice(0, -1))),
    )
  );
}

/** Whether a subject of a binding in `namespace` is this user. */
export function isSubject(
  subject: Subject,
  user: { name: string; groups: readonly string[] },
  namespace: string | undefined,
): boolean {
  if (subject.kind === "User") return subject.name === user.name;
  if (subject.kind === "Group") return user.groups.includes(subject.name);
  return user.name === `system:serviceaccount:${subject.namespace ?? namespace}:${subject.name}`;
}

/** A rule taken apart, so that each part can be held against what somebody has. */
function* parts(rule: Rule): Generator<Rule> {
  const names = rule.resourceNames?.length ? rule.resourceNames : [undefined];
  for (const verb of rule.verbs) {
    for (const url of rule.nonResourceURLs ?? []) yield { verbs: [verb], nonResourceURLs: [url] };
    for (const group of rule.apiGroups ?? [])
      for (const resource of rule.resources ?? [])
        for (const name of names)
          yield {
            verbs: [verb],
            apiGroups: [group],
            resources: [resource],
            ...(name === undefined ? {} : { resourceNames: [name] }),
          };
  }
}

/** Whether `owned` allows everything that the part does; "*" in the part needs "*" in what is owned. */
function coversPart(owned: Rule, part: Rule): boolean {
  const [verb = ""] = part.verbs;
  const url = part.nonResourceURLs?.[0];
  if (url !== undefined) return allowsPath(owned, verb, url);
  const [group = ""] = part.apiGroups ?? [];
  const [resource = ""] = part.resources ?? [];
  const name = part.resourceNames?.[0];
  const [plain = "", subresource] = resource.split("/", 2);
  return allows(owned, { verb, group, resource: plain, subresource, name });
}

/** What of `wanted` is not in `owned`: nobody gives away more than he has. */
export function missing(owned: readonly Rule[], wanted: readonly Rule[]): Rule[] {
  return wanted.flatMap((rule) =>
    [...parts(rule)].filter((part) => !owned.some((mine) => coversPart(mine, part))),
  );
}

/** One line for people: `create machines.vireo.dev "a"`. */
export function describeRule({ verbs, apiGroups, resources, resourceNames, nonResourceURLs }: Rule): string {
  const what = nonResourceURLs?.length
    ? nonResourceURLs.join(", ")
    : `${resources?.join(", ") ?? ""}${apiGroups?.[0] ? `.${apiGroups.join(", ")}` : ""}`;
  return `${verbs.join(", ")} ${what}${resourceNames?.length ? ` ${JSON.stringify(resourceNames.join(", "))}` : ""}`;
}

const rule = (
  verbs: readonly string[],
  apiGroups: readonly string[],
  resources: readonly string[],
): Rule => ({
  verbs,
  apiGroups,
  resources,
});
const ALL = ["*"];
const VIREO = ["vireo.dev"];
const READ = ["get", "list", "watch"];
const WRITE = ["create", "delete", "deletecollection", "patch", "update"];
/** What people of a project work with; the rest is the estate's. */
const PROJECT = [
  "virtualmachines",
  "virtualmachines/status",
  "virtualmachines/log",
  // These two for who may list hosts besides: their room sees to that.
  "virtualmachines/placement",
  "plans/preview",
  "migrations",
  "snapshots",
  "rollbacks",
  "guestcommands",
  "policies",
  "plans",
  "instances",
  "events",
  // To read: the limits of a project are not its own to set.
  "resourcequotas",
];

const WRITABLE = ["virtualmachines", "migrations", "snapshots", "rollbacks", "guestcommands", "policies"];

/** A screen may show what is for its user alone. */
const AT_THE_CONSOLE = [
  rule(["create"], VIREO, ["virtualmachines/console", "virtualmachines/vnc"]),
  rule(["get"], VIREO, ["virtualmachines/screenshot"]),
];

/** Within a namespace these match nothing; given everywhere, they show the estate. */
const ESTATE = [
  rule(READ, VIREO, [
    "hosts",
    "hosts/power",
    "images",
    "images/file",
    "images/key",
    "imagebuilds",
    "imagebuilds/log",
    "imagebuilds/file",
    "distributions",
    "distributions/packages",
    "distributions/closure",
    "networks",
    "storagepools",
    "sites",
    "powerpolicies",
    "usagehistories",
    "leases",
  ]),
  rule(READ, [""], ["namespaces"]),
];

/** What a plan's undo would be. */
const UNDO = rule(["get"], VIREO, ["plans/undo"]);

/** The ClusterRoles that are always there, as in Kubernetes. */
export const BUILT_IN: Readonly<Record<string, readonly Rule[]>> = {
  monitoring: [{ verbs: ["get"], nonResourceURLs: ["/metrics"] }],
  "cluster-admin": [rule(ALL, ALL, ALL), { verbs: ALL, nonResourceURLs: ALL }],
  admin: [
    rule([...READ, ...WRITE], VIREO, WRITABLE),
    ...AT_THE_CONSOLE,
    UNDO,
    rule(READ, [...VIREO, ""], [...PROJECT, "secrets"]),
    ...ESTATE,
    rule([...READ, ...WRITE], [""], ["secrets"]),
    rule([...READ, ...WRITE], ["rbac.authorization.k8s.io"], ["roles", "rolebindings"]),
  ],
  edit: [
    rule([...READ, ...WRITE], VIREO, WRITABLE),
    ...AT_THE_CONSOLE,
    UNDO,
    rule(READ, [...VIREO, ""], PROJECT),
    ...ESTATE,
    rule([...READ, ...WRITE], [""], ["secrets"]),
  ],
  view: [rule(READ, [...VIREO, ""], PROJECT), ...ESTATE],
};
