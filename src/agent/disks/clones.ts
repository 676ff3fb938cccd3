/**
 * The disks of a clone (compute/clones/kinds.ts), in its own folder and from then on as any machine's: each an overlay of its template's layer, or a copy
 * of what that holds. What it goes on with is written down before its system disk is there, so a clone whose system disk is there is whole.
 */
import { join } from "node:path";
import type { InstanceSource } from "../../compute/clones/kinds.ts";
import { formatBytes } from "../../resource/quantity.ts";
import { exists } from "../../system/exists.ts";
import { PrepareError } from "../prepare-error.ts";
import { chainOf } from "./bases.ts";
import { type Copies, copyDisk } from "./copies.ts";
import { LayersError } from "./layer-records.ts";
import type { Layers } from "./layers.ts";
import { makeDisk } from "./make-disk.ts";
import { copyOrigin } from "./origin.ts";

/** The machine that a clone is made from. */
export interface Lender {
  folder: string;
  layers: Layers;
}

export interface Borrower {
  folder: string;
  layers: Layers;
  user: { uid: number; gid: number };
  /** All that its guest can write, the system disk ("root") last. Without a size: that of the template's. */
  disks: readonly { name: string; sizeBytes?: number }[];
}

/**
 * Makes those that its template has and that are not there yet, and what belongs to them.
 * @throws StillPreparing while a copy is being made; PrepareError when the template cannot be used; Error
 */
export async function cloneDisks(
  from: Lender,
  to: Borrower,
  { mode, snapshotUid = "" }: InstanceSource,
  copies: Copies,
): Promise<void> {
  const { disks, taken } = await from.layers.lent(snapshotUid).catch((cause: unknown) => {
    throw cause instanceof LayersError ? new PrepareError(`spec.source: ${cause.message}`, { cause }) : cause;
  });
  if (!disks.root) throw new PrepareError("spec.source: the template has no system disk");
  await copyOrigin(from.folder, to.folder);
  const file = from.layers.memories.file(snapshotUid);
  if (mode === "Instant" && taken.memory && (await exists(file)))
    await to.layers.memories.resumeAs({ file, of: taken.memory });
  for (const { name, sizeBytes } of to.disks) {
    const layer = disks[name];
    const path = join(to.folder, `${name}.qcow2`);
    if (!layer || (await exists(path))) continue; // one that is not in the template is made as any machine's
    const least = taken.disks.find((disk) => disk.name === name)?.sizeBytes ?? 0;
    if (sizeBytes !== undefined && sizeBytes < least)
      throw new PrepareError(
        `the disk ${name} is to have ${formatBytes(sizeBytes)}, that of its template has ${formatBytes(least)}; a disk cannot shrink`,
      );
    const below = { path: layer, format: "qcow2" } as const;
    await chainOf(below);
    if (mode === "Full") await copyDisk(copies, below, path, sizeBytes, to.user);
    else await makeDisk(path, below, sizeBytes, to.user);
  }
}
