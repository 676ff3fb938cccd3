/**
 * Links that packages' maintainer scripts would have made with update-alternatives: /usr/bin/awk to mawk, libblas.so.3 to the one in a folder of its own. Of scripts that do not run only the lines count
 * that say all of it in plain words, or in variables that are set to plain words and in loops over them (openjdk's); of several for one link that of the highest priority does, as in
 * Debian.
 */
import { lstat, mkdir, symlink } from "node:fs/promises";
import { dirname } from "node:path";
import type { Package } from "../packages/packages.ts";
import { rooted, rootedEntry } from "./rooted.ts";
import { step, type Workshop } from "./workshop.ts";

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

/** Of a shell script. Pure. */
export function alternativesOf(script: string): Alternative[] {
  const found: Alternative[] = [];
  for (const [, link = "", target = "", number = "", slaves = ""] of expanded(script).matchAll(INSTALL)) {
    const priority = Number(number);
    found.push({ link, target, priority });
    for (const [, link = "", target = ""] of slaves.matchAll(SLAVE)) found.push({ link, target, priority });
  }
  return found;
}

const ASSIGNED = /^[ \t]*(\w+)=(?:"([^"`\n]*)"|'([^'\n]*)'|([^\s"'`;&|()]*))[ \t]*(?:;|$)/gm;
const LOOP = /^[ \t]*for[ \t]+(\w+)[ \t]+in[ \t]+([^;\n]+?)[ \t]*[;\n]\s*do\b([\s\S]*?)^[ \t]*done\b/gm;
/** A variable may be set to words with others in them. */
const DEPTH = 3;
/** A script that makes more of itself is none that this is for. */
const MOST_WORDS = 100;

/** With values in place of variables that have only one in all of the script, and each round of its loops. Others stay as they are. */
function expanded(script: string): string {
  const text = script.replace(/\\\n/g, " ");
  const values = new Map<string, Set<string>>();
  for (const [, name = "", ...value] of text.matchAll(ASSIGNED)) {
    const plain = value.find((each) => each !== undefined) ?? "";
    if (!plain.includes("$(")) values.set(name, (values.get(name) ?? new Set()).add(plain));
  }
  const only = (name: string) => {
    const [value, ...others] = values.get(name) ?? [];
    return others.length === 0 ? value : undefined;
  };
  const filled = (part: string) => {
    let text = part;
    for (let i = 0; i < DEPTH; i++) text = text.replace(VARIABLE, (all, name: string) => only(name) ?? all);
    return text;
  };
  const unrolled = text.replace(LOOP, (all, name: string, list: string, body: string) => {
    const words = filled(list).split(/\s+/);
    if (words.length > MOST_WORDS || /[$`*?]/.test(words.join(" "))) return all;
    return words
      .map((word) => body.replace(VARIABLE, (each, variable) => (variable === name ? word : each)))
      .join("\n");
  });
  return filled(unrolled);
}

/** What is there already stays, and no link leads to what is not. @returns paths of the links that were made */
export async function linkAlternatives(
  work: Workshop,
  root: string,
  debs: readonly Package[],
): Promise<string[]> {
  const script =
    'for deb; do dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./postinst 2>/dev/null || true; printf "\\f"; done';
  const files = debs.map(({ file }) => file);
  const scripts = await step(work, "sh", ["-c", script, "sh", ...files]);
  const made: string[] = [];
  const all = scripts.split("\f").flatMap(alternativesOf);
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
