/**
 * The merging of a layer with the one above it (layers.ts), up or down. Who copies, QEMU or qemu-img, says in the head of the upper file that it stands on what the
 * lower one stood on, or in that of the next that it stands on the lower one, before all that was copied is sure to be found there: killed at that moment, it would
 * have nothing of it. So what is being merged is written down first, in merging.json, and only what is sure on disk is taken out of it:
 *
 *   up     merging.json {into, from} ─► copied ─► flushed ─► merging.json gone ─► `from` gone
 *   down   merging.json {into, from} ─► copied ─► flushed ─► {into, from, sure} ─► `from` is what is named where `into` was ─► `into` gone ─► merging.json gone
 *
 * While it is there, `into` stands on `from`, whatever its head says, and what stands on `from` on `into`; before anybody opens them anew their heads are made to
 * say so again. That is right however much has been copied, either way: what `into` has covers the same below it. It is not right any more once a guest writes to
 * `from`: so its writes wait until `sure` is on disk (qemu/layer-merge.ts), and from then on `into` is nothing.
 */
import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { flush } from "../../system/durable.ts";
import { type LayerFolder, mergingIn } from "./layer-folder.ts";
import { LayersError, type Merging } from "./layer-records.ts";
import { NoRoomError } from "./merge-room.ts";
import { readHeader } from "./qcow2-head.ts";
import { own } from "./volume-files.ts";

/** Of a merge that may go down. */
export interface Down {
  /** The copying begins, or has failed: nothing is sure, whatever had been. */
  unsure: () => Promise<void>;
  /** `from` has all, on disk; nothing is written to it before this is done. */
  sure: () => Promise<void>;
}

/** Makes one of `into` and `from`, right below it, and has it sure on disk. @returns false when `into` is not open in a running machine */
export type Absorb = (into: string, from: string, down: Down) => Promise<boolean>;

/** Whether it is written down that the layer below `into`, a path, is what that was: what is answered outlives a power cut. @throws LayersError; Error of the file system */
export async function isSure(into: string): Promise<boolean> {
  const merging = await mergingIn(dirname(into));
  // An agent may have died between its new name and that.
  await flush(dirname(into));
  return merging?.sure === true && merging.into === basename(into);
}

/** A machine that has the disks. */
export interface Running {
  /** The paths of what it writes to. */
  written: readonly string[];
  absorb: Absorb;
}

/** @param into a layer's name, as `from`; or both as a merge that was cut short has left them. @throws NoRoomError when nothing has begun; LayersError; CommandError */
export async function merge(at: LayerFolder, into: string, from: string, absorb: Absorb): Promise<void> {
  const [upper, lower] = [at.path(into), at.path(from)];
  if (!(await at.merging())) await at.setMerging({ into, from });
  const hasAll = async () => (await at.merging())?.sure === true;
  const down: Down = {
    unsure: async () => {
      if (await hasAll()) await at.setMerging({ into, from });
    },
    sure: () => at.setMerging({ into, from, sure: true }),
  };
  try {
    const isOpen = await absorb(upper, lower, down);
    if (await hasAll()) return await takePlace(at, { into, from });
    if (!isOpen) {
      await restoreHeads(at, { into, from });
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

/**
 * After a merge that was cut short; no-op when there is none. @param running goes on with what is not sure, and closes what is not needed. While no machine
 * has the disks, that is taken back: what has been copied is of no use then, and no harm. @throws as merge
 */
export async function settleMerge(at: LayerFolder, running: Running | undefined): Promise<void> {
  const merging = await at.merging();
  if (!merging) return;
  if (merging.sure) {
    if (!running) await takePlace(at, merging);
    // QEMU goes on with it, or holds the guest's writes, and what they are to go to is written down anew before it lets them go.
    else if (running.written.includes(at.path(merging.into)))
      await at.setMerging({ into: merging.into, from: merging.from });
    // QEMU may have the upper one open, and would let nobody put an overlay on the lower.
    else await merge(at, merging.into, merging.from, running.absorb);
  } else if (!running) {
    await restoreHeads(at, merging);
    await at.setMerging(undefined);
  }
}

/** That what is kept of a machine's disks can be read by others. @throws LayersError */
export async function checkNoneMerging(at: LayerFolder): Promise<void> {
  if (await at.merging())
    throw new LayersError(
      "a layer of its disks is being merged, and that was cut short: delete a snapshot of it, or stop it, and try again",
    );
}

async function restoreHeads(at: LayerFolder, { into, from }: Merging): Promise<void> {
  await standOn(at, at.path(into), at.path(from), into);
  await at.tool.restore(at.path(into), at.path(from));
}

/** Has those layers of whose heads one names `before` stand on `now`. */
async function standOn(at: LayerFolder, now: string, before: string, but: string): Promise<void> {
  for (const file of await at.files()) {
    if (!file.endsWith(".qcow2") || file === but) continue;
    if ((await readHeader(at.path(file))).backing === before) await at.tool.restore(at.path(file), now);
  }
}

/** The layer below is from now on what the one above it was. Names follow the file: QEMU knows it by its path. */
async function takePlace(at: LayerFolder, { into, from }: Merging): Promise<void> {
  const [upper, lower] = [at.path(into), at.path(from)];
  const { uid, gid, mode } = await stat(upper);
  await own(lower, uid, gid, mode & 0o777); // it may have been lent
  for (const [id, record] of await at.records()) {
    const disk = Object.keys(record.layers).find((name) => record.layers[name] === into);
    if (disk) await at.write(id, { ...record, layers: { ...record.layers, [disk]: from } });
  }
  const { active, was, ...rest } = await at.pointer();
  const disk = Object.keys(active).find((name) => active[name] === into);
  if (disk)
    await at.setPointer({ ...rest, active: { ...active, [disk]: from }, was: { ...was, [disk]: into } });
  // What another branch has on it, which no machine has open: QEMU has changed the others.
  await standOn(at, lower, upper, from);
  await at.tool.remove(upper);
  await at.setMerging(undefined);
}
