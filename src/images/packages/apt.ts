/**
 * apt with a state of its own: neither the host's packages nor their versions matter, and nothing on the host changes. Where the host is of the wanted release, its
 * package sources and keys are used (a mirror nearby, perhaps); elsewhere Debian's own.
 */
import { existsSync, statSync } from "node:fs";
import { copyFile, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { withFileLock } from "../../system/file-lock.ts";
import { run } from "../../system/run.ts";
import { digestOf } from "../recipe.ts";
import type { Mirror, Repository } from "../recipe-parts.ts";
import type { AptRelease } from "../releases/release.ts";
import { aptRelease } from "../releases/releases.ts";
import { PackageError } from "./package-error.ts";
import { deb822 } from "./repositories.ts";
import { onlyOthersFailed, requireKeys, sourcesFor } from "./sources.ts";

const LISTS_MAX_AGE_MS = 24 * 3600_000;
/** After newer lists could not be fetched, those of before do for this long. */
const RETRY_MS = 10 * 60_000;
const UPDATE_MS = 120_000;

const HOST_SOURCES = "/etc/apt/sources.list.d";

export interface AptOptions {
  /** Of a system with its package manager: nothing counts as installed, and the essential packages come too. */
  whole?: boolean;
  /** Besides the distribution's own. */
  repositories?: readonly Repository[];
  /** In place of the distribution's own. */
  mirror?: Mirror | undefined;
  /** Lists of a past day do, as mirrors of that day have them: each package is known by its sha256. */
  dated?: boolean;
  /** Told when older lists have to do. */
  warn?: (text: string) => void;
}

export class Apt {
  /** Its folder. */
  readonly cache: string;
  readonly release: string;
  readonly signal: AbortSignal | undefined;
  readonly whole: boolean;
  readonly #dated: boolean;
  readonly #warn: (text: string) => void;
  readonly #repositories: readonly Repository[];
  readonly #mirror: Mirror | undefined;
  readonly #about: AptRelease;
  #hostSources = true;

  /** `cache` keeps package lists and .debs between builds, of all that ask at once; `signal` ends what is under way. */
  constructor(
    cache: string,
    release: string,
    signal?: AbortSignal,
    { whole = false, warn = () => {}, repositories = [], mirror, dated = false }: AptOptions = {},
  ) {
    this.release = release;
    this.#about = aptRelease(release);
    this.#mirror = mirror;
    this.#repositories = repositories;
    this.signal = signal;
    this.whole = whole;
    this.#dated = dated;
    this.#warn = warn;
    // Packages of the same name and version may be others elsewhere: each choice of repositories has a folder of its own.
    const named = mirror ? [mirror, repositories] : repositories;
    const own = mirror || repositories.length ? `-${digestOf(named).slice(0, 12)}` : "";
    this.cache = join(cache, `apt-${release}${own}`);
  }

  /** Whether its packages are the distribution's alone, from its usual mirrors. */
  get isPlain(): boolean {
    return this.#repositories.length === 0 && !this.#mirror;
  }

  /** Tells that older lists have to do. */
  warn(text: string): void {
    this.#warn(text);
  }

  /** What apt remembers of packages depends on what is installed. */
  ofMode(name: string): string {
    return this.#ofLists(this.whole ? `${name}-full` : name);
  }

  /** Lists of a past day are for nobody else. */
  #ofLists(name: string): string {
    return join(this.cache, this.#dated ? `${name}-dated` : name);
  }

  /** Runs one of apt's programs. @returns what it says @throws CommandError */
  run(
    command: string,
    args: readonly string[],
    options: { timeoutMs: number; cwd?: string },
  ): Promise<string> {
    return run(command, args, {
      ...options,
      // What it says is read.
      env: { LC_ALL: "C.UTF-8" },
      ...(this.signal ? { signal: this.signal } : {}),
    });
  }

  /** Those of every call, the first three (quiet, yes, no recommends) for apt-get alone. */
  options(): string[] {
    const at = (name: string) => join(this.cache, name);
    return [
      "-qq",
      "-y",
      "--no-install-recommends",
      "-o",
      `Dir::State=${at("state")}`,
      "-o",
      `Dir::State::lists=${this.#ofLists("lists")}`,
      ...(this.#dated ? ["-o", "Acquire::Check-Valid-Until=false"] : []),
      "-o",
      `Dir::State::status=${this.ofMode("status")}`,
      "-o",
      `Dir::Cache=${this.ofMode("cache")}`,
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
    return this.#ofLists("updated");
  }

  async prepareSources(): Promise<void> {
    for (const name of ["state", "archives/partial", "plans"])
      await mkdir(join(this.cache, name), { recursive: true });
    await mkdir(join(this.#ofLists("lists"), "partial"), { recursive: true });
    await mkdir(this.ofMode("cache"), { recursive: true });
    const own = join(this.cache, "mirror.asc");
    if (this.#mirror?.key !== undefined) await writeFile(own, this.#mirror.key);
    const keys = this.#mirror?.key === undefined ? this.#about.keys.files[0] : own;
    const osRelease = await readFile("/etc/os-release", "utf8").catch(() => "");
    const sources = sourcesFor(this.#about, { osRelease, mirror: this.#mirror, keys });
    this.#hostSources = sources === undefined;
    if (sources !== undefined) {
      requireKeys(this.#about, existsSync(keys));
      await writeFile(join(this.cache, "sources.list"), sources);
    }
    if (this.#repositories.length > 0) await this.#writeRepositories();
  }

  /** Beside the host's own, where those are used. */
  async #writeRepositories(): Promise<void> {
    const parts = join(this.cache, "sources.list.d");
    await rm(parts, { recursive: true, force: true });
    await mkdir(parts);
    if (this.#hostSources)
      for (const name of await readdir(HOST_SOURCES).catch(() => []))
        await copyFile(join(HOST_SOURCES, name), join(parts, name));
    for (const [i, repository] of this.#repositories.entries())
      await writeFile(join(parts, `vireo-repository-${i}.sources`), deb822(repository));
  }

  /** When the lists were fetched, in ms since 1970; 0 when they never were. */
  get fetchedMs(): number {
    return statSync(this.#stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  }

  /** Makes the folders; fetches the package lists when they are missing or older than a day. @throws PackageError when there are none, and none can be fetched */
  async prepare(force = false): Promise<void> {
    await this.prepareSources();
    const isFresh = () => Date.now() - this.fetchedMs < LISTS_MAX_AGE_MS;
    if (isFresh() && !force) return;
    const before = this.fetchedMs;
    await this.inTurn("lists", 2 * UPDATE_MS, async () => {
      // Whoever was there before may have fetched them.
      if (isFresh() && (!force || this.fetchedMs !== before)) return;
      await this.#removeOldPlans();
      try {
        await this.update(this.options(), UPDATE_MS);
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
  inTurn(what: string, timeoutMs: number, action: () => Promise<void>): Promise<void> {
    const path = join(this.cache, `${what}.lock`);
    return withFileLock(path, action, { timeoutMs, signal: this.signal });
  }

  /** Plans are of lists; those of yesterday's are nobody's. Others may be making some meanwhile. */
  async #removeOldPlans(): Promise<void> {
    const folder = join(this.cache, "plans");
    for (const name of await readdir(folder)) {
      const made = await stat(join(folder, name)).catch(() => undefined);
      if (made && Date.now() - made.mtimeMs > LISTS_MAX_AGE_MS) await rm(join(folder, name), { force: true });
    }
  }

  /**
   * apt-get update. Of the host's sources those of other suites may be out of reach: nobody has said that an image needs them.
   * @throws PackageError when not all lists of the release were fetched; those of before are still there
   */
  async update(options: readonly string[], timeoutMs: number): Promise<void> {
    try {
      // By itself it takes a mirror that is out of reach for a success.
      await this.run("apt-get", [...options, "--error-on=any", "update"], { timeoutMs });
    } catch (cause) {
      this.signal?.throwIfAborted();
      const blamed = this.#blamed(cause);
      if (blamed) throw blamed;
      const said = cause instanceof Error ? cause.message : String(cause);
      if (onlyOthersFailed(said, this.release)) return;
      const [why = ""] = said.match(/^.*E: .*$/m) ?? said.split("\n");
      throw new PackageError(`the package lists of ${this.release} cannot be fetched: ${why}`, { cause });
    }
  }

  /** Of the package lists, in the order of the sources. @throws CommandError */
  async #listFiles(): Promise<string[]> {
    const args = [
      ...this.options().slice(3),
      "indextargets",
      "--format",
      "$(FILENAME)",
      "Created-By: Packages",
    ];
    const said = await this.run("apt-get", args, { timeoutMs: 60_000 });
    return said.split("\n").filter((file) => file !== "" && existsSync(file));
  }

  /** The files of the package lists, in the order of the sources; fetched when they are missing or older than a day. @throws PackageError */
  async lists(): Promise<{ files: string[]; fetchedMs: number }> {
    try {
      await this.prepare();
      const files = await this.#listFiles();
      if (files.length === 0)
        throw new PackageError(`there are no package lists of ${this.release} in ${this.cache}`);
      return { files, fetchedMs: this.fetchedMs };
    } catch (cause) {
      if (cause instanceof PackageError) throw cause;
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new PackageError(`the package lists of ${this.release} cannot be read: ${said}`, { cause });
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

  /** Where packages of the release come from: URLs. @throws CommandError */
  async mirrors(): Promise<string[]> {
    const format = "$(CODENAME) $(REPO_URI)";
    const args = [...this.options().slice(3), "indextargets", "--format", format, "Created-By: Packages"];
    const said = await this.run("apt-get", args, { timeoutMs: 60_000 });
    const found = said.split("\n").flatMap((line) => {
      const [codename = "", uri = ""] = line.split(" ");
      return codename.startsWith(this.release) ? [uri.replace(/\/$/, "")] : [];
    });
    return [...new Set([...found, ...this.#repositories.map(({ uri }) => uri)])];
  }

  /** A mirror of a past day. */
  get snapshot(): string | undefined {
    return this.#about.snapshot;
  }

  /** Names of all packages that the lists have. @throws CommandError */
  async names(): Promise<Set<string>> {
    const said = await this.run("apt-cache", [...this.options().slice(3), "pkgnames"], { timeoutMs: 60_000 });
    return new Set(said.split("\n"));
  }
}
