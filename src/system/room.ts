/** The room in a storage pool: what Vireo itself writes there (imports, merges of disk layers, memory) never takes what machines' disks need. */
import { statfs } from "node:fs/promises";

/** Of what is free, this part is left. */
export const LEAVE_FREE = 0.05;

/** @param folder in the pool. @returns bytes that may be written there now */
export async function roomIn(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder);
  return bavail * bsize * (1 - LEAVE_FREE);
}
