/** Archives of a recipe, put into the root file system of its image: no name and no link in them leads out of it. */
import { createReadStream, createWriteStream } from "node:fs";
import { chmod, link, lstat, mkdir, rm, symlink } from "node:fs/promises";
import { dirname, posix } from "node:path";
import { pipeline } from "node:stream/promises";
import { sha256Of } from "../../system/digest.ts";
import { type Member, tarMembers } from "../import/tar.ts";
import type { Recipe } from "../recipe.ts";
import { MAX_ARCHIVE_MEMBERS } from "../shared.ts";
import { rooted, rootedEntry } from "../workshop/rooted.ts";
import { archiveFile } from "./store.ts";

/** Everything is root's in the image: a program that was setuid of somebody else would be of root. */
const MODES = 0o1777;
const KINDS: Record<string, string> = {
  "3": "a device",
  "4": "a device",
  "6": "a pipe",
  S: "a file with holes; make the archive without --sparse",
};

/**
 * @param folder where they are kept
 * @returns the paths of their files and links in the image, with what each archive brought. @throws Error naming the field, for users
 */
export async function unpackArchives(
  root: string,
  recipe: Recipe,
  folder: string,
  signal?: AbortSignal,
): Promise<{ name: string; paths: string[] }[]> {
  const layers: { name: string; paths: string[] }[] = [];
  for (const [i, { file, path = "/", sha256 }] of (recipe.archives ?? []).entries()) {
    const archive = archiveFile(folder, sha256);
    const wrong = (what: string, cause?: unknown) =>
      new Error(`recipe.archives[${i}]: ${file} ${what}`, { cause });
    const is = await sha256Of(archive, signal).catch((cause: unknown) => {
      throw wrong("is not in the storage pool; vireo image build sends it", cause);
    });
    if (is !== sha256) throw wrong("was changed in the storage pool; delete it there, and send it again");
    const members = await tarMembers(archive, MAX_ARCHIVE_MEMBERS).catch((cause: unknown) => {
      throw wrong(cause instanceof Error ? cause.message : String(cause), cause);
    });
    const paths: string[] = [];
    for (const member of members) {
      signal?.throwIfAborted();
      const name = posix.normalize(`/${member.name}`).replace(/\/$/, "");
      if (member.name.split("/").includes("..")) throw wrong(`has ${member.name}, which leads out of it`);
      if (name === "") continue;
      const at = posix.join(path, name);
      try {
        await put(root, at, member, archive, (target) => posix.join(path, posix.normalize(`/${target}`)));
      } catch (cause) {
        throw wrong(`${member.name}: ${causeOf(cause, root)}`, cause);
      }
      if (member.type !== "5") paths.push(at);
    }
    layers.push({ name: file, paths });
  }
  return layers;
}

/** In the image's terms: where it is made is nothing to users. */
function causeOf(cause: unknown, root: string): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = "code" in cause ? cause.code : undefined;
  if (code === "EEXIST" || code === "ENOTDIR") return "there is a file where its folder should be";
  if (code === "ENAMETOOLONG") return "its name is too long";
  if (code === "EMLINK") return "there are too many hard links to one file";
  return cause.message.replaceAll(root, "");
}

/** @param linked where in the image what a hard link is to lies */
async function put(
  root: string,
  path: string,
  { type, mode, at, bytes, target }: Member,
  archive: string,
  linked: (target: string) => string,
): Promise<void> {
  if (type === "5") {
    const folder = await rooted(root, path);
    const isNew = (await mkdir(folder, { recursive: true })) !== undefined;
    if (isNew) await chmod(folder, mode & MODES);
    return;
  }
  if (!/[012]/.test(type)) throw new Error(`is ${KINDS[type] ?? "of a kind that is not known"}`);
  const to = await rootedEntry(root, path);
  await mkdir(dirname(to), { recursive: true });
  const there = await lstat(to).catch(() => undefined);
  if (there?.isDirectory()) throw new Error("there is a folder of that name in the image");
  if (type === "1") {
    const from = await rooted(root, linked(target));
    const found = await lstat(from).catch(() => undefined);
    if (!found) throw new Error(`is a hard link to ${target}, which is not in the image`);
    if (!found.isFile()) throw new Error(`is a hard link to ${target}, which is no file`);
    if (from === to) return;
    if (there) await rm(to);
    // As tar does: a copy would take the room again for each of them.
    await link(from, to);
    return;
  }
  // A link of a package is replaced, not followed.
  if (there) await rm(to);
  if (type === "2") {
    await symlink(target, to);
    return;
  }
  if (bytes === 0) await pipeline([], createWriteStream(to));
  else await pipeline(createReadStream(archive, { start: at, end: at + bytes - 1 }), createWriteStream(to));
  await chmod(to, mode & MODES);
}
