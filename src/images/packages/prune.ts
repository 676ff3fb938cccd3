/**
 * Downloaded packages that nothing needs any more go: mirrors bring new versions each day, and the old ones would stay for ever. Those of this installation's images stay, so that an image can be
 * verified, and a lock of it be built, when its mirror has dropped them; others for a while after a build has used them last, which other installations on the machine go by, too.
 */
import { readdir, rm, stat, utimes } from "node:fs/promises";
import { basename, join } from "node:path";
import type { LockedPackage } from "../recipe.ts";

const KEPT_MS = 90 * 24 * 3600_000;
/** Of apt.ts and rpm-packages.ts. */
const SOURCES = /^(?:apt|rpm)-/;
/** Of a recipe's own mirror or repositories. */
const OWN = /-[0-9a-f]{12}$/;
const FILE = /^([^_]+)_([^_]+)_[^_]+\.deb$|^([^@]+)@([^@]+)@[^@]+\.rpm$/;

/** Of a picker, also of one of another version of Vireo. */
const PICKER = /^picker-v/;

type Named = Pick<LockedPackage, "name" | "version">;

const keyOf = ({ name, version }: Named) => `${name}=${version}`;

/** A build uses it now. Not by the time that a file tells of itself: apt gives it the mirror's. @throws Error of the file system */
export const touchPackage = (file: string) => utimes(file, new Date(), new Date());

/** When it came here, or was touched last: ctime, which nobody can set. */
async function usedMs(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found?.ctimeMs ?? Number.POSITIVE_INFINITY;
}

/** @param needed packages of images @returns paths of what was removed. @throws Error of the file system */
export async function prunePackages(
  cache: string,
  needed: readonly Named[],
  nowMs: number,
): Promise<string[]> {
  const kept = new Set(needed.map(keyOf));
  const isOld = async (path: string) => nowMs - (await usedMs(path)) > KEPT_MS;
  const removed: string[] = [];
  const remove = async (path: string) => {
    await rm(path, { recursive: true, force: true });
    removed.push(path);
  };
  for (const folder of (await readdir(cache).catch(() => [])).filter((name) => SOURCES.test(name))) {
    const archives = join(cache, folder, "archives");
    let left = 0;
    for (const name of await readdir(archives).catch(() => [])) {
      const [, deb, ofDeb, rpm, ofRpm] = FILE.exec(name) ?? [];
      if ((deb ?? rpm) === undefined) continue;
      const package_ = { name: deb ?? rpm ?? "", version: decodeURIComponent(ofDeb ?? ofRpm ?? "") };
      const path = join(archives, name);
      if (kept.has(keyOf(package_)) || !(await isOld(path))) left += 1;
      else await remove(path);
    }
    // Its lists: each recipe with a key, or a mirror, of its own has some.
    const names = await readdir(join(cache, folder)).catch(() => []);
    const parts = names.map((name) => join(cache, folder, name));
    for (const path of parts.filter((each) => PICKER.test(basename(each))))
      if (await isOld(path)) await remove(path);
    const isUnused = async () => (await Promise.all(parts.map(isOld))).every(Boolean);
    if (left === 0 && OWN.test(folder) && (await isUnused())) await remove(join(cache, folder));
  }
  return removed;
}
