/** The root file system of a slim image, as a folder: packages unpacked, busybox for all that they do not bring, Vireo's files, the recipe's. */
import { lstat, mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { run } from "../../system/run.ts";
import { unpackArchives } from "../archives/unpack.ts";
import type { Package } from "../packages/packages.ts";
import type { LockedPackage, Recipe } from "../recipe.ts";
import { customize, makeLocale, packagesFor } from "../rootfs/customize.ts";
import { type Layer, merged, type Root } from "../rootfs/layers.ts";
import { addUsers } from "../rootfs/users.ts";
import { listsInside } from "../trust/inside.ts";
import { runPackaged } from "../workshop/packaged.ts";
import { rooted, rootedEntry, writeRooted } from "../workshop/rooted.ts";
import { clampTimes, newestFile } from "../workshop/times.ts";
import { unpackPackage } from "../workshop/unpack-package.ts";
import { step, type Workshop } from "../workshop/workshop.ts";
import { linkAlternatives } from "./alternatives.ts";
import { minimize } from "./minimize.ts";
import { minimizeTraced } from "./minimize-traced.ts";
import { guestFiles } from "./slim-files.ts";

/** That each slim image has. */
export const FOLDERS = [
  "dev",
  "proc",
  "sys",
  "run",
  "tmp",
  "root",
  "etc",
  "var/lib",
  "var/log",
  "var/cache",
  "var/tmp",
  "srv",
];

/** What a recipe needs besides its packages. */
export function basePackages(recipe: Recipe): string[] {
  const { root, guestAgent = true } = recipe;
  // The initial RAM disk of a root on a disk has no libraries.
  return [
    root === "ram" ? "busybox" : "busybox-static",
    "netbase",
    ...(guestAgent ? ["qemu-guest-agent"] : []),
    ...packagesFor(recipe),
  ];
}

/** Makes the folder `root` with /usr, and what is only a link into it: packages still have some of their files there. */
export async function makeMerged(root: string): Promise<void> {
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    await mkdir(await rooted(root, `/usr/${name}`), { recursive: true });
    await symlink(`usr/${name}`, await rootedEntry(root, `/${name}`));
  }
}

/** Makes the folder `root`. @throws Error */
export async function makeRoot(
  work: Workshop,
  root: string,
  {
    debs,
    contents,
    digest,
    archives,
  }: { debs: readonly Package[]; contents: readonly LockedPackage[]; digest: string; archives: string },
  recipe: Recipe,
): Promise<Root> {
  await makeMerged(root);
  for (const name of FOLDERS) await mkdir(await rooted(root, `/${name}`), { recursive: true });
  // Relative: tar follows it, and must stay within the image.
  await symlink("../run", await rootedEntry(root, "/var/run"));
  const named = new Set([...basePackages(recipe), ...recipe.packages]);
  const layers: Layer[] = [];
  for (const { name, file } of debs)
    layers.push({ name, paths: (await unpackPackage(work, file, root)).map(merged) });
  const epoch = await newestFile(work, root);
  // Programs of packages run here; what a recipe brings never does.
  const applets = await appletsOf(work, root);
  await makeLocale(work, root, recipe);
  // Before the recipe's own files, which win.
  const brought = await unpackArchives(root, recipe, archives, work.signal);
  for (const { path, content, mode } of guestFiles(recipe)) await writeRooted(root, path, content, mode);
  // What the recipe has in a link's place is there by now.
  const alternatives = await linkAlternatives(work, root, debs);
  await writeRecords(root, debs);
  for (const { path, content } of listsInside({ recipe, packages: contents, digest, epoch }))
    await writeRooted(root, path, content);
  for (const path of recipe.directories ?? []) await mkdir(await rooted(root, path), { recursive: true });
  await customize(root, recipe);
  const files = brought.flatMap(({ paths }) => paths.map(merged));
  if (recipe.minimize && recipe.traced) {
    const base = new Set(basePackages(recipe));
    const all = [...layers, { name: "alternatives", paths: alternatives }];
    const { removed, unknown } = await minimizeTraced(root, recipe, { layers: all, base, brought: files });
    const mib = removed.reduce((sum, { bytes }) => sum + bytes, 0) / 2 ** 20;
    work.log(
      `left out, because neither the run nor anything that is kept needs it (${removed.length}, ${mib.toFixed(1)} MiB):`,
    );
    for (const { path, bytes } of removed) work.log(`  ${path} ${bytes}`);
    if (unknown.length > 0)
      work.log(`the run has used what these packages do not have (${unknown.length}): ${unknown.join(" ")}`);
  } else if (recipe.minimize) {
    const own = layers.filter(({ name }) => named.has(name)).flatMap(({ paths }) => paths);
    const removed = await minimize(root, recipe, { own, brought: files });
    work.log(`left out, because nothing needs it (${removed.length}):`);
    for (const path of removed) work.log(`  ${path}`);
  }
  await linkApplets(root, applets);
  await addUsers(root, recipe.users);
  await step(work, "ldconfig", ["-r", root]);
  // ldconfig's memory of this machine's inodes.
  await rm(await rooted(root, "/var/cache/ldconfig"), { recursive: true, force: true });
  await clampTimes(work, root, epoch);
  return { epoch, layers: [...layers, ...brought] };
}

/** dpkg's record of each package, where scanners look for it in images without dpkg. */
async function writeRecords(root: string, debs: readonly Package[]): Promise<void> {
  for (const { name, file } of debs)
    await writeRooted(root, `/var/lib/dpkg/status.d/${name}`, await run("dpkg-deb", ["-f", file]));
}

/** Of the list of what busybox can be; Debian's has 5 KiB. */
const MOST_LISTED = 2 ** 20;

/** What busybox can be, as paths without "/" at the beginning. Runs it: only while nothing but packages is in the root. */
export async function appletsOf(work: Workshop, root: string): Promise<string[]> {
  const list = join(work.folder, "applets");
  await writeFile(list, "");
  const command = [
    "sh",
    "-ec",
    '"$1" --list-full > "$2"',
    "busybox",
    await rooted(root, "/usr/bin/busybox"),
    list,
  ];
  await runPackaged(work, command, { tree: root, writes: [list], fileBytes: MOST_LISTED });
  return (await readFile(list, "utf8")).split("\n").filter(Boolean);
}

/** busybox does everything that no package brought a program for. */
async function linkApplets(root: string, applets: readonly string[]): Promise<void> {
  for (const applet of [...applets, "sbin/init"]) {
    const path = applet.startsWith("usr/") ? `/${applet}` : `/usr/${applet}`;
    const at = await rootedEntry(root, path);
    if (await lstat(at).catch(() => undefined)) continue;
    await mkdir(dirname(at), { recursive: true });
    await symlink(posix.relative(posix.dirname(path), "/usr/bin/busybox"), at);
  }
}
