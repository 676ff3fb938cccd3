/** What the resource verbs (get, apply, delete, …) share: which kind and object the words of a command line name. */
import { isResource } from "../client/answers.ts";
import { discover, findKind, resourcePath, type ServedKind, wordsFor } from "../client/discovery.ts";
import type { HttpClient } from "../client/http.ts";
import type { Connection } from "../client/kubeconfig.ts";
import { ApiError, isApiError } from "../resource/errors.ts";
import { isFields } from "../resource/fields.ts";
import { hint } from "../resource/nearest.ts";
import type { Resource } from "../resource/object.ts";
import { openConnection } from "./connect.ts";
import type { StatePaths } from "./paths.ts";
import { UserError } from "./user-error.ts";

/** The options that every resource verb has. */
export interface Place {
  paths: StatePaths;
  kubeconfig?: string;
  namespace?: string;
  allNamespaces?: boolean;
}

export interface Session {
  client: HttpClient;
  kinds: readonly ServedKind[];
  /** The namespace that is meant; undefined for all. */
  namespace: string | undefined;
  connection: Connection;
}

/** One object that was named, or (without name) all of its kind. */
export interface Named {
  kind: ServedKind;
  name?: string;
}

/** @throws UserError, ApiError */
export async function openSession(place: Place): Promise<Session> {
  const connection = openConnection(place.paths, place.kubeconfig);
  const kinds = await discover(connection.client);
  const namespace = place.allNamespaces ? undefined : (place.namespace ?? connection.namespace);
  return { client: connection.client, kinds, namespace, connection };
}

/** @throws UserError with the nearest kind there is */
export function kindOf(kinds: readonly ServedKind[], word: string): ServedKind {
  const found = findKind(kinds, word);
  if (found) return found;
  // Reviews are questions, no objects; events are of two groups.
  const listed = kinds.filter(({ verbs }) => verbs.includes("list")).map(({ plural }) => plural);
  throw new UserError(
    `there is no kind ${JSON.stringify(word)}${hint(word, wordsFor(kinds))} (kinds are ${[...new Set(listed)].join(", ")})`,
  );
}

/** The kinds of "vm", "vm,hosts", or of a category ("all"). */
function kindsOf(kinds: readonly ServedKind[], words: string): ServedKind[] {
  const found = words
    .split(",")
    .filter(Boolean)
    .flatMap((word) => {
      const category = kinds.filter((kind) => kind.categories.includes(word) && kind.verbs.includes("list"));
      return category.length > 0 && !findKind(kinds, word) ? category : [kindOf(kinds, word)];
    });
  return [...new Set(found)];
}

/**
 * What the words after a verb name: `vm`, `vm,hosts`, `vm web-1 web-2`, `vm/web-1 host/a`.
 * @throws UserError
 */
export function parseNames(kinds: readonly ServedKind[], words: readonly string[]): Named[] {
  if (words.some((word) => word.includes("/")))
    return words.map((word) => {
      const [kind = "", name = "", ...more] = word.split("/");
      if (!kind || !name || more.length > 0)
        throw new UserError(`${JSON.stringify(word)} is not KIND/NAME, as the other words are`);
      return { kind: kindOf(kinds, kind), name };
    });
  const [first, ...names] = words;
  if (first === undefined)
    throw new UserError("name a kind, for example vm; `vireo get all` shows everything");
  const named = kindsOf(kinds, first);
  return names.length === 0
    ? named.map((kind) => ({ kind }))
    : named.flatMap((kind) => names.map((name) => ({ kind, name })));
}

/**
 * What a word names where only objects of one kind are meant: "a", or with any word for the kind, "host/a".
 * @param kind "host"
 * @throws UserError
 */
export function parseName(
  kinds: readonly ServedKind[],
  kind: string,
  word: string,
): Named & { name: string } {
  const [named] = parseNames(kinds, [word.includes("/") ? word : `${kind}/${word}`]);
  if (!named?.name || named.kind !== kindOf(kinds, kind))
    throw new UserError(`${JSON.stringify(word)} is no ${kind}; say ${kind}/NAME`);
  return { kind: named.kind, name: named.name };
}

/** "virtualmachine.vireo.dev/web", as kubectl writes names. */
export const fullName = (kind: ServedKind, name: string) =>
  `${kind.singular}${kind.group ? `.${kind.group}` : ""}/${name}`;

export const pathTo = (session: Session, { kind, name }: Named, namespace = session.namespace) =>
  resourcePath(kind, { namespace: namespace ?? (name ? "default" : undefined), name });

/** @throws ApiError InternalError when the answer is no object */
export function asResource(answer: unknown): Resource {
  if (isResource(answer)) return answer;
  throw new ApiError("InternalError", "the server's answer is not an object");
}

export function itemsOf(answer: unknown): Resource[] {
  return isFields(answer) && Array.isArray(answer.items) ? answer.items.map(asResource) : [];
}

/** @param selector of labels; all of the kind without it */
export async function listObjects(
  session: Session,
  kind: ServedKind,
  selector?: string,
): Promise<Resource[]> {
  const path = `${pathTo(session, { kind })}${query({ labelSelector: selector })}`;
  return itemsOf(await session.client.request({ method: "GET", path }));
}

/** The object, or undefined when there is none. */
export async function read(client: HttpClient, path: string): Promise<Resource | undefined> {
  try {
    return asResource(await client.request({ method: "GET", path }));
  } catch (error) {
    // A page that is missing is another error than an object that is.
    if (isApiError(error, "NotFound") && error.details.name !== undefined) return undefined;
    throw error;
  }
}

/** The object. @throws UserError that tells which names there are near it */
export async function readNamed(session: Session, named: Named & { name: string }): Promise<Resource> {
  const { client } = session;
  const found = await read(client, pathTo(session, named));
  if (found) return found;
  const others = await listObjects(session, named.kind).catch(() => []);
  throw notFound(
    session,
    named,
    others.map(({ metadata }) => metadata.name),
  );
}

export function notFound(
  session: Session,
  { kind, name }: Named & { name: string },
  others: readonly string[],
) {
  const where = kind.namespaced ? ` in the namespace ${session.namespace ?? "default"}` : "";
  return new UserError(
    `there is no ${kind.singular} ${JSON.stringify(name)}${where}${hint(name, others) || `; \`vireo get ${kind.plural}${kind.namespaced ? " -A" : ""}\` shows which there are`}`,
  );
}

/** "?a=b", or "" when nothing is given. */
export function query(parameters: Record<string, string | undefined>): string {
  const given = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) if (value !== undefined) given.set(key, value);
  return given.size ? `?${given}` : "";
}
