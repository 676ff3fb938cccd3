/**
 * Links that packages' maintainer scripts would have made with update-alternatives: /usr/bin/awk to mawk, libblas.so.3 to the one in a folder of its own. Of scripts that do not run only the lines count
 * that say all of it in plain words; of several for one link that of the highest priority does, as in Debian.
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

/** Of a shell script. Pure. */
export function alternativesOf(script: string): Alternative[] {
  const found: Alternative[] = [];
  for (const [, link = "", target = "", number = "", slaves = ""] of script
    .replace(/\\\n/g, " ")
    .matchAll(INSTALL)) {
    const priority = Number(number);
    found.push({ link, target, priority });
    for (const [, link = "", target = ""] of slaves.matchAll(SLAVE)) found.push({ link, target, priority });
  }
  return found;
}

/** What is there already stays, and no link leads to what is not. @returns paths of the links that were made */
export async function linkAlternatives(
  work: Workshop,
  root: string,
  debs: readonly Package[],
): Promise<string[]> {
  const script =
    'for deb; do dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./postinst 2>/dev/null || true; echo; done';
  const files = debs.map(({ file }) => file);
  const scripts = await step(work, "sh", ["-c", script, "sh", ...files]);
  const made: string[] = [];
  for (const { link, target } of alternativesOf(scripts).sort((a, b) => b.priority - a.priority)) {
    const at = await rootedEntry(root, link);
    const there = async (path: string) => (await lstat(path).catch(() => undefined)) !== undefined;
    if ((await there(at)) || !(await there(await rooted(root, target)))) continue;
    await mkdir(dirname(at), { recursive: true });
    await symlink(target, at);
    made.push(at.slice(root.length));
  }
  return made;
}
