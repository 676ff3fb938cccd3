/**
 * qemu-img on disks that a guest's QEMU could write: it reads what may have been made to take it over, so it runs as the machine's user, without a network,
 * and of the host it sees programs, and the files of those disks (bases.ts), whatever their headers have come to name meanwhile.
 */
import { lstat, mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { enclose } from "../../system/enclosure.ts";
import { identify, isSame } from "../../system/process.ts";
import { run } from "../../system/run.ts";
import type { Trace } from "../traces.ts";
import { type Base, chainOf } from "./bases.ts";

/** vireo-disks-<pid>-<start time>-…, of the agent's own process: what it sees its files in. */
const OWNED = /^vireo-disks-(\d+)-(\d+)-/;

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
  const { pid, startTime = "0" } = { pid: process.pid, ...identify(process.pid) };
  const folder = await mkdtemp(join(tmpdir(), `vireo-disks-${pid}-${startTime}-`));
  try {
    const into = enclose(folder, { readable, writable, devices: [] }, { uid, gid });
    return await use(["unshare", "--net", ...into, "qemu-img"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Folders of agents that were killed. A qemu-img that such a one has left behind has opened its files, and goes on without. */
export async function leftEnclosures(): Promise<Trace[]> {
  const found: Trace[] = [];
  for (const name of await readdir(tmpdir())) {
    const [, pid, startTime] = OWNED.exec(name) ?? [];
    if (!pid || !startTime || isSame({ pid: Number(pid), startTime })) continue;
    const path = join(tmpdir(), name);
    // Everybody may make something there; what is ours, nobody else can change.
    const what = await lstat(path).catch(() => undefined);
    if (!what?.isDirectory() || what.uid !== process.getuid?.()) continue;
    found.push({
      what: path,
      isNeeded: () => false,
      remove: () => rm(path, { recursive: true, force: true }),
    });
  }
  return found;
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
