/**
 * Disks that are the same, bit for bit, whenever and wherever they are made of the same files: times are those of
 * the root file system, identifiers are made from what goes in.
 */
import { stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { step, type Workshop } from "../workshop/workshop.ts";

const MiB = 2 ** 20;
/** In bytes. */
const INODE = 256;
/** Of a name in a folder, mostly. */
const ENTRY = 48;
/** Short targets of links are in their inodes. */
const SHORT = 59;
/** In MiB: the file system's own tables, its journal, and room for data. */
const ROOM = 64;

/** As mke2fs.conf has it: blocks, and so many bytes of the disk for each inode. */
const unitsOf = (sizeMiB: number) =>
  sizeMiB < 512 ? { block: 1024, perInode: 4096 } : { block: 4096, perInode: 16384 };

interface Content {
  inodes: number;
  /** In MiB, in a file system of that size. */
  neededMiB: (sizeMiB: number) => number;
}

/** What the files of a tree take in an ext4 file system, whatever they take where they are now. */
async function contentOf(work: Workshop, root: string): Promise<Content> {
  const names = (await step(work, "find", [root, "-printf", "%i %y %s\\n"])).split("\n").filter(Boolean);
  // Of several names of a file each is an entry, but the file is one.
  const files = [...new Map(names.map((line) => [line.split(" ")[0], line.split(" ")])).values()];
  const bytesIn = ([, type = "", size = ""]: string[], block: number) =>
    type === "f" || (type === "l" && Number(size) > SHORT)
      ? Math.ceil(Number(size) / block) * block
      : type === "d"
        ? block
        : 0;
  return {
    inodes: files.length,
    neededMiB: (sizeMiB) => {
      const { block } = unitsOf(sizeMiB);
      const bytes = files.reduce((sum, file) => sum + bytesIn(file, block) + INODE, names.length * ENTRY);
      return bytes / MiB;
    },
  };
}

/** Half as much again as the files have; of many small ones what they take in blocks may be more. */
function sizeFor({ neededMiB }: Content, used: number): number {
  const sizes = [0, 512].map((size) => Math.ceil(Math.max((used * 3) / 2, neededMiB(size) * 1.1)) + ROOM);
  return sizes.find((size, i) => i === 1 || size < 512) ?? 0;
}

/**
 * An ext4 file system with the files of `root`.
 * @param uuid its identifier, which its other ones are made from
 * @returns its path (raw). @throws Error when diskMiB is too small
 */
export async function makeRootDisk(
  work: Workshop,
  root: string,
  { diskMiB, epoch, uuid }: { diskMiB: number | undefined; epoch: number; uuid: string },
): Promise<string> {
  const used = Number((await step(work, "du", ["-sm", "--apparent-size", root])).split("\t")[0]);
  const content = await contentOf(work, root);
  const size = diskMiB ?? sizeFor(content, used);
  const needed = Math.max(used, Math.ceil(content.neededMiB(size)));
  const tooFew = `recipe.diskMiB: ${size} MiB are too few; the files alone need ${needed} MiB`;
  if (size < needed + 8) throw new Error(tooFew);
  const raw = join(work.folder, "root.raw");
  const inodes = Math.ceil(content.inodes * 1.25) + 1000;
  const more = inodes > (size * MiB) / unitsOf(size).perInode ? ["-N", `${inodes}`] : [];
  // e2fsprogs before 1.47.1 know no SOURCE_DATE_EPOCH.
  const env = { E2FSPROGS_FAKE_TIME: String(epoch) };
  const extended = `root_owner=0:0,hash_seed=${uuid}`;
  const options = ["-q", "-t", "ext4", "-d", root, "-L", "root", "-m", "0", "-U", uuid, "-E", extended];
  await step(work, "mke2fs", [...options, ...more, raw, `${size}M`], { env }).catch((cause: unknown) => {
    const isFull = cause instanceof Error && /Could not allocate/.test(cause.message);
    throw diskMiB !== undefined && isFull
      ? new Error(`${tooFew}, and some for its tables`, { cause })
      : cause;
  });
  await settleInodeTimes(work, raw, epoch, env);
  return raw;
}

/**
 * A compressed file system with the files of `root`, which can only be read.
 * @param all of a slim image: everything in it belongs to root, whoever builds it @returns its path (raw), of whole MiB
 */
export async function makeReadOnlyDisk(
  work: Workshop,
  root: string,
  { type, epoch, uuid, all }: { type: "squashfs" | "erofs"; epoch: number; uuid: string; all: boolean },
): Promise<string> {
  const raw = join(work.folder, "root.raw");
  const time = `${epoch}`;
  // A whole system's hundreds of MB would take minutes.
  const level = all ? "19" : "6";
  if (type === "squashfs")
    await step(
      work,
      "mksquashfs",
      [
        root,
        raw,
        "-noappend",
        "-quiet",
        "-no-progress",
        "-comp",
        "zstd",
        "-Xcompression-level",
        level,
      ].concat(["-b", "128K", "-mkfs-time", time], all ? ["-all-root"] : []),
    );
  else
    await step(
      work,
      "mkfs.erofs",
      [all ? "-zlz4hc,12" : "-zlz4hc,6", "-T", time, "-U", uuid].concat(all ? ["--all-root"] : [], [
        raw,
        root,
      ]),
    );
  await truncate(raw, Math.ceil((await stat(raw)).size / MiB) * MiB);
  return raw;
}

/** mke2fs -d copies when the build machine last read and changed each file; nothing sets that from outside. */
async function settleInodeTimes(
  work: Workshop,
  raw: string,
  epoch: number,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const header = await step(work, "dumpe2fs", ["-h", raw]);
  const count = (name: string) => Number(new RegExp(`^${name}: *(\\d+)$`, "m").exec(header)?.[1]);
  const last = count("Inode count") - count("Free inodes");
  // 2 is the root folder, 11 the first that is not the file system's own; mke2fs hands them out in order.
  const inodes = [2, ...Array.from({ length: last - 10 }, (_, i) => 11 + i)];
  const commands = inodes.flatMap((inode) => [
    ...["ctime", "atime", "crtime"].map((field) => `sif <${inode}> ${field} @${epoch}`),
    ...["ctime_extra", "atime_extra", "mtime_extra", "crtime_extra"].map(
      (field) => `sif <${inode}> ${field} 0`,
    ),
  ]);
  const script = join(work.folder, "debugfs");
  await writeFile(script, `${commands.join("\n")}\n`);
  await step(work, "debugfs", ["-w", "-f", script, raw], { env });
}
