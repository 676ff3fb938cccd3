/**
 * Which file each layer of a machine's disks (layers.ts) stands on. A layer's own header says so, too; but whoever has taken over a machine's QEMU can write
 * to its layers, and have the header name any file of the host, which then whoever opens the disk reads: QEMU at the next start, qemu-img as root. So before
 * anything opens a disk that a guest's QEMU could write, its header is compared with what Vireo knows, here and nowhere else:
 *
 *   root-91….qcow2 ─► root-4f….qcow2 ─► root.qcow2      of one disk, in one folder
 *   root.qcow2 ─► what root.base says                   written before the disk is made, by who makes it: the image's file, or its template's layer,
 *                                                       in whose folder the same goes on
 *
 * A layer may also stand on nothing: what has been merged, or copied whole. The folder is root's, so that the machine's user can make no file in it, and no
 * link. What is read meanwhile may be changed again: that is why who opens a disk sees nothing but the files that are found here (reach.ts, enclosed-img.ts).
 */
import { lstat, readdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type Static, Type } from "typebox";
import { writeDurably } from "../../system/durable.ts";
import { isMissing } from "../../system/exists.ts";
import { PrepareError } from "../prepare-error.ts";
import { Frozen, LayersError, readJson } from "./layer-records.ts";
import { type Head, readHeader } from "./qcow2-head.ts";

/** A disk is not what Vireo made it: nothing may open it. The text is for users. */
export class ForeignDiskError extends PrepareError {}

/** The reason of Events that tell of it. */
export const FOREIGN_DISK = "ForeignDisk";

const Base = Type.Object({ path: Type.String(), format: Type.String() });
export type Base = Static<typeof Base>;
/** null: it stands on nothing. */
const Recorded = Type.Union([Base, Type.Null()]);

/** The disk that a layer is of: "root", "x.data"; also while the file has not got its name yet. */
const diskOf = (path: string) => /^(.+?)(?:-[0-9a-f]{12})?\.qcow2(?:\.new)?$/.exec(basename(path))?.[1];

const recordOf = (path: string) => join(dirname(path), `${diskOf(path) ?? basename(path)}.base`);

/** Before the first layer of a disk is made. @param base what it stands on; nothing when absent */
export function writeBase(path: string, base: Base | undefined): Promise<void> {
  // A disk that is there without it could not be used. Agents of several clones may be writing the same of their template (adoptBases).
  return writeDurably(recordOf(path), JSON.stringify(base ?? null));
}

/**
 * Says of disks from before this was kept what they stand on, where their headers name what machines are made from: images, and layers that another machine of
 * the namespace has lent, in whose folder the same goes on. No-op where all is known, or there are no disks yet.
 * @param images the folders of all images: a disk may be of one that was in another pool then, or has been built anew since
 */
export async function adoptBases(folder: string, images: readonly string[]): Promise<void> {
  const folders = new Set([folder]);
  // Those that are found on the way come after it, once each.
  for (const each of folders)
    for (const file of (await unlessUnreadable(readdir(each))) ?? []) {
      if (!file.endsWith(".qcow2")) continue;
      const base = await adopted(join(each, file), images);
      const lender = base && dirname(base.path);
      if (lender && dirname(lender) === dirname(each)) folders.add(lender);
    }
}

/** What is recorded of the disk; where nothing is, what may be is first. */
async function adopted(path: string, images: readonly string[]): Promise<Base | undefined> {
  const recorded = await unlessUnreadable(readJson(recordOf(path), Recorded).then((found) => ({ found })));
  if (recorded?.found !== undefined) return recorded.found ?? undefined;
  const head = recorded && (await unlessUnreadable(readHeader(path)));
  const { backing, backingFormat: format } = head ?? {};
  if (backing === undefined || (format !== "raw" && format !== "qcow2")) return undefined;
  const base = { path: backing, format };
  if (!(await isImage(base, images)) && !(await isLent(dirname(path), backing))) return undefined;
  await writeBase(path, base);
  return base;
}

/** @returns undefined for what is gone, or not as Vireo wrote it: who opens it tells */
const unlessUnreadable = <T>(what: Promise<T>): Promise<T | undefined> =>
  what.catch((error: unknown) => {
    if (!isMissing(error) && !(error instanceof LayersError)) throw error;
    return undefined;
  });

/** A file, not a link, in one of these folders. Each QEMU may read all of them. */
async function isImage({ path, format }: Base, folders: readonly string[]): Promise<boolean> {
  const isThere = path === join(dirname(path), basename(path)) && folders.includes(dirname(path));
  const isReadable = format === "raw" || format === "qcow2";
  return isThere && isReadable && ((await lstat(path).catch(() => undefined))?.isFile() ?? false);
}

/** Whether another machine of the same namespace says so of a layer of its own. */
async function isLent(folder: string, layer: string): Promise<boolean> {
  const lender = dirname(layer);
  if (lender === folder || dirname(lender) !== dirname(folder)) return false;
  const snapshots = join(lender, "snapshots");
  for (const file of await readdir(snapshots).catch(() => [])) {
    const record = file.endsWith(".json") ? await readJson(join(snapshots, file), Frozen) : undefined;
    if (record?.lent && Object.values(record.layers).includes(basename(layer))) return true;
  }
  return false;
}

/** All files that are read through a disk: itself, and those below it, from top to bottom. @throws ForeignDiskError; LayersError when one below is gone */
export async function chainOf({ path, format }: Base): Promise<string[]> {
  const chain = [path];
  for (let at: Base | undefined = { path, format }; at?.format === "qcow2"; ) {
    const layer: string = at.path;
    at = await belowOf(layer).catch((cause: unknown) => {
      if (!isMissing(cause) || layer === path) throw cause;
      throw new LayersError(`${layer} is gone, which ${path} stands on; bring it back`, { cause });
    });
    if (at && chain.includes(at.path)) throw foreign(at.path, RING);
    if (at) chain.push(at.path);
  }
  return chain;
}

/**
 * Of all layers in a folder, what each stands on, where that is another one there.
 * @param merging a merge that was cut short: whatever its header says already, the one still needs the other
 * @throws ForeignDiskError, also of a ring: whoever goes down it would never be done
 */
export async function layersIn(
  folder: string,
  merging?: { into: string; from: string },
): Promise<Map<string, string | undefined>> {
  const found = new Map<string, string | undefined>();
  for (const file of await readdir(folder)) {
    if (!file.endsWith(".qcow2")) continue;
    const below = await belowOf(join(folder, file));
    found.set(file, below && dirname(below.path) === folder ? basename(below.path) : undefined);
  }
  if (merging) {
    // QEMU has put on the lower one what stood on the upper one, when that has gone down.
    for (const [file, below] of found) if (below === merging.from) found.set(file, merging.into);
    found.set(merging.into, merging.from);
  }
  for (const top of found.keys()) {
    const seen = new Set<string>();
    for (let layer: string | undefined = top; layer !== undefined; layer = found.get(layer)) {
      if (seen.has(layer)) throw foreign(join(folder, layer), RING);
      seen.add(layer);
    }
  }
  return found;
}

/** What a layer stands on. @throws ForeignDiskError when its header names anything else than Vireo does */
export async function belowOf(path: string): Promise<Base | undefined> {
  const head = await readHeader(path);
  if (head.odd) throw foreign(path, head.odd);
  if (head.backing === undefined) return undefined;
  const base = (await ownBelow(path, head)) ?? (await baseOf(path, head));
  if (!base || head.backing !== base.path || head.backingFormat !== base.format)
    throw foreign(
      path,
      `${JSON.stringify(head.backing.slice(0, 200))} (${JSON.stringify(head.backingFormat?.slice(0, 20) ?? "no format")}) as the file below it`,
    );
  return base;
}

/** Another layer of the same disk. One that is gone is missed by who opens it, or needs it (layers.ts): it is nobody's doing but of whoever removed it. */
async function ownBelow(path: string, { backing = "" }: Head): Promise<Base | undefined> {
  const own = join(dirname(path), basename(backing));
  if (backing !== own || diskOf(own) === undefined || diskOf(own) !== diskOf(path)) return undefined;
  const found = await unlessUnreadable(lstat(own));
  return !found || found.isFile() ? { path: own, format: "qcow2" } : undefined;
}

async function baseOf(path: string, { backing = "", backingFormat = "" }: Head): Promise<Base | undefined> {
  const recorded = await readJson(recordOf(path), Recorded);
  if (recorded !== undefined) return recorded ?? undefined;
  // Disks from before this was kept: the images of their own pool, which each QEMU may read.
  const machines = resolve(dirname(path), "../..");
  const base = { path: backing, format: backingFormat };
  const isOurs = basename(machines) === "machines" && (await isImage(base, [resolve(machines, "../images")]));
  return isOurs ? base : undefined;
}

const RING = "a ring of files that stand on each other";

const foreign = (path: string, what: string) =>
  new ForeignDiskError(
    `${path} has ${what} in its header, which Vireo has not put there: a guest that took over its QEMU may have, so nothing opens that disk any more. Look into what happened on the host where it ran; then bring the file back as it was, or delete the machine. Where somebody moved it there on purpose, ${recordOf(path)} is to say {"path": …, "format": …} of the file below`,
  );
