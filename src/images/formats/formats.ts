/**
 * The formats in which an image is given to other hypervisors: made of the one raw disk of a build by qemu-img, xorriso and tar, and read again before they count. Each is one
 * file; the same disk gives the same file, bit for bit.
 */
import { copyFile, mkdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import type { ARTIFACTS, Format, Recipe } from "../recipe.ts";
import { step, type Workshop } from "../workshop/workshop.ts";
import { settleIds } from "./disk-ids.ts";
import { ami, type Described, hdd, ipxe, oci, ovf, pxelinux, vmc, xl } from "./format-texts.ts";

/** What all formats are made of. */
export interface Source {
  name: string;
  recipe: Recipe;
  raw: string;
  virtualBytes: number;
  /** Of the image: identifiers are made of it. */
  digest: string;
  epoch: number;
  kernel: string;
  initrd: string;
  commandLine: string;
  /** A FAT file system with kernel, initial RAM disk and loader, for the UEFI part of CDs; and the loaders' files. */
  cd?: { efi: string | undefined; isolinux: string | undefined; ldlinux: string } | undefined;
}

export interface Artifact {
  format: (typeof ARTIFACTS)[number];
  file: string;
  bytes: number;
  sha256: string;
}

interface Making extends Source {
  work: Workshop;
  /** A folder for this format alone. */
  folder: string;
  described: (file: string) => Promise<Described>;
}

/** @returns the one file that it made */
type Maker = (making: Making) => Promise<string>;

/** qemu-img's name, and its options. */
const disk =
  (format: string, ending: string, options: readonly string[] = []): Maker =>
  async (making) => {
    const { work, folder, raw, digest, epoch } = making;
    const path = join(folder, `${making.name}.${ending}`);
    const given = options.length ? ["-o", options.join(",")] : [];
    const compressed = options.includes("compression_type=zstd") ? ["-c"] : [];
    await step(work, "qemu-img", ["convert", "-f", "raw", "-O", format, ...compressed, ...given, raw, path]);
    await settleIds(path, format, digest, epoch);
    await step(work, "qemu-img", ["compare", "-q", "-f", "raw", "-F", format, raw, path]);
    if (CHECKED.includes(format)) await step(work, "qemu-img", ["check", "-q", "-f", format, path]);
    return path;
  };
/** What qemu-img can check besides its content. */
const CHECKED = ["qcow2", "vmdk", "vdi", "vhdx", "parallels"];

const stream = disk("vmdk", "vmdk", ["subformat=streamOptimized", "adapter_type=lsilogic", "hwversion=11"]);
const vhd = disk("vpc", "vhd", ["subformat=dynamic", "force_size=on"]);

const MAKERS: Readonly<Record<Format, { ending: string; make: Maker }>> = {
  raw: {
    ending: "raw",
    make: async ({ work, folder, raw, name }) => copySparse(work, raw, join(folder, `${name}.raw`)),
  },
  qcow2: { ending: "zstd.qcow2", make: disk("qcow2", "qcow2", ["compression_type=zstd"]) },
  vmdk: {
    ending: "vmdk",
    make: disk("vmdk", "vmdk", ["subformat=monolithicSparse", "adapter_type=lsilogic", "hwversion=11"]),
  },
  "vmdk-stream": { ending: "stream.vmdk", make: stream },
  ova: { ending: "ova", make: makeOva },
  vhd: { ending: "vhd", make: vhd },
  "vhd-fixed": { ending: "fixed.vhd", make: disk("vpc", "vhd", ["subformat=fixed", "force_size=on"]) },
  vhdx: { ending: "vhdx", make: disk("vhdx", "vhdx") },
  vdi: { ending: "vdi", make: disk("vdi", "vdi") },
  parallels: { ending: "hdd.tar", make: makeParallels },
  "virtual-pc": { ending: "virtual-pc.tar.gz", make: makeVirtualPc },
  "virtual-iron": {
    ending: "vhd.tar.gz",
    make: async (making) => bundle(making, [await vhd(making)], "tar.gz"),
  },
  xen: { ending: "xen.tar.gz", make: makeXen },
  ami: { ending: "ami.tar.gz", make: makeAmi },
  iso: { ending: "iso", make: makeIso },
  pxe: { ending: "pxe.tar", make: makePxe },
  oci: { ending: "oci.tar", make: makeOci },
};

/** How many are made at once: they are of one thread each. */
const AT_ONCE = 2;

/**
 * Makes all formats of the recipe.
 * @param place the file's final path, by its ending @returns in the recipe's order. @throws Error naming the format
 */
export async function makeFormats(
  work: Workshop,
  source: Source,
  place: (ending: string) => string,
): Promise<Artifact[]> {
  const formats = source.recipe.formats ?? [];
  const made = new Map<Format, Artifact>();
  const todo = [...formats];
  const worker = async () => {
    for (let format = todo.shift(); format; format = todo.shift())
      made.set(format, await makeOne(work, source, format, place));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return formats.flatMap((format) => made.get(format) ?? []);
}

async function makeOne(
  work: Workshop,
  source: Source,
  format: Format,
  place: (ending: string) => string,
): Promise<Artifact> {
  work.signal?.throwIfAborted();
  const folder = join(work.folder, `format-${format}`);
  await mkdir(folder);
  const { ending, make } = MAKERS[format];
  const described = async (file: string): Promise<Described> => ({
    name: source.name,
    digest: source.digest,
    virtualBytes: source.virtualBytes,
    fileBytes: (await stat(file)).size,
    memoryMiB: 256,
    boot: source.recipe.boot ?? "direct",
    commandLine: source.commandLine,
  });
  try {
    const path = await make({ ...source, work, folder, described });
    const to = place(ending);
    await rename(path, to);
    const artifact = { format, file: basename(to), bytes: (await stat(to)).size, sha256: await sha256Of(to) };
    work.log(`${format}: ${artifact.file}, ${artifact.bytes} bytes`);
    return artifact;
  } catch (cause) {
    if (work.signal?.aborted) throw cause;
    throw new Error(`recipe.formats: ${format}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function copySparse(work: Workshop, from: string, to: string): Promise<string> {
  await step(work, "cp", ["--sparse=always", from, to]);
  await step(work, "cmp", [from, to]);
  return to;
}

/** One archive of files of the format's folder, in this order, whoever makes it and when. */
async function bundle(
  { work, folder, name, epoch }: Making,
  paths: readonly string[],
  ending: "tar" | "tar.gz" | "ova",
): Promise<string> {
  const to = join(folder, `${name}.${ending}`);
  for (const path of paths) await utimes(path, epoch, epoch);
  const names = paths.map((path) => path.slice(folder.length + 1));
  const owned = ["--owner=0", "--group=0", "--numeric-owner", "--mode=0644", `--mtime=@${epoch}`];
  const tar = ["--format=ustar", ...owned, "-C", folder, "-cf", join(folder, "bundle.tar"), ...names];
  await step(work, "tar", tar);
  // Read again: what is in it is what went in.
  for (const [i, path] of paths.entries())
    await step(work, "sh", [
      "-ec",
      'tar -xOf "$1" "$2" | cmp - "$3"',
      "sh",
      join(folder, "bundle.tar"),
      names[i] ?? "",
      path,
    ]);
  if (ending !== "tar.gz") await rename(join(folder, "bundle.tar"), to);
  else {
    await step(work, "sh", ["-ec", 'gzip -n -1 < "$1" > "$2"', "sh", join(folder, "bundle.tar"), to]);
    await step(work, "gzip", ["-t", to]);
  }
  return to;
}

/** Writes texts into the format's folder. @returns their paths */
async function write(folder: string, texts: Readonly<Record<string, string | Buffer>>): Promise<string[]> {
  for (const [name, text] of Object.entries(texts))
    await writeFile(join(folder, name), text, { mode: 0o644 });
  return Object.keys(texts).map((name) => join(folder, name));
}

/** The description first, then the digests, then the disk: what is read while it comes must be in this order (OVF 1.0, 5.1). */
async function makeOva(making: Making): Promise<string> {
  const { folder, name } = making;
  const made = await stream(making);
  const vmdk = join(folder, `${name}-disk1.vmdk`);
  await rename(made, vmdk);
  const description = ovf(await making.described(vmdk), basename(vmdk));
  const [ovfPath = ""] = await write(folder, { [`${name}.ovf`]: description });
  const digests = await Promise.all(
    [ovfPath, vmdk].map(async (path) => `SHA256(${basename(path)})= ${await sha256Of(path)}\n`),
  );
  const [mf = ""] = await write(folder, { [`${name}.mf`]: digests.join("") });
  return bundle(making, [ovfPath, mf, vmdk], "ova");
}

async function makeParallels(making: Making): Promise<string> {
  const { folder, name } = making;
  const inside = `${name}.hdd`;
  await mkdir(join(folder, inside));
  const made = await disk("parallels", "hds")(making);
  const hds = join(folder, inside, `${name}.hds`);
  await rename(made, hds);
  const texts = await write(folder, {
    [`${inside}/DiskDescriptor.xml`]: hdd(await making.described(hds), basename(hds)),
  });
  return bundle(making, [...texts, hds], "tar");
}

async function makeVirtualPc(making: Making): Promise<string> {
  const path = await vhd(making);
  const texts = await write(making.folder, {
    [`${making.name}.vmc`]: vmc(await making.described(path), basename(path)),
  });
  return bundle(making, [...texts, path], "tar.gz");
}

/** The raw disk, without its holes where the file system can. */
async function rawIn({ work, folder, raw }: Making, name: string): Promise<string> {
  return copySparse(work, raw, join(folder, name));
}

async function makeXen(making: Making): Promise<string> {
  const { folder, name, kernel, initrd, recipe } = making;
  const raw = await rawIn(making, `${name}.raw`);
  const inRam = recipe.root === "ram";
  const files = [raw];
  if (inRam)
    for (const [from, to] of [
      [kernel, "vmlinuz"],
      [initrd, "initrd"],
    ] as const) {
      await copyFile(from, join(folder, to));
      files.push(join(folder, to));
    }
  const config = xl(
    await making.described(raw),
    basename(raw),
    inRam ? { kernel: "vmlinuz", initrd: "initrd" } : undefined,
  );
  return bundle(making, [...(await write(folder, { [`${name}.cfg`]: config })), ...files], "tar.gz");
}

async function makeAmi(making: Making): Promise<string> {
  const raw = await rawIn(making, `${making.name}.raw`);
  const { importSnapshot, registerImage } = ami(await making.described(raw), basename(raw));
  const texts = await write(making.folder, {
    "import-snapshot.json": importSnapshot,
    "register-image.json": registerImage,
  });
  return bundle(making, [...texts, raw], "tar.gz");
}

async function makePxe(making: Making): Promise<string> {
  const { folder, kernel, initrd } = making;
  const files = [join(folder, "vmlinuz"), join(folder, "initrd")] as const;
  await copyFile(kernel, files[0]);
  await copyFile(initrd, files[1]);
  const described = await making.described(kernel);
  await mkdir(join(folder, "pxelinux.cfg"));
  const texts = await write(folder, {
    "pxelinux.cfg/default": pxelinux(described),
    "boot.ipxe": ipxe(described),
  });
  return bundle(making, [...texts, ...files], "tar");
}

const BIOS_CD = ["-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"];

/** A CD: isolinux for BIOS, and for UEFI a FAT file system with kernel and initial RAM disk of its own, because its loader reads no other. */
async function makeIso(making: Making): Promise<string> {
  const { work, folder, name, kernel, initrd, cd, epoch, digest } = making;
  if (!cd) throw new Error("the loaders for CDs are missing");
  const tree = join(folder, "cd");
  await mkdir(join(tree, "isolinux"), { recursive: true });
  const described = await making.described(kernel);
  const config = `DEFAULT linux\nLABEL linux\n KERNEL /vmlinuz\n INITRD /initrd\n APPEND ${described.commandLine}\n`;
  const files = [
    [kernel, "vmlinuz"],
    [initrd, "initrd"],
    ...(cd.isolinux
      ? [[cd.isolinux, "isolinux/isolinux.bin"] as const, [cd.ldlinux, "isolinux/ldlinux.c32"] as const]
      : []),
    ...(cd.efi ? [[cd.efi, "efi.img"] as const] : []),
  ] as const;
  for (const [from, to] of files) await copyFile(from, join(tree, to));
  await writeFile(join(tree, "isolinux/isolinux.cfg"), config);
  await step(work, "find", [tree, "-exec", "touch", "-d", `@${epoch}`, "{}", "+"]);
  const to = join(folder, `${name}.iso`);
  const date = new Date(epoch * 1000).toISOString().replace(/\D/g, "").slice(0, 16);
  await step(
    work,
    "xorriso",
    [
      ...["-as", "mkisofs", "-quiet", "-o", to, "-V", "VIREO", "-R", `--modification-date=${date}`],
      ...["--gpt_disk_guid", digest.slice(0, 32), "-c", "isolinux/boot.cat"],
      ...(cd.isolinux ? ["-b", "isolinux/isolinux.bin", ...BIOS_CD] : []),
      ...(cd.isolinux && cd.efi ? ["-eltorito-alt-boot"] : []),
      ...(cd.efi ? ["-e", "efi.img", "-no-emul-boot"] : []),
      tree,
    ],
    { env: { SOURCE_DATE_EPOCH: String(epoch), TZ: "UTC" } },
  );
  for (const [from, name] of [
    [kernel, "vmlinuz"],
    [initrd, "initrd"],
  ] as const) {
    const back = join(folder, `${name}.back`);
    await step(work, "xorriso", ["-osirrox", "on", "-indev", to, "-extract", `/${name}`, back]);
    await step(work, "cmp", [from, back]);
  }
  return to;
}

/** What KubeVirt calls a container disk: the disk as /disk/NAME.qcow2 of an OCI image. */
async function makeOci(making: Making): Promise<string> {
  const { work, folder, name, epoch } = making;
  const made = await disk("qcow2", "qcow2", ["compression_type=zstd"])(making);
  await mkdir(join(folder, "disk"));
  const inside = join(folder, "disk", `${name}.qcow2`);
  await rename(made, inside);
  await utimes(inside, epoch, epoch);
  const layer = join(folder, "layer.tar");
  // KubeVirt's QEMU is user 107.
  const owned = ["--owner=107", "--group=107", "--numeric-owner", `--mtime=@${epoch}`, "--mode=u=rwX,go=rX"];
  await step(work, "tar", ["--format=ustar", ...owned, "-C", folder, "-cf", layer, "disk"]);
  const sha256 = await sha256Of(layer);
  const parts = oci(await making.described(layer), { sha256, bytes: (await stat(layer)).size });
  await mkdir(join(folder, "blobs/sha256"), { recursive: true });
  await rename(layer, join(folder, "blobs/sha256", sha256));
  const texts = await write(folder, {
    "oci-layout": parts.layout,
    "index.json": parts.index,
    [`blobs/sha256/${parts.digests.config}`]: parts.config,
    [`blobs/sha256/${parts.digests.manifest}`]: parts.manifest,
  });
  return bundle(making, [...texts, join(folder, "blobs/sha256", sha256)], "tar");
}
