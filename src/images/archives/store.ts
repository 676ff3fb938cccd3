/**
 * Archives that recipes name, in the storage pool: POOL/images/.archives/SHA256, read and written by control planes alone. What is being sent to a build lies beside under that build's
 * uid, and gets its name when its sha256 is right. An archive stays as long as the recipe of an image, or of a build that is not over, names it: whoever may read those may have what is in it,
 * and only who knows its sha256 can name it.
 */
import { mkdir, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import { writeAll } from "../import/received.ts";
import type { Image, ImageBuild } from "../kinds.ts";
import type { Archive } from "../recipe-parts.ts";

export const archivesFolder = (images: string) => join(images, ".archives");

export const archiveFile = (folder: string, sha256: string) => join(folder, sha256);

const partFile = (folder: string, sha256: string, { metadata }: Pick<ImageBuild, "metadata">) =>
  join(folder, `${sha256}.${(metadata.uid ?? "").slice(0, 8)}.part`);

const sizeOf = (path: string) =>
  stat(path).then(
    ({ size }) => size,
    () => undefined,
  );

/** Only control planes read what is in it; what is beside it, QEMU does, too. */
export async function makeFolder(folder: string): Promise<void> {
  await mkdir(dirname(folder), { recursive: true, mode: 0o755 });
  await mkdir(folder, { recursive: true, mode: 0o700 });
}

/** Those that are not there whole. */
export async function missingArchives(folder: string, archives: readonly Archive[] = []): Promise<Archive[]> {
  const missing: Archive[] = [];
  for (const archive of archives) {
    const path = archiveFile(folder, archive.sha256);
    if ((await sizeOf(path)) === undefined) missing.push(archive);
    // Somebody needs it now.
    else await utimes(path, new Date(), new Date());
  }
  return missing;
}

/** How much of it has been sent to the build, or is there already. */
export async function receivedOf(
  folder: string,
  { sha256 }: Archive,
  build: Pick<ImageBuild, "metadata">,
): Promise<number> {
  return (await sizeOf(archiveFile(folder, sha256))) ?? (await sizeOf(partFile(folder, sha256, build))) ?? 0;
}

/**
 * Adds a part behind what is there; the last one makes it whole. The caller sees to it that nobody else does.
 * @returns whether it is another file than its sha256 says: nothing is left of it then. @throws Error of the file system
 */
export async function receivePart(
  folder: string,
  { sha256, bytes }: Archive,
  build: Pick<ImageBuild, "metadata">,
  offset: number,
  part: Buffer,
): Promise<{ isOther: boolean }> {
  await makeFolder(folder);
  const path = partFile(folder, sha256, build);
  const file = await open(path, offset === 0 ? "w" : "r+", 0o600);
  try {
    await writeAll(file, part, offset);
    if (offset + part.length === bytes) await file.sync();
  } finally {
    await file.close();
  }
  if (offset + part.length < bytes) return { isOther: false };
  if ((await sha256Of(path)) !== sha256) {
    await rm(path);
    return { isOther: true };
  }
  await rename(path, archiveFile(folder, sha256));
  return { isOther: false };
}

/** Removes archives that nobody names, and parts of builds that are gone, when nothing has come for `graceMs`. */
export async function removeUnnamed(
  images: string,
  recipes: () => Promise<readonly (Image | ImageBuild)[] | undefined>,
  graceMs: number,
  nowMs: number,
): Promise<string[]> {
  const folder = archivesFolder(images);
  const names = await readdir(folder).catch(() => []);
  // Asked for after the folder was read: what a build that has just begun names is known.
  const all = names.length > 0 ? await recipes() : undefined;
  if (!all) return [];
  const named = new Set(all.flatMap(({ spec }) => (spec.recipe?.archives ?? []).map(({ sha256 }) => sha256)));
  const builds = new Set(all.map(({ metadata }) => (metadata.uid ?? "").slice(0, 8)));
  const removed: string[] = [];
  for (const name of names) {
    const [sha256 = "", uid] = name.split(".");
    if (named.has(sha256) && (uid === undefined || builds.has(uid))) continue;
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (!found || nowMs - found.mtimeMs < graceMs) continue;
    await rm(join(folder, name), { force: true });
    removed.push(name);
  }
  return removed;
}
