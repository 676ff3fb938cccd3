/** The application's own files, for a recipe: it carries them itself as long as they are few and small; else they are in an archive beside it. */
import { lstat, readFile, rm, stat } from "node:fs/promises";
import { basename, dirname, join, posix } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import { renameDurably } from "../../system/durable.ts";
import { type Packed, packTar } from "../archives/pack.ts";
import type { Recipe } from "../recipe.ts";
import type { Archive } from "../recipe-parts.ts";
import { type AppFile, ApplicationError } from "./application.ts";
import { quoted } from "./trace.ts";

export interface OwnLink {
  at: string;
  target: string;
  /** It leads to a file of the application. */
  isOwn: boolean;
}

type Files = NonNullable<Recipe["files"]>;

/** A recipe is kept with the image in the store, whose values are at most 1.5 MiB (etcd). */
const MAX_BYTES = 2 ** 20;
const MAX_FILES = 500;

/** As recipes have them. */
const [MAX_FOLDERS, MAX_FOLDER] = [200, 200];

/** Folders of an image that are empty when it has started, or are made anew. */
const PASSING = /^\/(?:tmp|run|proc|sys|dev|var\/tmp)(?:\/|$)/;
/** What a system has below "/". */
const SYSTEM = /^(?:usr|bin|sbin|lib|lib64|etc|opt|srv|var)\//;

/**
 * Where the application lies in the image: a tree that looks like a system's at "/"; where it lies here, if that may be; else in /opt.
 * @param path of the file or folder on this machine @param isUnpacked it was in an archive, and lies nowhere
 */
export function placeOf(path: string, names: readonly string[], isUnpacked: boolean): string {
  if (
    names.length > 0 &&
    names.every((name) => SYSTEM.test(name)) &&
    names.some((name) => name.startsWith("usr/"))
  )
    return "/";
  if (!isUnpacked && !PASSING.test(path)) return path;
  return posix.join("/opt", basename(path));
}

/** The command as it is in the image: paths within `from` are at `to` there. @param here the folder that it is given in */
export const movedCommand = (command: string, from: string, to: string, here: string): string =>
  command
    .split(/(\s+)/)
    .map((word) => {
      const path = posix.resolve(here, word);
      const isInside = /^[^-=]*\//.test(word) && `${path}/`.startsWith(`${from}/`);
      return isInside ? posix.join(to, path.slice(from.length)) : word;
    })
    .join("");

/** Folders that an image has anyway. */
const THERE = /^\/(?:etc|root|srv|var|usr|opt|home|var\/(?:lib|log|cache))?$/;

/**
 * Those that a run has written to, and that a recipe has to make: maintainer scripts would have, or somebody has by hand.
 * @param from, to as of movedCommand @returns those that a recipe can have, and those that it cannot: too many, or with too long names
 */
export function recipeFolders(
  folders: readonly string[],
  from?: string,
  to?: string,
): { directories: string[]; left: string[] } {
  const all = folders
    .filter((folder) => !THERE.test(folder))
    .map((folder) =>
      from !== undefined && to !== undefined && `${folder}/`.startsWith(`${from}/`)
        ? posix.join(to, folder.slice(from.length))
        : folder,
    );
  const directories = all.filter((folder) => folder.length <= MAX_FOLDER).slice(0, MAX_FOLDERS);
  return { directories, left: all.filter((folder) => !directories.includes(folder)) };
}

/** What `exec` can start: neither a list or pipe of commands, nor one that begins with a word of the shell's own or an assignment. */
const ONE_PROGRAM =
  /^(?!\s*(?:\w+=|cd\b|\.\s|source\b|exec\b|export\b|set\b|ulimit\b|umask\b|if\b|for\b|while\b|!))[^;&|(){}`]*$/;

/** A command of a shell as a service has it, which is started with `exec`. @returns undefined for several lines: recipes have none */
export function serviceCommand(command: string): string | undefined {
  if (command.includes("\n")) return undefined;
  const bare = command.replace(/'[^']*'|"(?:[^"\\]|\\.)*"|\\./g, "x");
  return ONE_PROGRAM.test(bare) ? command : `sh -c ${quoted([command])}`;
}

/**
 * Writes them beside the recipe: shop.files.tar of shop.yaml. Links stay links. What is there already is only replaced when the recipe there names it: it is this command's own.
 * @param recipe its path @returns for its archives. @throws ApplicationError, or Error of the file system
 */
export async function archiveOf(
  recipe: string,
  files: readonly { file: AppFile; at: string }[],
  links: readonly OwnLink[],
): Promise<Archive> {
  const file = `${
    basename(recipe)
      .replace(/\.(?:ya?ml|json)$/, "")
      .replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9._-]/g, "") || "application"
  }.files.tar`;
  const linked = new Set(links.map(({ at }) => at));
  const entries: Packed[] = [];
  for (const { file, at } of files)
    if (!linked.has(at))
      entries.push({
        name: at.slice(1),
        path: file.path,
        bytes: file.bytes,
        mode: (await stat(file.path)).mode,
      });
  for (const { at, target } of links) entries.push({ name: at.slice(1), target });
  const to = join(dirname(recipe), file);
  if (await isOthers(to, recipe))
    throw new ApplicationError(
      `${to} is there already, and ${recipe} does not name it: move it away, or give the recipe another name (-o), and the application's own files go into an archive of that name`,
    );
  const part = `${to}.${process.pid}.part`;
  try {
    await packTar(part, entries);
    await renameDurably(part, to);
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  }
  return { file, sha256: await sha256Of(to), bytes: (await stat(to)).size };
}

async function isOthers(archive: string, recipe: string): Promise<boolean> {
  const found = await lstat(archive).catch(() => undefined);
  if (!found?.isFile()) return found !== undefined;
  const text = await readFile(recipe, "utf8").catch(() => "");
  return !text.includes(await sha256Of(archive));
}

/**
 * @param files with their paths in the image @param taken bytes that the recipe has otherwise
 * @returns as a recipe has them, or how many bytes too many there are. @throws Error of the file system
 */
export async function recipeFiles(
  files: readonly { file: AppFile; at: string }[],
  taken = 0,
): Promise<{ files: Files } | { tooLarge: number }> {
  const bytes = files.reduce((sum, { file }) => sum + file.bytes, 0);
  if (bytes > MAX_BYTES || files.length > MAX_FILES) return { tooLarge: bytes };
  const all: Files = [];
  let length = taken;
  for (const { file, at } of files) {
    const content = await readFile(file.path);
    const text = content.toString("utf8");
    const isText = !text.includes("\0") && Buffer.from(text).equals(content);
    const carried = isText
      ? { content: text }
      : { content: content.toString("base64"), encoding: "base64" as const };
    length += carried.content.length;
    all.push({ path: at, ...carried, ...(file.isExecutable ? { mode: "0755" } : {}) });
  }
  return length > MAX_BYTES ? { tooLarge: bytes } : { files: all };
}
