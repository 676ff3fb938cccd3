/** What dnf and zypper are asked in the same words: to resolve packages, and to download them. Each keeps a state of its own, nothing of this machine's. */
import type { LockedPackage } from "../recipe.ts";
import type { RpmRelease } from "../releases/release.ts";

/** A package, as exactly as a repository has it. */
export interface Nevra {
  name: string;
  /** "2:1.0-3.fc43"; an epoch of 0 is left out. */
  version: string;
  arch: Arch;
}

/** Those that images have. */
export type Arch = NonNullable<LockedPackage["arch"]>;

/** Where packages come from. */
export interface RpmSource {
  /** Called so by the tool. */
  id: string;
  /** Has repodata/ below it. */
  url: string;
  /** Its field of the recipe. */
  field: string;
}

/** What a tool is to install; it makes a command of it, which full/ runs. Scripts of packages run with it. */
export interface Installation {
  /** The folder of the system that is being made. */
  root: string;
  release: RpmRelease;
  /** Whose signatures have been looked at. */
  files: readonly string[];
  /** For what the tool is told, if it reads it from a file. */
  folder: string;
}

export interface RpmToolOptions {
  /** A folder of the tool's own, which outlives builds. */
  folder: string;
  release: RpmRelease;
  sources: readonly RpmSource[];
  signal?: AbortSignal | undefined;
}

/** All throw PackageError with a text for users. */
export interface RpmTool {
  /** Every name that the sources have; fetches their lists where they are missing or a day old. */
  names(): Promise<Set<string>>;
  /** Newest version of each, with all that they need. */
  plan(names: readonly string[]): Promise<Nevra[]>;
  /** Newest version of each alone. */
  newest(names: readonly string[]): Promise<Nevra[]>;
  /** Puts their files somewhere below `folder`; nothing of it is checked yet. */
  download(packages: readonly Nevra[], folder: string): Promise<void>;
}

const isOurs = (arch: string): arch is Arch => arch === "x86_64" || arch === "noarch";

/** Undefined for another architecture's. */
export const nevra = (name: string, version: string, arch: string): Nevra | undefined =>
  isOurs(arch) ? { name, version: version.replace(/^0:/, ""), arch } : undefined;
