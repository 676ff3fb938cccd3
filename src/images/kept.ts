/** Files of JSON that builds keep for later ones. They can be made anew: what is damaged counts as not there. */
import { readFile } from "node:fs/promises";
import type { Static, TSchema } from "typebox";
import { Value } from "typebox/value";
import { writeDurably } from "../system/durable.ts";
import { isMissing } from "../system/exists.ts";

/** @returns undefined when there is none, or it is not what was kept. @throws Error of the file system */
export async function readKept<T extends TSchema>(path: string, schema: T): Promise<Static<T> | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    return Value.Check(schema, value) ? value : undefined;
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Whole or not at all, also when the machine loses its power meanwhile. @throws Error of the file system */
export function keep(path: string, value: unknown): Promise<void> {
  return writeDurably(path, JSON.stringify(value));
}
