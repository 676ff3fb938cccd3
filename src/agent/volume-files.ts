/** Files of machines' disks. */
import { chmod, chown, stat } from "node:fs/promises";

/** @throws when that cannot be known: a disk that is not seen for a moment is not one that is not there */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
    throw error;
  }
}

export async function own(path: string, uid: number, gid: number, mode: number): Promise<void> {
  if (process.getuid?.() === 0) await chown(path, uid, gid);
  await chmod(path, mode);
}
