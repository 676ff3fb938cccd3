/**
 * Leaves out of a root file system what a run of the application has not used (recipe.traced). Of packages' files those stay that
 *
 *   - the run has opened, started or looked at,
 *   - these need, and services, scripts and files of the recipe: libraries, dynamic linkers, interpreters (as in minimize.ts),
 *   - are configuration (/etc), or links to what stays, or to folders,
 *   - are of a package that Vireo adds, or of one that the recipe names and the run used nothing of: it is there for another reason.
 *
 * Folders stay, and what is no package's.
 */
import { lstat, rm } from "node:fs/promises";
import { posix } from "node:path";
import type { Recipe } from "../recipe.ts";
import type { Layer } from "../rootfs/layers.ts";
import { rooted, rootedEntry } from "../workshop/rooted.ts";
import { addStarted, Closure, OPENED, programsOf } from "./minimize.ts";

const isFolder = (path: string) =>
  lstat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );

export interface LeftOut {
  path: string;
  /** Of links 0. */
  bytes: number;
}

/**
 * @param layers what each package has brought @param base packages that are kept as they are @param brought files of the recipe's archives
 * @returns what was removed, sorted, and files of the run that no package of the image has
 */
export async function minimizeTraced(
  root: string,
  recipe: Recipe,
  {
    layers,
    base,
    brought,
  }: { layers: readonly Layer[]; base: ReadonlySet<string>; brought: readonly string[] },
): Promise<{ removed: LeftOut[]; unknown: string[] }> {
  const { traced = [] } = recipe;
  const byName = new Map((await programsOf(root)).map((path) => [posix.basename(path), path]));
  const closure = new Closure(root);
  await addStarted(closure, root, recipe, { brought, byName });
  const unknown: string[] = [];
  for (const path of traced) if (!(await closure.add(path))) unknown.push(path);
  for (const name of OPENED) await closure.addLibrary(name, []);
  // As it is with links on the way followed: the run may have named them otherwise.
  const real = async (path: string) => (await rooted(root, path)).slice(root.length);
  const used = new Set(await Promise.all(traced.map(real)));
  const isWhole = ({ name, paths }: Layer) =>
    base.has(name) || (recipe.packages.includes(name) && !paths.some((path) => used.has(path)));
  for (const layer of layers) if (isWhole(layer)) for (const path of layer.paths) await closure.add(path);
  const own = new Set(
    await Promise.all([...brought, ...(recipe.files ?? []).map(({ path }) => path)].map(real)),
  );
  const isKept = (path: string) => path.startsWith("/etc/") || own.has(path) || closure.has(path);
  const removed: LeftOut[] = [];
  for (const layer of layers) {
    if (isWhole(layer)) continue;
    for (const path of layer.paths) {
      // A link by itself; through those on the way.
      const at = await rootedEntry(root, path);
      const here = at.slice(root.length);
      if (isKept(here)) continue;
      const found = await lstat(at).catch(() => undefined);
      if (!found || found.isDirectory()) continue;
      // Another name of what stays: it takes no room, and the next run may use it.
      if (found.isSymbolicLink()) {
        const target = await rooted(root, path);
        // By its other name Perl, say, looks for modules in a folder.
        if (isKept(target.slice(root.length)) || (await isFolder(target))) continue;
      }
      await rm(at);
      removed.push({ path: here, bytes: found.isSymbolicLink() ? 0 : found.size });
    }
  }
  return { removed: removed.sort((a, b) => (a.path < b.path ? -1 : 1)), unknown };
}
