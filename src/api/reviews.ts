/** The reviews: `kubectl auth can-i` and `whoami`, answered by the same rules that guard the requests. */

import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { GROUP, type Kind } from "../resource/kind.ts";
import type { Authorizer } from "./authorizer.ts";
import { HOSTS } from "./pki.ts";
import { READ_VERBS } from "./served.ts";
import type { User } from "./service.ts";
import { REVIEWS } from "./synthetic.ts";

const text = (value: unknown) => (typeof value === "string" ? value : "");

/** The review with its status. */
export function answerReview(authorizer: Authorizer, kind: Kind, user: User, body: unknown): object {
  if (!isFields(body) || body.kind !== kind.kind)
    throw new ApiError("BadRequest", `the body must be a ${kind.kind}`);
  const spec = isFields(body.spec) ? body.spec : {};
  const status = () => {
    if (kind === REVIEWS.access) return reviewAccess(authorizer, user, spec);
    if (kind === REVIEWS.rules) return rulesOf(authorizer, user, text(spec.namespace));
    return { userInfo: { username: user.name, groups: user.groups } };
  };
  return { ...body, metadata: { creationTimestamp: null }, status: status() };
}

function reviewAccess(authorizer: Authorizer, user: User, spec: Record<string, unknown>) {
  const asked = spec.resourceAttributes;
  if (!isFields(asked)) {
    const path = isFields(spec.nonResourceAttributes) ? spec.nonResourceAttributes : {};
    const allowed =
      isOpenPath(text(path.path)) || authorizer.decidePath(user, text(path.verb), text(path.path));
    return { allowed };
  }
  const decision = authorizer.decide(user, {
    verb: text(asked.verb),
    group: text(asked.group),
    resource: text(asked.resource),
    subresource: text(asked.subresource) || undefined,
    namespace: text(asked.namespace) || undefined,
    name: text(asked.name),
  });
  if (!decision.allowed) return { allowed: false, reason: decision.reason };
  if (decision.onlyEventsOf !== undefined)
    return { allowed: true, reason: `only for events of host ${decision.onlyEventsOf}` };
  if (decision.onlyInstancesOf === undefined) return { allowed: true };
  return { allowed: true, reason: `only for instances of host ${decision.onlyInstancesOf}` };
}

/** Discovery and documentation are open to all who have logged in. */
const isOpenPath = (path: string) =>
  /^\/(api|apis|openapi|version|healthz|livez|readyz)(\/|$)/.test(path) || path === "/";

function rulesOf(authorizer: Authorizer, user: User, namespace: string) {
  const write = ["create", "patch", "update"];
  const ofHost = [
    { verbs: READ_VERBS, apiGroups: [GROUP], resources: ["*"] },
    { verbs: write, apiGroups: [GROUP], resources: ["hosts/status", "leases", "events"] },
    { verbs: ["create"], apiGroups: [GROUP], resources: ["hosts"] },
    { verbs: ["patch", "update"], apiGroups: [GROUP], resources: ["instances", "instances/status"] },
  ];
  const rules = user.groups.includes(HOSTS) ? ofHost : [...authorizer.rulesOf(user, namespace || undefined)];
  const isPath = (rule: object) => "nonResourceURLs" in rule;
  const open = { verbs: ["get"], nonResourceURLs: ["/api*", "/apis*", "/openapi*", "/version", "/healthz"] };
  return {
    resourceRules: rules.filter((rule) => !isPath(rule)),
    nonResourceRules: [open, ...rules.filter(isPath)],
    incomplete: false,
  };
}
