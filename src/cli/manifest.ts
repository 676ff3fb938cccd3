/** Reads manifests (YAML or JSON, several documents a file). */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { LineCounter, parseAllDocuments } from "yaml";
import { isFields } from "../resource/fields.ts";
import { hint } from "../resource/nearest.ts";
import type { Resource } from "../resource/object.ts";
import { UserError } from "./user-error.ts";

/** An object of a manifest, of whatever kind. */
export interface Document {
  object: Resource;
  /** "shop.yaml:12": file and line where the document begins. */
  where: string;
}

/** The server refuses more than 3 MiB an object; a file of many objects may be larger, but not absurd. */
const MAX_FILE_BYTES = 32 * 2 ** 20;
const MANIFEST = /\.(ya?ml|json)$/;

/** A file, a folder (its manifests, not those of folders in it), or "-" for the standard input. @throws UserError naming file and line */
export async function readDocuments(file: string): Promise<Document[]> {
  if (file === "-") {
    const parts: Buffer[] = [];
    let size = 0;
    for await (const part of process.stdin) {
      size += part.length;
      if (size > MAX_FILE_BYTES) throw tooLarge("stdin", size);
      parts.push(part);
    }
    return parseDocuments(Buffer.concat(parts).toString("utf8"), "stdin");
  }
  const stat = statSync(file, { throwIfNoEntry: false });
  if (!stat) throw new UserError(`${file}: no such file`);
  if (stat.isDirectory()) {
    const names = readdirSync(file).filter((name) => MANIFEST.test(name));
    if (names.length === 0) throw new UserError(`${file}: holds no .yaml, .yml or .json file`);
    return (await Promise.all(names.sort().map((name) => readDocuments(join(file, name))))).flat();
  }
  if (stat.size > MAX_FILE_BYTES) throw tooLarge(file, stat.size);
  return parseDocuments(readFileSync(file, "utf8"), file);
}

const tooLarge = (file: string, size: number) =>
  new UserError(`${file}: ${size} bytes are more than a manifest may have (${MAX_FILE_BYTES}); split it`);

/** @throws UserError naming `name` and the line */
export function parseDocuments(text: string, name: string): Document[] {
  const lines = new LineCounter();
  const documents: Document[] = [];
  for (const document of parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true })) {
    const where = `${name}:${lines.linePos(document.contents?.range?.[0] ?? document.range?.[0] ?? 0).line}`;
    const [error] = document.errors;
    if (error)
      throw new UserError(`${name}:${error.linePos?.[0].line ?? "?"}: ${error.message.split("\n")[0]}`);
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: 100 });
    } catch (cause) {
      throw new UserError(`${where}: ${cause instanceof Error ? cause.message : "cannot be read"}`);
    }
    if (value === null || value === undefined) continue;
    // What `get -o yaml` prints of several objects.
    const items =
      isFields(value) &&
      typeof value.kind === "string" &&
      value.kind.endsWith("List") &&
      Array.isArray(value.items)
        ? value.items
        : [value];
    for (const item of items) documents.push({ object: shaped(item, where), where });
  }
  if (documents.length === 0) throw new UserError(`${name}: holds no object`);
  return documents;
}

function shaped(value: unknown, where: string): Resource {
  if (!isFields(value))
    throw new UserError(`${where}: not an object; it needs apiVersion, kind, metadata and spec`);
  for (const field of ["kind", "apiVersion"])
    if (typeof value[field] !== "string" || value[field] === "")
      throw new UserError(
        `${where}: ${field}: ${value[field] === undefined ? "is missing" : `${JSON.stringify(value[field])} is not a text`}; it needs apiVersion, kind, metadata and spec`,
      );
  const { metadata } = value;
  if (!isFields(metadata) || typeof metadata.name !== "string" || metadata.name === "")
    throw new UserError(`${where}: metadata.name: is missing`);
  // Safe: what matters of the shape was looked at above; the server validates all of it against the schema.
  return value as unknown as Resource;
}

/** The kind of a document's object among `kinds`. @throws UserError with the nearest there is */
export function kindIn<K extends { group: string; version: string; kind: string }>(
  kinds: readonly K[],
  { object, where }: Document,
): K {
  const apiVersionOf = ({ group, version }: K) => (group ? `${group}/${version}` : version);
  const found = kinds.find((kind) => kind.kind === object.kind && apiVersionOf(kind) === object.apiVersion);
  if (found) return found;
  const elsewhere = kinds.filter((kind) => kind.kind === object.kind).map(apiVersionOf);
  if (elsewhere.length > 0)
    throw new UserError(
      `${where}: apiVersion: ${JSON.stringify(object.apiVersion)} has no ${object.kind}; it is in ${elsewhere.join(" and ")}`,
    );
  const known = kinds.map(({ kind }) => kind);
  throw new UserError(
    `${where}: kind: ${JSON.stringify(object.kind)} is unknown${hint(object.kind, known)}; kinds are ${known.join(", ")}`,
  );
}
