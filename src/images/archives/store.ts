/**
 * Archives that recipes name, in the storage pool: POOL/images/.archives/SHA256, read and written by control planes alone. What is being sent to a build lies beside under that build's
 * uid, and the build reconciler gives it its name when all of it is there and its sha256 is right. An archive stays as long as the recipe of an image, or of a build that is not over, names it: whoever may read those may have what is in it,
 * and only who knows its sha256 can name it.
 */
import { mkdir, open, readdir, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import { renameDurably } from "../../system/durable.ts";
import { writePart } from "../import/received.ts";
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

const touch = (path: string) => utimes(path, new Date(), new Date());

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
    else await touch(path);
  }
  return missing;
}

/** How much of it has been sent to the build, or is there already: then it stays for a while, so that the build finds it. */
export async function receivedOf(
  folder: string,
  { sha256 }: Archive,
  build: Pick<ImageBuild, "metadata">,
): Promise<number> {
  const whole = archiveFile(folder, sha256);
  const size = await touch(whole).then(
    () => sizeOf(whole),
    () => undefined,
  );
  return size ?? (await sizeOf(partFile(folder, sha256, build))) ?? 0;
}

/**
 * Adds a part behind what is there. The caller sees to it that nobody else does. The last one is answered as quickly as any: nameWhole() does what takes long.
 * @throws Error of the file system
 */
export async function receivePart(
  folder: string,
  { sha256 }: Archive,
  build: Pick<ImageBuild, "metadata">,
  offset: number,
  part: Buffer,
): Promise<void> {
  await makeFolder(folder);
  await writePart(partFile(folder, sha256, build), offset, part);
}

/**
 * Gives what has come whole to the build its name. Killed on the way, it is done again. It reads all of it: 4 GiB at most.
 * @param missing of the build's archives @returns the first that is another file than its sha256 says: nothing is left of that. @throws Error of the file system, or the signal's reason
 */
export async function nameWhole(
  folder: string,
  missing: readonly Archive[],
  build: Pick<ImageBuild, "metadata">,
  signal?: AbortSignal,
): Promise<Archive | undefined> {
  for (const archive of missing) {
    const path = partFile(folder, archive.sha256, build);
    if ((await sizeOf(path)) !== archive.bytes) continue;
    if ((await sha256Of(path, signal)) !== archive.sha256) {
      await rm(path);
      return archive;
    }
    await renameDurably(path, archiveFile(folder, archive.sha256));
    // Those that come behind it have all of their time yet.
    const [next] = (await missingArchives(folder, missing)).map(({ sha256 }) =>
      partFile(folder, sha256, build),
    );
    if (next === undefined) continue;
    await (await open(next, "a", 0o600)).close();
    await touch(next);
  }
  return undefined;
}

/** When something of these came to the build last, in ms since the epoch; 0 for nothing. */
export async function lastPartMs(
  folder: string,
  archives: readonly Archive[],
  build: Pick<ImageBuild, "metadata">,
): Promise<number> {
  const found = archives.map(({ sha256 }) => stat(partFile(folder, sha256, build)).catch(() => undefined));
  return Math.max(0, ...(await Promise.all(found)).map((each) => each?.mtimeMs ?? 0));
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
  const isOld = async (name: string) => {
    const found = await stat(join(folder, name)).catch(() => undefined);
    return found !== undefined && nowMs - found.mtimeMs >= graceMs;
  };
  const unnamed = async (of: readonly string[]) => {
    const all = of.length > 0 ? await recipes() : undefined;
    if (!all) return [];
    const named = new Set(
      all.flatMap(({ spec }) => (spec.recipe?.archives ?? []).map(({ sha256 }) => sha256)),
    );
    const builds = new Set(all.map(({ metadata }) => (metadata.uid ?? "").slice(0, 8)));
    const left: string[] = [];
    for (const name of of) {
      const [sha256 = "", uid] = name.split(".");
      if (!named.has(sha256) || (uid !== undefined && !builds.has(uid)))
        if (await isOld(name)) left.push(name);
    }
    return left;
  };
  // Twice: a build may be made, or an image get its recipe, while the one list is read after the other. Who is told that an archive is there has touched it.
  const removed: string[] = [];
  for (const name of await unnamed(await unnamed(names))) {
    if (!(await isOld(name))) continue;
    await rm(join(folder, name), { force: true });
    removed.push(name);
  }
  return removed;
}
