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
  { name, namespace, uid }: Resource["metadata"],
  options: { timeoutMs: number; signal: AbortSignal; standing: (object: T) => Standing },
  print: (line: string) => void,
): Promise<void> {
  const what = `${kind.singular}/${name}`;
  const watching = new AbortController();
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = AbortSignal.any([options.signal, watching.signal, timeout]);
  const informer = new Informer(client, kind, {
    ...(namespace ? { namespace } : {}),
    fieldSelector: `metadata.name=${name}`,
  });
  let last: Standing = { line: "nobody has begun with it yet" };
  let gone = false;
  informer.onChange((_key, now) => {
    if (now && now.metadata.uid !== uid) return;
    gone = now === undefined;
    const standing = now ? options.standing(now) : { line: "was deleted", over: "failed" as const };
    if (standing.line !== last.line && standing.over !== "failed") print(`${what} ${standing.line}`);
    last = standing;
    if (standing.over) watching.abort();
  });
  await informer.run(signal);
  if (last.over === "failed") throw new UserError(`${what} ${gone ? "" : "failed: "}${last.line}`);
  if (!last.over && timeout.aborted)
    throw new UserError(
      `${what} is not over after ${options.timeoutMs / 1000} s, and goes on: ${last.line}; \`vireo get ${what} -w\` tells more`,
    );
}
