/** Files of machines' disks. */
import { chmod, chown, lchown, rename, stat } from "node:fs/promises";
import type { Instance } from "../../compute/kinds.ts";
import { exists } from "../../system/exists.ts";
import { giveTree, removeTree } from "../../system/others-folders.ts";

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
  // Its TPM's state is in a folder of the user's.
  await giveTree(folder, user, disk);
  // The disk last: it tells that all is done. What is root's is nobody's to have.
  if ((await stat(disk)).uid !== 0) await lchown(disk, user.uid, user.gid);
}

/** A folder that is being removed has another name: what is made at its place meanwhile is not touched. */
export async function removeWhole(folder: string, instance: Instance): Promise<void> {
  await removeGone(folder, instance);
  if (await exists(folder)) await rename(folder, gone(folder, instance));
  await removeGone(folder, instance);
}

/** Goes on with what removeWhole began for this instance, where its agent was killed at that. */
export const removeGone = (folder: string, instance: Instance): Promise<void> =>
  removeTree(gone(folder, instance));

const gone = (folder: string, { metadata }: Instance) => `${folder}.gone-${metadata.uid?.slice(0, 8)}`;
