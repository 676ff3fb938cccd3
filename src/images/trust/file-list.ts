/** All files of an image's root file system with their sha256, as mtree(5) has them: bsdtar and mtree read it, and two builds are compared by it. */
import { lstat, readdir, readlink } from "node:fs/promises";
import { join } from "node:path";
import { sha256Of } from "../../system/digest.ts";

/** @param root the folder. @returns the list, sorted by path. @throws Error of the file system */
export async function fileList(root: string): Promise<string> {
  const entries = await readdir(root, { withFileTypes: true, recursive: true });
  const paths = entries.map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1)).sort();
  const lines = ["#mtree v2.0"];
  for (const path of paths) {
    const at = join(root, path);
    const { mode, size } = await lstat(at);
    const words = [`mode=${(mode & 0o7777).toString(8).padStart(4, "0")}`];
    const type = mode & 0o170000;
    if (type === 0o100000) words.unshift("type=file", `size=${size}`, `sha256digest=${await sha256Of(at)}`);
    else if (type === 0o120000) words.unshift("type=link", `link=${escaped(await readlink(at))}`);
    else if (type === 0o040000) words.unshift("type=dir");
    else continue;
    lines.push(`./${escaped(path)} ${words.join(" ")}`);
  }
  return `${lines.join("\n")}\n`;
}

/** As vis(3) writes what would end a word. */
const escaped = (path: string) =>
  path.replace(/[^!-"$-[\]-~]/gu, (sign) =>
    [...Buffer.from(sign)].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join(""),
  );

export interface FileChanges {
  added: string[];
  removed: string[];
  /** Other content, another mode, or another kind of file. */
  changed: string[];
}

/** What is other in the second list. Paths are absolute. */
export function compareFiles(before: string, after: string): FileChanges {
  const [old, now] = [linesOf(before), linesOf(after)];
  const changes: FileChanges = { added: [], removed: [], changed: [] };
  for (const [path, words] of now) {
    const was = old.get(path);
    if (was === undefined) changes.added.push(path);
    else if (was !== words) changes.changed.push(path);
  }
  for (const path of old.keys()) if (!now.has(path)) changes.removed.push(path);
  return changes;
}

const linesOf = (list: string) =>
  new Map(
    [...list.matchAll(/^\.(\/\S+) (.*)$/gm)].map(
      ([, path = "", words = ""]) => [unescaped(path), words] as const,
    ),
  );

function unescaped(text: string): string {
  if (!text.includes("\\")) return text;
  const parts = text.match(/\\[0-7]{3}|[^\\]+|\\/g) ?? [];
  return Buffer.concat(
    parts.map((part) =>
      /^\\[0-7]{3}$/.test(part) ? Buffer.from([Number.parseInt(part.slice(1), 8)]) : Buffer.from(part),
    ),
  ).toString("utf8");
}
