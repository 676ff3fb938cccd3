/** Objects that stand for something to be done (a snapshot, a rollback, a move): made, and told of until it is over. */
import type { Client, NewObject } from "../client/client.ts";
import { Informer } from "../reconcile/informer.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { stoppedBy } from "./stop-signal.ts";
import { UserError } from "./user-error.ts";

/** How it stands: a line for people, and whether that is the end. */
export interface Standing {
  line: string;
  over?: "done" | "failed";
}

export interface Waiting {
  timeoutMs: number;
  /** Who stops waiting stops nothing else. */
  signal: AbortSignal;
  /** What is told then, where it is not that it goes on. */
  left?: string;
}

/**
 * Creates the object and prints how it goes on, each line once.
 * @throws UserError when it failed, the time was over (with what was seen last), or nobody waits any more
 */
export async function carryOut<T extends Resource>(
  client: Client,
  kind: Kind<T>,
  object: NewObject<T>,
  options: Waiting & { standing: (object: T) => Standing },
  print: (line: string) => void,
): Promise<void> {
  const { metadata } = await client.create(kind, object);
  await follow(client, kind, metadata, options, print);
}

/** The same for an object that is there. */
export async function follow<T extends Resource>(
  client: Client,
  kind: Kind<T>,
  metadata: Resource["metadata"],
  options: Waiting & { standing: (object: T) => Standing },
  print: (line: string) => void,
): Promise<void> {
  const what = `${kind.singular}/${metadata.name}`;
  let last = "nobody has begun with it yet";
  const over = await untilOver(client, kind, metadata, options, (now) => {
    const standing = options.standing(now);
    if (standing.line !== last && standing.over !== "failed") print(`${what} ${standing.line}`);
    last = standing.line;
    return standing.over;
  });
  if (over === "gone") throw new UserError(`${what} was deleted`);
  if (over === "failed") throw new UserError(`${what} failed: ${last}`);
  if (over === "late")
    throw new UserError(
      `${what} is not over after ${options.timeoutMs / 1000} s, and goes on: ${last}; ${tellsMore(kind, metadata)}`,
    );
}

/** What to ask when nobody waits any more. With its namespace: the user's own may be another. */
export const tellsMore = (
  { singular }: Pick<Kind, "singular">,
  { name, namespace }: Pick<Resource["metadata"], "name" | "namespace">,
): string =>
  `\`vireo get ${singular}/${name}${namespace === undefined ? "" : ` -n ${namespace}`} -w\` tells more`;

/**
 * Looks at an object that is there, each time it changes, until that says that it is over.
 * @returns what it said; "gone" when the object was deleted, "late" when the time was over
 * @throws UserError when nobody waits any more
 */
export async function untilOver<T extends Resource, Over extends string>(
  client: Client,
  kind: Kind<T>,
  { name, namespace, uid }: Resource["metadata"],
  options: Waiting,
  look: (now: T) => Over | undefined,
): Promise<Over | "gone" | "late"> {
  const watching = new AbortController();
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const informer = new Informer(client, kind, {
    ...(namespace ? { namespace } : {}),
    fieldSelector: `metadata.name=${name}`,
  });
  let over: Over | "gone" | undefined;
  let seen = false;
  informer.onChange((_key, now, old) => {
    // A control plane that lags behind may still have one of the same name from before, and then delete it.
    if (over || (!seen && (now ?? old)?.metadata.uid !== uid)) return;
    seen = true;
    over = now && now.metadata.uid === uid ? look(now) : "gone";
    if (over) watching.abort();
  });
  await informer.run(AbortSignal.any([options.signal, watching.signal, timeout]));
  if (over) return over;
  if (timeout.aborted) return "late";
  const more = tellsMore(kind, { name, namespace });
  const { left = `${kind.singular}/${name} goes on, only nobody waits for it any more; ${more}` } = options;
  throw stoppedBy(options.signal, left);
}
