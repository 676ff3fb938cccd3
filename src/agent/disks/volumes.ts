/**
 * A machine's disks: POOL/machines/NAMESPACE/NAME-UID8/{root.qcow2,seed.img,boot.json}. root.qcow2 is a linked overlay of the image's file,
 * and the first layer of the disk (layers.ts).
 * Made once and atomically (a temporary name, then link), and only for the instance that has custody; for a machine that has run before,
 * never again.
 */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Has } from "../../compute/changes/kinds.ts";
import { hardwareOf } from "../../compute/hardware/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { notTheSame } from "../../compute/snapshots/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { exists } from "../../system/exists.ts";
import type { DiskConfig, MachineConfig } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { adoptBases, chainOf } from "./bases.ts";
import { Copies } from "./copies.ts";
import { ensureDataDisks, grow, limitsOf } from "./data-disks.ts";
import { type Firmware, firmwareOf } from "./firmware.ts";
import { LayerFolder } from "./layer-folder.ts";
import type { Layers } from "./layers.ts";
import { leftFiles } from "./left-files.ts";
import { readOrigin } from "./origin.ts";
import { inherit, own, removeWhole } from "./volume-files.ts";
import { type Materials, makeVolumes, sayFull } from "./volume-making.ts";
import {
  dumpsFolder,
  dumpsOf,
  folderOf,
  imageFile,
  imagesFolder,
  layersOf,
  seedFile,
  systemDiskFile,
  systemDisks,
  userOf,
} from "./volume-places.ts";

/** A machine's memory in a file of Hypervisor.saveMemory, and what it ran as. */
export interface SavedMachine {
  file: string;
  /** Kept with a snapshot, or by suspending. */
  kind: "snapshot" | "suspended";
  /** What it had where; absent from before anything could come and go. */
  has?: Has;
  machineType: string;
  guestCpu?: string;
  /** Of the host where it was kept: the guest saw it when guestCpu is host. */
  cpuModel?: string;
  accelerator: MachineConfig["accelerator"];
  /** It is another machine's: its guest needs an identity of its own. */
  cloned?: boolean;
}

/** How a machine starts that cannot go on with memory which is kept for it. */
export const wayOut = (kind: SavedMachine["kind"]) =>
  kind === "suspended"
    ? "spec.discardMemory: true boots instead (vireo start --discard-memory)"
    : "roll it back with memory: false, which boots";

/** The memory with which a run goes on. @throws PrepareError when the machine has become another one */
async function savedOf(layers: Layers, { spec }: Instance): Promise<SavedMachine | undefined> {
  const saved = await layers.memories.next();
  if (!saved) return undefined;
  const networks = spec.interfaces.map(({ network }) => network);
  const other = notTheSame({ ...spec, networks }, saved.of);
  if (other && saved.cloned) {
    await layers.memories.resumed();
    return undefined;
  }
  if (other)
    throw new PrepareError(
      `it is to go on with memory that is of a machine with ${other}; make it so again, or: ${wayOut(saved.kind)}`,
    );
  const { machineType, accelerator: of, guestCpu, cpuModel, has } = saved.of;
  return {
    file: saved.file,
    kind: saved.kind,
    ...(has ? { has } : {}),
    machineType,
    accelerator: of,
    ...(guestCpu ? { guestCpu } : {}),
    ...(cpuModel ? { cpuModel } : {}),
    ...(saved.cloned ? { cloned: true } : {}),
  };
}

/**
 * Makes what is missing. A migration target (which has no custody yet) finds everything there: the disks, or copies of them
 * (volume-copies.ts). `image` is needed only for the making.
 * @throws StillPreparing while a disk is being copied; Error with a text for users
 */
export async function ensureVolumes(
  pool: StoragePool,
  image: Image | undefined,
  instance: Instance,
  more: Materials = { copies: new Copies(), imageNamed: async () => undefined },
): Promise<{
  disks: DiskConfig[];
  folders: string[];
  images: string[];
  boot?: MachineConfig["boot"];
  firmware?: Firmware;
  tpm?: string;
  saved?: SavedMachine;
}> {
  const folder = folderOf(pool, instance);
  const seed = seedFile(folder);
  const { vm, incoming, volumesExist, discardMemory } = instance.spec;
  const layers = layersOf(pool, instance);
  const { imageNamed, poolOf = async () => pool } = more;
  const images = await poolOf(image);
  const imageFolders = more.imageFolders ?? [imagesFolder(images)];
  await adoptBases(folder, imageFolders);
  // The target of a migration opens what the source has open. Nobody works on the disks meanwhile; but agents of before may have left a switch unfinished.
  if (!incoming) await layers.settle();
  else if (await layers.isUnsettled())
    throw new PrepareError(
      `a snapshot of ${vm} was cut short, and only the host where it runs knows its disks: take another snapshot of it, or delete one, before it is moved`,
    );
  if (discardMemory && !incoming) await layers.memories.resumed();
  const [active = systemDiskFile(folder), variables] = await layers.active(systemDisks(instance.spec));
  const there = await exists(active);
  const seeded = await exists(seed);
  if (incoming && !(there && seeded))
    throw new PrepareError(
      `the disks of ${vm} are not in ${folder} on this host; is the storage pool ${pool.metadata.name} really shared?`,
    );
  // An empty disk in the place of a full one would be worse than no machine.
  if (!there && volumesExist)
    throw new PrepareError(
      `the disks of ${vm}, which has run before, are not in ${folder}; is the storage pool ${pool.metadata.name} mounted here? They are never made anew: bring them back, or delete the machine`,
    );
  if (!there || !seeded) await makeVolumes({ pool, images, imageFolders, image, instance, more }, there);
  const user = userOf(instance.spec);
  if (there && !incoming) await inherit(folder, active, user);
  const imagePath = async (of: Image, file: string) => imageFile(await poolOf(of), file);
  const data = await ensureDataDisks({ folder, layers, user, imageNamed, imagePath }, instance).catch(
    (cause: unknown) => sayFull(cause, pool, vm),
  );
  const { boot } = await readOrigin(folder, image, instance);
  const firmware = variables && (await firmwareOf(instance, variables, boot !== undefined));
  const tpm = hardwareOf(instance.spec.hardware).tpm ? await tpmOf(instance, folder) : undefined;
  const saved = incoming ? undefined : await savedOf(layers, instance);
  const disks = [...systemDisk(instance, active, seed), ...data];
  for (const disk of firmware ? [...disks, firmware.variables] : disks) await chainOf(disk);
  // The guest whose memory goes on knows its disks as they were; they grow once it runs.
  if (!incoming && !saved) for (const disk of disks) await grow(disk);
  return {
    disks,
    folders: [folder],
    images: [imagesFolder(images)],
    ...(saved ? { saved } : {}),
    ...(firmware ? { firmware } : {}),
    ...(tpm ? { tpm } : {}),
    ...(boot
      ? {
          boot: {
            kernel: imageFile(images, boot.kernel),
            initrd: imageFile(images, boot.initrd),
            commandLine: boot.commandLine,
          },
        }
      : {}),
  };
}

function systemDisk({ spec }: Instance, path: string, seed: string): DiskConfig[] {
  const { diskSize, diskLimits } = spec;
  return [
    {
      path,
      format: "qcow2",
      readOnly: false,
      ...(diskSize ? { sizeBytes: parseBytes(diskSize) } : {}),
      ...(diskLimits ? { limits: limitsOf(diskLimits) } : {}),
    },
    { path: seed, format: "raw", readOnly: true },
  ];
}

/** The disks of a running machine: new ones are made, those that it has are left as they are. @throws PrepareError */
export async function liveDisks(
  pool: StoragePool,
  instance: Instance,
  { imageNamed, poolOf = async () => pool }: Omit<Materials, "copies">,
): Promise<DiskConfig[]> {
  const folder = folderOf(pool, instance);
  const layers = layersOf(pool, instance);
  const [active = ""] = await layers.active(["root"]);
  const source = {
    folder,
    layers,
    user: userOf(instance.spec),
    imageNamed,
    imagePath: async (of: Image, file: string) => imageFile(await poolOf(of), file),
  };
  const data = await ensureDataDisks(source, instance).catch((cause: unknown) =>
    sayFull(cause, pool, instance.spec.vm),
  );
  return [...systemDisk(instance, active, seedFile(folder)), ...data];
}

/** The state is swtpm's, in files of the machine's user; made by the first run. */
async function tpmOf({ spec }: Instance, folder: string): Promise<string> {
  const path = join(folder, "tpm");
  await mkdir(path, { recursive: true });
  const { uid, gid } = userOf(spec);
  await own(path, uid, gid, 0o700);
  return path;
}

/** Ends what is still being made of its disks. */
export async function stopMaking(pool: StoragePool, instance: Instance, copies: Copies): Promise<void> {
  await copies.cancel(folderOf(pool, instance));
}

/** What work that was cut short has left in the machine's folder (left-files.ts). */
export function halfMade(
  pool: StoragePool,
  instance: Instance,
  beforeMs: number,
  unread: (error: unknown) => void,
): Promise<string[]> {
  const folder = folderOf(pool, instance);
  return leftFiles(folder, new LayerFolder(folder, userOf(instance.spec)), beforeMs, unread);
}

/** Removes the machine's own folder, and its dumps; those of one that has moved away are nowhere else, and stay. */
export async function destroyVolumes(pool: StoragePool, instance: Instance): Promise<void> {
  const folder = folderOf(pool, instance);
  if (instance.status?.phase === "HandedOver") await dumpsOf(pool, instance).moveOut();
  else await rm(dumpsFolder(folder), { recursive: true, force: true });
  await removeWhole(folder, instance);
}
