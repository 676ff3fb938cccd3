/** The root file system of a slim image, as a folder: packages unpacked, busybox for all that they do not bring, Vireo's files, the recipe's. */
import { lstat, mkdir, rm, symlink } from "node:fs/promises";
import { dirname, posix } from "node:path";
import { run } from "../../system/run.ts";
import { unpackArchives } from "../archives/unpack.ts";
import type { Package } from "../packages/packages.ts";
import type { LockedPackage, Recipe } from "../recipe.ts";
import { contentsOf } from "../trust/beside.ts";
import { sbom } from "../trust/sbom.ts";
import { linkAlternatives } from "./alternatives.ts";
import { customize, makeLocale, packagesFor } from "./customize.ts";
import { clampTimes, newestFile } from "./disk.ts";
import { guestFiles } from "./guest-files.ts";
import type { Layer } from "./initrd.ts";
import { minimize } from "./minimize.ts";
import { minimizeTraced } from "./minimize-traced.ts";
import { rooted, rootedEntry, writeRooted } from "./rooted.ts";
import { addUsers } from "./users.ts";
import { step, type Workshop } from "./workshop.ts";

const UNWANTED = ["doc", "man", "info", "locale", "lintian", "bug", "bash-completion", "doc-base"];
const FOLDERS = [
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

/** rpm2cpio writes what cpio reads; both know the names without "./", which cpio adds by itself. */
const UNPACK_RPM = 'rpm2cpio "$1" | { shift; cd "$1"; cpio -idmuv --quiet --no-absolute-filenames 2>&1; }';
/** The folders below / are links into /usr, as Debian has them; tar must not put folders in their place. */
const UNPACK_DEB = 'dpkg-deb --fsys-tarfile "$1" | { shift; tar -xv --keep-directory-symlink -C "$@"; }';

/** @param members of a .deb; all by default. @returns the absolute paths that the package has. @throws Error */
export async function unpack(
  work: Workshop,
  file: string,
  root: string,
  members: readonly string[] = [],
): Promise<string[]> {
  const excludes = UNWANTED.map((name) => `--exclude=./usr/share/${name}/*`);
  const args = file.endsWith(".rpm")
    ? ["-ec", UNPACK_RPM, "sh", file, root]
    : ["-ec", UNPACK_DEB, "sh", file, root, ...excludes, ...members];
  const { signal } = work;
  const said = await run("sh", args, { timeoutMs: 120_000, ...(signal ? { signal } : {}) });
  const paths = said
    .split("\n")
    .filter((line) => line.startsWith("./"))
    .map((line) => line.slice(1));
  work.log(`unpacked ${posix.basename(file)}: ${paths.length} files and folders`);
  return paths;
}

/** Debian's packages still have some of their files in /bin, /sbin and /lib. */
const merged = (path: string) => path.replace(/^\/(bin|sbin|lib|lib64)\//, "/usr/$1/");

export interface Root {
  /** The moment that no file of it is newer than, in seconds since 1970. */
  epoch: number;
  /** What each archive brought, and of slim images each package; some of it may have been left out, or be other files now. */
  layers: Layer[];
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
  for (const name of ["bin", "sbin", "lib", "lib64"]) {
    await mkdir(await rooted(root, `/usr/${name}`), { recursive: true });
    await symlink(`usr/${name}`, await rootedEntry(root, `/${name}`));
  }
  for (const name of FOLDERS) await mkdir(await rooted(root, `/${name}`), { recursive: true });
  // Relative: tar follows it, and must stay within the image.
  await symlink("../run", await rootedEntry(root, "/var/run"));
  const named = new Set([...basePackages(recipe), ...recipe.packages]);
  const layers: Layer[] = [];
  for (const { name, file } of debs)
    layers.push({ name, paths: (await unpack(work, file, root)).map(merged) });
  const epoch = await newestFile(work, root);
  // Programs of packages run here as whoever builds; what a recipe brings never does.
  const applets = await appletsOf(root);
  await makeLocale(work, root, recipe);
  // Before the recipe's own files, which win.
  const brought = await unpackArchives(root, recipe, archives, work.signal);
  for (const { path, content, mode } of guestFiles(recipe)) await writeRooted(root, path, content, mode);
  // What the recipe has in a link's place is there by now.
  const alternatives = await linkAlternatives(work, root, debs);
  await writeContents(root, debs, { recipe, packages: contents, digest, epoch });
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

/** What an image is made of. */
interface About {
  recipe: Recipe;
  packages: readonly LockedPackage[];
  digest: string;
  /** Of its files, in s since 1970. */
  epoch: number;
}

/** What scanners look for inside an image: dpkg's record of each package, as images without dpkg have it, and lists of all. */
async function writeContents(root: string, debs: readonly Package[], about: About): Promise<void> {
  for (const { name, file } of debs)
    await writeRooted(root, `/var/lib/dpkg/status.d/${name}`, await run("dpkg-deb", ["-f", file]));
  await writeLists(root, about);
}

/** SPDX and CycloneDX. The disk's own digest cannot be inside; what it is made of can. */
export async function writeLists(root: string, { recipe, packages, digest, epoch }: About): Promise<void> {
  const contents = contentsOf({ name: "image", recipe, sha256: digest, packages, epoch });
  for (const [format, ending] of [
    ["spdx", "spdx.json"],
    ["cyclonedx", "cdx.json"],
  ] as const)
    await writeRooted(root, `/usr/share/sbom/image.${ending}`, `${JSON.stringify(sbom(format, contents))}\n`);
}

/** What busybox can be, as paths without "/" at the beginning. Runs it: only while nothing but packages is in the root. */
async function appletsOf(root: string): Promise<string[]> {
  return (await run(await rooted(root, "/usr/bin/busybox"), ["--list-full"])).split("\n").filter(Boolean);
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
