/** What changes files of layers (layers.ts). */
import { chmod, mkdir, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { flush, renameDurably, writeDurably } from "../../system/durable.ts";
import { exists } from "../../system/exists.ts";
import { run } from "../../system/run.ts";
import { belowOf } from "./bases.ts";
import { changeDisk } from "./enclosed-img.ts";
import { checkRoom } from "./merge-room.ts";
import { readHeader } from "./qcow2-head.ts";
import { own } from "./volume-files.ts";

/** Every change of a file; another one only for crash tests, which stop it between any two. Each but rebase is done whole or not at all, and is there after a power cut. */
export interface LayerTool {
  /** An empty overlay of `backing`, which may be in use; of QEMU's user. */
  create(path: string, backing: string, sizeBytes: number, user: { uid: number; gid: number }): Promise<void>;
  /**
   * Puts `path` on what `from`, right below it, stands on, with nothing of what is seen through it changed; by copying the one of the two that holds less.
   * Neither is in use, and nothing else stands on `from`, which may be gone afterwards. Cut short, `path` may say that it stands there, and not have all
   * (layer-merging.ts). @throws NoRoomError
   */
  rebase(path: string, from: string): Promise<void>;
  /** Has `path`, which nobody has open, stand on `from`, whatever its head says, and nothing else of it changed. */
  restore(path: string, from: string): Promise<void>;
  /** Writes a file or replaces it. */
  replace(path: string, text: string): Promise<void>;
  /** No-op when there is none. */
  remove(path: string): Promise<void>;
  /** Lets the QEMUs of other machines read it. */
  lend(path: string): Promise<void>;
}

/** A merge copies as much as a disk holds. */
const MERGE_MS = 86_400_000;

/** Whether it holds nothing but data. Dirty bitmaps would not go down with it. */
const isPlain = async (path: string): Promise<boolean> => (await readHeader(path)).bitmaps === 0;

/**
 * The other way to the same: what `path` holds goes down into `from`, which then takes its name. Through `path` the same is seen at any moment, whoever is
 * killed: it covers all that has come down. Only where nobody writes meanwhile: what a guest wrote to `from` afterwards would be covered, too.
 */
async function commit(path: string, from: string): Promise<void> {
  await checkRoom(path);
  const what = ["-q", "-f", "qcow2", "-d", "-b", from, path];
  await changeDisk(path, ["commit", ...what], { writes: [path, from], timeoutMs: MERGE_MS });
  const { uid, gid, mode } = await stat(path);
  await own(from, uid, gid, mode & 0o777);
  await renameDurably(from, path);
}

export const QEMU_IMG: LayerTool = {
  create: async (path, backing, sizeBytes, { uid, gid }) => {
    const made = `${path}.new`;
    await rm(made, { force: true });
    const what = ["-q", "-f", "qcow2", "-u", "-b", backing, "-F", "qcow2", made, String(sizeBytes)];
    await run("qemu-img", ["create", ...what]);
    await own(made, uid, gid, 0o600);
    // layers.json may say that it is the disk, and outlive a power cut.
    await renameDurably(made, path);
  },
  rebase: async (path, from) => {
    const [upper, lower] = await Promise.all([stat(path), stat(from)]);
    if (upper.blocks < lower.blocks && (await isPlain(path))) return commit(path, from);
    await checkRoom(from);
    const below = await belowOf(from);
    const onto = below ? ["-b", below.path, "-F", below.format] : ["-b", ""];
    await changeDisk(path, ["rebase", "-q", "-f", "qcow2", ...onto, path], { timeoutMs: MERGE_MS });
    await flush(path);
  },
  restore: async (path, from) => {
    await changeDisk(path, ["rebase", "-q", "-f", "qcow2", "-u", "-b", from, "-F", "qcow2", path]);
    await flush(path);
  },
  replace: async (path, text) => {
    const folder = dirname(path);
    if (await mkdir(folder, { recursive: true, mode: 0o700 })) await flush(dirname(folder));
    await writeDurably(path, text);
  },
  remove: async (path) => {
    if (!(await exists(path))) return;
    await rm(path, { force: true });
    await flush(dirname(path));
  },
  // Of QEMU's group, as what all machines can read (volumes.ts).
  lend: async (path) => {
    await chmod(path, 0o640);
    await flush(path);
  },
};
