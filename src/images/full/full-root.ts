/**
 * The root file system of a full image, as a folder: a system with its package manager and systemd, whose packages' scripts ran.
 *
 *   the image's packages ─► installed by the distribution's own tool (apt-root.ts, rpm-root.ts) ─► Vireo's files, the recipe's
 *
 * The kernel is none of its packages: as in slim images it belongs to the image, with all of its modules here, and changes when the image is built anew.
 */
import { cp, mkdir, readdir, readFile, rm, symlink } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { exists } from "../../system/exists.ts";
import { unpackArchives } from "../archives/unpack.ts";
import { nearest } from "../packages/nearest.ts";
import type { Package } from "../packages/packages.ts";
import type { LockedPackage, Recipe } from "../recipe.ts";
import { isRpm } from "../releases/release.ts";
import { releaseOf } from "../releases/releases.ts";
import { customize, makeLocale, packagesFor } from "../rootfs/customize.ts";
import type { Root } from "../rootfs/layers.ts";
import type { GuestFile } from "../rootfs/recipe-files.ts";
import { addUsers } from "../rootfs/users.ts";
import { listsInside } from "../trust/inside.ts";
import { rooted, rootedEntry, writeRooted } from "../workshop/rooted.ts";
import { sealed } from "../workshop/sealed.ts";
import { clampTimes } from "../workshop/times.ts";
import type { Workshop } from "../workshop/workshop.ts";
import { installDebs } from "./apt-root.ts";
import { fullFiles, LEFTOVERS, LINKS, unitsOf } from "./full-files.ts";
import { picturePackages, requirePictures, showPictures } from "./pictures.ts";
import { installRpms } from "./rpm-root.ts";

/** What a recipe needs besides its packages. */
export function fullPackages(recipe: Recipe): string[] {
  const { guestAgent = true, profile = "minimal" } = recipe;
  const { base, profiles } = releaseOf(recipe);
  return [
    ...base,
    ...(guestAgent ? ["qemu-guest-agent"] : []),
    ...(profiles[profile] ?? []),
    ...packagesFor(recipe),
    ...picturePackages(recipe),
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
    : await installDebs(work, root, packages, { names, recipe, release });
  await clean(root);
  await cp(modules, await rooted(root, "/usr/lib/modules"), { recursive: true, preserveTimestamps: true });
  for (const { path, content } of listsInside({ recipe, packages: contents, digest, epoch }))
    await writeRooted(root, path, content);
  await makeLocale(work, root, recipe);
  // Programs of the packages run up to here; what archives and files bring, they might have replaced.
  const enabled = await enablePackaged(work, root, recipe);
  await showPictures(work, root, recipe);
  const layers = await unpackArchives(root, recipe, archives, work.signal);
  await putFiles(root, fullFiles(recipe));
  for (const path of recipe.directories ?? []) await mkdir(await rooted(root, path), { recursive: true });
  await customize(root, recipe);
  await requirePictures(root, recipe);
  await addUsers(root, recipe.users);
  await enableOthers(root, recipe, enabled);
  await clampTimes(work, root, epoch);
  return { epoch, layers };
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

const unitsWanted = (recipe: Recipe) => [
  ...unitsOf(recipe),
  ...(recipe.services ?? []).map(({ name }) => `${name}.service`),
];

/** Enables the units that packages bring, by the image's own systemctl. @returns those */
async function enablePackaged(work: Workshop, root: string, recipe: Recipe): Promise<Set<string>> {
  const enabled = new Set<string>();
  for (const unit of unitsWanted(recipe)) {
    if (!(await unitFile(root, unit))) continue;
    await sealed(work, ["chroot", root, "systemctl", "--quiet", "enable", unit]);
    enabled.add(unit);
  }
  return enabled;
}

/** Enables the others. @throws Error naming the field for a unit that is not there */
async function enableOthers(root: string, recipe: Recipe, enabled: ReadonlySet<string>): Promise<void> {
  for (const [i, { name, command }] of (recipe.services ?? []).entries())
    if (command === undefined) await requireUnit(root, `${name}.service`, `recipe.services[${i}]`);
  for (const unit of unitsWanted(recipe)) if (!enabled.has(unit)) await linkUnit(root, unit);
}

/** As `systemctl enable`, by the [Install] section of its file (systemd.unit(5)), without running anything of the image. */
export async function linkUnit(root: string, unit: string): Promise<void> {
  const file = await unitFile(root, unit);
  if (!file) return;
  const text = await readFile(await rooted(root, file), "utf8");
  const section = text.split(/^\[/m).find((part) => part.startsWith("Install]")) ?? "";
  const link = async (path: string) => {
    const at = await rootedEntry(root, `/etc/systemd/system/${path}`);
    await mkdir(dirname(at), { recursive: true });
    await rm(at, { force: true });
    await symlink(file, at);
  };
  for (const [, key, value = ""] of section.matchAll(/^(WantedBy|RequiredBy|Alias)=(.*)$/gm))
    for (const name of value.split(/\s+/).filter((each) => UNIT_NAME.test(each))) {
      if (key === "Alias") await link(name);
      else await link(`${name}.${key === "WantedBy" ? "wants" : "requires"}/${unit}`);
    }
}

const UNIT_NAME = /^[\w:@.\\-]+\.[a-z]+$/;
const UNIT_FOLDERS = ["/etc/systemd/system", "/usr/lib/systemd/system"];

/** Where in the image its file is. */
async function unitFile(root: string, unit: string): Promise<string | undefined> {
  for (const folder of UNIT_FOLDERS)
    if (await exists(join(await rooted(root, folder), unit))) return `${folder}/${unit}`;
  return undefined;
}

/** Whether the image has it. @throws Error naming the field */
export async function requireUnit(root: string, unit: string, field: string): Promise<void> {
  if (await unitFile(root, unit)) return;
  const folders = await Promise.all(UNIT_FOLDERS.map((folder) => rooted(root, folder)));
  const all = (await Promise.all(folders.map((folder) => readdir(folder)))).flat();
  const near = nearest(unit, all);
  throw new Error(
    `${field}: no package brings the unit ${unit}${near.length ? `; did you mean ${near.map((name) => name.replace(/\.service$/, "")).join(" or ")}?` : "; name its package in recipe.packages, or give a command"}`,
  );
}
