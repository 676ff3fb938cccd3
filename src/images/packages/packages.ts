/**
 * Debian packages for an image: resolved and downloaded by apt, with a state of its own, so neither the host's packages nor their
 * versions matter, and nothing on the host changes. Where the host is of the wanted release, its package sources and keys are used
 * (a mirror nearby, perhaps); elsewhere Debian's own.
 */
import { existsSync, statSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../system/run.ts";
import { digestOf, type LockedPackage } from "../recipe.ts";
import { sha256Of } from "../trust/digest.ts";
import { Contents, indexContents } from "./contents.ts";
import { nearest } from "./nearest.ts";

export interface Package {
  name: string;
  version: string;
  /** The downloaded .deb. */
  file: string;
  /** Of the .deb, in hexadecimal. */
  sha256: string;
}
/**
 * Only maintainer scripts need these, and a slim image runs none. apt is told that they are installed, so it brings neither
 * them nor what they depend on; unless the recipe asks for one by name.
 */
export const PLUMBING = [
  "adduser",
  "debconf",
  "dpkg",
  "init-system-helpers",
  "install-info",
  "iproute2",
  "libpam-modules",
  "libpam-modules-bin",
  "libpam-runtime",
  "login",
  "lsb-base",
  "passwd",
  "sensible-utils",
  "sysvinit-utils",
  "tar",
  "ucf",
  "usr-is-merged",
  "usrmerge",
];
/** apt's pattern (apt-patterns(7)) for what every Debian system has. */
export const ESSENTIAL = "?essential";
const LISTS_MAX_AGE_MS = 24 * 3600_000;
/** Files of a release hardly ever move between packages. */
const CONTENTS_MAX_AGE_MS = 7 * 24 * 3600_000;

/** Of the package debian-archive-keyring. */
const DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg";

export class PackageError extends Error {}

/**
 * The source package of each, by which lists of vulnerabilities name it; undefined where it has the same name and version. @throws CommandError
 */
export async function sourcesOf(
  packages: readonly Package[],
): Promise<({ name: string; version: string } | undefined)[]> {
  const script = 'for deb; do echo "$(dpkg-deb -f "$deb" Source)"; done';
  const said = await run("sh", ["-ec", script, "sh", ...packages.map(({ file }) => file)], {
    timeoutMs: 60_000,
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
  #hostSources = true;

  /**
   * `cache` keeps package lists and .debs between builds; `signal` ends what is under way. `whole`: of a system with its package manager,
   * so nothing counts as installed, and the essential packages come too.
   */
  constructor(cache: string, release: string, signal?: AbortSignal, { whole = false } = {}) {
    this.#release = release;
    this.#signal = signal;
    this.#whole = whole;
    this.#cache = join(cache, `apt-${release}`);
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
    return run(command, args, { ...options, ...(this.#signal ? { signal: this.#signal } : {}) });
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
      ...(this.#hostSources
        ? []
        : ["-o", `Dir::Etc::sourcelist=${at("sources.list")}`, "-o", "Dir::Etc::sourceparts=/dev/null"]),
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
  }

  /** Makes the folders; fetches the package lists when they are missing or older than a day. */
  async #prepare(force = false): Promise<void> {
    await this.#prepareSources();
    const stamp = this.#stamp;
    const fresh = existsSync(stamp) && Date.now() - statSync(stamp).mtimeMs < LISTS_MAX_AGE_MS;
    if (fresh && !force) return;
    await rm(join(this.#cache, "plans"), { recursive: true, force: true });
    await this.#run("apt-get", [...this.#options(), "update"], { timeoutMs: 120_000 });
    await mkdir(join(this.#cache, "plans"), { recursive: true });
    await writeFile(stamp, "");
  }

  /** The files of the package lists, in the order of the sources; fetched when they are missing or older than a day. @throws PackageError */
  async lists(): Promise<{ files: string[]; fetchedMs: number }> {
    await this.#prepare();
    const args = [
      ...this.#options().slice(3),
      "indextargets",
      "--format",
      "$(FILENAME)",
      "Created-By: Packages",
    ];
    const said = await this.#run("apt-get", args, { timeoutMs: 60_000 });
    const files = said.split("\n").filter((file) => file !== "" && existsSync(file));
    if (files.length === 0)
      throw new PackageError(`there are no package lists of ${this.#release} in ${this.#cache}`);
    return { files, fetchedMs: statSync(this.#stamp).mtimeMs };
  }

  /** Names and versions of the packages with all they depend on. @throws PackageError for a name that does not exist */
  async resolve(names: readonly string[]): Promise<{ name: string; version: string }[]> {
    // apt reads everything anew when this file is newer than its cache.
    const status = this.#whole ? "" : statusOf(PLUMBING.filter((name) => !names.includes(name)));
    const path = this.#ofMode("status");
    if ((await readFile(path, "utf8").catch(() => undefined)) !== status) await writeFile(path, status);
    await this.#requireNames(names);
    let plan: string;
    try {
      const all = this.#whole ? [ESSENTIAL, ...names] : names;
      plan = await this.#run("apt-get", [...this.#options(), "-s", "install", ...all], { timeoutMs: 60_000 });
    } catch (cause) {
      this.#signal?.throwIfAborted();
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new PackageError(
        `the packages cannot be installed together: ${text.split("\n").slice(-4).join(" ")}`,
        { cause },
      );
    }
    return [...plan.matchAll(/^Inst (\S+) \((\S+) /gm)].map(([, name = "", version = ""]) => ({
      name,
      version,
    }));
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
   * Downloads the packages with what they depend on (without maintainer scripts' plumbing), and `alone` without: a kernel, boot loaders.
   * @throws PackageError
   */
  async fetch(names: readonly string[], alone: readonly string[] = []): Promise<Package[]> {
    const plan = await this.plan(names, alone);
    return this.#download(plan.map(({ name, version }) => `${name}=${version}`));
  }

  /** What fetch would download. @throws PackageError */
  async plan(
    names: readonly string[],
    alone: readonly string[] = [],
  ): Promise<{ name: string; version: string }[]> {
    await this.#prepare();
    // The same names in the same lists are the same packages.
    const lists = statSync(this.#stamp).mtimeMs;
    const kept = join(
      this.#cache,
      "plans",
      digestOf([[...names].sort(), alone, this.#whole || PLUMBING, lists]),
    );
    const before = await readFile(kept, "utf8").catch(() => undefined);
    if (before !== undefined) return JSON.parse(before) as { name: string; version: string }[]; // written below
    const resolved = await this.resolve(names);
    const known = new Set(resolved.map(({ name }) => name));
    const plan = [...resolved, ...(await this.#newest(alone.filter((name) => !known.has(name))))];
    await writeFile(`${kept}.${process.pid}`, JSON.stringify(plan));
    await rename(`${kept}.${process.pid}`, kept);
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
    const age = existsSync(index) ? Date.now() - statSync(index).mtimeMs : Number.POSITIVE_INFINITY;
    if (age > CONTENTS_MAX_AGE_MS)
      try {
        await this.#indexContents(index);
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
      await this.#run("apt-get", [...options, "update"], { timeoutMs: 300_000 });
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
        ...(name === "debconf" ? ["Provides: debconf-2.0"] : []),
        "Description: not in slim images",
        "",
        "",
      ].join("\n"),
    )
    .join("");
}
