/**
 * A disk that a firmware boots: GPT with one FAT partition, which has the kernel, the initial RAM disk and the boot loaders (syslinux for BIOS, systemd-boot for
 * UEFI, both of the image's own distribution), and behind it the root file system, if that is on the disk. Made without mounts or loop devices, and
 * the same, bit for bit, of the same files.
 */
import { mkdir, mkdtemp, open, readFile, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Package } from "../packages/packages.ts";
import { digestOf, type Recipe } from "../recipe.ts";
import { cached } from "../workshop/cache.ts";
import { runPackaged } from "../workshop/packaged.ts";
import { unpackPackage } from "../workshop/unpack-package.ts";
import { step, type Workshop } from "../workshop/workshop.ts";

const SECTOR = 512;
const MiB = 2 ** 20;
/** 16 bits of FAT need so many, with clusters of 2 KiB. */
const MIN_ESP_BYTES = 9 * MiB;
const TYPE_ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
const TYPE_ROOT_X86_64 = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";

/** What boots the image, from its own distribution. */
export function loaderPackages({ boot = "direct", formats = [] }: Recipe): string[] {
  return [
    ...(formats.includes("iso") && boot !== "uefi" ? ["isolinux"] : []),
    ...(boot === "bios" || boot === "both" ? ["syslinux", "syslinux-common"] : []),
    ...(boot === "uefi" || boot === "both" ? ["systemd-boot-efi"] : []),
  ];
}

export interface BootDisk {
  kernel: string;
  initrd: string;
  commandLine: string;
  /** Shown by boot menus. */
  title: string;
  boot: "bios" | "uefi" | "both";
  /** A file system image; none when all is in memory. */
  root?: string | undefined;
  /** Of its partition. */
  rootName?: string;
  epoch: number;
  /** Identifiers are made of it. */
  digest: string;
}

/** 8-4-4-4-12 of 32 digits of the digest, from `at`. */
export const uuidOf = (digest: string, at = 0) =>
  digest.slice(at, at + 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");

/** The files of the loaders' packages, unpacked in the cache. */
function loaders(work: Workshop, debs: readonly Package[]): Promise<string> {
  const key = digestOf(debs.map(({ sha256 }) => sha256).sort()).slice(0, 32);
  return cached(work.cache, "loaders", key, async (path) => {
    await mkdir(path);
    for (const { file } of debs) await unpackPackage(work, file, path);
  });
}

/** What a CD needs of loaders, beside the kernel. @param disk the disk's: of its partition only what UEFI needs is taken */
export async function cdLoaders(work: Workshop, disk: BootDisk, debs: readonly Package[]) {
  const from = await loaders(work, debs);
  return {
    efi:
      disk.boot === "bios" ? undefined : await makeEsp(work, { ...disk, boot: "uefi" }, from, "cd-efi.img"),
    isolinux: disk.boot === "uefi" ? undefined : join(from, "usr/lib/ISOLINUX/isolinux.bin"),
    ldlinux: join(from, "usr/lib/syslinux/modules/bios/ldlinux.c32"),
  };
}

/** @returns its path (raw). @throws Error */
export async function makeBootDisk(
  work: Workshop,
  disk: BootDisk,
  debs: readonly Package[],
): Promise<string> {
  const from = await loaders(work, debs);
  return partitioned(work, disk, from, await makeEsp(work, disk, from, "esp.img"));
}

/** The FAT file system. */
async function makeEsp(work: Workshop, disk: BootDisk, from: string, name: string): Promise<string> {
  const { boot, epoch, digest } = disk;
  const bios = boot !== "uefi";
  const uefi = boot !== "bios";
  const esp = join(work.folder, name);
  const sizes = await Promise.all([disk.kernel, disk.initrd].map(async (path) => (await stat(path)).size));
  const files = sizes.reduce((sum, size) => sum + size, 0);
  // The loaders and FAT's tables.
  const espBytes = Math.max(MIN_ESP_BYTES, Math.ceil((files + 640 * 1024) / (256 * 1024)) * 256 * 1024);
  await writeFile(esp, "");
  await truncate(esp, espBytes);
  const volume = digest.slice(0, 8);
  await step(work, "mkfs.vfat", ["--invariant", "-i", volume, "-n", "BOOT", "-F", "16", "-s", "4", esp]);

  const texts = join(work.folder, `${name}.d`);
  await mkdir(texts);
  const write = async (name: string, text: string) => {
    await writeFile(join(texts, name), text);
    return join(texts, name);
  };
  const put: [from: string, to: string][] = [
    [disk.kernel, "vmlinuz"],
    [disk.initrd, "initrd"],
  ];
  const folders: string[] = [];
  const { commandLine, title } = disk;
  if (bios)
    put.push([
      await write(
        "syslinux.cfg",
        `DEFAULT linux\nLABEL linux\n MENU LABEL ${title}\n LINUX /vmlinuz\n INITRD /initrd\n APPEND ${commandLine}\n`,
      ),
      "syslinux.cfg",
    ]);
  if (uefi) {
    folders.push("EFI", "EFI/BOOT", "loader", "loader/entries");
    put.push(
      [join(from, "usr/lib/systemd/boot/efi/systemd-bootx64.efi"), "EFI/BOOT/BOOTX64.EFI"],
      [await write("loader.conf", "default linux.conf\ntimeout 0\n"), "loader/loader.conf"],
      [
        await write("linux.conf", `title ${title}\nlinux /vmlinuz\ninitrd /initrd\noptions ${commandLine}\n`),
        "loader/entries/linux.conf",
      ],
    );
  }
  // FAT keeps times of local clocks.
  const env = { TZ: "UTC", SOURCE_DATE_EPOCH: String(epoch), MTOOLS_SKIP_CHECK: "1" };
  if (folders.length) await step(work, "mmd", ["-i", esp, ...folders.map((name) => `::${name}`)], { env });
  for (const [source, to] of put) {
    if (source.startsWith(work.folder)) await utimes(source, epoch, epoch);
    await step(work, "mcopy", ["-m", "-i", esp, source, `::${to}`], { env });
  }
  if (bios) {
    const temporary = await mkdtemp(join(work.folder, "syslinux-"));
    await runPackaged(work, [join(from, "usr/bin/syslinux"), "--install", esp], {
      ...{ tree: from, writes: [esp, temporary], fileBytes: (await stat(esp)).size },
      env: { ...env, TMPDIR: temporary },
    });
  }

  return esp;
}

/** GPT with the FAT file system and the root. */
async function partitioned(work: Workshop, disk: BootDisk, from: string, esp: string): Promise<string> {
  const { boot, digest } = disk;
  const bios = boot !== "uefi";
  const espBytes = (await stat(esp)).size;
  const parts = [
    {
      image: esp,
      bytes: espBytes,
      type: TYPE_ESP,
      name: "boot",
      more: bios ? ', attrs="LegacyBIOSBootable"' : "",
    },
    ...(disk.root
      ? [
          {
            image: disk.root,
            bytes: (await stat(disk.root)).size,
            type: TYPE_ROOT_X86_64,
            name: disk.rootName ?? "root",
            more: "",
          },
        ]
      : []),
  ];
  let at = MiB;
  const placed = parts.map((part) => {
    const start = at;
    at = Math.ceil((start + part.bytes) / MiB) * MiB;
    return { ...part, start };
  });
  // The last MiB has the second copy of the table.
  const raw = join(work.folder, "disk.raw");
  await writeFile(raw, "");
  await truncate(raw, at + MiB);
  const table = [
    "label: gpt",
    `label-id: ${uuidOf(digest)}`,
    ...placed.map(
      ({ start, bytes, type, name, more }, i) =>
        `start=${start / SECTOR}, size=${bytes / SECTOR}, type=${type}, uuid=${uuidOf(digest, 8 + i)}, name=${name}${more}`,
    ),
    "",
  ].join("\n");
  await step(work, "sfdisk", ["-q", raw], { input: table });
  for (const { image, start } of placed) {
    await step(work, "dd", [
      `if=${image}`,
      `of=${raw}`,
      "bs=1M",
      `seek=${start / MiB}`,
      "conv=notrunc,sparse",
      "status=none",
    ]);
    await rm(image);
  }
  if (bios) {
    const code = await readFile(join(from, "usr/lib/syslinux/mbr/gptmbr.bin"));
    const file = await open(raw, "r+");
    await file.write(code, 0, 440, 0);
    await file.close();
  }
  return raw;
}
