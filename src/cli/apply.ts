/**
 * `vireo apply`: makes stored objects what manifests say, by server-side apply: the server keeps who set which field, and takes away what has gone
 * from the manifest.
 */
import { isDeepStrictEqual } from "node:util";
import { resourcePath, type ServedKind } from "../client/discovery.ts";
import type { HttpClient } from "../client/http.ts";
import { ApiError, isApiError } from "../resource/errors.ts";
import type { Resource } from "../resource/object.ts";
import { type Document, kindIn, readDocuments } from "./manifest.ts";
import { asResource, openSession, type Place, query, read } from "./resources.ts";
import { UserError } from "./user-error.ts";

export interface ApplyOptions extends Place {
  files: readonly string[];
  dryRun: boolean;
  forceConflicts: boolean;
}

type Applicable = Pick<ServedKind, "group" | "version" | "plural" | "namespaced">;
export type Applied = "created" | "configured" | "unchanged";

/** @throws UserError naming file and line */
export async function apply(options: ApplyOptions, print: (line: string) => void): Promise<void> {
  // All manifests are read before the first is applied.
  const documents = (await Promise.all(options.files.map(readDocuments))).flat();
  const session = await openSession(options);
  const writable = session.kinds.filter(({ verbs }) => verbs.includes("patch"));
  for (const document of documents) {
    const { object, where } = document;
    const given = object.metadata.namespace;
    if (options.namespace !== undefined && given !== undefined && given !== options.namespace)
      throw new UserError(
        `${where}: metadata.namespace: is ${JSON.stringify(given)}, but -n says ${JSON.stringify(options.namespace)}`,
      );
    const kind = kindIn(writable, document);
    const result = await applyDocument(session.client, kind, document, options, session.namespace);
    print(`${kind.singular}/${object.metadata.name} ${result}${options.dryRun ? " (dry run)" : ""}`);
  }
}

/**
 * Creates the object, or changes the stored one to what the manifest says. `namespace`: where it belongs when it does not say.
 * @throws UserError naming file and line
 */
export async function applyDocument(
  client: HttpClient,
  kind: Applicable,
  { object, where }: Document,
  options: { dryRun?: boolean; forceConflicts?: boolean },
  namespace = "default",
): Promise<Applied> {
  const placed = inNamespace(kind, object, object.metadata.namespace ?? namespace);
  try {
    return await applyObject(client, kind, placed, options);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const help = isApiError(error, "Conflict") ? "; --force-conflicts takes these fields over" : "";
    throw new UserError(`${where}: ${error.message}${help}`, { cause: error });
  }
}

function inNamespace(kind: Applicable, object: Resource, namespace: string): Resource {
  if (kind.namespaced) return { ...object, metadata: { ...object.metadata, namespace } };
  const { namespace: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}

async function applyObject(
  client: HttpClient,
  kind: Applicable,
  object: Resource,
  options: { dryRun?: boolean; forceConflicts?: boolean },
): Promise<Applied> {
  const { name, namespace } = object.metadata;
  const path = resourcePath(kind, { namespace, name });
  const common = {
    fieldManager: "vireo-cli",
    fieldValidation: "Strict",
    dryRun: options.dryRun ? "All" : undefined,
  };
  const before = await read(client, path);
  const answer = await client.request({
    method: "PATCH",
    path: `${path}${query({ ...common, force: String(options.forceConflicts ?? false) })}`,
    body: object,
    contentType: "application/apply-patch+yaml",
  });
  return resultOf(before, asResource(answer));
}

function resultOf(before: Resource | undefined, after: Resource): Applied {
  if (!before) return "created";
  const content = ({ managedFields: _, resourceVersion: __, ...metadata }: Resource["metadata"]) => metadata;
  // Who applied what may have changed although what is there has not.
  const same = isDeepStrictEqual(
    { ...before, metadata: content(before.metadata) },
    { ...after, metadata: content(after.metadata) },
  );
  return same ? "unchanged" : "configured";
}
