/**
 * Dumps of a machine's memory: REASON-TIME-HOST.elf in a folder of their own beside that of its disks, because they stay when those move away. QEMU opens the
 * file itself, as the machine's user, in the folder that it sees; what it has written becomes root's, under its final name and path. The newest are kept.
 */
import { chmod, chown, mkdir, open, readdir, rm, stat, statfs } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Dump } from "../../compute/lifecycle/kinds.ts";
import { renameDurably } from "../../system/durable.ts";
import { exists } from "../../system/exists.ts";

/** What an ELF core has besides memory: notes, and the video memory. */
const MORE_BYTES = 64 * 2 ** 20;
const MiB = 2 ** 20;
const NAME = /^(GuestPanic|Watchdog)-(\d+)-(.+)\.elf$/;

/** The text is for users. */
export class DumpError extends Error {}

export class Dumps {
  readonly #folder: string;
  readonly #user: { uid: number; gid: number };
  readonly #kept: string;

  /** @param folder that QEMU sees @param kept where those that are whole are, on the same file system */
  constructor(folder: string, user: { uid: number; gid: number }, kept = folder) {
    this.#folder = folder;
    this.#user = user;
    this.#kept = kept;
  }

  /** The final path; the same for the same breakdown, whoever asks. */
  path({ reason, time, host }: Omit<Dump, "file" | "sizeBytes">): string {
    return join(this.#kept, `${reason}-${Date.parse(time)}-${host}.elf`);
  }

  isThere(path: string): Promise<boolean> {
    return exists(path);
  }

  /** Makes an empty file that QEMU may write; no-op when that was done. @returns its path. @throws DumpError when there is no room */
  async begin(path: string, memoryBytes: number): Promise<string> {
    const part = this.#part(path);
    if (await exists(part)) return part;
    await mkdir(this.#folder, { recursive: true, mode: 0o711 });
    await this.dropHalf();
    const { bavail, bsize } = await statfs(this.#folder);
    const [free, needed] = [bavail * bsize, memoryBytes + MORE_BYTES].map((bytes) => Math.floor(bytes / MiB));
    if ((free ?? 0) < (needed ?? 0))
      throw new DumpError(
        `its memory was not dumped: that needs ${needed} MiB in its storage pool, and ${free} are free`,
      );
    await (await open(part, "wx", 0o600)).close();
    if (process.getuid?.() === 0) await chown(part, this.#user.uid, this.#user.gid);
    return part;
  }

  /** It is whole. The oldest of more than `keep` go. No-op when that was done. */
  async finish(path: string, keep: number): Promise<void> {
    const part = this.#part(path);
    if (await exists(part)) {
      await mkdir(this.#kept, { recursive: true, mode: 0o711 });
      if (process.getuid?.() === 0) await chown(part, 0, 0);
      await chmod(part, 0o600);
      await renameDurably(part, path);
    }
    const all = await this.list();
    for (const { file } of all.slice(0, Math.max(0, all.length - keep))) await rm(file, { force: true });
  }

  /** What is left of one that failed. */
  async abandon(path: string): Promise<void> {
    await rm(this.#part(path), { force: true });
  }

  /** What is left of those that were cut short. Only while none is under way. */
  async dropHalf(): Promise<void> {
    if (!(await exists(this.#folder))) return;
    for (const name of await readdir(this.#folder))
      if (name.endsWith(".part")) await rm(join(this.#folder, name), { force: true });
  }

  #part(path: string): string {
    return join(this.#folder, `${basename(path)}.part`);
  }

  /** The machine has moved away, and its folder goes: those that agents of before have left in there stay, too. */
  async moveOut(): Promise<void> {
    for (const { file } of await this.list()) {
      if (dirname(file) === this.#kept) continue;
      await mkdir(this.#kept, { recursive: true, mode: 0o711 });
      await renameDurably(file, join(this.#kept, basename(file)));
    }
  }

  /** Oldest first. */
  async list(): Promise<Dump[]> {
    const found: Dump[] = [];
    for (const folder of new Set([this.#kept, this.#folder])) {
      if (!(await exists(folder))) continue;
      for (const name of await readdir(folder)) {
        const [, reason, time, host] = NAME.exec(name) ?? [];
        if ((reason !== "GuestPanic" && reason !== "Watchdog") || !host) continue;
        const file = join(folder, name);
        const { size: sizeBytes } = await stat(file);
        found.push({ file, host, time: new Date(Number(time)).toISOString(), sizeBytes, reason });
      }
    }
    return found.sort((a, b) => a.time.localeCompare(b.time));
  }
}
