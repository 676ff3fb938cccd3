/**
 * What a file is that somebody brings: told from its own bytes by us, never by a program that would open what the file names. What would lead to other files
 * (backing files, data files, extents) is refused before anything opens it.
 */
import { open } from "node:fs/promises";

/** Disks by QEMU's names; archives that hold one. */
export type DiskFormat = "qcow2" | "raw" | "vmdk" | "vpc" | "vhdx" | "vdi" | "parallels";
export type Packing = "gzip" | "xz" | "zstd" | "bzip2" | "tar";
export type Content =
  | { disk: DiskFormat }
  /** ISO 9660 or UDF: it stays as it is, for CD drives. */
  | { disk: "raw"; cd: true }
  | { packed: Packing };

/** What is wrong with the file, for users: without its name. */
export class ContentError extends Error {}

/** 64 TiB: more is a trick, not a disk. */
export const MAX_VIRTUAL_BYTES = 64 * 2 ** 40;
const SECTOR = 512;
const HEAD_BYTES = 4096;
/** What a CD is known by, in its 17th sector. */
const CD_AT = 16 * 2048 + 1;
/** Of a VMDK's embedded description. */
const MAX_DESCRIPTION = 65_536;

/** @throws ContentError for what is no disk, or one that needs other files */
export async function contentOf(path: string): Promise<Content> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const at = async (position: number, length: number) => {
      const bytes = Buffer.alloc(length);
      if (position < 0) return bytes;
      await file.read(bytes, 0, length, position);
      return bytes;
    };
    const head = await at(0, HEAD_BYTES);
    const starts = (text: string, from = 0) => head.toString("latin1", from, from + text.length) === text;
    if (starts("QFI\xfb")) return { disk: qcow2(head) };
    if (starts("KDMV")) return { disk: await vmdk(head, at) };
    if (starts("# Disk DescriptorFile"))
      throw new ContentError(
        "is the description of a VMDK whose data is in other files; make one file of them: export it as OVA, or qemu-img convert -O qcow2",
      );
    if (starts("COWD")) throw new ContentError("is a VMDK of old ESX servers; export it as OVA there");
    if (starts("vhdxfile")) return { disk: "vhdx" };
    if (starts("conectix")) return { disk: vhd(head) };
    if (head.readUInt32LE(0x40) === 0xbeda107f) return { disk: "vdi" };
    if (starts("WithoutFreeSpace") || starts("WithouFreSpacExt")) return { disk: "parallels" };
    if (head[0] === 0x1f && head[1] === 0x8b) return { packed: "gzip" };
    if (starts("\xfd7zXZ\0")) return { packed: "xz" };
    if (head.readUInt32LE(0) === 0xfd2fb528) return { packed: "zstd" };
    if (starts("BZh")) return { packed: "bzip2" };
    if (starts("ustar", 257)) return { packed: "tar" };
    if (starts("PK\x03\x04"))
      throw new ContentError("is a zip archive; unpack it, and import the disk in it");
    const footer = await at(size - SECTOR, SECTOR);
    if (footer.toString("latin1", 0, 8) === "conectix") return { disk: vhd(footer) };
    const volume = (await at(CD_AT, 5)).toString("latin1");
    if (volume === "CD001" || volume === "BEA01") return { disk: "raw", cd: true };
    if (head[510] === 0x55 && head[511] === 0xaa) return { disk: "raw" };
    throw new ContentError(
      "is no disk: neither qcow2, VMDK, VHD, VHDX, VDI or Parallels, nor a raw disk with a boot sector, nor a CD, nor an archive (tar, OVA, gzip, xz, zstd, bzip2) of one",
    );
  } finally {
    await file.close();
  }
}

const DATA_FILE = 1n << 2n;

function qcow2(head: Buffer): "qcow2" {
  const version = head.readUInt32BE(4);
  if (version !== 2 && version !== 3)
    throw new ContentError(`is qcow of version ${version}; convert it with qemu-img convert -O qcow2`);
  const backingAt = head.readBigUInt64BE(8);
  if (backingAt !== 0n) {
    const [from, length] = [Number(backingAt), head.readUInt32BE(16)];
    const name = head.toString("utf8", Math.min(from, HEAD_BYTES), Math.min(from + length, HEAD_BYTES));
    throw new ContentError(
      `needs another file below it, ${name === "" ? "a backing file" : `the backing file ${JSON.stringify(name)}`}; flatten it with qemu-img convert -O qcow2, so that it depends on no other file`,
    );
  }
  if (head.readUInt32BE(32) !== 0)
    throw new ContentError("is encrypted; convert it with its secret, qemu-img convert -O qcow2");
  if (version === 3 && (head.readBigUInt64BE(72) & DATA_FILE) !== 0n)
    throw new ContentError(
      "keeps its data in another file (data-file); flatten it with qemu-img convert -O qcow2",
    );
  return "qcow2";
}

/** Of the layout of VMware's sparse extents (Virtual Disk Format 5.0). */
async function vmdk(
  head: Buffer,
  at: (position: number, length: number) => Promise<Buffer>,
): Promise<"vmdk"> {
  // QEMU would take the description's word for where the data is.
  if (head.readBigUInt64LE(12) === 0n) throw new ContentError("is a VMDK whose data is in other files");
  const [from, sectors] = [head.readBigUInt64LE(28), head.readBigUInt64LE(36)];
  if (from === 0n) return "vmdk";
  if (from > 2n ** 40n) throw new ContentError("is a damaged VMDK: its description is beyond its end");
  const length = Math.min(Number(sectors) * SECTOR, MAX_DESCRIPTION);
  const text = (await at(Number(from) * SECTOR, length)).toString("latin1");
  const parent = /^\s*parentCID\s*=\s*"?([0-9a-f]+)/im.exec(text)?.[1]?.toLowerCase();
  if ((parent !== undefined && parent !== "ffffffff") || /^\s*parentFileNameHint\s*=/im.test(text))
    throw new ContentError("is a VMDK with a parent, a snapshot's; export the whole machine as OVA");
  const kind = /^\s*createType\s*=\s*"?([A-Za-z0-9]+)/im.exec(text)?.[1];
  if (kind !== undefined && !["monolithicSparse", "streamOptimized"].includes(kind))
    throw new ContentError(`is one part of a VMDK of several files (${kind}); export it as OVA`);
  return "vmdk";
}

/** The type in the footer: 2 fixed, 3 dynamic, 4 differencing. */
function vhd(footer: Buffer): "vpc" {
  const type = footer.readUInt32BE(60);
  if (type !== 2 && type !== 3)
    throw new ContentError("is a VHD that needs another one (a differencing disk); merge them first");
  return "vpc";
}
