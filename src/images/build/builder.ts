/**
 * Builds an image from a recipe. Slim: packages unpacked (their maintainer scripts do not run), busybox as init; neither root nor loop devices nor KVM
 * are needed. Full: packages installed by their package manager, systemd as init; it takes root, see ../full. Disks are made in one way, without mounting
 * anything.
 *
 *   Resolving ─► Downloading ─► Unpacking ─► kernel and initial RAM disk ─► disk ─► into the pool
 *
 * This folder puts together what others make. Each of them imports only those to its right:
 *
 *   build ─► slim, full (root file systems) ─► boot (kernel, initial RAM disk, disks) ─► rootfs (what both kinds have) ─► workshop (how programs are run, kept, kept in)
 */
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import { archivesFolder, missingArchives } from "../archives/store.ts";
import { cdLoaders, makeBootDisk, uuidOf } from "../boot/boot-disk.ts";
import { makeReadOnlyDisk, makeRootDisk } from "../boot/disk.ts";
import { type Packing, packInitrd } from "../boot/initrd.ts";
import { addModules, allModules, kernelPayload, makeInitrd } from "../boot/kernel.ts";
import { repackKernel } from "../boot/repack-kernel.ts";
import { type Artifact, makeFormats } from "../formats/formats.ts";
import { requireFullMode } from "../full/full-mode.ts";
import { makeFullRoot } from "../full/full-root.ts";
import { pictureOptions } from "../full/pictures.ts";
import { publish } from "../garbage/publish.ts";
import { readKept } from "../kept.ts";
import { BuiltImage } from "../kinds.ts";
import type { Package } from "../packages/packages.ts";
import { digestOf, type LockedPackage, type Recipe } from "../recipe.ts";
import { releaseOf } from "../releases/releases.ts";
import { kernelOf } from "../shared.ts";
import { makeRoot } from "../slim/slim-root.ts";
import { writeBeside } from "../trust/beside.ts";
import { fileList } from "../trust/file-list.ts";
import type { Signer } from "../trust/signature.ts";
import { pruneCache } from "../workshop/cache.ts";
import { requirePackaged } from "../workshop/packaged.ts";
import { rootedEntry } from "../workshop/rooted.ts";
import { step, type Workshop } from "../workshop/workshop.ts";
import { requireExpected } from "./expected.ts";
import { type Fetched, fetchPackages, isBusybox, lockOf } from "./fetch.ts";
import { largestParts, requireSize } from "./size.ts";
import { sourcesOf } from "./source-packages.ts";

/** Raised when the builder changes what it makes of the same recipe and packages. */
const BUILDER_VERSION = 21;
/**
 * cryptomgr.notests: the kernel does not test its ciphers at each boot, half a second under emulation; only FIPS asks for it. no_timer_check: where the host is busy, its test of
 * timer interrupts fails under emulation, and it panics. swiotlb: where memory may come above 4 GiB Linux sets 64 MiB aside to copy through for devices that do not reach it;
 * virtio's reach all, and they are the only ones of Vireo's machines.
 */
const COMMAND_LINE =
  "console=ttyS0 quiet net.ifnames=0 mitigations=off cryptomgr.notests no_timer_check panic=10 memhp_default_state=online_movable swiotlb=noforce";
/**
 * Of what is all in memory: the kernel keeps no files for tracing (tracefs), which take 9 MiB from the first moment on, when the root lies packed in memory, too. Nobody in
 * it can change the kernel that runs (kernel_lockdown(7)).
 */
const IN_RAM = " lockdown=confidentiality";
/** On hardware of all sorts; the serial port, as the last, is where services write to. */
const COMMAND_LINE_ANYWHERE =
  "console=tty0 console=ttyS0 quiet net.ifnames=0 mitigations=off cryptomgr.notests no_timer_check panic=10";
/** In bytes. Of disks up to it, what qcow2's usual clusters of 64 KiB leave unused is a fortieth. */
const SMALL_DISK = 64 * 2 ** 20;
/** In their order. */
export const STAGES = ["packages", "unpack", "initrd", "disk", "formats"] as const;
export type Stage = (typeof STAGES)[number];

export interface BuildOptions {
  /** Of the image: its files are named after it. */
  name: string;
  recipe: Recipe;
  /** The pool's images/ folder. */
  folder: string;
  /** Where archives that the recipe names are; the folder's own by default. */
  archives?: string;
  /** Keeps downloads between builds. */
  cache: string;
  /** Keeps what is made of them; the cache by default. */
  layers?: string;
  /** Called when a stage begins, with a text for people. */
  progress: (stage: Stage, text: string) => Promise<void> | void;
  log?: (line: string) => void;
  /** Signs what was built. */
  signer?: Signer;
  /** Ends the build, and the program that runs; nothing is left of it. */
  signal?: AbortSignal;
}

/** Files appear in the folder only when all of them are whole. @throws Error with a text for users; nothing is left then */
export async function buildImage(options: BuildOptions): Promise<BuiltImage> {
  const { name, recipe, folder, cache, signal, layers = cache } = options;
  const log = options.log ?? (() => {});
  const stage = async (which: Stage, text: string) => {
    signal?.throwIfAborted();
    log(text);
    await options.progress(which, text);
  };
  const whole = recipe.mode === "full";
  const release = releaseOf(recipe);
  if (whole) await requireFullMode(release);
  const unsealed = !whole && (await requirePackaged(recipe, folder));
  await stage("packages", "resolving and downloading packages");
  const archives = options.archives ?? archivesFolder(folder);
  const [missing] = await missingArchives(archives, recipe.archives);
  if (missing)
    throw new Error(
      `recipe.archives: ${missing.file} (sha256 ${missing.sha256}) is not in the storage pool; vireo image build sends it from beside the recipe`,
    );
  const packages = await fetchPackages(cache, recipe, { signal, warn: log });
  const all = new Set([...packages.inRoot, ...packages.apart]);
  const contents = [...all].map(lockOf);
  // A lock says of a recipe what it was built from anyway, as whatever mirror has it, and formats are made of the disk: the disk is the same with and without.
  const digest = digestOf([
    BUILDER_VERSION,
    { ...recipe, lock: undefined, formats: undefined, mirror: undefined },
    contents,
  ]);
  const { formats = [] } = recipe;
  const base = `${name}-${(formats.length ? digestOf([digest, formats]) : digest).slice(0, 12)}`;
  const described = join(folder, `${base}.json`);
  // What is damaged was made by a version that did not see to it that it outlives a power cut: nothing of it is trusted.
  const there = await readKept(described, BuiltImage);
  if (there) {
    log(`the same image of the same packages is there already: ${base}`);
    return there;
  }
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const work: Workshop = {
    folder: await mkdtemp(join(folder, `.build-${name}-`)),
    cache: layers,
    log,
    signal,
    unsealed,
  };
  try {
    await requireExpected(work, recipe, { inRoot: packages.inRoot, archives });
    const { raw, kernel, initrd, ...parts } = await assemble(
      work,
      { recipe, packages, contents, digest, archives },
      stage,
    );
    const disk = join(work.folder, "disk.qcow2");
    const { size: virtualBytes } = await stat(raw);
    const clusters = virtualBytes <= SMALL_DISK ? ["-o", "cluster_size=4096"] : [];
    await step(work, "qemu-img", ["convert", "-f", "raw", "-O", "qcow2", ...clusters, raw, disk]);
    await requireSize(recipe, [disk, ...(parts.boot === "direct" ? [kernel, initrd] : [])], parts.largest);
    const out = join(work.folder, "out");
    await mkdir(out);
    const artifacts: Artifact[] = [];
    if (formats.length > 0) {
      await stage("formats", `making ${formats.join(", ")}`);
      const source = { name, recipe, raw, virtualBytes, digest, kernel, initrd, ...parts };
      artifacts.push(...(await makeFormats(work, source, (ending) => join(out, `${base}.${ending}`))));
    }
    signal?.throwIfAborted();
    const direct = parts.boot === "direct";
    const sha256 = await sha256Of(disk);
    const files = [
      { file: `${base}.qcow2`, sha256 },
      ...(direct
        ? [
            { file: `${base}.vmlinuz`, sha256: await sha256Of(kernel) },
            { file: `${base}.initrd`, sha256: await sha256Of(initrd) },
          ]
        : []),
      ...artifacts,
    ];
    const about = {
      name,
      recipe,
      sha256,
      packages: contents,
      epoch: parts.epoch,
      fileList: parts.fileList,
      files,
    };
    artifacts.push(
      ...(await writeBeside(
        { ...about, builderVersion: BUILDER_VERSION },
        (ending) => join(out, `${base}.${ending}`),
        options.signer,
      )),
    );
    const { commandLine } = parts;
    const built: BuiltImage = {
      file: `${base}.qcow2`,
      format: "qcow2",
      virtualBytes,
      allocatedBytes: (await stat(disk)).blocks * 512,
      sha256,
      ...(direct ? { boot: { kernel: `${base}.vmlinuz`, initrd: `${base}.initrd`, commandLine } } : {}),
      packages: await withSources(contents, [...all], signal),
      artifacts,
    };
    if (direct) {
      await rename(kernel, join(out, `${base}.vmlinuz`));
      await rename(initrd, join(out, `${base}.initrd`));
    }
    await rename(disk, join(out, `${base}.qcow2`));
    await writeFile(join(work.folder, "json"), JSON.stringify(built));
    const finished = await readdir(out);
    for (const file of finished) await chmod(join(out, file), 0o444);
    await publish(folder, base, {
      description: join(work.folder, "json"),
      files: Object.fromEntries(finished.map((file) => [file, join(out, file)])),
    });
    return built;
  } catch (cause) {
    const text = cause instanceof Error ? cause.message : String(cause);
    if (/ENOSPC|No space left|not enough space|Could not allocate/i.test(text))
      throw new Error(
        `no space left in ${folder} while the image was built; ${whole ? "a full image is there up to three times while it is built: some gigabytes" : "a build needs about 300 MiB there"}`,
        { cause },
      );
    throw cause;
  } finally {
    await rm(work.folder, { recursive: true, force: true });
    await pruneCache(layers, Date.now());
  }
}

/** Each with the source that it was built from. @param packages in the same order */
async function withSources(
  contents: readonly LockedPackage[],
  packages: readonly Package[],
  signal: AbortSignal | undefined,
) {
  const sources = await sourcesOf(packages, signal);
  return contents.map((about, i) => ({ ...about, ...(sources[i] ? { source: sources[i] } : {}) }));
}

/** What an image is put together from. */
interface Parts {
  /** Its disk. */
  raw: string;
  kernel: string;
  initrd: string;
  commandLine: string;
  boot: "direct" | "bios" | "uefi" | "both";
  epoch: number;
  /** Of its root file system. */
  fileList: string;
  /** What takes the most room in it, for people. */
  largest: () => Promise<string>;
  cd?: Awaited<ReturnType<typeof cdLoaders>>;
}

/** Files and folders of the workshop. @throws Error */
async function assemble(
  work: Workshop,
  {
    recipe,
    packages,
    contents,
    digest,
    archives,
  }: {
    recipe: Recipe;
    packages: Fetched;
    contents: readonly LockedPackage[];
    digest: string;
    archives: string;
  },
  stage: (which: Stage, text: string) => Promise<void>,
): Promise<Parts> {
  const { inRoot, loaders } = packages;
  const whole = recipe.mode === "full";
  await stage("unpack", `${whole ? "installing" : "unpacking"} ${inRoot.length} packages`);
  const root = join(work.folder, "root");
  const about = { contents, digest, archives };
  const { epoch, layers } = whole
    ? await makeFullRoot(
        work,
        root,
        { ...about, packages: inRoot, modules: await allModules(work, packages.kernel) },
        recipe,
      )
    : await makeRoot(work, root, { ...about, debs: inRoot }, recipe);
  await stage("initrd", "making the initial RAM disk");
  const payload = await kernelPayload(work, packages.kernel, recipe);
  const kernel = join(work.folder, "vmlinuz");
  await copyFile(join(payload.folder, "vmlinuz"), kernel);
  const { boot = "direct", root: type = "ext4" } = recipe;
  const uuid = uuidOf(digest);
  const rootName = type === "ext4" ? "root" : `root-${digest.slice(0, 8)}`;
  let initrd: string;
  if (type === "ram") {
    await addModules(payload, root);
    await symlink("sbin/init", await rootedEntry(root, "/init"));
    initrd = await packInitrd(work, root, epoch, { layers, packing: packingOf(recipe) });
  } else {
    const busybox = [...inRoot, ...packages.apart].find(isBusybox);
    // A squashfs has no identifier of its own; its partition has.
    const named = type === "ext4" ? `UUID=${uuid}` : `PARTNAME=${rootName}`;
    const device =
      boot === "direct" && (kernelOf(recipe) !== "generic" || type !== "ext4") ? "/dev/vda" : named;
    initrd = await makeInitrd(work, payload, busybox, { device, type }, epoch);
  }
  // As it will be on the disk.
  const files = await fileList(root);
  await stage("disk", "making the disk");
  const file =
    type === "ram"
      ? undefined
      : type === "ext4"
        ? await makeRootDisk(work, root, { diskMiB: recipe.diskMiB, epoch, uuid })
        : await makeReadOnlyDisk(work, root, { type, epoch, uuid, all: !whole });
  const commandLine =
    (kernelOf(recipe) === "generic" ? COMMAND_LINE_ANYWHERE : COMMAND_LINE) +
    (type === "ram" ? IN_RAM : "") +
    pictureOptions(recipe);
  const largest = () => largestParts(root, { layers, packages: inRoot }, recipe);
  const parts = { kernel, initrd, commandLine, boot, epoch, fileList: files, largest };
  if (boot === "direct") return { ...parts, raw: file ?? (await emptyDisk(work)) };
  const title = recipe.branding?.osRelease?.prettyName ?? releaseOf(recipe).title;
  const bootDisk = {
    ...{
      kernel: packages.packer ? await repackKernel(work, kernel, packages.packer) : kernel,
      initrd,
      commandLine,
      title,
      boot,
      root: file,
      rootName,
      epoch,
    },
    digest: digestOf(digest),
  };
  const raw = await makeBootDisk(work, bootDisk, loaders);
  const cd = recipe.formats?.includes("iso") ? await cdLoaders(work, bootDisk, loaders) : undefined;
  return { ...parts, raw, ...(cd ? { cd } : {}) };
}

/** The kernel for all hardware is for small disks; where one starts with the kernel itself, its size counts less. */
const packingOf = (recipe: Recipe): Packing =>
  kernelOf(recipe) === "generic" && (recipe.boot ?? "direct") !== "direct" ? "small" : "fast";

/** A machine has a disk, also when its system needs none. */
async function emptyDisk(work: Workshop): Promise<string> {
  const raw = join(work.folder, "empty.raw");
  await step(work, "truncate", ["-s", "1M", raw]);
  return raw;
}
