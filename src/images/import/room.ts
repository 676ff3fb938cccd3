/** Imports never take the room in a storage pool that machines' disks need. */
import { LEAVE_FREE, roomIn } from "../../system/room.ts";
import { ContentError } from "./content.ts";

/** How often it is looked how much is left. */
const LOOK_MS = 250;

/** @param what "is larger", "needs more" */
export const tooLarge = (what: string, maxBytes: number) =>
  new ContentError(
    `${what} than the ${Math.floor(maxBytes / 2 ** 20)} MiB that are free in the storage pool`,
  );

/**
 * Does what writes to the pool, and ends it when others write there, too, and hardly anything is left of what was free.
 * @param action is given the room, and a signal whose reason is then a ContentError
 */
export async function withRoom<T>(
  folder: string,
  signal: AbortSignal,
  action: (maxBytes: number, signal: AbortSignal) => Promise<T>,
  free: (folder: string) => Promise<number> = roomIn,
): Promise<T> {
  const maxBytes = await free(folder);
  const full = new AbortController();
  const timer = setInterval(async () => {
    const left = await free(folder).catch(() => Number.POSITIVE_INFINITY); // what writes there tells why
    if (left < maxBytes * LEAVE_FREE)
      full.abort(new ContentError("needs more than is free in the storage pool, which others write to, too"));
  }, LOOK_MS);
  try {
    return await action(maxBytes, AbortSignal.any([signal, full.signal]));
  } finally {
    clearInterval(timer);
  }
}
