/** The patches that resources take: JSON merge patch (RFC 7386) and JSON patch (RFC 6902). */

import { isDeepStrictEqual } from "node:util";
import { ApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";

/** As in Kubernetes. */
const MAX_OPERATIONS = 10_000;
/** Bytes that all copies of one patch may make together: each copy of the whole object into itself doubles it. */
const MAX_COPIED = 3 * 2 ** 20;

/** Sets without touching prototypes: `__proto__` becomes an ordinary key, which validation then drops as unknown. */
export function set(target: Record<string, unknown>, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

/** @returns a new value; neither argument is changed */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isFields(patch)) return structuredClone(patch);
  const result: Record<string, unknown> = isFields(target) ? { ...target } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else set(result, key, mergePatch(Object.hasOwn(result, key) ? result[key] : undefined, value));
  }
  return result;
}

const bad = (index: number, why: string) => new ApiError("BadRequest", `patch operation ${index}: ${why}`);

function pointer(path: unknown, index: number): string[] {
  if (typeof path !== "string" || (path !== "" && !path.startsWith("/")))
    throw bad(index, `path ${JSON.stringify(path)} is not a JSON pointer such as /spec/memory`);
  return path === ""
    ? []
    : path
        .slice(1)
        .split("/")
        .map((token) => token.replace(/~1/g, "/").replace(/~0/g, "~"));
}

/** @returns a new value. @throws ApiError: BadRequest for a malformed patch, Invalid for one that does not fit the object */
export function jsonPatch(target: unknown, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw new ApiError("BadRequest", "a JSON patch is a list of operations");
  if (patch.length > MAX_OPERATIONS)
    throw new ApiError(
      "RequestEntityTooLarge",
      `a JSON patch may have ${MAX_OPERATIONS} operations, not ${patch.length}`,
    );
  const root = { "": structuredClone(target) };
  let copied = 0;
  for (const [index, operation] of patch.entries()) {
    if (!isFields(operation)) throw bad(index, "is not an object with op and path");
    copied += apply(root, operation, index);
    if (copied > MAX_COPIED)
      throw new ApiError(
        "RequestEntityTooLarge",
        `patch operation ${index}: the copies of this patch are larger than ${MAX_COPIED} bytes`,
      );
  }
  return root[""];
}

/** @returns how many bytes were copied */
function apply(root: Record<string, unknown>, operation: Record<string, unknown>, index: number): number {
  const path = ["", ...pointer(operation.path, index)];
  const missing = (at: string[]) =>
    new ApiError(
      "Invalid",
      `the server rejected our request due to an error in our request: patch operation ${index}: nothing at ${JSON.stringify(at.slice(1).join("/"))}`,
    );
  const parentOf = (at: string[]): unknown => {
    let value: unknown = root;
    for (const key of at.slice(0, -1)) value = child(value, key, at);
    return value;
  };
  const child = (value: unknown, key: string, at: string[]): unknown => {
    if (Array.isArray(value) && /^\d+$/.test(key) && Number(key) < value.length) return value[Number(key)];
    if (isFields(value) && Object.hasOwn(value, key)) return value[key];
    throw missing(at);
  };
  const get = (at: string[]) => child(parentOf(at), at.at(-1) ?? "", at);
  const add = (at: string[], value: unknown) => {
    const [parent, key] = [parentOf(at), at.at(-1) ?? ""];
    if (Array.isArray(parent)) {
      if (key !== "-" && !(/^\d+$/.test(key) && Number(key) <= parent.length)) throw missing(at);
      parent.splice(key === "-" ? parent.length : Number(key), 0, value);
    } else if (isFields(parent)) set(parent, key, value);
    else throw missing(at);
  };
  const remove = (at: string[]) => {
    get(at);
    const [parent, key] = [parentOf(at), at.at(-1) ?? ""];
    if (Array.isArray(parent)) parent.splice(Number(key), 1);
    else if (isFields(parent)) delete parent[key];
  };
  switch (operation.op) {
    case "add":
      add(path, structuredClone(operation.value));
      return 0;
    case "remove":
      remove(path);
      return 0;
    case "replace":
      get(path);
      if (Array.isArray(parentOf(path))) remove(path);
      add(path, structuredClone(operation.value));
      return 0;
    case "copy": {
      const value = get(["", ...pointer(operation.from, index)]);
      add(path, structuredClone(value));
      return JSON.stringify(value)?.length ?? 0;
    }
    case "move": {
      const from = ["", ...pointer(operation.from, index)];
      const value = get(from);
      remove(from);
      add(path, value);
      return 0;
    }
    case "test":
      if (!isDeepStrictEqual(get(path), operation.value))
        throw new ApiError(
          "Invalid",
          `the server rejected our request due to an error in our request: patch operation ${index}: test of ${String(operation.path)} failed`,
        );
      return 0;
    default:
      throw bad(
        index,
        `op ${JSON.stringify(operation.op)} is unknown; ops are add, remove, replace, move, copy, test`,
      );
  }
}
