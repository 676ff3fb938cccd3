/**
 * Whether an image will have what its recipe takes for granted: groups and shells of users, language, time zone, units and programs of services, places for its files. It is looked for in
 * the packages and in what the recipe brings, before anything is unpacked or installed. What only a script of a package could make is left to the build where such a script names it:
 * the build looks again at what is really there.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { join, posix } from "node:path";
import { archiveFile } from "../archives/store.ts";
import { missingPicture, PICTURES } from "../full/pictures.ts";
import { tarMembers } from "../import/tar.ts";
import { nearest } from "../packages/nearest.ts";
import type { Package } from "../packages/packages.ts";
import type { Recipe } from "../recipe.ts";
import { isRpm } from "../releases/release.ts";
import { releaseOf } from "../releases/releases.ts";
import { DEFAULT_LOCALE, noLocale } from "../rootfs/customize.ts";
import { merged } from "../rootfs/layers.ts";
import { MAX_ARCHIVE_MEMBERS } from "../shared.ts";
import { SLIM_GROUPS } from "../slim/slim-files.ts";
import { appletsOf, FOLDERS, makeMerged } from "../slim/slim-root.ts";
import { unpackPackage } from "../workshop/unpack-package.ts";
import type { Workshop } from "../workshop/workshop.ts";
import { listPackages } from "./package-lists.ts";

/** What there will be in an image, as far as it can be known. Paths are absolute, with /bin, /sbin and /lib in /usr. */
export interface Known {
  /** Of packages, links too. */
  files: ReadonlySet<string>;
  folders: ReadonlySet<string>;
  /** Of the recipe itself. */
  brought: ReadonlySet<string>;
  /** What busybox can be: paths. */
  applets: ReadonlySet<string>;
  /** By scripts and lists of packages that make groups, units and links. */
  said: string;
}

/** @throws Error naming all fields that are wrong */
export async function requireExpected(
  work: Workshop,
  recipe: Recipe,
  { inRoot, archives }: { inRoot: readonly Package[]; archives: string },
): Promise<void> {
  if (!takesSomething(recipe)) return;
  const lists = await listPackages(work, inRoot);
  const brought = new Set((recipe.files ?? []).map(({ path }) => merged(posix.normalize(path))));
  for (const { path = "/", sha256 } of recipe.archives ?? [])
    for (const { name } of await tarMembers(archiveFile(archives, sha256), MAX_ARCHIVE_MEMBERS).catch(
      () => [],
    ))
      brought.add(merged(posix.join(path, posix.normalize(`/${name}`)).replace(/\/$/, "")));
  const busybox = recipe.mode === "full" ? undefined : inRoot.find(({ name }) => /^busybox/.test(name));
  const wrong = unexpected(recipe, {
    files: new Set(lists.flatMap(({ files }) => files)),
    folders: new Set([
      ...(recipe.mode === "full" ? [] : FOLDERS.map((name) => `/${name}`)),
      ...lists.flatMap(({ files, folders }) => [...folders, ...files.flatMap(parents)]),
    ]),
    brought,
    applets: new Set(busybox ? await appletsIn(work, busybox) : []),
    said: lists.map(({ said }) => said).join("\n"),
  });
  if (wrong.length > 0) throw new Error(wrong.join("; "));
}

const takesSomething = (recipe: Recipe) => {
  const { users, services, files, directories, archives } = recipe;
  const { locale, timeZone, firstBoot, branding = {} } = recipe;
  return (
    [users, services, files, directories, archives].some((each) => each?.length) ||
    [locale, timeZone, firstBoot, branding.splash, branding.wallpaper].some((each) => each !== undefined)
  );
};

async function appletsIn(work: Workshop, { file }: Package): Promise<string[]> {
  const root = await mkdtemp(join(work.folder, "applets-"));
  try {
    await makeMerged(root);
    await unpackPackage(work, file, root);
    return (await appletsOf(work, root)).map((path) => merged(`/${path}`));
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** @returns what is wrong, for users, each with its field. Pure. */
export function unexpected(recipe: Recipe, known: Known): string[] {
  const has = (path: string): boolean => {
    const at = merged(posix.normalize(path));
    if ([known.files, known.folders, known.brought].some((some) => some.has(at))) return true;
    // What is on the way may be a link.
    return parents(at).some((each) => known.files.has(each) || known.brought.has(each));
  };
  const says = (word: string) =>
    new RegExp(`(?<![\\w-])${word.replace(/[^\w]/g, "\\$&")}(?![\\w-])`).test(known.said);
  const hasProgram = (path: string) =>
    has(path) || known.applets.has(merged(path)) || says(posix.basename(path));
  const about = { recipe, known, has, says, hasProgram };
  return [
    ...wrongPlaces(about),
    ...wrongUsers(about),
    ...wrongServices(about),
    ...wrongScript(about),
    ...wrongLanguage(about),
    ...wrongPictures(about),
  ];
}

interface About {
  recipe: Recipe;
  known: Known;
  has: (path: string) => boolean;
  /** Whether a script, or a list, has this word. */
  says: (word: string) => boolean;
  hasProgram: (path: string) => boolean;
}

/** Folders above it, without "/". */
function parents(path: string): string[] {
  const above = posix.dirname(path);
  return above === "/" || above === "." ? [] : [above, ...parents(above)];
}

const PROGRAM_FOLDERS = /^\/usr\/(?:local\/)?s?bin\/([^/]+)$/;

/** A program of nearly this name, for the end of a sentence. */
function suggestion(path: string, { files, brought, applets }: Known): string {
  const programs = new Map<string, string>();
  for (const file of [...applets, ...files, ...brought]) {
    const name = PROGRAM_FOLDERS.exec(file)?.[1];
    if (name) programs.set(name, file);
  }
  const near = nearest(posix.basename(path), [...programs.keys()]).map((name) => programs.get(name));
  const meant = near.length ? `did you mean ${near.join(" or ")}? Else ` : "";
  return `; ${meant}name its package in recipe.packages`;
}

/** Nothing of an image is seen there once it has started. */
const HIDDEN = /^\/(?:(?:var\/)?run|tmp|dev|proc|sys)\//;
const HIDDEN_FOLDERS = /^\/(?:dev(?!\/shm\/)|proc|sys)\//;

const UNSEEN = "would not be seen: that folder is made anew when a machine starts; put it elsewhere";

function wrongPlaces({ recipe, known }: About): string[] {
  const { files = [], directories = [], archives = [] } = recipe;
  const own = new Set(files.map(({ path }) => merged(posix.normalize(path))));
  const above = (path: string) => parents(path).find((each) => own.has(each));
  return [
    ...files.flatMap(({ path }, i) => {
      const at = merged(posix.normalize(path));
      const field = `recipe.files[${i}].path`;
      if (path.endsWith("/") || known.folders.has(at))
        return [`${field}: ${path} is a folder in the image; name a file in it`];
      if (HIDDEN.test(at)) return [`${field}: ${path} ${UNSEEN}, or have firstBoot or a service make it`];
      const file = above(at);
      return file ? [`${field}: ${path} is to be in ${file}, which is a file of the recipe, too`] : [];
    }),
    ...archives.flatMap(({ path = "/" }, i) =>
      HIDDEN.test(`${posix.normalize(path)}/`) ? [`recipe.archives[${i}].path: ${path} ${UNSEEN}`] : [],
    ),
    ...directories.flatMap((path, i) => {
      const at = merged(posix.normalize(path).replace(/(.)\/$/, "$1"));
      if (HIDDEN_FOLDERS.test(at))
        return [
          `recipe.directories[${i}]: ${path} would not be seen: that is the kernel's; name another one`,
        ];
      const file = own.has(at) ? at : above(at);
      return file
        ? [`recipe.directories[${i}]: ${path} cannot be made: ${file} is a file of the recipe`]
        : [];
    }),
  ];
}

function wrongUsers({ recipe, known, says, hasProgram }: About): string[] {
  const { users = [], mode } = recipe;
  const isOurs = known.brought.has("/etc/group");
  return users.flatMap(({ groups = [], shell }, i) => {
    const own = users.slice(0, i + 1).map(({ name }) => name);
    const isThere = (group: string) =>
      isOurs || own.includes(group) || (mode === "full" ? says(group) : SLIM_GROUPS.includes(group));
    return [
      ...groups.flatMap((group, j) => {
        if (isThere(group)) return [];
        const all = mode === "full" ? groupsSaid(known.said) : SLIM_GROUPS;
        const near = nearest(group, [...all, ...own]);
        const hint = near.length
          ? `; did you mean ${near.join(" or ")}?`
          : mode === "full"
            ? "; name the package that makes it in recipe.packages"
            : `; it has ${SLIM_GROUPS.join(", ")}`;
        return [`recipe.users[${i}].groups[${j}]: the image has no group ${group}${hint}`];
      }),
      ...(shell === undefined || hasProgram(shell)
        ? []
        : [`recipe.users[${i}].shell: the image has no ${shell}${suggestion(shell, known)}`]),
    ];
  });
}

/** Of group(5) and sysusers.d(5). */
const groupsSaid = (said: string) => [
  ...new Set(
    [...said.matchAll(/^(?:([a-z_][\w-]*):[^:\n]*:\d+:|[gu]\s+([a-z_][\w-]*)\s)/gm)].map(
      (found) => found[1] ?? found[2] ?? "",
    ),
  ),
];

/** A command that begins with a path where packages have programs; in other folders they may come later: on a data disk, say. */
const PACKAGED_PROGRAM = /^(\/(?:usr\/)?(?:s?bin|lib(?:exec)?|games)\/[\w./+-]+)(?:\s|$)/;

const UNITS = ["/usr/lib/systemd/system", "/etc/systemd/system"];

function wrongServices({ recipe, known, has, says, hasProgram }: About): string[] {
  return (recipe.services ?? []).flatMap(({ name, command }, i) => {
    const field = `recipe.services[${i}]`;
    if (command === undefined) {
      const unit = `${name}.service`;
      if (UNITS.some((folder) => has(`${folder}/${unit}`)) || says(unit)) return [];
      const units = [...known.files, ...known.brought].filter((path) => UNITS.includes(posix.dirname(path)));
      const near = nearest(
        unit,
        units.map((path) => posix.basename(path)),
      );
      return [
        `${field}: no package brings the unit ${unit}${near.length ? `; did you mean ${near.map((each) => each.replace(/\.service$/, "")).join(" or ")}?` : "; name its package in recipe.packages, or give a command"}`,
      ];
    }
    const program = PACKAGED_PROGRAM.exec(command)?.[1];
    // What a first-boot script brings is there before it.
    if (program === undefined || recipe.firstBoot !== undefined || hasProgram(program)) return [];
    return [`${field}.command: the image has no ${program}${suggestion(program, known)}`];
  });
}

/** Its interpreter. */
function wrongScript({ recipe: { firstBoot = "" }, known, hasProgram }: About): string[] {
  const [, program = "", argument = ""] = /^#!\s*(\/\S+)(?:[ \t]+(\S+))?/.exec(firstBoot) ?? [];
  if (program === "") return [];
  const inPath = ["/usr/bin", "/usr/sbin", "/usr/local/bin"].map((folder) => `${folder}/${argument}`);
  const missing = !hasProgram(program)
    ? program
    : posix.basename(program) === "env" && argument !== "" && !inPath.some(hasProgram)
      ? argument
      : undefined;
  return missing === undefined
    ? []
    : [
        `recipe.firstBoot: its first line names ${missing}, which the image does not have${suggestion(missing, known)}`,
      ];
}

const wrongPictures = ({ recipe: { branding = {} }, has, says }: About): string[] =>
  PICTURES.flatMap((field) => {
    const path = branding[field];
    return path === undefined || has(path) || says(posix.basename(path)) ? [] : [missingPicture(field, path)];
  });

const ZONES = "/usr/share/zoneinfo";

function wrongLanguage({ recipe, known, has }: About): string[] {
  const { locale = DEFAULT_LOCALE, timeZone = "UTC" } = recipe;
  const ofRpms = isRpm(releaseOf(recipe));
  const [folder, name] = ofRpms
    ? ["/usr/lib/locale", locale.replace(".UTF-8", ".utf8")]
    : ["/usr/share/i18n/locales", locale.replace(".UTF-8", "")];
  const below = (at: string) =>
    [...known.files, ...known.folders].flatMap((path) =>
      path.startsWith(`${at}/`) ? [path.slice(at.length + 1)] : [],
    );
  const missing: string[] = [];
  if (locale !== DEFAULT_LOCALE && !has(`${folder}/${name}`)) {
    const near = below(folder).filter(
      (each) => each.startsWith(`${locale.split("_")[0]}_`) && !each.includes("/"),
    );
    missing.push(noLocale(locale, near));
  }
  if (timeZone !== "UTC" && !has(`${ZONES}/${timeZone}`)) {
    const near = nearest(timeZone, below(ZONES));
    missing.push(
      `recipe.timeZone: the image's package of time zones has no ${timeZone}${near.length ? `; did you mean ${near.join(" or ")}?` : ""}`,
    );
  }
  return missing;
}
