/**
 * The root file system of a full image, as a folder: a system with its package manager and systemd, whose packages' scripts ran.
 *
 *   the image's packages ─► installed by the distribution's own tool (apt-root.ts, rpm-root.ts) ─► Vireo's files, the recipe's
 *
 * The kernel is none of its packages: as in slim images it belongs to the image, with all of its modules here, and changes when the image is built anew.
 */
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, rm, symlink } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { unpackArchives } from "../archives/unpack.ts";
import { customize, makeLocale, packagesFor } from "../build/customize.ts";
import { clampTimes } from "../build/disk.ts";
import type { GuestFile } from "../build/guest-files.ts";
import { type Root, writeLists } from "../build/root.ts";
import { rooted, rootedEntry, writeRooted } from "../build/rooted.ts";
import { addUsers } from "../build/users.ts";
import type { Workshop } from "../build/workshop.ts";
import { nearest } from "../packages/nearest.ts";
import type { Package } from "../packages/packages.ts";
import type { LockedPackage, Recipe } from "../recipe.ts";
import type { Profile } from "../recipe-parts.ts";
import { isRpm, releaseOf } from "../releases.ts";
import { APT_BASE, installDebs } from "./apt-root.ts";
import { fullFiles, LEFTOVERS, LINKS, unitsOf } from "./full-files.ts";
import { installRpms } from "./rpm-root.ts";
import { sealed } from "./sealed.ts";

const SERVER = ["ca-certificates", "cron", "logrotate", "openssh-server", "systemd-timesyncd"];
const PROFILE_PACKAGES: Record<Profile, readonly string[]> = {
  minimal: [],
  server: SERVER,
  text: [
    ...SERVER,
    ...["bash-completion", "bzip2", "curl", "file", "less", "locales", "lsof", "man-db", "manpages", "nano"],
    ...["procps", "psmisc", "tmux", "unzip", "vim-tiny", "wget", "xz-utils"],
  ],
};

/** What a recipe needs besides its packages. */
export function fullPackages(recipe: Recipe): string[] {
  const { guestAgent = true, profile = "minimal" } = recipe;
  const release = releaseOf(recipe);
  return [
    ...(isRpm(release) ? release.base : APT_BASE),
    ...(guestAgent ? ["qemu-guest-agent"] : []),
    ...(isRpm(release) ? { minimal: [], ...release.profiles } : PROFILE_PACKAGES)[profile],
    ...packagesFor(recipe),
  ];
}

/** Makes the folder `root`. @throws Error */
export async function makeFullRoot(
  work: Workshop,
  root: string,
  {
    packages,
    contents,
    digest,
    archives,
    modules,
  }: {
    packages: readonly Package[];
    contents: readonly LockedPackage[];
    digest: string;
    /** Where those of the recipe are. */
    archives: string;
    /** Of the kernel: /usr/lib/modules. */
    modules: string;
  },
  recipe: Recipe,
): Promise<Root> {
  const release = releaseOf(recipe);
  const names = [...fullPackages(recipe), ...recipe.packages];
  const epoch = isRpm(release)
    ? await installRpms(work, root, packages, { recipe, release })
    : await installDebs(work, root, packages, { names, recipe });
  await clean(root);
  await cp(modules, await rooted(root, "/usr/lib/modules"), { recursive: true, preserveTimestamps: true });
  await writeLists(root, { recipe, packages: contents, digest, epoch });
  await makeLocale(work, root, recipe);
  await unpackArchives(root, recipe, archives, work.signal);
  await putFiles(root, fullFiles(recipe));
  for (const path of recipe.directories ?? []) await mkdir(await rooted(root, path), { recursive: true });
  await customize(root, recipe);
  await addUsers(root, recipe.users);
  await enableUnits(work, root, recipe);
  await clampTimes(work, root, epoch);
  return { epoch, layers: [] };
}

/** A file takes the place of a link of ours; through other links it goes where they lead. */
export async function putFiles(root: string, files: readonly GuestFile[]): Promise<void> {
  const taken = new Set(files.map(({ path }) => posix.normalize(path)));
  for (const [path, target] of LINKS) {
    const at = await rootedEntry(root, `/${path}`);
    await mkdir(dirname(at), { recursive: true });
    await rm(at, { force: true });
    if (!taken.has(`/${path}`)) await symlink(target, at);
  }
  for (const { path, content, mode } of files) await writeRooted(root, path, content, mode);
}

/** What is of the build, or would be the same in all machines of the image though it must not be. */
async function clean(root: string): Promise<void> {
  for (const path of LEFTOVERS) {
    if (!path.endsWith("*")) {
      await rm(await rootedEntry(root, `/${path}`), { recursive: true, force: true });
      continue;
    }
    const folder = await rooted(root, `/${dirname(path)}`);
    const begin = posix.basename(path).slice(0, -1);
    for (const name of await readdir(folder).catch(() => []))
      if (name.startsWith(begin)) await rm(join(folder, name), { recursive: true, force: true });
  }
  // Folders of logs have owners; their files are of the build.
  const logs = await readdir(await rooted(root, "/var/log"), { withFileTypes: true, recursive: true });
  for (const entry of logs) if (entry.isFile()) await rm(join(entry.parentPath, entry.name));
}

/** @throws Error naming the field for a unit that is not there */
async function enableUnits(work: Workshop, root: string, recipe: Recipe): Promise<void> {
  const enable = (unit: string) => sealed(work, ["chroot", root, "systemctl", "--quiet", "enable", unit]);
  for (const unit of unitsOf(recipe)) await enable(unit);
  for (const [i, { name, command }] of (recipe.services ?? []).entries()) {
    const unit = `${name}.service`;
    if (command === undefined) await requireUnit(root, unit, `recipe.services[${i}]`);
    await enable(unit);
  }
}

/** Whether the image has it. @throws Error naming the field */
export async function requireUnit(root: string, unit: string, field: string): Promise<void> {
  const folders = await Promise.all(
    ["/etc/systemd/system", "/usr/lib/systemd/system"].map((folder) => rooted(root, folder)),
  );
  if (folders.some((folder) => existsSync(join(folder, unit)))) return;
  const all = (await Promise.all(folders.map((folder) => readdir(folder)))).flat();
  const near = nearest(unit, all);
  throw new Error(
    `${field}: no package brings the unit ${unit}${near.length ? `; did you mean ${near.map((name) => name.replace(/\.service$/, "")).join(" or ")}?` : "; name its package in recipe.packages, or give a command"}`,
  );
}
