/**
 * What an application needs, before anybody knows which package has it: every reader of files (elf.ts, python.ts, …) makes Needs of what it finds, distribution.ts
 * looks for their paths in the distribution's lists. Pure.
 */
import type { AptRelease, LanguageVersions } from "../releases/release.ts";
import { RELEASES } from "../releases/releases.ts";

/** Needed for sure; needed in the usual run; only if it is there, or by a word in the file alone. */
export const CONFIDENCES = ["certain", "likely", "possible"] as const;
export type Confidence = (typeof CONFIDENCES)[number];

export interface Need {
  /** The application's file that says so, or the run. */
  file: string;
  /** In words: "linked", "import yaml", "#!". */
  how: string;
  /** What is needed: the name of a library, a program, a module. */
  what: string;
  /** Where a package may have it, the likeliest first, without "/" at the beginning. One "*" stands for anything. */
  paths: readonly string[];
  /** The file name of a library: where no path is right it is looked for in all folders of libraries. */
  soname?: string;
  confidence: Confidence;
}

/** Of each release of Debian that applications can be analyzed for. */
export const VERSIONS: Readonly<Record<string, LanguageVersions>> = Object.fromEntries(
  Object.entries<AptRelease>(RELEASES.debian).flatMap(([name, { languages }]) =>
    languages ? [[name, languages]] : [],
  ),
);

export const ARCHITECTURE = "x86_64-linux-gnu";

/** What the alternatives system makes links of when packages are installed: no list of files has them. */
const ALTERNATIVES: Record<string, string> = {
  awk: "usr/bin/mawk",
  editor: "bin/nano",
  java: "usr/lib/jvm/default-java",
  nc: "bin/nc.openbsd",
  netcat: "bin/nc.openbsd",
  pager: "usr/bin/less",
  python: "usr/bin/python3",
  vi: "usr/bin/vim.tiny",
  which: "usr/bin/which.debianutils",
};

/** Where a program of that name may be. */
export function programPaths(name: string): string[] {
  const usual = ["usr/bin", "bin", "usr/sbin", "sbin", "usr/games"].map((folder) => `${folder}/${name}`);
  const other = Object.hasOwn(ALTERNATIVES, name) ? ALTERNATIVES[name] : undefined;
  return other ? [...usual, other] : usual;
}

/** A program by what a script calls it: its name, or its path. */
export function programNeed(called: string, rest: Pick<Need, "file" | "how" | "confidence">): Need {
  const name = called.slice(called.lastIndexOf("/") + 1);
  const local = /^\/usr\/local\//.test(called);
  const own = called.startsWith("/") && !local ? [called.slice(1)] : [];
  return { ...rest, what: called, paths: [...own, ...programPaths(name)] };
}

const ORDER: Record<Confidence, number> = { certain: 0, likely: 1, possible: 2 };
export const surer = (a: Confidence, b: Confidence) => (ORDER[a] <= ORDER[b] ? a : b);
export const lessSure = (a: Confidence, b: Confidence) => (ORDER[a] <= ORDER[b] ? b : a);
