/** Which resource a path names. */
import { ApiError } from "../resource/errors.ts";
import { flag, pageNotFound } from "./exchange.ts";
import type { Served } from "./served.ts";
import type { Subresource } from "./subresource.ts";

export interface Target {
  served: Served;
  namespace?: string;
  name?: string;
  subresource?: string;
  /** The subresource, when it is none of the object itself. */
  apart?: Subresource;
}

/**
 * Splits a request's target into decoded path parts and query. Not `new URL()`: that would resolve "%2e%2e" and so let a path mean
 * something else than its parts say.
 * @throws ApiError BadRequest
 */
export function parseUrl(url: string): { path: string[]; query: URLSearchParams } {
  const mark = url.indexOf("?");
  const pathname = mark === -1 ? url : url.slice(0, mark);
  if (!pathname.startsWith("/")) throw new ApiError("BadRequest", "the request's target must be a path");
  const path = pathname
    .slice(1)
    .replace(/\/$/, "")
    .split("/")
    .map((part) => {
      let decoded: string;
      try {
        decoded = decodeURIComponent(part);
      } catch (cause) {
        throw new ApiError(
          "BadRequest",
          `the path has a wrong escape in ${JSON.stringify(part)}`,
          {},
          { cause },
        );
      }
      if (decoded === "." || decoded === ".." || /[/%\\\x00-\x1f\x7f]/.test(decoded))
        throw new ApiError("BadRequest", `the path part ${JSON.stringify(decoded)} is not a name`);
      return decoded;
    });
  return { path, query: new URLSearchParams(mark === -1 ? "" : url.slice(mark + 1)) };
}

/** @throws ApiError NotFound (a page, not an object) */
export function findTarget(all: readonly Served[], path: readonly string[]): Target {
  const [root, ...rest] = path;
  const [group, version, ...parts] = root === "api" ? ["", ...rest] : root === "apis" ? rest : [];
  // /api/v1/namespaces/NAME is the object, /api/v1/namespaces/NAME/things what is in it.
  const inNamespace = parts[0] === "namespaces" && parts.length > 2;
  const [plural, name, subresource, ...more] = inNamespace ? parts.slice(2) : parts;
  const namespace = inNamespace ? parts[1] : undefined;
  const served = all.find(
    ({ kind }) => kind.group === group && kind.version === version && kind.plural === plural,
  );
  const hasEmpty = path.includes("");
  if (!served || more.length > 0 || hasEmpty) throw pageNotFound();
  const has: Record<string, boolean> = {
    status: served.kind.hasStatus,
    scale: served.kind.scale !== undefined,
  };
  const apart = served.subresources?.find((one) => one.name === subresource);
  if (subresource !== undefined && !apart && !(Object.hasOwn(has, subresource) && has[subresource]))
    throw pageNotFound();
  if (!served.kind.namespaced && namespace !== undefined) throw pageNotFound();
  if (served.kind.namespaced && namespace === undefined && name !== undefined) throw pageNotFound();
  return {
    served,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
    ...(apart ? { apart } : {}),
  };
}

/** The API verb of a request. @throws ApiError MethodNotAllowed */
export function verbOf(method: string, target: Target, query: URLSearchParams): string {
  const { kind, verbs } = target.served;
  const named = target.name !== undefined;
  const verb = ((): string | undefined => {
    if (target.apart) return method === "GET" || method === "POST" ? target.apart.methods[method] : undefined;
    if (method === "GET") return flag(query.get("watch")) ? "watch" : named ? "get" : "list";
    if (method === "POST") return named ? undefined : "create";
    if (method === "PUT") return named ? "update" : undefined;
    if (method === "PATCH") return named ? "patch" : undefined;
    if (method === "DELETE") return named ? "delete" : "deletecollection";
    return undefined;
  })();
  const refused =
    verb === undefined ||
    !verbs.includes(verb) ||
    (target.subresource !== undefined && !target.apart && !["get", "update", "patch"].includes(verb));
  const resource = kind.group ? `${kind.plural}.${kind.group}` : kind.plural;
  if (refused)
    throw new ApiError("MethodNotAllowed", `${verb ?? method} is not supported on ${resource} at this path`, {
      group: kind.group,
      kind: kind.plural,
    });
  if ((verb === "create" || verb === "deletecollection") && kind.namespaced && !target.namespace)
    throw new ApiError(
      "MethodNotAllowed",
      `${verb} needs a namespace: use the path …/namespaces/NAMESPACE/${kind.plural}`,
      { group: kind.group, kind: kind.plural },
    );
  return verb;
}
