/**
 * A machine's disks on a host that it moves to, where the storage pool is not shared: empty ones that the source fills while its guest runs.
 *
 *   copy.json {instance}   beside them until the target has seen the flip (compute/kinds.ts): while it is there, they are a copy of use to
 *                          nobody but that target, and go with it; after that they are the machine's disks like any others, whatever is beside them
 *
 * All layers of a disk become one, unless a snapshot froze some: then each goes along as a file of its own, and what the snapshots froze stays as it was.
 * Where the image is on storage that both hosts share, the lowest layer stays an overlay of it.
 */
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { hadCustody, type Instance } from "../../compute/kinds.ts";
import type { Volumes } from "../../compute/migrations/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { flush, renameDurably, writeDurably } from "../../system/durable.ts";
import { exists } from "../../system/exists.ts";
import type { DiskConfig } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { attached, detachedDisks, layerName } from "./data-disks.ts";
import { frozenName } from "./disk-copies.ts";
import { makeDisk } from "./make-disk.ts";
import { readOrigin, writeOrigin } from "./origin.ts";
import { readHeader } from "./qcow2-head.ts";
import { own, removeGone, removeWhole } from "./volume-files.ts";
import { folderOf, imageFile, layersOf, poolFolder, seedFile, userOf, writable } from "./volume-places.ts";

const MARK = "copy.json";
const Mark = Type.Object({ instance: Type.String() });

/** Where things are that a machine is made of. */
export interface Pools {
  own: StoragePool;
  /** Its image, and where that one's files are. */
  image: Image | undefined;
  ofImage: StoragePool;
  /** Those that all hosts share. */
  shared: readonly StoragePool[];
}

export interface ToCopy {
  /** What another host needs to know to make the same disks. */
  volumes: Volumes;
  /** Disks that are the machine's, and that its guest does not have now. */
  besides: DiskConfig[];
}

/** What goes along when the machine moves. */
export async function describeVolumes(
  { own: pool, shared, image }: Pools,
  instance: Instance,
): Promise<ToCopy> {
  const folder = folderOf(pool, instance);
  const detached = detachedDisks(await readdir(folder), instance);
  const data = [...attached(instance).map(({ name }) => name), ...detached];
  const names = [...new Set([...writable(instance), ...data.map((name) => layerName({ name }))])];
  const layers = await layersOf(pool, instance).describe(names);
  const isSplit = layers.snapshots.length > 0;
  const place = async (file: string, over: string | undefined) => {
    const { sizeBytes, ...chain } = await readHeader(join(folder, file));
    const below = isSplit && over ? undefined : sharedImage(chain, shared);
    return { sizeBytes, ...(below ? { below } : {}) };
  };
  const disks: Volumes["disks"] = [];
  for (const [i, name] of names.entries()) {
    const { file = "", over } = layers.active[i] ?? {};
    const layer = isSplit ? { layer: { file, ...(over ? { over } : {}) } } : {};
    disks.push({ name, ...(await place(file, over)), ...layer });
  }
  const frozen: NonNullable<Volumes["frozen"]> = [];
  for (const { file, over } of isSplit ? layers.frozen : [])
    frozen.push({ file, ...(over ? { over } : {}), ...(await place(file, over)) });
  const { size: seedBytes } = await stat(seedFile(folder));
  const origin = await readOrigin(folder, image, instance);
  const volumes = { disks, seedBytes, origin, ...(isSplit ? { frozen, snapshots: layers.snapshots } : {}) };
  const files = new Map(names.map((name, i) => [name, layers.active[i]?.file ?? ""]));
  return { volumes, besides: besidesOf(folder, volumes, instance, ({ name }) => files.get(name) ?? "") };
}

/** Where a copy of a disk is. */
const placeOf = ({ name, layer }: Volumes["disks"][number]) => layer?.file ?? `${name}.qcow2`;

/** Files that go along although the guest does not have them as disks: those of detached disks, and frozen layers; by the same names at both ends. */
function besidesOf(
  folder: string,
  { disks, frozen = [] }: Volumes,
  instance: Instance,
  fileOf: (disk: Volumes["disks"][number]) => string,
): DiskConfig[] {
  const detached = detachedDisks(
    disks.map(({ name }) => `${name}.qcow2`),
    instance,
  );
  const named = (name: string, file: string): DiskConfig => ({
    name,
    path: join(folder, file),
    format: "qcow2",
    readOnly: false,
  });
  return [
    ...disks.flatMap((disk) =>
      detached.flatMap((name) => (layerName({ name }) === disk.name ? [named(name, fileOf(disk))] : [])),
    ),
    ...frozen.map(({ file }, i) => named(frozenName(i), file)),
  ];
}

/** The image right below a layer, when it is one that all hosts see. */
function sharedImage(
  { backing, backingFormat: format }: { backing?: string; backingFormat?: string },
  shared: readonly StoragePool[],
): Volumes["disks"][number]["below"] {
  if (!backing || (format !== "qcow2" && format !== "raw")) return undefined;
  const file = basename(backing);
  const pool = shared.find((each) => imageFile(each, file) === backing);
  return pool && { pool: pool.metadata.name, file, format };
}

/** Makes what is missing of the copies. @throws PrepareError when there are disks already, or something they need is not on this host */
export async function makeCopies(
  { own: pool, ofImage, shared }: Pools,
  instance: Instance,
  { disks, frozen = [], snapshots = [], seedBytes, origin }: Volumes,
): Promise<void> {
  const { vm, storagePool } = instance.spec;
  const folder = folderOf(pool, instance);
  const uid = instance.metadata.uid ?? "";
  if (!(await exists(poolFolder(pool))))
    throw new PrepareError(
      `the folder ${poolFolder(pool)} of the storage pool ${storagePool} is not on this host; make or mount it there`,
    );
  const { boot } = origin;
  for (const file of boot ? [boot.kernel, boot.initrd] : []) await need(imageFile(ofImage, file), vm);
  const mark = await markOf(folder);
  if (mark === undefined && (await exists(folder)))
    throw new PrepareError(
      `there are disks of ${vm} in ${folder} on this host already: is the storage pool ${storagePool} shared (spec.directory.shared)? If not, they are of an earlier time: move them away`,
    );
  // Of an earlier attempt, which is over.
  if (mark !== undefined && mark !== uid) await removeWhole(folder, instance);
  if (mark !== uid) {
    await removeGone(folder, instance);
    const made = halfMade(folder, instance);
    await rm(made, { recursive: true, force: true });
    await mkdir(dirname(folder), { recursive: true });
    await mkdir(made, { mode: 0o711 });
    await writeDurably(join(made, MARK), JSON.stringify({ instance: uid }));
    await renameDurably(made, folder);
  }
  const user = userOf(instance.spec);
  const layers = layersOf(pool, instance);
  const placed = disks.map((disk) => ({ ...disk, file: placeOf(disk), over: disk.layer?.over }));
  for (const { file, over, sizeBytes, below } of [...frozen, ...placed]) {
    const path = join(folder, file);
    if (await exists(path)) continue;
    if (over) {
      await layers.place(file, over, sizeBytes);
      continue;
    }
    const images = below && shared.find(({ metadata }) => metadata.name === below.pool);
    if (below && !images) throw new PrepareError(`there is no shared StoragePool ${below.pool}`);
    const image = below && images && { path: imageFile(images, below.file), format: below.format };
    if (image) await need(image.path, vm);
    await makeDisk(path, image, sizeBytes, user);
  }
  if (snapshots.length > 0)
    await layers.adopt(Object.fromEntries(placed.map(({ name, file }) => [name, file])), snapshots);
  const seed = seedFile(folder);
  if (!(await exists(seed))) {
    await writeFile(`${seed}.new`, Buffer.alloc(seedBytes));
    await own(`${seed}.new`, user.uid, user.gid, 0o600);
    await renameDurably(`${seed}.new`, seed);
  }
  await writeOrigin(folder, origin);
}

async function need(path: string, vm: string): Promise<void> {
  if (!(await exists(path)))
    throw new PrepareError(
      `${path}, which ${vm} needs of its image, is not on this host; copy it there, or keep images in a shared storage pool`,
    );
}

/** The copies that the target's machine does not have as disks. */
export function copiesBesides(pool: StoragePool, instance: Instance): DiskConfig[] {
  const { copyDisks } = instance.spec;
  return copyDisks
    ? besidesOf(folderOf(pool, instance), copyDisks, instance, placeOf).map((disk) => apart(disk, copyDisks))
    : [];
}

/** Of a target: what is below a layer is still being written. */
export function apart(disk: DiskConfig, { disks, frozen = [] }: Volumes): DiskConfig {
  const file = basename(disk.path);
  const isOverlay = [...frozen, ...disks.flatMap(({ layer }) => layer ?? [])].some(
    (layer) => layer.file === file && layer.over,
  );
  return isOverlay ? { ...disk, apart: true } : disk;
}

/** @throws PrepareError when what is here is a copy of a migration that came to nothing */
export async function refuseCopies(pool: StoragePool, instance: Instance): Promise<void> {
  const folder = folderOf(pool, instance);
  if ((await markOf(folder)) !== undefined)
    throw new PrepareError(
      `what is in ${folder} on this host is a copy that a migration has left half-made; the disks of ${instance.spec.vm} are on another host`,
    );
}

/** They are the machine's disks from now on, also after a power cut. Before anything writes to them here. */
export async function acceptCopies(pool: StoragePool, instance: Instance): Promise<void> {
  const folder = folderOf(pool, instance);
  const mark = await markOf(folder);
  if (mark === instance.metadata.uid) {
    const { uid, gid } = userOf(instance.spec);
    await own(seedFile(folder), uid, gid, 0o400);
    await rm(join(folder, MARK));
  } else if (mark !== undefined) return;
  // Also when there is no mark: an agent may have died before it did this.
  await flush(folder);
}

/**
 * Of a target that is over. Copies that it has not accepted go. Where it had custody they are the machine's disks, and there may be no others: a mark that is
 * there then was brought back by a power cut.
 */
export async function settleCopies(pool: StoragePool, instance: Instance): Promise<void> {
  const folder = folderOf(pool, instance);
  // What an agent that was killed had begun to remove, or to make.
  await removeGone(folder, instance);
  await rm(halfMade(folder, instance), { recursive: true, force: true });
  if ((await markOf(folder)) !== instance.metadata.uid) return;
  if (hadCustody(instance)) await acceptCopies(pool, instance);
  else await removeWhole(folder, instance);
}

/** Where the folder of copies is until its mark is in it. */
const halfMade = (folder: string, { metadata }: Instance) => `${folder}.new-${metadata.uid?.slice(0, 8)}`;

async function markOf(folder: string): Promise<string | undefined> {
  const path = join(folder, MARK);
  if (!(await exists(path))) return undefined;
  const mark: unknown = JSON.parse(await readFile(path, "utf8"));
  return Value.Check(Mark, mark) ? mark.instance : "";
}
