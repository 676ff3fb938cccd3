/** Files of machines' disks. */
import { chmod, chown, lchown, lstat, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Instance } from "../../compute/kinds.ts";
import { exists } from "../../system/exists.ts";

export async function own(path: string, uid: number, gid: number, mode: number): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, uid, gid);
  await chmod(path, mode);
}

/** Gives all in a machine's folder that is another user's than `user`, and not root's, to that one. When `disk` is so already, all is. */
export async function inherit(
  folder: string,
  disk: string,
  user: { uid: number; gid: number },
): Promise<void> {
  if (process.getuid?.() !== 0 || (await stat(disk)).uid === user.uid) return;
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  // The disk last: it tells that all is done.
  const paths = entries.map((entry) => join(entry.parentPath, entry.name)).filter((path) => path !== disk);
  for (const path of [...paths, disk])
    if (![0, user.uid].includes((await lstat(path)).uid)) await lchown(path, user.uid, user.gid);
}

/** A folder that is being removed has another name: what is made at its place meanwhile is not touched. */
export async function removeWhole(folder: string, instance: Instance): Promise<void> {
  await removeGone(folder, instance);
  if (await exists(folder)) await rename(folder, gone(folder, instance));
  await removeGone(folder, instance);
}

/** Goes on with what removeWhole began for this instance, where its agent was killed at that. */
export const removeGone = (folder: string, instance: Instance): Promise<void> =>
  rm(gone(folder, instance), { recursive: true, force: true });

const gone = (folder: string, { metadata }: Instance) => `${folder}.gone-${metadata.uid?.slice(0, 8)}`;
