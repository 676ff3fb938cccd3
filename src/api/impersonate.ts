/**
 * Acting as somebody else (`kubectl --as eve --as-group dev`): for those who may `impersonate` that user and each of the groups. Asked for and
 * not allowed is refused, never ignored. As in Kubernetes.
 */
import type { IncomingMessage } from "node:http";
import { ApiError } from "../resource/errors.ts";
import { forbid } from "./authorize.ts";
import type { Authorizer } from "./authorizer.ts";
import type { User } from "./service.ts";

const AUTHENTICATED = "system:authenticated";

/** @returns who the request counts as. @throws ApiError Forbidden, BadRequest */
export function impersonate({ headersDistinct }: IncomingMessage, user: User, authorizer: Authorizer): User {
  const [name] = headersDistinct["impersonate-user"] ?? [];
  const groups = headersDistinct["impersonate-group"] ?? [];
  const other = Object.keys(headersDistinct).find(
    (header) =>
      header.startsWith("impersonate-") && !["impersonate-user", "impersonate-group"].includes(header),
  );
  if (other) throw new ApiError("BadRequest", `${other}: only users and groups can be impersonated`);
  if (name === undefined) {
    if (groups.length > 0) throw new ApiError("BadRequest", "impersonate-group: needs impersonate-user");
    return user;
  }
  for (const [resource, each] of [["users", name], ...groups.map((group) => ["groups", group])] as [
    string,
    string,
  ][]) {
    const asked = { verb: "impersonate", group: "", resource, name: each };
    const decision = authorizer.decide(user, asked);
    if (!decision.allowed) forbid(user, asked, decision.reason);
  }
  return { name, groups: [...groups, AUTHENTICATED] };
}
