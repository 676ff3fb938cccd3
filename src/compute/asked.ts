/**
 * What users asked to be done with a machine, once: Migrations and Rollbacks. They go with the machine, so that a new one of its name does not have
 * them, and of those that are over only the newest few stay. One that is open and nobody's is taken for the machine's also when it was made first: both may have been applied together.
 */
import { type Client, modify } from "../client/client.ts";
import type { Kind } from "../resource/kind.ts";
import { byAge, type OwnerReference, type Resource } from "../resource/object.ts";
import { at, ignoreGone } from "./actions.ts";
import type { VirtualMachine } from "./kinds.ts";
import { ownerOf } from "./snapshots/tasks.ts";

/** Of those of one machine that are over. */
const KEPT = 10;

interface Asked extends Resource {
  status?: { finishedTime?: string };
}

/**
 * @param vm undefined: there is no such machine
 * @param asked all of that machine's name
 * @returns those that stay, as they are now
 */
export async function keepAsked<T extends Asked>(
  client: Client,
  kind: Kind<T>,
  vm: VirtualMachine | undefined,
  asked: readonly T[],
  isOver: (object: T) => boolean,
): Promise<T[]> {
  const isOwned = ({ metadata }: T) =>
    metadata.ownerReferences?.some(({ uid }) => uid === vm?.metadata.uid) ?? false;
  const made = ({ metadata }: Resource) => Date.parse(metadata.creationTimestamp ?? "");
  const ofAnother = (object: T) => vm !== undefined && !isOwned(object) && made(object) < made(vm);
  const end = ({ status }: T) => Date.parse(status?.finishedTime ?? "") || 0;
  const over = asked.filter(isOver).sort((a, b) => end(a) - end(b) || byAge(a, b));
  const gone = new Set([
    ...over.filter(ofAnother),
    ...over.filter((object) => !ofAnother(object)).slice(0, -KEPT),
  ]);
  for (const { metadata } of gone)
    await client.delete(kind, at({ metadata }), metadata.uid ? { uid: metadata.uid } : {}).catch(ignoreGone);
  const stay = asked.filter((object) => !gone.has(object));
  if (!vm) return stay;
  const owner = ownerOf(vm);
  return Promise.all(
    stay.map(async (object) => (isOwned(object) ? object : own(client, kind, object, owner))),
  );
}

async function own<T extends Resource>(
  client: Client,
  kind: Kind<T>,
  object: T,
  owner: OwnerReference,
): Promise<T> {
  const owned = await modify(client, kind, at(object), "object", (now) =>
    now.metadata.uid === object.metadata.uid
      ? {
          ...now,
          metadata: { ...now.metadata, ownerReferences: [...(now.metadata.ownerReferences ?? []), owner] },
        }
      : undefined,
  );
  return owned ?? object;
}
