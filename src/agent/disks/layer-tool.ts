/** What changes files of layers (layers.ts). */
import { chmod, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { Type } from "typebox";
import { Value } from "typebox/value";
import { run } from "../../system/run.ts";
import { checkRoom } from "./merge-room.ts";
import { flush, own } from "./volume-files.ts";

/** Every change of a file; another one only for crash tests, which stop it between any two. Each is done whole or not at all. */
export interface LayerTool {
  /** An empty overlay of `backing`, which may be in use; of QEMU's user. */
  create(path: string, backing: string, sizeBytes: number, user: { uid: number; gid: number }): Promise<void>;
  /** Puts `path` on the layer below its own, with nothing of what it holds changed; neither is in use for writing. @throws NoRoomError */
  rebase(path: string, from: string): Promise<void>;
  /** Writes a file or replaces it. */
  replace(path: string, text: string): Promise<void>;
  /** No-op when there is none. */
  remove(path: string): Promise<void>;
  /** Lets the QEMUs of other machines read it. */
  lend(path: string): Promise<void>;
}

/** A merge copies as much as a disk holds. */
const MERGE_MS = 86_400_000;

const BackingInfo = Type.Object({
  "full-backing-filename": Type.String(),
  "backing-filename-format": Type.String(),
});

export const QEMU_IMG: LayerTool = {
  create: async (path, backing, sizeBytes, { uid, gid }) => {
    const made = `${path}.new`;
    await rm(made, { force: true });
    const what = ["-q", "-f", "qcow2", "-u", "-b", backing, "-F", "qcow2", made, String(sizeBytes)];
    await run("qemu-img", ["create", ...what]);
    await own(made, uid, gid, 0o600);
    // layers.json may say that it is the disk, and outlive a power cut.
    await flush(made);
    await rename(made, path);
  },
  rebase: async (path, from) => {
    await checkRoom(from);
    const info: unknown = JSON.parse(await run("qemu-img", ["info", "-U", "--output=json", from]));
    const below = Value.Check(BackingInfo, info)
      ? ["-b", info["full-backing-filename"], "-F", info["backing-filename-format"]]
      : ["-b", ""];
    await run("qemu-img", ["rebase", "-q", "-f", "qcow2", ...below, path], { timeoutMs: MERGE_MS });
  },
  replace: async (path, text) => {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await writeFile(`${path}.new`, text, { flush: true });
    await rename(`${path}.new`, path);
  },
  remove: (path) => rm(path, { force: true }),
  // Of QEMU's group, as what all machines can read (volumes.ts).
  lend: (path) => chmod(path, 0o640),
};
