/**
 * A machine's disks: POOL/machines/NAMESPACE/NAME-UID8/{root.qcow2,seed.img,boot.json}. root.qcow2 is a linked overlay of the image's file,
 * and the first layer of the disk (layers.ts).
 * Made once and atomically (a temporary name, then link), and only for the instance that has custody; for a machine that has run before,
 * never again.
 */
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, join, resolve, sep } from "node:path";
import { type Static, Type } from "typebox";
import { Value } from "typebox/value";
import { hardwareOf, lackingText, PREFIX } from "../../compute/hardware/kinds.ts";
import type { Instance, StoragePool } from "../../compute/kinds.ts";
import { notTheSame } from "../../compute/snapshots/kinds.ts";
import { firstChoice } from "../../compute/users/kinds.ts";
import type { Image } from "../../images/kinds.ts";
import { makeSeed } from "../../images/seed.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { run } from "../../system/run.ts";
import { bothOf } from "../both.ts";
import type { SavedMachine } from "../environment.ts";
import { PrepareError } from "../environment.ts";
import type { DiskConfig, MachineConfig } from "../hypervisor.ts";
import { Dumps } from "../runs/dumps.ts";
import { cloneDisks } from "./clones.ts";
import { Copies, copyDisk } from "./copies.ts";
import { attached, type DataDiskSource, ensureDataDisks, grow, layerName, limitsOf } from "./data-disks.ts";
import { findFirmware } from "./firmware.ts";
import { Layers } from "./layers.ts";
import { exists, flush, inherit, makeDisk, own, removeWhole } from "./volume-files.ts";

export const ORIGIN = "boot.json";

/** QEMU's group on every host: what all machines may read (images). */
export const QEMU_GID = 200_000;

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

/** What the guest can write. The variables of UEFI are a disk like others: in snapshots, too. */
export const writable = (instance: Instance) => [
  ...systemDisks(instance.spec),
  ...attached(instance)
    .filter(({ readOnly }) => !readOnly)
    .map(layerName),
];
const systemDisks = ({ hardware }: Instance["spec"]) =>
  hardwareOf(hardware).firmware === "uefi" ? ["root", "vars"] : ["root"];

export function layersOf(pool: StoragePool, instance: Instance): Layers {
  return new Layers(folderOf(pool, instance), writable(instance), userOf(instance.spec));
}

const dumpsFolder = (folder: string) => `${folder}.dumps`;

export function dumpsOf(pool: StoragePool, instance: Instance): Dumps {
  const folder = folderOf(pool, instance);
  return new Dumps(join(folder, "dumps"), userOf(instance.spec), dumpsFolder(folder));
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

/** Files to boot from, as QEMU takes them. */
export type Boot = NonNullable<MachineConfig["boot"]>;

/** What the machine's root was made from: kept beside it, because the image may be built anew, with another kernel. */
const Origin = Type.Object({
  file: Type.String(),
  boot: Type.Optional(
    Type.Object({ kernel: Type.String(), initrd: Type.String(), commandLine: Type.String() }),
  ),
});

/** What disks are made with, besides the machine's image. */
export interface Materials {
  imageNamed: DataDiskSource["imageNamed"];
  /** Where an image's files are; in the machine's pool when absent. */
  poolOf?: (image: Image | undefined) => Promise<StoragePool>;
  /** Of the machine that it is a clone of. */
  sourcePool?: StoragePool | undefined;
  copies: Copies;
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
  boot?: Boot;
  firmware?: Firmware;
  tpm?: string;
  saved?: SavedMachine;
}> {
  const folder = folderOf(pool, instance);
  const [root, seed] = [join(folder, "root.qcow2"), join(folder, "seed.img")];
  const { vm, incoming, volumesExist, discardMemory } = instance.spec;
  const layers = layersOf(pool, instance);
  const { imageNamed, poolOf = async () => pool } = more;
  const images = await poolOf(image);
  // The target of a migration opens what the source has open. Nobody works on the disks meanwhile; but agents of before may have left a switch unfinished.
  if (!incoming) await layers.settle();
  else if (await layers.isUnsettled())
    throw new PrepareError(
      `a snapshot of ${vm} was cut short, and only the host where it runs knows its disks: take another snapshot of it, or delete one, before it is moved`,
    );
  if (discardMemory && !incoming) await layers.memories.resumed();
  const [active = root, variables] = await layers.active(systemDisks(instance.spec));
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
  if (!there || !seeded) await make(pool, images, image, more, instance, folder, there, root, seed);
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
  return [...systemDisk(instance, active, join(folder, "seed.img")), ...data];
}

/** The state is swtpm's, in files of the machine's user; made by the first run. */
async function tpmOf({ spec }: Instance, folder: string): Promise<string> {
  const path = join(folder, "tpm");
  await mkdir(path, { recursive: true });
  const { uid, gid } = userOf(spec);
  await own(path, uid, gid, 0o700);
  return path;
}

type Firmware = NonNullable<MachineConfig["firmware"]>;

/** The machine's store of variables is made when it is missing: unlike a disk, an empty one only boots by default. */
async function firmwareOf({ spec }: Instance, path: string, direct: boolean): Promise<Firmware> {
  const { secureBoot, architecture, board } = hardwareOf(spec.hardware);
  const found = await findFirmware(architecture, PREFIX[board], secureBoot);
  if (!found)
    throw new PrepareError(
      `its host ${lackingText(architecture === "aarch64" ? "aarch64" : secureBoot ? "secureBoot" : "uefi")} there`,
    );
  // The firmware would start that kernel whoever signed it.
  if (secureBoot && direct)
    throw new PrepareError(
      `spec.hardware.secureBoot: the kernel of the image ${spec.image} is started without a boot loader, which Secure Boot does not check; use an image with a signed boot loader, or no Secure Boot`,
    );
  if (!(await exists(path))) {
    if (spec.incoming || basename(path) !== "vars.qcow2")
      throw new PrepareError(
        `${path}, the variables of its firmware, is not on this host; is its storage pool really shared?`,
      );
    await run("qemu-img", ["convert", "-q", "-f", "raw", "-O", "qcow2", found.variables, `${path}.new`]);
    const { uid, gid } = userOf(spec);
    await own(`${path}.new`, uid, gid, 0o600);
    await flush(`${path}.new`);
    await rename(`${path}.new`, path);
  }
  return { code: found.code, variables: { path, format: "qcow2", readOnly: false }, secure: secureBoot };
}

export async function readOrigin(
  folder: string,
  image: Image | undefined,
  { spec }: Instance,
): Promise<Static<typeof Origin>> {
  const path = join(folder, ORIGIN);
  if (await exists(path)) {
    const origin = parsed(await readFile(path, "utf8"));
    if (!Value.Check(Origin, origin))
      throw new PrepareError(`${path} does not say what ${spec.vm} boots; it should be as Vireo wrote it`);
    return origin;
  }
  // Disks from before this was kept: the image as it is now is the best that is known.
  if (!image) throw new PrepareError(`spec.image: there is no Image ${spec.image}`);
  const { file = "", boot } = image.status ?? {};
  return { file, ...(boot ? { boot } : {}) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function make(
  pool: StoragePool,
  images: StoragePool,
  image: Image | undefined,
  more: Materials,
  instance: Instance,
  folder: string,
  there: boolean,
  root: string,
  seed: string,
): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o711 });
    const disk = async () => {
      if (there) return;
      if (instance.spec.source?.vm) await makeClone(pool, more, instance, folder);
      else await makeFromImage(images, image, more, instance, folder, root);
    };
    // Neither needs the other.
    await bothOf(seedOf(instance, seed), disk());
  } catch (cause) {
    sayFull(cause, pool, instance.spec.vm);
  }
}

async function seedOf({ spec }: Instance, seed: string): Promise<void> {
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
  await rename(`${seed}.new`, seed);
}

function sayFull(cause: unknown, { metadata, spec }: StoragePool, vm: string): never {
  const text = cause instanceof Error ? cause.message : String(cause);
  if (/ENOSPC|No space left/.test(text))
    throw new PrepareError(
      `the storage pool ${metadata.name} (${spec.directory.path}) is full: no room for the disks of ${vm}`,
      { cause },
    );
  throw cause;
}

async function makeFromImage(
  images: StoragePool,
  image: Image | undefined,
  { copies }: Materials,
  { spec }: Instance,
  folder: string,
  root: string,
): Promise<void> {
  if (!image) throw new PrepareError(`spec.image: there is no Image ${spec.image}`);
  const { file, format, boot } = image.status ?? {};
  if (!file || !format)
    throw new PrepareError(`image ${image.metadata.name} is not ready: ${image.status?.phase ?? "Pending"}`);
  const origin: Static<typeof Origin> = { file, ...(boot ? { boot } : {}) };
  await writeFile(join(folder, `${ORIGIN}.new`), JSON.stringify(origin), { flush: true });
  await rename(join(folder, `${ORIGIN}.new`), join(folder, ORIGIN));
  const size = spec.diskSize === undefined ? undefined : parseBytes(spec.diskSize);
  const disk = { path: imageFile(images, file), format };
  const user = userOf(spec);
  if (spec.source?.mode === "Full") await copyDisk(copies, disk, root, size, user);
  else await makeDisk(root, disk, size, user);
}

async function makeClone(
  pool: StoragePool,
  { sourcePool, copies }: Materials,
  instance: Instance,
  folder: string,
): Promise<void> {
  const { source, diskSize, disks = [] } = instance.spec;
  const { vm = "", vmUid: owner = "", storagePool = "" } = source ?? {};
  if (!source || !sourcePool)
    throw new PrepareError(`spec.source: the StoragePool ${storagePool} of its template does not exist`);
  const lender = folderOf(sourcePool, instance, { vm, vmUid: owner });
  const sizes = new Map(disks.map((disk) => [layerName(disk), disk.size]));
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

/** Ends what is still being made of its disks. */
export async function stopMaking(pool: StoragePool, instance: Instance, copies: Copies): Promise<void> {
  await copies.cancel(folderOf(pool, instance));
}

/**
 * Files of the machine that were begun before `beforeMs` and have not got their name: an agent that was killed was at them, and whoever makes
 * them again begins anew. Absolute.
 */
export async function halfMade(pool: StoragePool, instance: Instance, beforeMs: number): Promise<string[]> {
  const folder = folderOf(pool, instance);
  const found: string[] = [];
  for (const part of [folder, join(folder, "snapshots")])
    for (const name of await readdir(part).catch(() => [])) {
      if (!/\.(new|part)$/.test(name)) continue;
      const { birthtimeMs, mtimeMs, nlink } = await stat(join(part, name));
      // Of one that has got its name already, and kept this one, the guest changes the other. Some file systems do not know when one was made.
      const lastMs = nlink > 1 && birthtimeMs ? birthtimeMs : Math.max(birthtimeMs, mtimeMs);
      if (lastMs < beforeMs) found.push(join(part, name));
    }
  return found;
}

/** Removes the machine's own folder, and its dumps; those of one that has moved away are nowhere else, and stay. */
export async function destroyVolumes(pool: StoragePool, instance: Instance): Promise<void> {
  const folder = folderOf(pool, instance);
  if (instance.status?.phase === "HandedOver") await dumpsOf(pool, instance).moveOut();
  else await rm(dumpsFolder(folder), { recursive: true, force: true });
  await removeWhole(folder, instance);
}
