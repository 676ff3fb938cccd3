import { open } from "node:fs/promises";

/** What a file holds, or which files a folder has, outlives a power cut from now on. @throws Error of the file system */
export async function flush(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
