/**
 * The merging of a layer into the one above it (layers.ts). Who copies, QEMU or qemu-img, says in the head of the upper file that it stands on what the lower one
 * stood on before all that was copied is sure to be found there: killed at that moment, the upper one would have nothing of it. So what is being merged is
 * written down first, in merging.json, and only what is sure on disk is taken out of it:
 *
 *   merging.json {into, from} ─► copied ─► flushed ─► merging.json gone ─► `from` gone
 *
 * While it is there, `into` stands on `from`, whatever its head says, and before anybody opens `into` anew its head is made to say so again. That is right
 * however much has been copied: what `into` has covers the same below it.
 */
import type { LayerFolder } from "./layer-folder.ts";
import { LayersError } from "./layer-records.ts";
import { NoRoomError } from "./merge-room.ts";
import { readHeader } from "./qcow2-head.ts";

/** Takes what `from` holds into `into`, right above it, and has it sure on disk. @returns false when `into` is not open in a running machine */
export type Absorb = (into: string, from: string) => Promise<boolean>;

/** @param into a layer's name, as `from`; or both as a merge that was cut short has left them. @throws NoRoomError when nothing has begun; LayersError; CommandError */
export async function merge(at: LayerFolder, into: string, from: string, absorb: Absorb): Promise<void> {
  const [upper, lower] = [at.path(into), at.path(from)];
  await at.setMerging({ into, from });
  try {
    if (!(await absorb(upper, lower))) {
      await at.tool.restore(upper, lower);
      await at.tool.rebase(upper, lower);
    }
  } catch (error) {
    if (error instanceof NoRoomError) await at.setMerging(undefined);
    throw error;
  }
  if ((await readHeader(upper)).backing === lower)
    throw new LayersError("a layer of its disks was merged, and is still needed; it is tried again");
  await at.setMerging(undefined);
}

/** Takes back a merge that was cut short: no machine has the disks. What it has copied is of no use then, and no harm. No-op when there is none. */
export async function undoMerge(at: LayerFolder): Promise<void> {
  const merging = await at.merging();
  if (!merging) return;
  await at.tool.restore(at.path(merging.into), at.path(merging.from));
  await at.setMerging(undefined);
}

/** That what is kept of a machine's disks can be read by others. @throws LayersError */
export async function checkNoneMerging(at: LayerFolder): Promise<void> {
  if (await at.merging())
    throw new LayersError(
      "a layer of its disks is being merged, and that was cut short: delete a snapshot of it, or stop it, and try again",
    );
}
