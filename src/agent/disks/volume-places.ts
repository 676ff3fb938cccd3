/** Where a machine's disks and dumps are in its storage pool, whose they are, and where images are: POOL/machines/NAMESPACE/NAME-UID8/, POOL/images/. */
import { join, resolve, sep } from "node:path";
import { hardwareOf } from "../../compute/hardware/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import { firstChoice } from "../../compute/users/kinds.ts";
import { Dumps } from "../runs/dumps.ts";
import { attached, layerName } from "./data-disks.ts";
import { Layers } from "./layers.ts";

/** QEMU's group on every host: what all machines may read (images). */
const QEMU_GID = 200_000;

/** One user a machine: what it was given, or what it had before one was given. */
export function userOf({ vmUid, user }: Pick<Instance["spec"], "vmUid" | "user">): {
  uid: number;
  gid: number;
} {
  return { uid: user ?? firstChoice(vmUid), gid: QEMU_GID };
}

/** Names have been validated; that no path leaves the pool is checked all the same. */
function inside(pool: string, ...parts: string[]): string {
  const path = resolve(pool, ...parts);
  if (!path.startsWith(resolve(pool) + sep))
    throw new Error(`${parts.join("/")} leads outside the storage pool`);
  return path;
}

export const poolFolder = (pool: StoragePool) => pool.spec.directory.path;

export const imagesFolder = (pool: StoragePool) => inside(poolFolder(pool), "images");

export function imageFile(pool: StoragePool, file: string): string {
  return inside(pool.spec.directory.path, "images", file);
}

type Owner = Pick<Instance["spec"], "vm" | "vmUid">;

export function folderOf(
  pool: StoragePool,
  { metadata, spec }: Instance,
  { vm, vmUid }: Owner = spec,
): string {
  const name = `${vm}-${vmUid.slice(0, 8)}`;
  return inside(pool.spec.directory.path, "machines", metadata.namespace ?? "default", name);
}

/** Of a machine's folder: the first layer of its system disk. */
export const systemDiskFile = (folder: string) => join(folder, "root.qcow2");

/** Of a machine's folder: the disk that tells its guest who it is. */
export const seedFile = (folder: string) => join(folder, "seed.img");

/** What the guest can write. The variables of UEFI are a disk like others: in snapshots, too. */
export const writable = (instance: Instance) => [
  ...systemDisks(instance.spec),
  ...attached(instance)
    .filter(({ readOnly }) => !readOnly)
    .map(layerName),
];
export const systemDisks = ({ hardware }: Instance["spec"]) =>
  hardwareOf(hardware).firmware === "uefi" ? ["root", "vars"] : ["root"];

export function layersOf(pool: StoragePool, instance: Instance): Layers {
  return new Layers(folderOf(pool, instance), writable(instance), userOf(instance.spec));
}

export const dumpsFolder = (folder: string) => `${folder}.dumps`;

export function dumpsOf(pool: StoragePool, instance: Instance): Dumps {
  const folder = folderOf(pool, instance);
  return new Dumps(join(folder, "dumps"), userOf(instance.spec), dumpsFolder(folder));
}
