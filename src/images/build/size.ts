/** How much room an image takes, and what takes it. */
import { lstat, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Package } from "../packages/packages.ts";
import { bytesOf as contentOf, type Recipe } from "../recipe.ts";
import { isRpm } from "../releases/release.ts";
import { releaseOf } from "../releases/releases.ts";
import type { Layer } from "../rootfs/layers.ts";
import { filesIn } from "../rpm/describe.ts";
import { rooted } from "../workshop/rooted.ts";

const MiB = 2 ** 20;
const TOLD = 5;
const told = (bytes: number) => `${(bytes / MiB).toFixed(1)} MiB`;

/** @param files of the image in the pool @throws Error when they take more than the recipe lets them */
export async function requireSize(
  { maxMiB }: Recipe,
  files: readonly string[],
  largest: () => Promise<string>,
): Promise<void> {
  if (maxMiB === undefined) return;
  const sizes = await Promise.all(files.map(async (path) => (await stat(path)).blocks * 512));
  const bytes = sizes.reduce((sum, each) => sum + each, 0);
  if (bytes <= maxMiB * MiB) return;
  throw new Error(
    `recipe.maxMiB: the image takes ${told(bytes)}, more than ${maxMiB} MiB; the largest in it, unpacked: ${await largest()}`,
  );
}

/** @param layers as Root has them @param packages that are in it */
export async function largestParts(
  root: string,
  { layers, packages }: { layers: readonly Layer[]; packages: readonly Package[] },
  recipe: Recipe,
): Promise<string> {
  const sizes: [name: string, bytes: number][] = [];
  const installed = recipe.mode !== "full" ? [] : await installedPackages(root, packages, recipe);
  for (const { name, paths } of [...installed, ...layers]) sizes.push([name, await bytesOf(root, paths)]);
  const modules = await rooted(root, "/usr/lib/modules");
  // With their kinds: otherwise readdir goes on through links.
  const below = await readdir(modules, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = below.filter((entry) => entry.isFile());
  sizes.push([
    "the kernel's modules",
    await bytesOf(
      root,
      files.map(({ parentPath, name }) => join(parentPath, name).slice(root.length)),
    ),
  ]);
  for (const file of recipe.files ?? []) sizes.push([file.path, contentOf(file).length]);
  return sizes
    .sort((a, b) => b[1] - a[1])
    .slice(0, TOLD)
    .map(([name, bytes]) => `${name} ${told(bytes)}`)
    .join(", ");
}

/** By dpkg's lists of their files; of RPMs by the packages themselves: the system's database may be one that this machine's rpm cannot read. */
async function installedPackages(
  root: string,
  packages: readonly Package[],
  recipe: Recipe,
): Promise<Layer[]> {
  if (isRpm(releaseOf(recipe))) return filesIn(packages.map(({ file }) => file));
  const folder = "/var/lib/dpkg/info";
  const names = await readdir(await rooted(root, folder)).catch(() => []);
  const lists = names.filter((name) => name.endsWith(".list"));
  return Promise.all(
    lists.map(async (list) => ({
      name: list.replace(/(:[a-z0-9-]+)?\.list$/, ""),
      paths: (await readFile(await rooted(root, `${folder}/${list}`), "utf8")).split("\n").filter(Boolean),
    })),
  );
}

async function bytesOf(root: string, paths: readonly string[]): Promise<number> {
  let bytes = 0;
  for (const path of paths) {
    const found = await lstat(await rooted(root, path)).catch(() => undefined);
    if (found?.isFile()) bytes += found.size;
  }
  return bytes;
}
