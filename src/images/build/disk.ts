/**
 * Disks and archives that are the same, bit for bit, whenever and wherever they are made of the same files: times are clamped to one
 * moment, identifiers are made from what goes in.
 */
import { stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { step, type Workshop } from "./workshop.ts";

/** The moment that the newest of the unpacked files has, in seconds since 1970: an image is as old as its packages. */
export async function newestFile(work: Workshop, root: string): Promise<number> {
  const times = await step(work, "find", [root, "-type", "f", "-printf", "%Ts\\n"]);
  return times.split("\n").reduce((newest, text) => Math.max(newest, Number(text)), 0);
}

/** No file of the tree is newer than `epoch` (seconds since 1970) afterwards. Links themselves are set, not what they lead to. */
export async function clampTimes(work: Workshop, tree: string, epoch: number): Promise<void> {
  await step(work, "find", [
    tree,
    "-newermt",
    `@${epoch}`,
    "-exec",
    "touch",
    "-h",
    "-d",
    `@${epoch}`,
    "{}",
    "+",
  ]);
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
  // Half as much again, and room for the file system's own tables and for data.
  const size = diskMiB ?? Math.ceil((used * 3) / 2) + 64;
  if (size < used + 8)
    throw new Error(`recipe.diskMiB: ${size} MiB are too few; the files alone need ${used} MiB`);
  const raw = join(work.folder, "root.raw");
  // e2fsprogs before 1.47.1 know no SOURCE_DATE_EPOCH.
  const env = { E2FSPROGS_FAKE_TIME: String(epoch) };
  const extended = `root_owner=0:0,hash_seed=${uuid}`;
  await step(
    work,
    "mke2fs",
    ["-q", "-t", "ext4", "-d", root, "-L", "root", "-m", "0", "-U", uuid, "-E", extended, raw, `${size}M`],
    { env },
  );
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
  const MiB = 2 ** 20;
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
