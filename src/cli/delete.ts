/**
 * `vireo delete`: only what is named. Several at once by label or --all are listed first, and deleted only with --yes (rule 8: destroying
 * takes an explicit request).
 */
import { resourcePath, type ServedKind } from "../client/discovery.ts";
import { isApiError } from "../resource/errors.ts";
import type { Resource } from "../resource/object.ts";
import { kindIn, readDocuments } from "./manifest.ts";
import {
  listObjects,
  openSession,
  type Place,
  parseNames,
  query,
  readNamed,
  type Session,
} from "./resources.ts";
import { stoppedBy } from "./stop-signal.ts";
import { UserError } from "./user-error.ts";
import { untilGone } from "./wait.ts";

export interface DeleteOptions extends Place {
  files: readonly string[];
  selector?: string;
  all: boolean;
  yes: boolean;
  dryRun: boolean;
  ignoreNotFound: boolean;
  wait: boolean;
  timeoutMs: number;
  signal: AbortSignal;
}

interface Victim {
  kind: ServedKind;
  object: Resource;
}

/** @throws UserError */
export async function deleteObjects(
  words: readonly string[],
  options: DeleteOptions,
  print: (line: string) => void,
): Promise<void> {
  const documents = (await Promise.all(options.files.map(readDocuments))).flat();
  const session = await openSession(options);
  const victims: Victim[] = [];
  for (const document of documents) {
    const { object } = document;
    const kind = kindIn(session.kinds, document);
    const namespace = object.metadata.namespace ?? session.namespace ?? "default";
    await add(victims, { ...session, namespace }, kind, object.metadata.name, options);
  }
  if (words.length > 0) {
    const named = parseNames(session.kinds, words);
    const many = named.filter(({ name }) => name === undefined);
    if (many.length > 0) victims.push(...(await chosen(session, many, options)));
    for (const { kind, name } of named)
      if (name !== undefined) await add(victims, session, kind, name, options);
  } else if (documents.length === 0)
    throw new UserError("name what to delete, for example vm/web-1, or give -f FILE");

  const byChoice = options.all || options.selector !== undefined;
  if (byChoice && !options.yes && !options.dryRun && victims.length > 0)
    throw new UserError(
      `this would delete ${victims.length}:\n${victims.map((victim) => `  ${label(victim)}`).join("\n")}\nnothing was deleted; say --yes when that is meant`,
    );
  for (const [done, { kind, object }] of victims.entries()) {
    if (options.signal.aborted)
      throw stoppedBy(
        options.signal,
        `stopped: ${done} of ${victims.length} ${options.dryRun ? "were checked" : "are deleted, or being deleted"}; the others stay`,
      );
    const { name, namespace, uid } = object.metadata;
    try {
      await session.client.request({
        method: "DELETE",
        path: `${resourcePath(kind, { namespace, name })}${query({ dryRun: options.dryRun ? "All" : undefined })}`,
        // By uid: one that was made anew under the name meanwhile was not seen by whoever asks.
        body: { kind: "DeleteOptions", apiVersion: "v1", ...(uid ? { preconditions: { uid } } : {}) },
      });
    } catch (error) {
      if (!isApiError(error, "NotFound") || error.details.name === undefined) throw error;
    }
  }
  const deadline = Date.now() + options.timeoutMs;
  for (const victim of victims) {
    const { kind, object } = victim;
    if (options.wait && !options.dryRun)
      await untilGone(session, kind, object, { deadline, signal: options.signal });
    print(
      `${label(victim)} ${options.wait || options.dryRun ? "deleted" : "is being deleted"}${options.dryRun ? " (dry run)" : ""}`,
    );
  }
  if (victims.length === 0) print("nothing to delete");
}

const label = ({ kind, object: { metadata } }: Victim) =>
  `${kind.singular}/${metadata.name}${metadata.namespace && metadata.namespace !== "default" ? ` in ${metadata.namespace}` : ""}`;

async function add(
  victims: Victim[],
  session: Session,
  kind: ServedKind,
  name: string,
  options: DeleteOptions,
): Promise<void> {
  try {
    victims.push({ kind, object: await readNamed(session, { kind, name }) });
  } catch (error) {
    if (!(options.ignoreNotFound && error instanceof UserError)) throw error;
  }
}

async function chosen(
  session: Session,
  many: readonly { kind: ServedKind }[],
  options: DeleteOptions,
): Promise<Victim[]> {
  if (!options.all && options.selector === undefined)
    throw new UserError(
      `name which ${many.map(({ kind }) => kind.plural).join(", ")} to delete, or choose by label with -l, or say --all`,
    );
  const found = await Promise.all(
    many.map(async ({ kind }) =>
      (await listObjects(session, kind, options.selector)).map((object) => ({ kind, object })),
    ),
  );
  return found.flat();
}
