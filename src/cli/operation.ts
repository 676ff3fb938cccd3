/** Objects that stand for something to be done (a snapshot, a rollback, a move): made, and told of until it is over. */
import type { Client, NewObject } from "../client/client.ts";
import { Informer } from "../reconcile/informer.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { UserError } from "./user-error.ts";

/** How it stands: a line for people, and whether that is the end. */
export interface Standing {
  line: string;
  over?: "done" | "failed";
}

/**
 * Creates the object and prints how it goes on, each line once. Who stops waiting (the signal) stops nothing else.
 * @throws UserError when it failed, or the time was over, with what was seen last
 */
export async function carryOut<T extends Resource>(
  client: Client,
  kind: Kind<T>,
  object: NewObject<T>,
  options: { timeoutMs: number; signal: AbortSignal; standing: (object: T) => Standing },
  print: (line: string) => void,
): Promise<void> {
  const { metadata } = await client.create(kind, object);
  await follow(client, kind, metadata, options, print);
}

/**
 * The same for an object that is there.
 * @throws UserError when it failed, or the time was over, with what was seen last
 */
export async function follow<T extends Resource>(
  client: Client,
  kind: Kind<T>,
  metadata: Resource["metadata"],
  options: { timeoutMs: number; signal: AbortSignal; standing: (object: T) => Standing },
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
      `${what} is not over after ${options.timeoutMs / 1000} s, and goes on: ${last}; \`vireo get ${what} -w\` tells more`,
    );
}

/**
 * Looks at an object that is there, each time it changes, until that says that it is over.
 * @returns what it said; "gone" when the object was deleted, "late" when the time was over, undefined when nobody waits any more (the signal)
 */
export async function untilOver<T extends Resource, Over extends string>(
  client: Client,
  kind: Kind<T>,
  { name, namespace, uid }: Resource["metadata"],
  options: { timeoutMs: number; signal: AbortSignal },
  look: (now: T) => Over | undefined,
): Promise<Over | "gone" | "late" | undefined> {
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
  return over ?? (timeout.aborted ? "late" : undefined);
}
