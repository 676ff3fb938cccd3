/** Files of JSON that this program keeps for itself: written whole or not at all, and never taken for what they are not. */
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";
import { UserError } from "./user-error.ts";

/**
 * @param wayOut what somebody can do who has a file that is no such file
 * @returns undefined when there is none
 * @throws UserError that names the file, and what is wrong with it
 */
export function readOwn<T extends TSchema>(path: string, schema: T, wayOut: string): Static<T> | undefined {
  if (!existsSync(path)) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new UserError(`${path}: ${cause instanceof Error ? cause.message : cause}; ${wayOut}`, { cause });
  }
  if (Value.Check(schema, value)) return value;
  const [wrong] = Value.Errors(schema, value);
  throw new UserError(`${path}: ${wrong?.instancePath || "it"} ${wrong?.message ?? "is wrong"}; ${wayOut}`);
}

/** Its owner's alone. Whole or not at all, also when the machine loses its power meanwhile. */
export function writeOwn(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, JSON.stringify(value, undefined, 2), { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
}
