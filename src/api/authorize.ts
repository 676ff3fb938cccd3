/** The questions and answers of authorization, and what the agents of hosts may do. Everybody else's rights: authorizer.ts. */

import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { GROUP } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import type { User } from "./service.ts";

export interface Attributes {
  verb: string;
  group: string;
  resource: string;
  subresource?: string | undefined;
  namespace?: string | undefined;
  /** Undefined: not known yet (a create whose body has not been read). Empty: any, all. */
  name?: string | undefined;
}

/**
 * `onlyInstancesOf`: writes are allowed only to instances bound to this host, and only those are read whole (host-view.ts), which the
 * handler has to look at. `onlyEventsOf`: likewise only events that this host reports. `onlyName`: of what is created, only the name is taken.
 */
export type Decision =
  | { allowed: true; onlyInstancesOf?: string; onlyEventsOf?: string; onlyName?: true }
  | { allowed: false; reason: string };

const YES: Decision = { allowed: true };
const no = (reason: string): Decision => ({ allowed: false, reason });
const READ = ["get", "list", "watch"];
const WRITE = ["create", "update", "patch"];
const READ_BY_HOSTS = ["hosts", "leases", "instances", "networks", "storagepools", "images", "events"];
/**
 * What the agent of a host may do: read what its machines are made of, and write what is bound to its own host, so that a host that was
 * broken into cannot touch the others (the idea of Kubernetes' node restriction).
 */
export function authorizeHost(host: string, attributes: Attributes): Decision {
  const { verb, group, resource, subresource, name } = attributes;
  if (group !== GROUP) return no("hosts have no business with it");
  if (READ.includes(verb)) {
    if (!READ_BY_HOSTS.includes(resource)) return no(`hosts may not read ${resource}`);
    return resource === "instances" ? { allowed: true, onlyInstancesOf: host } : YES;
  }
  if (!WRITE.includes(verb)) return no("hosts may only read, create and update");
  const own = (expected: string) =>
    name === undefined || name === expected
      ? YES
      : no(`host ${host} may write only ${resource} "${expected}"`);
  // Its spec is the administrators': whom a host's password is sent to is in it.
  if (resource === "hosts" && verb === "create" && subresource === undefined) {
    const decision = own(host);
    return decision.allowed ? { ...decision, onlyName: true } : decision;
  }
  if (resource === "hosts" && subresource === "status") return own(host);
  if (resource === "leases" && subresource === undefined) return own(`host-${host}`);
  // Not by patches, of which it could not be told whose event comes out.
  if (resource === "events" && subresource === undefined && verb !== "patch")
    return { allowed: true, onlyEventsOf: host };
  if (resource === "instances" && verb !== "create") return { allowed: true, onlyInstancesOf: host };
  return no(`hosts may not write ${resource}`);
}

/** The object with nothing but its name. */
export function onlyNameOf(body: unknown): unknown {
  if (!isFields(body)) return body;
  const { name } = isFields(body.metadata) ? body.metadata : {};
  return { ...body, metadata: { name }, spec: {} };
}

/** @throws ApiError Forbidden */
export function forbid(user: User, attributes: Attributes, reason: string): never {
  const { verb, group, resource, subresource, namespace, name } = attributes;
  const what = group ? `${resource}.${group}` : resource;
  const where = namespace ? `in the namespace "${namespace}"` : "at the cluster scope";
  throw new ApiError(
    "Forbidden",
    `${what}${name ? ` "${name}"` : ""} is forbidden: User "${user.name}" cannot ${verb} resource "${resource}${subresource ? `/${subresource}` : ""}" in API group "${group}" ${where}: ${reason}`,
    { ...(name ? { name } : {}), group, kind: resource },
  );
}

/** What an agent may say in a write to an instance besides its status. */
const IDENTITY = ["name", "namespace", "uid", "resourceVersion"];

/** Whether a patch of an Instance changes nothing but its finalizers. */
export function patchesOnlyFinalizers(type: "merge" | "json", patch: unknown): boolean {
  if (type === "json")
    return (
      Array.isArray(patch) &&
      patch.every(
        (operation) =>
          isFields(operation) &&
          (operation.op === "test" ||
            // move and copy have a second path: not needed, so not allowed.
            (["add", "remove", "replace"].includes(String(operation.op)) &&
              /^\/metadata\/finalizers(\/|$)/.test(String(operation.path)))),
      )
    );
  return (
    isFields(patch) &&
    Object.keys(patch).every((key) => ["apiVersion", "kind", "metadata"].includes(key)) &&
    isFields(patch.metadata) &&
    Object.keys(patch.metadata).every((key) => key === "finalizers" || IDENTITY.includes(key))
  );
}

/**
 * The current object with the finalizers of the update: what an agent's PUT of an Instance comes down to. Whatever else the
 * body says is left out instead of compared, so that there is nothing to get wrong.
 * @throws ApiError Conflict when the body is of another version than `current`
 */
export function withFinalizersOf(current: Resource, body: unknown): unknown {
  const metadata = isFields(body) && isFields(body.metadata) ? body.metadata : {};
  const { finalizers: _, ...kept } = current.metadata;
  // Were the two different, the current object's older fields would be written over what the body's version has.
  if (metadata.resourceVersion !== kept.resourceVersion)
    throw new ApiError(
      "Conflict",
      `Operation cannot be fulfilled on instances.${GROUP} "${kept.name}": the object has been modified; please apply your changes to the latest version and try again`,
      { name: kept.name, group: GROUP, kind: "instances" },
    );
  return {
    ...current,
    metadata: {
      ...kept,
      ...(metadata.finalizers === undefined ? {} : { finalizers: metadata.finalizers }),
    },
  };
}
