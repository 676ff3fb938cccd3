/** The reviews: `kubectl auth can-i` and `whoami`, answered by the same rules that guard the requests. */
import { ApiError } from "../resource/errors.ts";
import { GROUP, type Kind } from "../resource/kind.ts";
import { authorize } from "./authorize.ts";
import { ADMINS, HOSTS } from "./pki.ts";
import { READ_VERBS } from "./served.ts";
import type { User } from "./service.ts";
import { REVIEWS } from "./synthetic.ts";

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const text = (value: unknown) => (typeof value === "string" ? value : "");

/** The review with its status. */
export function answerReview(kind: Kind, user: User, body: unknown): object {
  if (!isRecord(body) || body.kind !== kind.kind)
    throw new ApiError("BadRequest", `the body must be a ${kind.kind}`);
  const spec = isRecord(body.spec) ? body.spec : {};
  const status = () => {
    if (kind === REVIEWS.access) return reviewAccess(user, spec);
    if (kind === REVIEWS.rules) return rulesOf(user);
    return { userInfo: { username: user.name, groups: user.groups } };
  };
  return { ...body, metadata: { creationTimestamp: null }, status: status() };
}

function reviewAccess(user: User, spec: Record<string, unknown>) {
  const asked = spec.resourceAttributes;
  // Pages that are not resources are open to all who have logged in.
  if (!isRecord(asked)) return { allowed: true };
  const decision = authorize(user, {
    verb: text(asked.verb),
    group: text(asked.group),
    resource: text(asked.resource),
    subresource: text(asked.subresource) || undefined,
    namespace: text(asked.namespace) || undefined,
    name: text(asked.name),
  });
  if (!decision.allowed) return { allowed: false, reason: decision.reason };
  if (decision.onlyInstancesOf === undefined) return { allowed: true };
  return { allowed: true, reason: `only for instances of host ${decision.onlyInstancesOf}` };
}

function rulesOf(user: User) {
  const rule = (verbs: readonly string[], resources: readonly string[]) => ({
    verbs,
    apiGroups: [GROUP],
    resources,
  });
  const write = ["create", "patch", "update"];
  const resourceRules = user.groups.includes(ADMINS)
    ? [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"] }]
    : user.groups.includes(HOSTS)
      ? [
          { ...rule(READ_VERBS, ["*"]), apiGroups: ["*"] },
          rule(write, ["hosts", "hosts/status", "leases", "events"]),
          rule(["patch", "update"], ["instances", "instances/status"]),
        ]
      : [];
  const open = { verbs: ["get"], nonResourceURLs: ["*"] };
  return { resourceRules, nonResourceRules: [open], incomplete: false };
}
