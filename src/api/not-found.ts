/** Objects that are asked for and are not there. */
import type { Client, ObjectName } from "../client/client.ts";
import { ApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { resourceName } from "./prepare.ts";

export function notFound(kind: Pick<Kind, "group" | "plural">, name: string): ApiError {
  return new ApiError("NotFound", `${resourceName(kind)} ${JSON.stringify(name)} not found`, {
    name,
    group: kind.group,
    kind: kind.plural,
  });
}

/** @throws ApiError NotFound */
export async function found<T extends Resource>(client: Client, kind: Kind<T>, at: ObjectName): Promise<T> {
  const object = await client.get(kind, at);
  if (!object) throw notFound(kind, at.name);
  return object;
}
