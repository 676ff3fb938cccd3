/**
 * Debian packages for an image: resolved and downloaded by apt, with a state of its own, so neither the host's packages nor their
 * versions matter, and nothing on the host changes. Where the host is of the wanted release, its package sources and keys are used
 * (a mirror nearby, perhaps); elsewhere Debian's own.
 */
import { randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withFileLock } from "../../system/file-lock.ts";
import { run } from "../../system/run.ts";
import { digestOf, type LockedPackage } from "../recipe.ts";
import type { Repository } from "../recipe-parts.ts";
import { sha256Of } from "../trust/digest.ts";
import { explainConflict } from "./conflicts.ts";
import { Contents, indexContents } from "./contents.ts";
import { nearest } from "./nearest.ts";
import { PLUMBING, PLUMBING_PROVIDES } from "./plumbing.ts";
import { deb822 } from "./repositories.ts";

export interface Package {
  name: string;
  version: string;
  /** The downloaded .deb. */
  file: string;
  /** Of the .deb, in hexadecimal. */
  sha256: string;
}

/** apt's pattern (apt-patterns(7)) for what every Debian system has. */
export const ESSENTIAL = "?essential";
const LISTS_MAX_AGE_MS = 24 * 3600_000;
/** After newer lists could not be fetched, those of before do for this long. */
const RETRY_MS = 10 * 60_000;
const UPDATE_MS = 120_000;
/** Files of a release hardly ever move between packages. */
const CONTENTS_MAX_AGE_MS = 7 * 24 * 3600_000;
const CONTENTS_MS = 300_000;

const HOST_SOURCES = "/etc/apt/sources.list.d";

/** Of the package debian-archive-keyring. */
const DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg";

interface PackagesOptions {
  /** Of a system with its package manager: nothing counts as installed, and the essential packages come too. */
  whole?: boolean;
  /** Besides the distribution's own. */
  repositories?: readonly Repository[];
  /** Told when older lists have to do. */
  warn?: (text: string) => void;
}

export class PackageError extends Error {}

/**
 * The source package of each, by which lists of vulnerabilities name it; undefined where it has the same name and version. @throws CommandError
 */
export async function sourcesOf(
  packages: readonly Package[],
  signal?: AbortSignal,
): Promise<({ name: string; version: string } | undefined)[]> {
  const script = 'for deb; do echo "$(dpkg-deb -f "$deb" Source)"; done';
  const said = await run("sh", ["-ec", script, "sh", ...packages.map(({ file }) => file)], {
    timeoutMs: 600_000,
    ...(signal ? { signal } : {}),
  });
  const lines = said.split("\n");
  return packages.map(({ name, version }, i) => {
    const [, source = name, own] = /^(\S+)(?: \(([^)]+)\))?$/.exec(lines[i] ?? "") ?? [];
    if (source === name && own === undefined) return undefined;
    // Debian's signed kernels are made of the others.
    const isSigned = source === "linux-signed-amd64";
    return isSigned ? { name: "linux", version } : { name: source, version: own ?? version };
  });
}

/**
 * The sources.list of a Debian release; undefined where the host's own are of that release. Pure.
 * @throws PackageError when there is nothing to check Debian's signatures with
 */
export function sourcesFor(release: string, osRelease: string, hasKeys: boolean): string | undefined {
  const value = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(osRelease)?.[1];
  if (value("ID") === "debian" && value("VERSION_CODENAME") === release) return undefined;
  if (!hasKeys)
    throw new PackageError(
      `Debian's keys (${DEBIAN_KEYS}) are not on this host, so packages of ${release} cannot be checked; install debian-archive-keyring`,
    );
  const suites = [
    ["http://deb.debian.org/debian", release],
    ["http://deb.debian.org/debian", `${release}-updates`],
    ["http://deb.debian.org/debian-security", `${release}-security`],
  ];
  return suites
    .map(([url, suite]) => `deb [arch=amd64 signed-by=${DEBIAN_KEYS}] ${url} ${suite} main\n`)
    .join("");
}

export class Packages {
  readonly #cache: string;
  readonly #release: string;
  readonly #signal: AbortSignal | undefined;
  readonly #whole: boolean;
  readonly #warn: (text: string) => void;
  readonly #repositories: readonly Repository[];
  #hostSources = true;

  /** `cache` keeps package lists and .debs between builds, of all that ask at once; `signal` ends what is under way. */
  constructor(
    cache: string,
    release: string,
    signal?: AbortSignal,
    { whole = false, warn = () => {}, repositories = [] }: PackagesOptions = {},
  ) {
    this.#release = release;
    this.#repositories = repositories;
    this.#signal = signal;
    this.#whole = whole;
    this.#warn = warn;
    // Packages of the same name and version may be others elsewhere: each choice of repositories has a folder of its own.
    const own = repositories.length ? `-${digestOf(repositories).slice(0, 12)}` : "";
    this.#cache = join(cache, `apt-${release}${own}`);
  }

  /** What apt remembers of packages depends on what is installed. */
  #ofMode(name: string): string {
    return join(this.#cache, this.#whole ? `${name}-full` : name);
  }

  #run(
    command: string,
    args: readonly string[],
    options: { timeoutMs: number; cwd?: string },
  ): Promise<string> {
    return run(command, args, {
      ...options,
      // What it says is read.
      env: { LC_ALL: "C.UTF-8" },
      ...(this.#signal ? { signal: this.#signal } : {}),
    });
  }

  #options(): string[] {
    const at = (name: string) => join(this.#cache, name);
    return [
      "-qq",
      "-y",
      "--no-install-recommends",
      "-o",
      `Dir::State=${at("state")}`,
      "-o",
      `Dir::State::lists=${at("lists")}`,
      "-o",
      `Dir::State::status=${this.#ofMode("status")}`,
      "-o",
      `Dir::Cache=${this.#ofMode("cache")}`,
      "-o",
      `Dir::Cache::archives=${at("archives")}`,
      // Images of Debian for containers turn these off; without them each call reads all lists anew.
      "-o",
      "Dir::Cache::pkgcache=pkgcache.bin",
      "-o",
      "Dir::Cache::srcpkgcache=srcpkgcache.bin",
      "-o",
      "APT::Sandbox::User=root",
      "-o",
      "Debug::NoLocking=1",
      "-o",
      "APT::Get::List-Cleanup=0",
      ...(this.#hostSources ? [] : ["-o", `Dir::Etc::sourcelist=${at("sources.list")}`]),
      ...(this.#repositories.length
        ? ["-o", `Dir::Etc::sourceparts=${at("sources.list.d")}`]
        : this.#hostSources
          ? []
          : ["-o", "Dir::Etc::sourceparts=/dev/null"]),
    ];
  }

  /** As old as the lists. */
  get #stamp(): string {
    return join(this.#cache, "updated");
  }

  async #prepareSources(): Promise<void> {
    for (const name of ["state", "lists/partial", "archives/partial", "plans"])
      await mkdir(join(this.#cache, name), { recursive: true });
    await mkdir(this.#ofMode("cache"), { recursive: true });
    const sources = sourcesFor(
      this.#release,
      await readFile("/etc/os-release", "utf8").catch(() => ""),
      existsSync(DEBIAN_KEYS),
    );
    this.#hostSources = sources === undefined;
    if (sources !== undefined) await writeFile(join(this.#cache, "sources.list"), sources);
    if (this.#repositories.length > 0) await this.#writeRepositories();
  }

  /** Beside the host's own, where those are used. */
  async #writeRepositories(): Promise<void> {
    const parts = join(this.#cache, "sources.list.d");
    await rm(parts, { recursive: true, force: true });
    await mkdir(parts);
    if (this.#hostSources)
      for (const name of await readdir(HOST_SOURCES).catch(() => []))
        await copyFile(join(HOST_SOURCES, name), join(parts, name));
    for (const [i, repository] of this.#repositories.entries())
      await writeFile(join(parts, `vireo-repository-${i}.sources`), deb822(repository));
  }

  /** When the lists were fetched, in ms since 1970; 0 when they never were. */
  get #fetchedMs(): number {
    return statSync(this.#stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  /** Makes the folders; fetches the package lists when they are missing or older than a day. @throws PackageError when there are none, and none can be fetched */
  async #prepare(force = false): Promise<void> {
    await this.#prepareSources();
    const isFresh = () => Date.now() - this.#fetchedMs < LISTS_MAX_AGE_MS;
    if (isFresh() && !force) return;
    const before = this.#fetchedMs;
    await this.#inTurn("lists", 2 * UPDATE_MS, async () => {
      // Whoever was there before may have fetched them.
      if (isFresh() && (!force || this.#fetchedMs !== before)) return;
      await this.#removeOldPlans();
      try {
        await this.#update(this.#options(), UPDATE_MS);
        await writeFile(this.#stamp, "");
      } catch (error) {
        // What a recipe's own repository signs must be good today, too.
        const needed = this.#repositories.length > 0 || before === 0;
        if (!(error instanceof PackageError) || needed || (await this.#listFiles()).length === 0) throw error;
        this.#warn(`${error.message}; going on with those of ${new Date(before).toISOString()}`);
        const seconds = Math.max(before, Date.now() - LISTS_MAX_AGE_MS + RETRY_MS) / 1000;
        await utimes(this.#stamp, seconds, seconds);
      }
    });
  }

  /** One at a time of all, in other processes, too (pickers, builds, analyses), that change what the folder has of `what`. */
  #inTurn(what: string, timeoutMs: number, action: () => Promise<void>): Promise<void> {
    const path = join(this.#cache, `${what}.lock`);
    return withFileLock(path, action, { timeoutMs, signal: this.#signal });
  }

  /** Plans are of lists; those of yesterday's are nobody's. Others may be making some meanwhile. */
  async #removeOldPlans(): Promise<void> {
    const folder = join(this.#cache, "plans");
    for (const name of await readdir(folder)) {
      const made = await stat(join(folder, name)).catch(() => undefined);
      if (made && Date.now() - made.mtimeMs > LISTS_MAX_AGE_MS) await rm(join(folder, name), { force: true });
    }
  }

  /**
   * apt-get update. Of the host's sources those of other suites may be out of reach: nobody has said that an image needs them.
   * @throws PackageError when not all lists of the release were fetched; those of before are still there
   */
  async #update(options: readonly string[], timeoutMs: number): Promise<void> {
    try {
      // By itself it takes a mirror that is out of reach for a success.
      await this.#run("apt-get", [...options, "--error-on=any", "update"], { timeoutMs });
    } catch (cause) {
      this.#signal?.throwIfAborted();
      const blamed = this.#blamed(cause);
      if (blamed) throw blamed;
      const said = cause instanceof Error ? cause.message : String(cause);
      if (onlyOthersFailed(said, this.#release)) return;
      const [why = ""] = said.match(/^.*E: .*$/m) ?? said.split("\n");
      throw new PackageError(`the package lists of ${this.#release} cannot be fetched: ${why}`, { cause });
    }
  }

  /** Of the package lists, in the order of the sources. @throws CommandError */
  async #listFiles(): Promise<string[]> {
    const args = [
      ...this.#options().slice(3),
      "indextargets",
      "--format",
      "$(FILENAME)",
      "Created-By: Packages",
    ];
    const said = await this.#run("apt-get", args, { timeoutMs: 60_000 });
    return said.split("\n").filter((file) => file !== "" && existsSync(file));
  }

  /** The files of the package lists, in the order of the sources; fetched when they are missing or older than a day. @throws PackageError */
  async lists(): Promise<{ files: string[]; fetchedMs: number }> {
    try {
      await this.#prepare();
      const files = await this.#listFiles();
      if (files.length === 0)
        throw new PackageError(`there are no package lists of ${this.#release} in ${this.#cache}`);
      return { files, fetchedMs: this.#fetchedMs };
    } catch (cause) {
      if (cause instanceof PackageError) throw cause;
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new PackageError(`the package lists of ${this.#release} cannot be read: ${said}`, { cause });
    }
  }

  /** A failed update, with the recipe's repository that it is about, if any. */
  #blamed(cause: unknown): PackageError | undefined {
    const said = cause instanceof Error ? cause.message : String(cause);
    const lines = said.split("\n");
    for (const [i, { uri }] of this.#repositories.entries()) {
      const line = lines.find((line) => line.includes(uri.replace(/\/$/, "")));
      if (!line) continue;
      const why =
        /NO_PUBKEY|BADSIG|not signed|couldn't be verified|EXPKEYSIG|public key is not available/.test(said)
          ? "is not signed with its key"
          : "cannot be read";
      return new PackageError(`recipe.repositories[${i}]: ${uri} ${why}: ${line.replace(/^[EW]: /, "")}`, {
        cause,
      });
    }
    return undefined;
  }

  /** Names and versions of the packages with all they depend on. @throws PackageError for a name that does not exist */
  async resolve(
    named: readonly string[],
    base: readonly string[] = [],
  ): Promise<{ name: string; version: string }[]> {
    const names = [...base, ...named];
    // apt reads everything anew when this file is newer than its cache.
    const status = this.#whole ? "" : statusOf(PLUMBING.filter((name) => !names.includes(name)));
    const path = this.#ofMode("status");
    if ((await readFile(path, "utf8").catch(() => undefined)) !== status) await writeFile(path, status);
    await this.#requireNames(names);
    let plan: string;
    try {
      plan = await this.#simulate(names);
    } catch (cause) {
      this.#signal?.throwIfAborted();
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
    const all = this.#whole ? [ESSENTIAL, ...names] : names;
    return this.#run("apt-get", [...this.#options(), "-s", "install", ...all], { timeoutMs: 60_000 });
  }

  #explain(named: readonly string[], base: readonly string[]): Promise<string | undefined> {
    return explainConflict({
      base,
      named,
      against: async (some) => {
        // Why, it says only when it is not told to be quiet.
        const args = [
          ...this.#options().slice(1),
          "-q",
          "-s",
          "install",
          ...(this.#whole ? [ESSENTIAL] : []),
        ];
        const said = await this.#run(
          "sh",
          ["-c", '"$@" 2>&1 || echo FAILED', "sh", "apt-get", ...args, ...some],
          {
            timeoutMs: 60_000,
          },
        );
        return said.endsWith("FAILED\n") ? said : undefined;
      },
      brings: async (name) => {
        const plan = await this.#simulate([name]).catch(() => "");
        return new Set([...plan.matchAll(/^Inst (\S+) /gm)].map(([, each = ""]) => each));
      },
    });
  }

  /**
   * apt takes what is no package's name for more: "a.+" for a pattern, "name-" for a removal. So it is only given names of packages.
   * @throws PackageError with what may have been meant
   */
  async #requireNames(names: readonly string[]): Promise<void> {
    const all = (
      await this.#run("apt-cache", [...this.#options().slice(3), "pkgnames"], { timeoutMs: 60_000 })
    ).split("\n");
    const known = new Set(all);
    const unknown = names.filter((name) => !known.has(name));
    if (unknown.length === 0) return;
    const parts = unknown.map((name) => {
      const near = nearest(name, all);
      return `there is no package "${name}"${near.length ? `; did you mean ${near.map((n) => `"${n}"`).join(" or ")}?` : ""}`;
    });
    throw new PackageError(parts.join("; "));
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
    await this.#prepare();
    // The same names in the same lists are the same packages.
    const lists = this.#fetchedMs;
    const kept = join(
      this.#cache,
      "plans",
      digestOf([[...base, ...named].sort(), alone, this.#whole || PLUMBING, lists]),
    );
    const before = await readFile(kept, "utf8").catch(() => undefined);
    if (before !== undefined) return JSON.parse(before) as { name: string; version: string }[]; // written below
    const resolved = await this.resolve(named, base);
    const known = new Set(resolved.map(({ name }) => name));
    const plan = [...resolved, ...(await this.#newest(alone.filter((name) => !known.has(name))))];
    const part = `${kept}.${randomUUID()}`;
    await writeFile(part, JSON.stringify(plan));
    await rename(part, kept);
    return plan;
  }

  /**
   * Downloads exactly these packages, whatever the sources have by now; from the cache when the mirror has dropped them.
   * @throws PackageError for one that is not to be had, or is another file than the lock says
   */
  async fetchLocked(lock: readonly LockedPackage[]): Promise<Package[]> {
    // No lists: where all is in the cache, no network is needed.
    await this.#prepareSources();
    const specs = lock.map(({ name, version }) => `${name}=${version}`);
    const found = await this.#download(specs).catch((cause: unknown) => {
      this.#signal?.throwIfAborted();
      const said = cause instanceof Error ? cause.message.split("\n").at(-1) : String(cause);
      throw new PackageError(
        `recipe.lock: not all of its packages are to be had: ${said}; without recipe.lock the image is built from today's`,
        { cause },
      );
    });
    for (const [i, { name, version, file, sha256 }] of found.entries())
      if (sha256 !== lock[i]?.sha256)
        throw new PackageError(
          `recipe.lock: ${name} ${version} has the sha256 ${sha256} (${file}), the lock says ${lock[i]?.sha256}`,
        );
    return found;
  }

  /**
   * Which of these packages need not be named: others bring them along. What only maintainer scripts need comes along with none.
   * @returns package -> one that brings it, and has to be named itself. @throws CommandError
   */
  async broughtAlong(names: readonly string[]): Promise<Map<string, string>> {
    await this.#prepare();
    const shown = await this.#cacheShow(await this.#known(names));
    const depends = shown.map(
      ({ name, depends, preDepends }) => [name, firstChoices(`${preDepends},${depends}`)] as const,
    );
    return broughtAlong(new Map(depends), PLUMBING);
  }

  async #known(names: readonly string[]): Promise<string[]> {
    const all = await this.#run("apt-cache", [...this.#options().slice(3), "pkgnames"], {
      timeoutMs: 60_000,
    });
    const known = new Set(all.split("\n"));
    return names.filter((name) => known.has(name));
  }

  /** Downloads just these, without what they depend on. `"linux-image-x"` or `"x=1.0-1"`. */
  async #download(exact: readonly string[]): Promise<Package[]> {
    const archives = join(this.#cache, "archives");
    const files = await this.#files(archives);
    const missing = exact.filter((spec) => !files.has(spec));
    if (missing.length > 0) {
      const get = () =>
        this.#run("apt-get", [...this.#options(), "download", ...missing], {
          timeoutMs: 300_000,
          cwd: archives,
        });
      try {
        await get();
      } catch {
        this.#signal?.throwIfAborted();
        // Lists may be older than the mirror: once more with fresh ones.
        await this.#prepare(true);
        await get();
      }
    }
    const now = await this.#files(archives);
    return Promise.all(
      exact.map(async (spec) => {
        const file = now.get(spec);
        const [name = "", version = ""] = spec.split("=");
        if (!file) throw new PackageError(`package ${spec} was not downloaded`);
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

  /**
   * Which package has which file, by the release's Contents lists; fetched and indexed (10 s) when there is no index, or it is older than a week.
   * @throws Error when there is none and none can be made
   */
  async contents(): Promise<Contents> {
    await this.#prepareSources();
    const index = join(this.#cache, "contents.index");
    const isFresh = () =>
      Date.now() - (statSync(index, { throwIfNoEntry: false })?.mtimeMs ?? 0) < CONTENTS_MAX_AGE_MS;
    if (!isFresh())
      try {
        await this.#inTurn("contents", 2 * CONTENTS_MS, async () => {
          if (!isFresh()) await this.#indexContents(index);
        });
      } catch (error) {
        this.#signal?.throwIfAborted();
        // Offline, an old one is better than none.
        if (!existsSync(index)) throw error;
      }
    return Contents.open(index);
  }

  async #indexContents(index: string): Promise<void> {
    // Lists of their own: those of packages stay as old as they are.
    const state = join(this.#cache, "contents");
    await mkdir(join(state, "lists/partial"), { recursive: true });
    await writeFile(join(state, "status"), "");
    try {
      const options = [...this.#options(), ...contentsOptions(state)];
      await this.#update(options, CONTENTS_MS);
      const said = await this.#run(
        "apt-get",
        [...options, "indextargets", "--format", "$(FILENAME)", "Created-By: Contents"],
        { timeoutMs: 60_000 },
      );
      const lists = said.split("\n").filter(Boolean);
      if (lists.length === 0)
        throw new PackageError(`the package sources of ${this.#release} have no Contents lists`);
      await indexContents(lists, index, this.#signal);
    } finally {
      await rm(state, { recursive: true, force: true });
    }
  }

  /** What the sources say of the newest version of each. */
  async #cacheShow(names: readonly string[]) {
    if (names.length === 0) return [];
    const shown = await this.#run(
      "apt-cache",
      [...this.#options().slice(3), "show", "--no-all-versions", ...names],
      { timeoutMs: 60_000 },
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

  /** The newest version of each package; of a metapackage of kernels the kernel that it stands for. */
  async #newest(names: readonly string[]): Promise<{ name: string; version: string }[]> {
    if (names.length === 0) return [];
    const found = await this.#cacheShow(names);
    const newest: { name: string; version: string }[] = [];
    for (const name of names) {
      const package_ = found.find((each) => each.name === name);
      if (!package_) throw new PackageError(`the package sources have no ${name}`);
      const kernel = name.startsWith("linux-image-")
        ? /(linux-image-\d\S+)/.exec(package_.depends)?.[1]
        : undefined;
      newest.push(...(kernel ? await this.#newest([kernel]) : [{ name, version: package_.version }]));
    }
    return newest;
  }
}

/** What apt takes when nothing else is asked for: "a (>= 1) | b, c:any" -> a, c. Pure. */
const firstChoices = (field: string) =>
  field
    .split(",")
    .map((part) => part.trim().replace(/[\s:(|].*$/, ""))
    .filter(Boolean);

/**
 * @param depends of each package, by name
 * @param alone come along with none
 * @returns package -> one of those that are left, that brings it directly or by others. Pure
 */
export function broughtAlong(
  depends: ReadonlyMap<string, readonly string[]>,
  alone: readonly string[],
): Map<string, string> {
  const kept = new Set(depends.keys());
  const below = (name: string, seen = new Set<string>()): Set<string> => {
    for (const other of depends.get(name) ?? [])
      if (depends.has(other) && !seen.has(other)) below(other, seen.add(other));
    return seen;
  };
  const brought = new Map([...kept].map((name) => [name, below(name)]));
  const gone: string[] = [];
  // Of two that bring each other the first goes.
  for (const name of depends.keys()) {
    if (alone.includes(name) || ![...kept].some((other) => other !== name && brought.get(other)?.has(name)))
      continue;
    kept.delete(name);
    gone.push(name);
  }
  return new Map(gone.map((name) => [name, [...kept].find((other) => brought.get(other)?.has(name)) ?? ""]));
}

/** What sources.list may call a release, too. */
const ALIASES = ["stable", "oldstable", "oldoldstable", "testing"];

/** Whether all that apt-get update says it could not fetch is of other suites than the release and its updates. Pure. */
export function onlyOthersFailed(said: string, release: string): boolean {
  const failed = [...said.matchAll(/Failed to fetch (\S+)/g)].map(([, url = ""]) => url);
  const errors = said.match(/E: (?!Some index files failed)/g) ?? [];
  const own = new RegExp(`/dists/(${[release, ...ALIASES].join("|")})(-[a-z-]+)?/`);
  return failed.length > 0 && failed.length === errors.length && !failed.some((url) => own.test(url));
}

/** As apt-file has them, and nothing but them. */
function contentsOptions(state: string): string[] {
  const target = (field: string, value: string) => [
    "-o",
    `Acquire::IndexTargets::deb::Contents::${field}=${value}`,
  ];
  return [
    ...[`Dir::State=${state}`, `Dir::State::lists=${join(state, "lists")}`, `Dir::Cache=${state}`].flatMap(
      (option) => ["-o", option],
    ),
    ...["Packages", "Translations", "DEP-11"].flatMap((name) => [
      "-o",
      `Acquire::IndexTargets::deb::${name}::DefaultEnabled=false`,
    ]),
    ...target("MetaKey", "$(COMPONENT)/Contents-$(ARCHITECTURE)"),
    ...target("ShortDescription", "Contents"),
    ...target("Description", "$(RELEASE)/$(COMPONENT) $(ARCHITECTURE) Contents"),
    ...target("KeepCompressed", "true"),
  ];
}

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
