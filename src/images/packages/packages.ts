/** Debian packages for an image, with all that they depend on: resolved and downloaded by apt (apt.ts). */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Type } from "typebox";
import { sha256Of } from "../../system/digest.ts";
import { keep, readKept } from "../kept.ts";
import { digestOf, type LockedPackage } from "../recipe.ts";
import { Apt, type AptOptions } from "./apt.ts";
import { fetchAsLocked, requireNames } from "./asked.ts";
import { broughtAlong, firstChoices } from "./brought.ts";
import { explainConflict } from "./conflicts.ts";
import type { Contents } from "./contents.ts";
import { contentsOf } from "./contents-lists.ts";
import { DroppedError, PackageError } from "./package-error.ts";
import { PackageIndex } from "./package-index.ts";
import { PLUMBING, PLUMBING_PROVIDES } from "./plumbing.ts";
import { touchPackage } from "./prune.ts";

export interface Package {
  name: string;
  version: string;
  /** Of an RPM. */
  arch?: LockedPackage["arch"];
  /** The downloaded .deb or .rpm. */
  file: string;
  /** Of the file, in hexadecimal. */
  sha256: string;
}

/** Where the packages of a distribution's release come from. All throw PackageError. */
export interface PackageSource {
  /** Downloads the packages with what they depend on, those of `base`, which no recipe names, too, and `alone` without: a kernel, boot loaders. */
  fetch(named: readonly string[], alone?: readonly string[], base?: readonly string[]): Promise<Package[]>;
  /** Downloads exactly these, from the cache when the mirror has dropped them; refuses one that is another file than the lock says. */
  fetchLocked(lock: readonly LockedPackage[]): Promise<Package[]>;
}

const Plan = Type.Array(Type.Object({ name: Type.String(), version: Type.String() }));

/** apt's pattern (apt-patterns(7)) for what every Debian system has. */
export const ESSENTIAL = "?essential";

export class Packages implements PackageSource {
  readonly #apt: Apt;
  /** For locks. From the usual mirrors only what is of today comes. */
  readonly #dated: Apt;
  readonly #root: string;

  /** `cache` keeps package lists and .debs between builds, of all that ask at once; `signal` ends what is under way. */
  constructor(cache: string, release: string, signal?: AbortSignal, options: AptOptions = {}) {
    this.#root = cache;
    this.#apt = new Apt(cache, release, signal, options);
    this.#dated = this.#apt.isPlain
      ? this.#apt
      : new Apt(cache, release, signal, { ...options, dated: true });
  }

  /** Which package has which file: contents-lists.ts. @throws Error */
  contents(): Promise<Contents> {
    return contentsOf(this.#apt);
  }

  /** Names and versions of the packages with all they depend on. @throws PackageError for a name that does not exist */
  async resolve(
    named: readonly string[],
    base: readonly string[] = [],
  ): Promise<{ name: string; version: string }[]> {
    const names = [...base, ...named];
    // apt reads everything anew when this file is newer than its cache.
    const status = this.#apt.whole ? "" : statusOf(PLUMBING.filter((name) => !names.includes(name)));
    const path = this.#apt.ofMode("status");
    if ((await readFile(path, "utf8").catch(() => undefined)) !== status) await writeFile(path, status);
    requireNames(names, await this.#apt.names());
    let plan: string;
    try {
      plan = await this.#simulate(names);
    } catch (cause) {
      this.#apt.signal?.throwIfAborted();
      const why = await this.#explain(named, base);
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new PackageError(
        `the packages cannot be installed together: ${why ?? text.split("\n").slice(-4).join(" ")}`,
        { cause },
      );
    }
    return [...plan.matchAll(/^Inst (\S+) \((\S+) /gm)].map(([, name = "", version = ""]) => ({
      name,
      version,
    }));
  }

  #simulate(names: readonly string[]): Promise<string> {
    const all = this.#apt.whole ? [ESSENTIAL, ...names] : names;
    return this.#apt.run("apt-get", [...this.#apt.options(), "-s", "install", ...all], {
      timeoutMs: 300_000,
    });
  }

  async #explain(named: readonly string[], base: readonly string[]): Promise<string | undefined> {
    const { whole } = this.#apt;
    // It knows the distribution's own packages.
    const index = this.#apt.isPlain ? new PackageIndex(this.#root, this.#apt.release) : undefined;
    const closure = (names: readonly string[]) =>
      index?.closure(names, whole ? "full" : "slim").catch(() => undefined); // apt knows, too
    try {
      return await explainConflict({
        base,
        named,
        against: (some) => this.#against(some),
        ...(index ? { guess: async (some) => ((await closure(some))?.conflicts.length ?? 0) > 0 } : {}),
        brings: async (name) => {
          const guessed = await closure([name]);
          if (guessed) return new Set(guessed.packages.map((each) => each.name));
          const plan = await this.#simulate([name]).catch(() => "");
          return new Set([...plan.matchAll(/^Inst (\S+) /gm)].map(([, each = ""]) => each));
        },
      });
    } finally {
      index?.close();
    }
  }

  /** What apt says against these together, in its own words; undefined when they can be. Why, it says only when it is not told to be quiet. */
  async #against(names: readonly string[]): Promise<string | undefined> {
    const args = [
      ...this.#apt.options().slice(1),
      "-q",
      "-s",
      "install",
      ...(this.#apt.whole ? [ESSENTIAL] : []),
    ];
    const script = '"$@" 2>&1 || echo FAILED';
    const said = await this.#apt.run("sh", ["-c", script, "sh", "apt-get", ...args, ...names], {
      timeoutMs: 300_000,
    });
    return said.endsWith("FAILED\n") ? said : undefined;
  }

  /**
   * Downloads the packages with what they depend on (without maintainer scripts' plumbing, unless it is a whole system), those of `base`, which no recipe names,
   * too, and `alone` without: a kernel, boot loaders.
   * @throws PackageError
   */
  async fetch(
    named: readonly string[],
    alone: readonly string[] = [],
    base: readonly string[] = [],
  ): Promise<Package[]> {
    const plan = await this.plan(named, alone, base);
    return this.#download(plan.map(({ name, version }) => `${name}=${version}`));
  }

  /** What fetch would download. @throws PackageError */
  async plan(
    named: readonly string[],
    alone: readonly string[] = [],
    base: readonly string[] = [],
  ): Promise<{ name: string; version: string }[]> {
    await this.#apt.prepare();
    // The same names in the same lists are the same packages.
    const lists = this.#apt.fetchedMs;
    const kept = join(
      this.#apt.cache,
      "plans",
      digestOf([[...base, ...named].sort(), alone, this.#apt.whole || PLUMBING, lists]),
    );
    const before = await readKept(kept, Plan);
    if (before) return before;
    const resolved = await this.resolve(named, base);
    const known = new Set(resolved.map(({ name }) => name));
    const plan = [...resolved, ...(await this.#newest(alone.filter((name) => !known.has(name))))];
    await keep(kept, plan);
    return plan;
  }

  /**
   * Downloads exactly these packages, whatever the sources have by now; from the cache when the mirror has dropped them.
   * @throws PackageError for one that is not to be had, or is another file than the lock says
   */
  async fetchLocked(lock: readonly LockedPackage[]): Promise<Package[]> {
    // No lists: where all is in the cache, no network is needed.
    await this.#dated.prepareSources();
    const specs = lock.map(({ name, version }) => `${name}=${version}`);
    const download = () =>
      this.#download(specs, this.#dated).catch(async (cause: unknown) => {
        this.#apt.signal?.throwIfAborted();
        throw (await this.#dropped(lock, cause)) ?? cause;
      });
    return fetchAsLocked(lock, download, this.#apt.signal, (said) => said.split("\n").at(-1));
  }

  /** @param cause what apt said @returns undefined when that is something else. @throws CommandError */
  async #dropped(lock: readonly LockedPackage[], cause: unknown): Promise<DroppedError | undefined> {
    const said = cause instanceof Error ? cause.message : String(cause);
    const versions = [...said.matchAll(/Version '([^']+)' for '([^']+)' was not found/g)];
    const names = [...said.matchAll(/Unable to locate package (\S+)/g)].map(([, name]) => name);
    const dropped = [
      ...versions.map(([, version, name]) => `${name} ${version}`),
      ...lock.flatMap(({ name, version }) => (names.includes(name) ? [`${name} ${version}`] : [])),
    ];
    if (dropped.length === 0) return undefined;
    const { snapshot } = this.#dated;
    return new DroppedError(dropped, await this.#dated.mirrors(), {
      cause,
      ...(snapshot ? { snapshot } : {}),
    });
  }

  /**
   * Which of these packages need not be named: others bring them along. What only maintainer scripts need comes along with none.
   * @returns package -> one that brings it, and has to be named itself. @throws CommandError
   */
  async broughtAlong(names: readonly string[]): Promise<Map<string, string>> {
    await this.#apt.prepare();
    const known = await this.#apt.names();
    const shown = await this.#cacheShow(names.filter((name) => known.has(name)));
    const depends = shown.map(
      ({ name, depends, preDepends }) => [name, firstChoices(`${preDepends},${depends}`)] as const,
    );
    return broughtAlong(new Map(depends), PLUMBING);
  }

  /** Downloads just these, without what they depend on. `"linux-image-x"` or `"x=1.0-1"`. */
  async #download(exact: readonly string[], apt = this.#apt): Promise<Package[]> {
    const archives = join(apt.cache, "archives");
    const files = await this.#files(archives);
    const missing = exact.filter((spec) => !files.has(spec));
    if (missing.length > 0) {
      const get = () =>
        apt.run("apt-get", [...apt.options(), "download", ...missing], {
          timeoutMs: 300_000,
          cwd: archives,
        });
      try {
        await get();
      } catch {
        apt.signal?.throwIfAborted();
        // Lists may be older than the mirror: once more with fresh ones.
        await apt.prepare(true);
        await get();
      }
    }
    const now = await this.#files(archives);
    return Promise.all(
      exact.map(async (spec) => {
        const file = now.get(spec);
        const [name = "", version = ""] = spec.split("=");
        if (!file) throw new PackageError(`package ${spec} was not downloaded`);
        await touchPackage(file);
        return { name, version, file, sha256: await sha256Of(file) };
      }),
    );
  }

  /** "name=version" -> file, of what is in the cache: names are NAME_VERSION_ARCH.deb with ":" as %3a. */
  async #files(archives: string): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    for (const file of await readdir(archives)) {
      const match = /^([^_]+)_([^_]+)_[^_]+\.deb$/.exec(file);
      if (match) found.set(`${match[1]}=${decodeURIComponent(match[2] ?? "")}`, join(archives, file));
    }
    return found;
  }

  /** What the sources say of the newest version of each. */
  async #cacheShow(names: readonly string[]) {
    if (names.length === 0) return [];
    const shown = await this.#apt.run(
      "apt-cache",
      [...this.#apt.options().slice(3), "show", "--no-all-versions", ...names],
      { timeoutMs: 300_000 },
    );
    return shown.split("\n\n").map((entry) => {
      const field = (field: string) => new RegExp(`^${field}: (.*)$`, "m").exec(entry)?.[1] ?? "";
      return {
        name: field("Package"),
        version: field("Version"),
        depends: field("Depends"),
        preDepends: field("Pre-Depends"),
      };
    });
  }

  /** The newest version of each package; of a metapackage of kernels the kernel that it stands for, with the packages that its modules are in. */
  async #newest(names: readonly string[]): Promise<{ name: string; version: string }[]> {
    if (names.length === 0) return [];
    const found = await this.#cacheShow(names);
    const newest: { name: string; version: string }[] = [];
    for (const name of names) {
      const package_ = found.find((each) => each.name === name);
      if (!package_) throw new PackageError(`the package sources have no ${name}`);
      const parts = name.startsWith("linux-image-") ? package_.depends.match(KERNEL_PARTS) : undefined;
      if (!/^linux-image-\d/.test(name) && parts) {
        newest.push(...(await this.#newest(parts)));
        continue;
      }
      newest.push({ name, version: package_.version });
      if (parts) newest.push(...(await this.#newest(parts)));
    }
    return newest.filter((each, i) => newest.findIndex(({ name }) => name === each.name) === i);
  }
}

/** Ubuntu's kernels have their modules in packages of their own. */
const KERNEL_PARTS = /linux-(?:image|modules|modules-extra)-\d[^\s,|()]+/g;

/** dpkg's status file that says: these are installed, in a version that satisfies everybody. */
function statusOf(names: readonly string[]): string {
  return names
    .map((name) =>
      [
        `Package: ${name}`,
        "Status: install ok installed",
        "Maintainer: nobody",
        "Architecture: all",
        "Multi-Arch: foreign",
        // Of an epoch above all others.
        "Version: 99:9999",
        ...(PLUMBING_PROVIDES[name] ? [`Provides: ${PLUMBING_PROVIDES[name]}`] : []),
        "Description: not in slim images",
        "",
        "",
      ].join("\n"),
    )
    .join("");
}
