/**
 * Builds a slim Debian image from a recipe: packages unpacked (their maintainer scripts do not run), busybox as init, a root file
 * system made without mounting anything, and a kernel with a tiny initrd that is booted directly.
 *
 *   Resolving -> Downloading -> Unpacking -> Making the initrd -> Making the disk
 */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { run } from "../system/run.ts";
import { sha256Of } from "./digest.ts";
import { clampTimes, makeDisk, newestFile } from "./disk.ts";
import { guestFiles, INITRD_INIT } from "./guest-files.ts";
import type { Image } from "./kinds.ts";
import { type Package, Packages } from "./packages.ts";
import { rooted } from "./rooted.ts";

type Recipe = NonNullable<Image["spec"]["recipe"]>;
export type BuiltImage = Pick<
  NonNullable<Image["status"]>,
  "file" | "format" | "virtualBytes" | "allocatedBytes" | "sha256" | "boot" | "packages"
>;

/** Raised when the builder changes what it makes of the same recipe. */
const BUILDER_VERSION = 5;
/** What every slim image has besides the recipe's packages. */
const BASE_PACKAGES = ["busybox-static", "qemu-guest-agent", "netbase"];
const UNWANTED = ["doc", "man", "info", "locale", "lintian", "bug", "bash-completion", "doc-base", "perl5"];
/** Drivers of our machines; what they depend on is found in modules.dep. */
const DRIVERS = [
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
/**
 * swiotlb: where memory may come above 4 GiB Linux sets 64 MiB aside to copy through for devices that do not reach it; virtio's reach all, and they are the only
 * ones here.
 */
const COMMAND_LINE =
  "console=ttyS0 quiet net.ifnames=0 mitigations=off panic=10 memhp_default_state=online_movable swiotlb=noforce";

export interface BuildOptions {
  name: string;
  recipe: Recipe;
  /** The pool's images/ folder. */
  folder: string;
  /** Keeps downloads between builds. */
  cache: string;
  progress: (stage: string) => Promise<void> | void;
  /** Ends the build before its next stage; nothing is left of it. */
  signal?: AbortSignal;
}

const digestOf = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex");

/** Names the files: the same recipe is never built twice. */
export function recipeDigest(recipe: Recipe): string {
  return digestOf([BUILDER_VERSION, recipe]).slice(0, 12);
}

/** Files appear in the folder only when all of them are whole. @throws Error with a text for users; nothing is left then */
export async function buildImage(options: BuildOptions): Promise<BuiltImage> {
  const { name, recipe, folder } = options;
  const progress = async (stage: string) => {
    options.signal?.throwIfAborted();
    await options.progress(stage);
  };
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const base = `${name}-${recipeDigest(recipe)}`;
  const described = join(folder, `${base}.json`);
  if (existsSync(described)) return JSON.parse(await readFile(described, "utf8")) as BuiltImage; // written below
  const work = await mkdtemp(join(folder, `.build-${name}-`));
  try {
    await progress("resolving and downloading packages");
    const packages = new Packages(options.cache, recipe.release);
    const { kernel, debs } = await fetchPackages(packages, recipe);
    await progress(`unpacking ${debs.length} packages`);
    const root = join(work, "root");
    const epoch = await makeRoot(root, debs, recipe);
    await progress("making the initial RAM disk");
    await makeKernel(work, kernel, debs, epoch);
    await progress("making the disk");
    const disk = join(work, "disk.qcow2");
    const contents = [...debs, kernel].map((deb) => ({
      name: deb.name,
      version: deb.version,
      sha256: deb.sha256,
    }));
    // A lock says of a recipe what it was built from anyway: with and without it the disk is the same.
    const digest = digestOf([BUILDER_VERSION, { ...recipe, lock: undefined }, contents]);
    const virtualBytes = await makeDisk(work, root, disk, { diskMiB: recipe.diskMiB, epoch, digest });
    options.signal?.throwIfAborted();
    const built: BuiltImage = {
      file: `${base}.qcow2`,
      format: "qcow2",
      virtualBytes,
      allocatedBytes: (await stat(disk)).blocks * 512,
      sha256: await sha256Of(disk),
      boot: { kernel: `${base}.vmlinuz`, initrd: `${base}.initrd`, commandLine: COMMAND_LINE },
      packages: contents,
    };
    for (const [from, to] of [
      ["vmlinuz", `${base}.vmlinuz`],
      ["initrd", `${base}.initrd`],
      ["disk.qcow2", `${base}.qcow2`],
    ] as const) {
      await chmod(join(work, from), 0o444);
      await rename(join(work, from), join(folder, to));
    }
    // Last: it says that all the others are there.
    await writeFile(join(work, "json"), JSON.stringify(built));
    await rename(join(work, "json"), described);
    return built;
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    if (/ENOSPC|No space left|not enough space|Could not allocate/i.test(text))
      throw new Error(
        `no space left in ${folder} while the image was built; a build needs about 300 MiB there`,
        { cause },
      );
    throw cause;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Removes what builds that were killed have left in the folder. */
export async function removeStaleBuilds(folder: string): Promise<void> {
  if (!existsSync(folder)) return;
  for (const name of await readdir(folder))
    if (name.startsWith(".build-")) await rm(join(folder, name), { recursive: true, force: true });
}

/** Names are looked at before anything is downloaded. */
async function fetchPackages(
  packages: Packages,
  recipe: Recipe,
): Promise<{ kernel: Package; debs: Package[] }> {
  const { lock } = recipe;
  if (!lock) {
    const debs = await packages.fetch([...BASE_PACKAGES, ...recipe.packages]);
    return { kernel: await packages.kernel(), debs };
  }
  const all = await packages.fetchLocked(lock);
  const kernel = all.find(isKernel);
  if (!kernel) throw new Error("recipe.lock: has no linux-image package");
  return { kernel, debs: all.filter((deb) => deb !== kernel) };
}

const isKernel = ({ name }: Package) => name.startsWith("linux-image-");

async function unpack(deb: string, root: string, members: readonly string[] = []): Promise<void> {
  const excludes = UNWANTED.map((name) => `--exclude=./usr/share/${name}/*`);
  // The folders below / are links into /usr, as Debian has them; tar must not put folders in their place.
  const script = 'dpkg-deb --fsys-tarfile "$1" | { shift; tar -x --keep-directory-symlink -C "$@"; }';
  await run("sh", ["-ec", script, "sh", deb, root, ...excludes, ...members], { timeoutMs: 120_000 });
}

/** @returns the moment that no file of it is newer than, in seconds since 1970 */
async function makeRoot(root: string, debs: readonly Package[], recipe: Recipe): Promise<number> {
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    await mkdir(join(root, "usr", name), { recursive: true });
    await symlink(`usr/${name}`, join(root, name));
  }
  for (const name of [
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "root",
    "etc",
    "var/lib",
    "var/log",
    "var/cache",
    "var/tmp",
    "srv",
  ])
    await mkdir(join(root, name), { recursive: true });
  // Relative: tar follows it, and must stay within the image.
  await symlink("../run", join(root, "var/run"));
  for (const { file } of debs) await unpack(file, root);
  const epoch = await newestFile(root);
  // busybox does everything that no package brought a program for.
  const applets = (await run(join(root, "usr/bin/busybox"), ["--list-full"])).split("\n").filter(Boolean);
  for (const applet of [...applets, "sbin/init"]) {
    const path = join(root, applet.startsWith("usr/") ? applet : `usr/${applet}`);
    if (existsSync(path)) continue;
    await mkdir(dirname(path), { recursive: true });
    await symlink(
      posix.relative(posix.dirname(`/${path.slice(root.length + 1)}`), "/usr/bin/busybox"),
      path,
    ).catch(() => undefined);
  }
  for (const { path, content, mode } of guestFiles(recipe)) {
    const at = await rooted(root, path);
    await mkdir(dirname(at), { recursive: true });
    await writeFile(at, content);
    await chmod(at, mode);
  }
  for (const path of recipe.directories ?? []) await mkdir(await rooted(root, path), { recursive: true });
  await run("ldconfig", ["-r", root]);
  // ldconfig's memory of this machine's inodes.
  await rm(join(root, "var/cache/ldconfig"), { recursive: true, force: true });
  await clampTimes(root, epoch);
  return epoch;
}

/** vmlinuz and initrd in `work`. */
async function makeKernel(
  work: string,
  kernel: Package,
  debs: readonly Package[],
  epoch: number,
): Promise<void> {
  const tree = join(work, "kernel");
  await mkdir(tree);
  await unpack(kernel.file, tree);
  const [release = ""] = await readdir(join(tree, "lib/modules"));
  await copyFile(join(tree, "boot", `vmlinuz-${release}`), join(work, "vmlinuz"));
  await run("depmod", ["-b", tree, release], { timeoutMs: 60_000 });
  const modules = join(tree, "lib/modules", release);
  const order = loadOrder(await readFile(join(modules, "modules.dep"), "utf8"), DRIVERS);

  const initrd = join(work, "initrd.d");
  for (const name of ["bin", "modules", "dev", "proc", "sys", "root"])
    await mkdir(join(initrd, name), { recursive: true });
  const busybox = debs.find((deb) => deb.name === "busybox-static");
  if (!busybox) throw new Error("busybox-static is missing among the packages");
  await unpack(busybox.file, initrd, ["./bin/busybox"]);
  for (const path of order)
    await copyFile(join(modules, path), join(initrd, "modules", posix.basename(path)));
  await writeFile(join(initrd, "modules/order"), `${order.map((path) => posix.basename(path)).join("\n")}\n`);
  await writeFile(join(initrd, "init"), INITRD_INIT, { mode: 0o755 });
  await clampTimes(initrd, epoch);
  const pack =
    'cd "$1" && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R 0:0 | zstd -q -9 -o "$2"';
  await run("sh", ["-ec", pack, "sh", initrd, join(work, "initrd")], { timeoutMs: 60_000 });
}

/** Modules in the order they must be loaded, with what they need; drivers that are built in have no line and are left out. Pure. */
export function loadOrder(modulesDep: string, wanted: readonly string[]): string[] {
  const byName = new Map<string, { path: string; needs: string[] }>();
  for (const line of modulesDep.split("\n")) {
    const [path = "", needs = ""] = line.split(":");
    if (path)
      byName.set(posix.basename(path, ".ko").replaceAll("-", "_"), {
        path,
        needs: needs.trim().split(" ").filter(Boolean),
      });
  }
  const order: string[] = [];
  for (const name of wanted) {
    const module = byName.get(name);
    if (!module) continue;
    // modules.dep names the needed ones with the deepest last.
    for (const path of [...module.needs.toReversed(), module.path])
      if (!order.includes(path)) order.push(path);
  }
  return order;
}
