/** The making of a machine's disks: from its image, or as a clone of another machine's; and of the disk that tells its guest who it is. */
import { mkdir } from "node:fs/promises";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { makeSeed } from "../../images/seed.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { renameDurably } from "../../system/durable.ts";
import { exists } from "../../system/exists.ts";
import { bothOf } from "../both.ts";
import { PrepareError } from "../prepare-error.ts";
import { adoptBases } from "./bases.ts";
import { cloneDisks } from "./clones.ts";
import { type Copies, copyDisk } from "./copies.ts";
import { type DataDiskSource, layerName } from "./data-disks.ts";
import { Layers } from "./layers.ts";
import { makeDisk } from "./make-disk.ts";
import { originOf, writeOrigin } from "./origin.ts";
import { own } from "./volume-files.ts";
import {
  folderOf,
  imageFile,
  layersOf,
  seedFile,
  systemDiskFile,
  userOf,
  writable,
} from "./volume-places.ts";

/** What disks are made with, besides the machine's image. */
export interface Materials {
  imageNamed: DataDiskSource["imageNamed"];
  /** Where an image's files are; in the machine's pool when absent. */
  poolOf?: (image: Image | undefined) => Promise<StoragePool>;
  /** Where the files of all images are; where those of its own image are when absent. */
  imageFolders?: readonly string[];
  /** Of the machine that it is a clone of. */
  sourcePool?: StoragePool | undefined;
  copies: Copies;
}

/** What a machine's disks are made of. */
interface Making {
  /** The machine's. */
  pool: StoragePool;
  /** Where the image's files are. */
  images: StoragePool;
  imageFolders: readonly string[];
  image: Image | undefined;
  instance: Instance;
  more: Materials;
}

/** What is missing of them. @param there its system disk is there @throws StillPreparing; PrepareError; Error */
export async function makeVolumes(making: Making, there: boolean): Promise<void> {
  const { pool, instance } = making;
  const folder = folderOf(pool, instance);
  try {
    await mkdir(folder, { recursive: true, mode: 0o711 });
    const makeDisks = instance.spec.source?.vm ? makeClone : makeFromImage;
    // Neither needs the other.
    await bothOf(
      ensureSeed(instance, seedFile(folder)),
      there ? Promise.resolve() : makeDisks(making, folder),
    );
  } catch (cause) {
    sayFull(cause, pool, instance.spec.vm);
  }
}

async function ensureSeed({ spec }: Instance, seed: string): Promise<void> {
  if (await exists(seed)) return;
  const { guest, vm, vmUid } = spec;
  await makeSeed(`${seed}.new`, {
    instanceId: vmUid,
    hostname: guest?.hostname ?? vm,
    sshAuthorizedKeys: guest?.sshAuthorizedKeys ?? [],
    ...(guest?.userData ? { userData: guest.userData } : {}),
  });
  const { uid, gid } = userOf(spec);
  await own(`${seed}.new`, uid, gid, 0o400);
  await renameDurably(`${seed}.new`, seed);
}

/** @throws PrepareError when it is for want of room; else what it was */
export function sayFull(cause: unknown, { metadata, spec }: StoragePool, vm: string): never {
  const text = cause instanceof Error ? cause.message : String(cause);
  if (/ENOSPC|No space left/.test(text))
    throw new PrepareError(
      `the storage pool ${metadata.name} (${spec.directory.path}) is full: no room for the disks of ${vm}`,
      { cause },
    );
  throw cause;
}

async function makeFromImage(
  { images, image, instance: { spec }, more: { copies } }: Making,
  folder: string,
): Promise<void> {
  if (!image) throw new PrepareError(`spec.image: there is no Image ${spec.image}`);
  const { file, format } = image.status ?? {};
  if (!file || !format)
    throw new PrepareError(`image ${image.metadata.name} is not ready: ${image.status?.phase ?? "Pending"}`);
  await writeOrigin(folder, originOf(image));
  const size = spec.diskSize === undefined ? undefined : parseBytes(spec.diskSize);
  const disk = { path: imageFile(images, file), format };
  const root = systemDiskFile(folder);
  const user = userOf(spec);
  if (spec.source?.mode === "Full") await copyDisk(copies, disk, root, size, user);
  else await makeDisk(root, disk, size, user);
}

async function makeClone(
  { pool, imageFolders, instance, more: { sourcePool, copies } }: Making,
  folder: string,
): Promise<void> {
  const { source, diskSize, disks = [] } = instance.spec;
  const { vm = "", vmUid: owner = "", storagePool = "" } = source ?? {};
  if (!source || !sourcePool)
    throw new PrepareError(`spec.source: the StoragePool ${storagePool} of its template does not exist`);
  const lender = folderOf(sourcePool, instance, { vm, vmUid: owner });
  const sizes = new Map(disks.map((disk) => [layerName(disk), disk.size]));
  await adoptBases(lender, imageFolders);
  await cloneDisks(
    { folder: lender, layers: new Layers(lender, [], userOf({ vmUid: owner })) },
    {
      folder,
      layers: layersOf(pool, instance),
      user: userOf(instance.spec),
      // The system disk last: where it is, the others are.
      disks: writable(instance)
        .map((name) => ({ name, size: name === "root" ? diskSize : sizes.get(name) }))
        .map(({ name, size }) => ({ name, ...(size ? { sizeBytes: parseBytes(size) } : {}) }))
        .sort(({ name: a }, { name: b }) => Number(a === "root") - Number(b === "root")),
    },
    source,
    copies,
  );
}
