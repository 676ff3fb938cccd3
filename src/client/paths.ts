/** Where the API has things: paths of collections and objects, and their queries. Pure. */
import { ApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import type { ListOptions, ObjectName } from "./client.ts";

type Place = Pick<Kind, "group" | "version" | "plural">;

export function collectionOf(kind: Place, namespace: string | undefined): string {
  const root = kind.group ? `/apis/${kind.group}/${kind.version}` : `/api/${kind.version}`;
  return `${root}${namespace ? `/namespaces/${encodeURIComponent(namespace)}` : ""}/${kind.plural}`;
}

export function pathOf<T extends Resource>(kind: Kind<T>, at: ObjectName): string {
  if (!at.name) throw new ApiError("BadRequest", `the name of the ${kind.kind} is missing`);
  return `${collectionOf(kind, kind.namespaced ? at.namespace : undefined)}/${encodeURIComponent(at.name)}`;
}

export function selection(options: ListOptions): Record<string, string> {
  return {
    ...(options.labelSelector ? { labelSelector: options.labelSelector } : {}),
    ...(options.fieldSelector ? { fieldSelector: options.fieldSelector } : {}),
  };
}

export function queryOf(parameters: Record<string, string>): string {
  const text = new URLSearchParams(parameters).toString();
  return text && `?${text}`;
}
