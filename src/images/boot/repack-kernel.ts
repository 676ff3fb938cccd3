/**
 * A kernel in a smaller file. Debian packs its small kernel for virtual machines by LZ4 (14 MB, unpacked in no time), and the one for all hardware by XZ (8 MB). Where a disk is to be
 * small, the former is packed by XZ, too, and put where the latter is in its file: that unpacks what is there, whatever it is. The kernel that runs is the small one, bit for
 * bit; the file tells the other's name, and is not signed for Secure Boot any more. Under emulation it starts two seconds later.
 *
 * The file: Linux/x86 boot protocol 2.08 and later (Documentation/x86/boot.rst); in it, what mkpiggy.c makes of the packed kernel: its bytes, and the numbers input_len and output_len.
 */
import { copyFile, mkdtemp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import type { Package } from "../packages/packages.ts";
import { digestOf } from "../recipe.ts";
import { cached } from "../workshop/cache.ts";
import { unpackPackage } from "../workshop/unpack-package.ts";
import { step, type Workshop } from "../workshop/workshop.ts";

/** Raised when it is done in another way. */
const VERSION = 1;

/** Of the packed kernel: its first bytes. */
const LZ4 = Buffer.from([0x02, 0x21, 0x4c, 0x18]);
const XZ = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
/** As scripts/xz_wrap.sh in Linux' source. */
const PACK = ["--threads=1", "--check=crc32", "--x86", "--lzma2=preset=9e,dict=64MiB"];

/** Offsets in the file's header. */
const HEADER = {
  setupSectors: 0x1f1,
  magic: 0x202,
  payloadOffset: 0x248,
  payloadBytes: 0x24c,
  initBytes: 0x260,
} as const;
const PAGE = 4096;

interface BootFile {
  bytes: Buffer;
  /** Where the packed kernel is, and its length, with the four bytes at its end that say how long it is unpacked. */
  at: number;
  length: number;
  unpacked: number;
  /** The memory that it takes from its beginning on, until it runs. */
  initBytes: number;
}

/** Undefined: it is no such file. */
function bootFile(bytes: Buffer): BootFile | undefined {
  if (bytes.length < PAGE || bytes.toString("latin1", HEADER.magic, HEADER.magic + 4) !== "HdrS")
    return undefined;
  const begin = ((bytes[HEADER.setupSectors] || 4) + 1) * 512;
  const at = begin + bytes.readUInt32LE(HEADER.payloadOffset);
  const length = bytes.readUInt32LE(HEADER.payloadBytes);
  if (length < 16 || at + length > bytes.length) return undefined;
  const unpacked = bytes.readUInt32LE(at + length - 4);
  return { bytes, at, length, unpacked, initBytes: bytes.readUInt32LE(HEADER.initBytes) };
}

const startsWith = ({ bytes, at }: BootFile, magic: Buffer) =>
  bytes.subarray(at, at + magic.length).equals(magic);

/** The kernel in a file, packed by LZ4; undefined: it is another one. */
export function lz4Kernel(file: Buffer): Buffer | undefined {
  const found = bootFile(file);
  return found && startsWith(found, LZ4)
    ? found.bytes.subarray(found.at, found.at + found.length - 4)
    : undefined;
}

/** The one place where input_len and output_len are, one behind the other. */
function lengthsIn({ bytes, at, length, unpacked }: BootFile): number | undefined {
  const wanted = Buffer.alloc(8);
  wanted.writeUInt32LE(length, 0);
  wanted.writeUInt32LE(unpacked, 4);
  const first = bytes.indexOf(wanted, at + length);
  return first < 0 || bytes.indexOf(wanted, first + 1) >= 0 ? undefined : first;
}

/**
 * @param small the kernel's file @param packed it, packed by XZ @param other the file of a kernel that is packed by XZ
 * @returns undefined when these are other files than is known here
 */
export function repacked(small: Buffer, packed: Buffer, other: Buffer): Buffer | undefined {
  const [from, to] = [bootFile(small), bootFile(other)];
  if (!from || !to || !startsWith(to, XZ) || !packed.subarray(0, XZ.length).equals(XZ)) return undefined;
  const lengths = lengthsIn(to);
  const length = packed.length + 4;
  if (lengths === undefined || length > to.length || from.unpacked > to.unpacked) return undefined;
  const file = Buffer.from(other);
  file.fill(0, to.at, to.at + to.length);
  packed.copy(file, to.at);
  file.writeUInt32LE(from.unpacked, to.at + packed.length);
  file.writeUInt32LE(length, lengths);
  file.writeUInt32LE(from.unpacked, lengths + 4);
  file.writeUInt32LE(length, HEADER.payloadBytes);
  // It is unpacked over itself: the unused end of the place counts, too (arch/x86/boot/header.S, ZO_INIT_SIZE).
  const needed = to.initBytes - to.unpacked + from.unpacked + (to.length - length);
  file.writeUInt32LE(Math.ceil(Math.max(needed, from.initBytes) / PAGE) * PAGE, HEADER.initBytes);
  return file;
}

/**
 * The file of the small kernel, packed anew. @param small its file @param other the package of the one for all hardware
 * @returns its path, in the workshop; `small` where it cannot be done
 */
export async function repackKernel(work: Workshop, small: string, other: Package): Promise<string> {
  const file = await readFile(small);
  const lz4 = lz4Kernel(file);
  if (!lz4) return small;
  const key = digestOf([VERSION, await sha256Of(small), other.sha256]).slice(0, 32);
  const kept = await cached(work.cache, "kernels", key, async (path) => {
    const folder = await mkdtemp(join(work.folder, "repack-"));
    await writeFile(join(folder, "kernel.lz4"), lz4);
    await step(work, "lz4", ["-q", "-d", join(folder, "kernel.lz4"), join(folder, "kernel")]);
    await step(work, "xz", [...PACK, join(folder, "kernel")]);
    await unpackPackage(work, other.file, folder, ["--wildcards", "./boot/vmlinuz-*"]);
    const [name = ""] = await readdir(join(folder, "boot"));
    const made = repacked(
      file,
      await readFile(join(folder, "kernel.xz")),
      await readFile(join(folder, "boot", name)),
    );
    if (!made)
      work.log(`${other.name} is packed in a way that is not known: the small kernel stays as it is`);
    await writeFile(path, made ?? file, { flush: true });
  });
  // What is kept was touched just now, and times of files are on the disk.
  const own = join(work.folder, "vmlinuz-repacked");
  await copyFile(kept, own);
  return own;
}
