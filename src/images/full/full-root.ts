/**
 * The root file system of a full image, as a folder: a Debian system made by mmdebstrap, with dpkg, apt and systemd, whose packages' maintainer scripts ran.
 *
 *   the image's packages ─► local repository ─► base (essential packages, apt, systemd; kept in the cache) ─► the recipe's packages ─► Vireo's files, the recipe's
 *
 * The kernel is none of its packages: as in slim images it belongs to the image, with all of its modules here, and changes when the image is built anew.
 */
import { existsSync } from "node:fs";
import { chmod, cp, mkdir, open, readdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, posix } from "node:path";
import { unpackArchives } from "../archives/unpack.ts";
import { cached } from "../build/cache.ts";
import { customize, DEFAULT_LOCALE, packagesFor } from "../build/customize.ts";
import { clampTimes } from "../build/disk.ts";
import type { GuestFile } from "../build/guest-files.ts";
import { type Root, writeLists } from "../build/root.ts";
import { rooted } from "../build/rooted.ts";
import { addUsers } from "../build/users.ts";
import type { Workshop } from "../build/workshop.ts";
import { nearest } from "../packages/nearest.ts";
import type { Package } from "../packages/packages.ts";
import { digestOf, type LockedPackage, type Recipe } from "../recipe.ts";
import type { Profile } from "../recipe-parts.ts";
import { fullFiles, LEFTOVERS, LINKS, unitsOf } from "./full-files.ts";
import { localRepository } from "./local-repository.ts";
import { sealed } from "./sealed.ts";

/** Raised when the base is made in another way. */
const BASE_VERSION = 1;

/** Beside the essential packages. */
const BASE = [
  "apt",
  "dbus",
  "iproute2",
  "kmod",
  "netbase",
  "systemd-resolved",
  "systemd-sysv",
  "udev",
  // The other choice is usrmerge, which brings perl.
  "usr-is-merged",
];

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
export const fullPackages = ({ guestAgent = true, profile = "minimal", ...recipe }: Recipe): string[] => [
  ...BASE,
  ...(guestAgent ? ["qemu-guest-agent"] : []),
  ...PROFILE_PACKAGES[profile],
  ...packagesFor(recipe),
];

/** Not unpacked, now or when the machine installs more: what only people read. */
const UNWANTED = ["doc/*", "info/*", "lintian/*", "locale/*", "man/*"];
const WANTED = ["doc/*/copyright", "locale/locale.alias"];

/** dpkg's options on paths. */
function pathOptions({ profile, locale }: Recipe): string[] {
  if (profile === "text") return [];
  const language = locale?.split("_")[0];
  const wanted = [...WANTED, ...(language && language !== DEFAULT_LOCALE ? [`locale/${language}*`] : [])];
  return [
    ...UNWANTED.map((path) => `path-exclude=/usr/share/${path}`),
    ...wanted.map((path) => `path-include=/usr/share/${path}`),
  ];
}

/** When the newest of the packages was made, in seconds since 1970: ar(5) has it in the first header of the file. */
async function newestPackage(debs: readonly Package[]): Promise<number> {
  let newest = 0;
  for (const { file } of debs) {
    const handle = await open(file);
    try {
      const { buffer } = await handle.read(Buffer.alloc(12), 0, 12, 8 + 16);
      newest = Math.max(newest, Number(buffer.toString("latin1")) || 0);
    } finally {
      await handle.close();
    }
  }
  return newest;
}

/** @param source a line of sources.list */
async function bootstrap(
  work: Workshop,
  source: string,
  args: readonly string[],
  { to, epoch, paths }: { to: string; epoch: number; paths: readonly string[] },
): Promise<void> {
  const options = [
    "--mode=root",
    // A build that was interrupted begins anew: nothing has to be safe on the disk on the way.
    ...["force-unsafe-io", ...paths].map((option) => `--dpkgopt=${option}`),
    "--aptopt=Acquire::Languages none",
  ];
  const env = { SOURCE_DATE_EPOCH: String(epoch), TMPDIR: work.folder };
  await sealed(work, ["mmdebstrap", ...options, ...args, "", to, source], env);
}

/** Makes the folder `root`. @throws Error */
export async function makeFullRoot(
  work: Workshop,
  root: string,
  {
    debs,
    contents,
    digest,
    archives,
    modules,
  }: {
    debs: readonly Package[];
    contents: readonly LockedPackage[];
    digest: string;
    /** Where those of the recipe are. */
    archives: string;
    /** Of the kernel: /usr/lib/modules. */
    modules: string;
  },
  recipe: Recipe,
): Promise<Root> {
  const repository = await localRepository(work, debs);
  const paths = pathOptions(recipe);
  const base = await makeBase(work, repository, { debs: await repository.closure(BASE), paths });
  const epoch = await newestPackage(debs);
  const included = [...fullPackages(recipe), ...recipe.packages];
  await bootstrap(
    work,
    repository.source,
    [
      "--variant=custom",
      // mmdebstrap has made /dev, and says where packages come from now.
      `--setup-hook=tar -C "$1" -x --xattrs --xattrs-include='*' --exclude='./dev/*' --exclude=./etc/apt/sources.list -f '${quoted(base)}'`,
      `--include=${included.join(",")}`,
    ],
    { to: root, epoch, paths },
  );
  await clean(root);
  await cp(modules, join(root, "usr/lib/modules"), { recursive: true, preserveTimestamps: true });
  await writeLists(root, { recipe, packages: contents, digest, epoch });
  await unpackArchives(root, recipe, archives, work.signal);
  await putFiles(root, fullFiles(recipe, paths));
  for (const path of recipe.directories ?? []) await mkdir(await rooted(root, path), { recursive: true });
  await customize(work, root, recipe);
  await addUsers(root, recipe.users);
  await enableUnits(work, root, recipe);
  await clampTimes(work, root, epoch);
  return { epoch, layers: [] };
}

/** A file takes the place of a link of ours; through other links it goes where they lead. */
export async function putFiles(root: string, files: readonly GuestFile[]): Promise<void> {
  const taken = new Set(files.map(({ path }) => posix.normalize(path)));
  for (const [path, target] of LINKS) {
    const at = join(root, path);
    await mkdir(dirname(at), { recursive: true });
    await rm(at, { force: true });
    if (!taken.has(`/${path}`)) await symlink(target, at);
  }
  for (const { path, content, mode } of files) {
    const at = await rooted(root, path);
    await mkdir(dirname(at), { recursive: true });
    await writeFile(at, content);
    await chmod(at, mode);
  }
}

const quoted = (text: string) => text.replaceAll("'", "'\\''");

/** @returns an archive. @throws Error */
async function makeBase(
  work: Workshop,
  { source }: { source: string },
  { debs, paths }: { debs: readonly Package[]; paths: readonly string[] },
): Promise<string> {
  const key = digestOf([BASE_VERSION, BASE, paths, debs.map(({ sha256 }) => sha256).sort()]).slice(0, 32);
  return cached(work.cache, "roots", key, async (path) => {
    work.log(`making the base of ${debs.length} packages; it is kept for the next builds`);
    const hooks = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr";
    const tar = `${path}.tar`;
    await bootstrap(work, source, ["--variant=essential", hooks, `--include=${BASE.join(",")}`], {
      to: tar,
      epoch: await newestPackage(debs),
      paths,
    });
    await rename(tar, path);
  });
}

/** What is of the build, or would be the same in all machines of the image though it must not be. */
async function clean(root: string): Promise<void> {
  for (const path of LEFTOVERS) {
    if (!path.endsWith("*")) {
      await rm(join(root, path), { recursive: true, force: true });
      continue;
    }
    const folder = dirname(path);
    const begin = path.slice(folder.length + 1, -1);
    for (const name of await readdir(join(root, folder)).catch(() => []))
      if (name.startsWith(begin)) await rm(join(root, folder, name), { recursive: true, force: true });
  }
  // Folders of logs have owners; their files are of the build.
  const logs = await readdir(join(root, "var/log"), { withFileTypes: true, recursive: true });
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
  const folders = ["etc/systemd/system", "usr/lib/systemd/system"].map((folder) => join(root, folder));
  if (folders.some((folder) => existsSync(join(folder, unit)))) return;
  const all = (await Promise.all(folders.map((folder) => readdir(folder)))).flat();
  const near = nearest(unit, all);
  throw new Error(
    `${field}: no package brings the unit ${unit}${near.length ? `; did you mean ${near.map((name) => name.replace(/\.service$/, "")).join(" or ")}?` : "; name its package in recipe.packages, or give a command"}`,
  );
}
