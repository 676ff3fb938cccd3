/**
 * Files that outlive a power cut. A file may have its name on disk before what it holds, and is there empty then, for good: whoever looks whether it is there
 * takes it for made. So what must be whole is made under another name, and gets its own here.
 */
import { randomUUID } from "node:crypto";
import { link, lstat, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

/** What a file holds, or which files a folder has, outlives a power cut from now on. @throws Error of the file system */
export async function flush(path: string): Promise<void> {
  const file = await open(path, "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** What is flushed at once, which file systems write together. */
const AT_ONCE = 8;

/** As flush, of a folder with all that is in it. Links and devices are their names alone. */
export async function flushTree(path: string): Promise<void> {
  const found = await lstat(path);
  const names = found.isDirectory() ? await readdir(path) : [];
  for (let i = 0; i < names.length; i += AT_ONCE)
    await Promise.all(names.slice(i, i + AT_ONCE).map((name) => flushTree(join(path, name))));
  if (found.isDirectory() || found.isFile()) await flush(path);
}

/** Gives a file or a folder (of which no more than the names in it are looked after) its own name, in place of what has that. @throws Error of the file system */
export async function renameDurably(made: string, path: string): Promise<void> {
  await flush(made);
  await rename(made, path);
  await flush(dirname(path));
}

/** As renameDurably, but never in place of what is there after all. @throws Error of the file system: EEXIST */
export async function linkDurably(made: string, path: string): Promise<void> {
  await flush(made);
  await link(made, path);
  await flush(dirname(path));
  await rm(made);
}

/** Writes a file or replaces it, whole or not at all; others may be doing the same. @throws Error of the file system */
export async function writeDurably(path: string, text: string | Uint8Array, mode = 0o666): Promise<void> {
  const made = `${path}.${randomUUID()}.new`;
  try {
    await writeFile(made, text, { mode });
    await renameDurably(made, path);
  } catch (error) {
    await rm(made, { force: true });
    throw error;
  }
}
