/**
 * qemu-img on disks that a guest's QEMU could write: it reads what may have been made to take it over, so it runs as the machine's user, without a network,
 * and of the host it sees programs, and the files of those disks (bases.ts), whatever their headers have come to name meanwhile.
 */
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { enclose } from "../../system/enclosure.ts";
import { run } from "../../system/run.ts";
import { type Base, chainOf } from "./bases.ts";

interface Opened {
  /** A disk, of which all below is read, too. */
  disk: Base;
  /** Further files of it that are written to, besides `made`. */
  writes: readonly string[];
  /** A file that exists, and may be written. */
  made?: string;
}

/**
 * @param use is given the command before qemu-img's own arguments
 * @throws ForeignDiskError; what `use` does
 */
export async function enclosedImg<T>(
  { disk, writes, made }: Opened,
  use: (command: readonly string[]) => Promise<T>,
): Promise<T> {
  const chain = await chainOf(disk);
  const writable = made === undefined ? writes : [...writes, made];
  const readable = chain.filter((path) => !writable.includes(path));
  const { uid, gid } = await stat(made ?? disk.path);
  const folder = await mkdtemp(join(tmpdir(), "vireo-disks-"));
  try {
    const into = enclose(folder, { readable, writable, devices: [] }, { uid, gid });
    return await use(["unshare", "--net", ...into, "qemu-img"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Changes one disk, of which nothing else is to be written. @param writes as in Opened */
export async function changeDisk(
  path: string,
  args: readonly string[],
  { writes = [path], timeoutMs }: { writes?: readonly string[]; timeoutMs?: number } = {},
): Promise<void> {
  const disk = { path, format: "qcow2" };
  const bound = timeoutMs === undefined ? {} : { timeoutMs };
  await enclosedImg({ disk, writes }, ([first = "", ...rest]) => run(first, [...rest, ...args], bound));
}
