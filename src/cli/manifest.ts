/** Reads manifests (YAML or JSON, several documents a file) and applies them. */
import { readFileSync, statSync } from "node:fs";
import { LineCounter, parseAllDocuments } from "yaml";
import type { Client } from "../client/client.ts";
import { KINDS } from "../kinds.ts";
import { ApiError } from "../resource/errors.ts";
import { API_VERSION, type Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { UserError } from "./user-error.ts";

export interface Document {
  kind: Kind;
  object: Resource;
  /** "shop.yaml:12": file and line where the document begins. */
  where: string;
}

/** The server refuses more than 3 MiB an object; a file of many objects may be larger, but not absurd. */
const MAX_FILE_BYTES = 32 * 2 ** 20;

/** @throws UserError naming file and line */
export function readManifest(file: string): Document[] {
  let size: number;
  try {
    size = statSync(file).size;
  } catch {
    throw new UserError(`${file}: no such file`);
  }
  if (size > MAX_FILE_BYTES)
    throw new UserError(
      `${file}: ${size} bytes are more than a manifest may have (${MAX_FILE_BYTES}); split it`,
    );
  return parseManifest(readFileSync(file, "utf8"), file);
}

/** @throws UserError naming `name` and the line */
export function parseManifest(text: string, name: string): Document[] {
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
    documents.push({ ...recognise(value, where), where });
  }
  if (documents.length === 0) throw new UserError(`${name}: holds no object`);
  return documents;
}

function recognise(value: unknown, where: string): { kind: Kind; object: Resource } {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new UserError(`${where}: not an object; it needs apiVersion, kind, metadata and spec`);
  const field = (key: string): unknown => Reflect.get(value, key);
  const kind = KINDS.find((candidate) => candidate.kind === field("kind"));
  if (!kind)
    throw new UserError(
      `${where}: kind: ${JSON.stringify(field("kind"))} is unknown; kinds are ${KINDS.map((k) => k.kind).join(", ")}`,
    );
  if (field("apiVersion") !== API_VERSION)
    throw new UserError(
      `${where}: apiVersion: ${JSON.stringify(field("apiVersion"))} is not "${API_VERSION}"`,
    );
  const metadata = field("metadata");
  const name = typeof metadata === "object" && metadata !== null ? Reflect.get(metadata, "name") : undefined;
  if (typeof name !== "string") throw new UserError(`${where}: metadata.name: is missing`);
  // Safe: what matters of the shape was looked at above; the server validates all of it against the schema.
  return { kind, object: value as Resource };
}

/** Creates the object, or changes the stored one to what the document says (merge patch). */
export async function applyDocument(client: Client, document: Document): Promise<"created" | "configured"> {
  const { kind, object, where } = document;
  const namespace = kind.namespaced ? (object.metadata.namespace ?? "default") : undefined;
  const at = { name: object.metadata.name, ...(namespace ? { namespace } : {}) };
  const metadata = { ...object.metadata, ...(namespace ? { namespace } : {}) };
  try {
    if (await client.get(kind, at)) {
      await client.patch(kind, at, { ...object, metadata });
      return "configured";
    }
    await client.create(kind, { metadata, spec: object.spec });
    return "created";
  } catch (error) {
    if (error instanceof ApiError) throw new UserError(`${where}: ${error.message}`, { cause: error });
    throw error;
  }
}
