/** What dnf and zypper are asked in the same words: to resolve packages, to download them, to install them. Each keeps a state of its own, nothing of this machine's. */
import type { Workshop } from "../build/workshop.ts";
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

/** A system that is being made. */
export interface RpmRoot {
  /** Its folder. */
  root: string;
  release: RpmRelease;
  /** What rpm takes for the time, in seconds since 1970. */
  epoch: number;
  /** Whether what only people read is installed: manuals, documentation, translations. */
  withTexts: boolean;
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

export interface RpmInstaller {
  /** Installs these files, whose signatures have been looked at, and runs their scripts. */
  install(work: Workshop, into: RpmRoot, files: readonly string[]): Promise<void>;
}

const isOurs = (arch: string): arch is Arch => arch === "x86_64" || arch === "noarch";

/** Undefined for another architecture's. */
export const nevra = (name: string, version: string, arch: string): Nevra | undefined =>
  isOurs(arch) ? { name, version: version.replace(/^0:/, ""), arch } : undefined;
