/**
 * The kernel of an image and its initial RAM disk. What is taken from a kernel's package (90 MB of modules, of which an image needs few) is kept
 * in the cache, by the package's digest and the drivers.
 */
import {
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { exists } from "../../system/exists.ts";
import type { Package } from "../packages/packages.ts";
import { digestOf, type Recipe } from "../recipe.ts";
import { releaseOf } from "../releases/releases.ts";
import { kernelOf } from "../shared.ts";
import { cached } from "../workshop/cache.ts";
import { rooted } from "../workshop/rooted.ts";
import { unpackPackage } from "../workshop/unpack-package.ts";
import { step, type Workshop } from "../workshop/workshop.ts";
import { packInitrd } from "./initrd.ts";
import { INITRD_APPLETS, initrdInit, type RootOnDisk } from "./initrd-init.ts";

/** Raised when payloads are made in another way. */
const PAYLOAD_VERSION = 2;

/** Drivers of Vireo's own machines; what they depend on is found in modules.dep. */
const VIRTIO = [
  "virtio_pci",
  "virtio_blk",
  "virtio_net",
  "virtio_console",
  "virtio_rng",
  "virtio_balloon",
  "vfat",
  "nls_cp437",
  "nls_ascii",
  "nls_utf8",
  "button",
  "evdev",
  "af_packet",
];
/** Network cards that other hypervisors have, emulated or their own. */
const NETWORK_CARDS = [
  "e1000",
  "e1000e",
  "tulip",
  "8139cp",
  "8139too",
  "ne2k-pci",
  "pcnet32",
  "vmxnet3",
  "hv_netvsc",
  "xen-netfront",
  "ena",
];
/** And disks, for a root that is on one. */
const DISKS = [
  "ext4",
  "crc32c_generic",
  "ata_piix",
  "ata_generic",
  "ahci",
  "sd_mod",
  "nvme",
  "virtio_scsi",
  "mptspi",
  "vmw_pvscsi",
  "sym53c8xx",
  "hv_storvsc",
  "xen-blkfront",
];
/** What the kernel itself asks modprobe for when it is needed, once the root is there; of a root in memory that is at once. */
const ON_DEMAND = ["vfat", "nls_cp437", "nls_ascii", "nls_utf8"];
/** Always loaded, of the drivers that there are; all others by the hardware that is there. */
const ALWAYS = [
  "ext4",
  "crc32c_generic",
  "sd_mod",
  "vfat",
  "nls_cp437",
  "nls_ascii",
  "nls_utf8",
  "evdev",
  "af_packet",
];

/** A kernel with the modules that images of a recipe need, below `folder`: vmlinuz, modules/ (a part of /lib/modules/RELEASE). */
export interface KernelPayload {
  folder: string;
  release: string;
}

/** A root that is only read, and what is written above it. */
const fileSystems = ({ root }: Recipe): string[] =>
  root === "squashfs" || root === "erofs" ? [root, "overlay"] : [];

const driversOf = (recipe: Recipe): string[] => [
  ...VIRTIO,
  ...releaseOf(recipe).ext4,
  ...fileSystems(recipe),
  ...(kernelOf(recipe) === "generic" ? NETWORK_CARDS : []),
  ...(kernelOf(recipe) === "generic" && recipe.root !== "ram" ? DISKS : []),
];

/** @throws Error */
export async function kernelPayload(
  work: Workshop,
  packages: readonly Package[],
  recipe: Recipe,
): Promise<KernelPayload> {
  const drivers = driversOf(recipe);
  const byHardware = kernelOf(recipe) === "generic";
  const wanted = byHardware ? [...ALWAYS, ...fileSystems(recipe)] : drivers;
  const later = recipe.root === "ram" ? ON_DEMAND : [];
  const always = wanted.filter((name) => drivers.includes(name) && !later.includes(name));
  const key = digestOf([PAYLOAD_VERSION, digestsOf(packages), drivers, always, byHardware]).slice(0, 32);
  const folder = await cached(work.cache, "kernels", key, (path) =>
    take(work, packages, { drivers, always, byHardware }, path),
  );
  return { folder, release: await readFile(join(folder, "release"), "utf8") };
}

const digestsOf = (packages: readonly Package[]) => packages.map(({ sha256 }) => sha256);

/** Unpacks a kernel into a folder of its own. @returns its tree, and its release */
async function unpackKernel(work: Workshop, packages: readonly Package[]) {
  const tree = await mkdtemp(join(work.folder, "kernel-"));
  // Fedora's have them in /lib, openSUSE's in /usr/lib.
  await mkdir(join(tree, "usr/lib"), { recursive: true });
  await symlink("usr/lib", join(tree, "lib"));
  for (const { file } of packages) await unpackPackage(work, file, tree);
  const [release] = await readdir(join(tree, "lib/modules")).catch(() => []);
  if (release === undefined)
    throw new Error(`${packages.map(({ name }) => name).join(", ")}: there is no kernel with modules in it`);
  await step(work, "depmod", ["-b", tree, release]);
  return { tree, release };
}

/** Programs that unpack modules, whose memory they are loaded from as they are. */
const UNPACKERS: Readonly<Record<string, string>> = { ".xz": "xz", ".zst": "zstd", ".gz": "gzip" };

/** Fills the payload's folder. */
async function take(
  work: Workshop,
  packages: readonly Package[],
  {
    drivers,
    always,
    byHardware,
  }: { drivers: readonly string[]; always: readonly string[]; byHardware: boolean },
  payload: string,
): Promise<void> {
  const { tree, release } = await unpackKernel(work, packages);
  const from = join(tree, "lib/modules", release);
  const to = join(payload, "modules");
  await mkdir(to, { recursive: true });
  const images = [join(from, "vmlinuz"), join(tree, "boot", `vmlinuz-${release}`)];
  const there = await Promise.all(images.map(exists));
  const image = images.find((_, i) => there[i]);
  if (!image) throw new Error(`${packages.map(({ name }) => name).join(", ")}: there is no vmlinuz in it`);
  await copyFile(image, join(payload, "vmlinuz"));
  await unpackModules(work, from, drivers);
  await step(work, "depmod", ["-b", tree, release]);
  const dependencies = await readFile(join(from, "modules.dep"), "utf8");
  const order = loadOrder(dependencies, drivers);
  for (const path of order) {
    await mkdir(join(to, dirname(path)), { recursive: true });
    await copyFile(join(from, path), join(to, path));
  }
  const put = (name: string, lines: readonly string[]) =>
    writeFile(join(to, name), lines.map((line) => `${line}\n`).join(""));
  await put("order", loadOrder(dependencies, always));
  if (byHardware) await put("by-hardware", []);
  const ours = new Set(order);
  await put(
    "modules.dep",
    dependencies.split("\n").filter((line) => ours.has(line.split(":")[0] ?? "")),
  );
  const names = new Set(order.map(moduleName));
  const aliases = (await readFile(join(from, "modules.alias"), "utf8")).split("\n");
  await put(
    "modules.alias",
    aliases.filter((line) => names.has(line.split(" ").at(-1)?.replaceAll("-", "_") ?? "")),
  );
  await writeFile(join(payload, "release"), release);
  await rm(tree, { recursive: true, force: true });
}

/** Those that are needed, where they are packed: busybox loads only what is not. */
async function unpackModules(work: Workshop, folder: string, drivers: readonly string[]): Promise<void> {
  const dependencies = await readFile(join(folder, "modules.dep"), "utf8");
  const byProgram = new Map<string, string[]>();
  for (const path of loadOrder(dependencies, drivers)) {
    const program = UNPACKERS[posix.extname(path)];
    if (program) byProgram.set(program, [...(byProgram.get(program) ?? []), join(folder, path)]);
  }
  for (const [program, paths] of byProgram) {
    await step(work, program, ["-d", "-k", "-q", ...paths]);
    for (const path of paths) await rm(path);
  }
}

const moduleName = (path: string) =>
  posix
    .basename(path)
    .replace(/\.ko(\.[a-z]+)?$/, "")
    .replaceAll("-", "_");

/** All modules of the kernel, as /usr/lib/modules has them. @throws Error */
export function allModules(work: Workshop, packages: readonly Package[]): Promise<string> {
  const key = digestOf([PAYLOAD_VERSION, digestsOf(packages), "all"]).slice(0, 32);
  return cached(work.cache, "kernels", key, async (path) => {
    const { tree } = await unpackKernel(work, packages);
    await cp(join(tree, "lib/modules"), path, { recursive: true, preserveTimestamps: true });
    await rm(tree, { recursive: true });
  });
}

/** Puts the modules where the kernel's own are, in a tree with /usr/lib. */
export async function addModules(payload: KernelPayload, root: string): Promise<void> {
  const to = await rooted(root, `/usr/lib/modules/${payload.release}`);
  await mkdir(dirname(to), { recursive: true });
  await cp(join(payload.folder, "modules"), to, { recursive: true });
}

/** The initial RAM disk that mounts the root on a disk: busybox and modules, no more. */
export async function makeInitrd(
  work: Workshop,
  payload: KernelPayload,
  busybox: Package | undefined,
  root: RootOnDisk,
  epoch: number,
): Promise<string> {
  if (!busybox) throw new Error("busybox-static is missing among the packages");
  const tree = join(work.folder, "initrd.d");
  for (const name of ["bin", "dev", "proc", "sys", "root", "usr/lib"])
    await mkdir(join(tree, name), { recursive: true });
  await symlink("usr/lib", join(tree, "lib"));
  await unpackPackage(work, busybox.file, tree, ["--wildcards", "./*bin/busybox"]);
  // Newer packages have it in /usr.
  if (await exists(join(tree, "usr/bin"))) {
    await rename(join(tree, "usr/bin/busybox"), join(tree, "bin/busybox"));
    await rm(join(tree, "usr/bin"), { recursive: true });
  }
  for (const applet of INITRD_APPLETS) await symlink("busybox", join(tree, "bin", applet));
  await addModules(payload, tree);
  await writeFile(join(tree, "init"), initrdInit(root), { mode: 0o755 });
  return packInitrd(work, tree, epoch);
}

/** Modules in the order they must be loaded, with what they need; drivers that are built in have no line and are left out. Pure. */
export function loadOrder(modulesDep: string, wanted: readonly string[]): string[] {
  const byName = new Map<string, { path: string; needs: string[] }>();
  for (const line of modulesDep.split("\n")) {
    const [path = "", needs = ""] = line.split(":");
    if (path) byName.set(moduleName(path), { path, needs: needs.trim().split(" ").filter(Boolean) });
  }
  const order: string[] = [];
  for (const name of wanted) {
    const module = byName.get(name.replaceAll("-", "_"));
    if (!module) continue;
    // modules.dep names the needed ones with the deepest last.
    for (const path of [...module.needs.toReversed(), module.path])
      if (!order.includes(path)) order.push(path);
  }
  return order;
}
