/**
 * Links that packages' maintainer scripts would have made with update-alternatives: /usr/bin/awk to mawk, libblas.so.3 to the one in a folder of its own. Of scripts that do not run only the lines count
 * that say all of it in plain words, or in variables that are set to plain words and in loops over them (openjdk's); of several for one link that of the highest priority does, as in
 * Debian.
 */
import { lstat, mkdir, symlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { Package } from "../packages/packages.ts";
import { rooted, rootedEntry } from "../workshop/rooted.ts";
import { step, type Workshop } from "../workshop/workshop.ts";

export interface Alternative {
  link: string;
  target: string;
  priority: number;
}

const PATH = "/[\\w./+-]+";
const INSTALL = new RegExp(
  `update-alternatives(?:\\s+--(?:quiet|force))*\\s+--install\\s+(${PATH})\\s+\\S+\\s+(${PATH})\\s+(\\d+)((?:\\s+--slave\\s+\\S+\\s+\\S+\\s+\\S+)*)`,
  "g",
);
const SLAVE = new RegExp(`--slave\\s+(${PATH})\\s+\\S+\\s+(${PATH})(?=[\\s;&|)]|$)`, "g");

const VARIABLE = /\$(?:\{(?=\w+\}))?(\w+)\}?/g;

/** Of a shell script, in bytes; larger ones are not read. */
const MOST_SCRIPT = 64 * 2 ** 10;
/** What a script's variables and loops may add to it, in characters. */
const MOST_ADDED = 2 ** 20;

/** Of a shell script. Pure. @returns undefined for one that is too large, or makes too much of itself */
export function alternativesOf(script: string): Alternative[] | undefined {
  const text = Buffer.byteLength(script) > MOST_SCRIPT ? undefined : expanded(script);
  if (text === undefined) return undefined;
  const found: Alternative[] = [];
  for (const [, link = "", target = "", number = "", slaves = ""] of text.matchAll(INSTALL)) {
    const priority = Number(number);
    found.push({ link, target, priority });
    for (const [, link = "", target = ""] of slaves.matchAll(SLAVE)) found.push({ link, target, priority });
  }
  return found;
}

const ASSIGNED = /^[ \t]*(\w+)=(?:"([^"`\n]*)"|'([^'\n]*)'|([^\s"'`;&|()]*))[ \t]*(?:;|$)/gm;
/** In a line of its own, with what follows the list; scripts are anybody's, so that no part of it can be matched in more than one way. */
const FOR = /^[ \t]*for[ \t]+(\w+)[ \t]+in[ \t]([^;]*)(?:;([^\n]*))?$/;
const DO = /^\s*do\b/;
const DONE = /^[ \t]*done\b/;
/** A variable may be set to words with others in them. */
const DEPTH = 3;
/** A script that makes more of itself is none that this is for. */
const MOST_WORDS = 100;

/** With values in place of variables that have only one in all of the script, and each round of its loops. Others stay as they are. @returns undefined when that is too much */
function expanded(script: string): string | undefined {
  const text = script.replace(/\\\n/g, " ");
  const values = new Map<string, Set<string>>();
  for (const [, name = "", ...value] of text.matchAll(ASSIGNED)) {
    const plain = value.find((each) => each !== undefined) ?? "";
    if (!plain.includes("$(")) values.set(name, (values.get(name) ?? new Set()).add(plain));
  }
  let room = MOST_ADDED;
  const added = (value: string) => {
    room -= value.length;
    return room < 0 ? "" : value;
  };
  const only = (name: string) => {
    const all = values.get(name);
    return all?.size === 1 ? [...all][0] : undefined;
  };
  const filled = (part: string) => {
    let text = part;
    for (let i = 0; i < DEPTH; i++)
      text = text.replace(VARIABLE, (all, name: string) => {
        const value = only(name);
        return value === undefined ? all : added(value);
      });
    return text;
  };
  const unrolled = ({ name, list, body }: Loop): string | undefined => {
    const words = filled(list.trim()).split(/\s+/);
    if (words.length > MOST_WORDS || words[0] === "" || /[$`*?]/.test(words.join(" "))) return undefined;
    return words
      .map((word) =>
        added(body).replace(VARIABLE, (each, variable) => (variable === name ? added(word) : each)),
      )
      .join("\n");
  };
  const parts = partsOf(text.split("\n")).map((part) =>
    typeof part === "string" ? part : (unrolled(part) ?? part.all),
  );
  const all = filled(parts.join("\n"));
  return room < 0 ? undefined : all;
}

interface Loop {
  name: string;
  list: string;
  body: string;
  /** As it is written. */
  all: string;
}

/** A script's lines, and its loops up to the first line that begins with "done". */
function partsOf(lines: readonly string[]): (string | Loop)[] {
  const parts: (string | Loop)[] = [];
  const ends = lines.flatMap((line, i) => (DONE.test(line) ? [i] : [])).reverse();
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? "";
    parts.push(line);
    const [, name, list, after = ""] = FOR.exec(line) ?? [];
    if (name === undefined || list === undefined) continue;
    // On the same line, or the next.
    const begin = after.trim() === "" ? i + 1 : i;
    const first = begin === i ? after : (lines[begin] ?? "");
    while ((ends.at(-1) ?? begin + 1) <= begin) ends.pop();
    const end = ends.at(-1);
    if (end === undefined || !DO.test(first)) continue;
    const body = [first.replace(DO, ""), ...lines.slice(begin + 1, end), ""].join("\n");
    parts[parts.length - 1] = { name, list, body, all: lines.slice(i, end).join("\n") };
    parts.push((lines[end] ?? "").replace(DONE, ""));
    i = end;
  }
  return parts;
}

/** What is there already stays, and no link leads to what is not. @returns paths of the links that were made */
export async function linkAlternatives(
  work: Workshop,
  root: string,
  debs: readonly Package[],
): Promise<string[]> {
  const script =
    'for deb; do dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./postinst 2>/dev/null | tr -d "\\f" | head -c "$0"; printf "\\f"; done';
  const files = debs.map(({ file }) => file);
  const scripts = await step(work, "sh", ["-c", script, String(MOST_SCRIPT + 1), ...files]);
  const made: string[] = [];
  const all = scripts.split("\f").flatMap((script, i) => {
    const found = alternativesOf(script);
    if (!found) work.log(`alternatives of ${debs[i]?.name} are left out: its maintainer script is too large`);
    return found ?? [];
  });
  for (const { link, target } of all.sort((a, b) => b.priority - a.priority)) {
    const at = await rootedEntry(root, link);
    const there = async (path: string) => (await lstat(path).catch(() => undefined)) !== undefined;
    if ((await there(at)) || !(await there(await rooted(root, target)))) continue;
    await mkdir(dirname(at), { recursive: true });
    await symlink(target, at);
    made.push(at.slice(root.length));
  }
  return made;
}
