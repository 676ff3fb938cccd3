/**
 * dnf, for Fedora and CentOS Stream: that of the machine that builds, which is version 4, whatever the image has itself (Fedora: dnf5). It resolves and installs;
 * what it has chosen is downloaded by curl.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../../system/run.ts";
import { DroppedError, PackageError } from "../packages/package-error.ts";
import type { RpmRelease } from "../releases/release.ts";
import { runTool } from "./run-tool.ts";
import {
  type Installation,
  type Nevra,
  nevra,
  type RpmSource,
  type RpmTool,
  type RpmToolOptions,
} from "./tools.ts";

const LISTS_MS = 600_000;
const DOWNLOAD_MS = 1800_000;

/** Of dnf.conf(5). Signatures are looked at by who asks (rpm-packages.ts), of what was downloaded. @param sources id and URL of each */
const configuration = (
  folder: string,
  { platform }: RpmRelease,
  sources: readonly Pick<RpmSource, "id" | "url">[],
) =>
  [
    "[main]",
    `cachedir=${join(folder, "cache")}`,
    `persistdir=${join(folder, "state")}`,
    `logdir=${join(folder, "log")}`,
    "reposdir=/nonexistent",
    "varsdir=/nonexistent",
    "plugins=0",
    "gpgcheck=0",
    "install_weak_deps=0",
    "metadata_expire=86400",
    `module_platform_id=platform:${platform}`,
    ...sources.flatMap(({ id, url }) => [`[${id}]`, `name=${id}`, `baseurl=${url}`]),
    "",
  ].join("\n");

const optionsOf = (conf: string, root: string, { versionId }: RpmRelease) => [
  ...["-c", conf, `--installroot=${root}`, `--releasever=${versionId}`, "--forcearch=x86_64", "-y"],
];

const FORMAT = "%{name}|%{evr}|%{arch}|%{location}|%{repoid}";

export class Dnf implements RpmTool {
  readonly #options: RpmToolOptions;

  constructor(options: RpmToolOptions) {
    this.#options = options;
  }

  async #run(args: readonly string[]): Promise<{ said: string; ok: boolean }> {
    const { folder, release, sources, signal } = this.#options;
    const conf = join(folder, "dnf.conf");
    // In it dnf would keep what is installed: nothing.
    const root = join(folder, "root");
    await mkdir(root, { recursive: true });
    await writeFile(conf, configuration(folder, release, sources));
    return runTool("dnf", [...optionsOf(conf, root, release), ...args], {
      folder,
      signal,
      timeoutMs: LISTS_MS,
    });
  }

  /** What dnf said last, without what it says at each try, and of a source with its field. */
  #inWords(said: string): string {
    const { sources } = this.#options;
    const failed = /Failed to download metadata for repo '([^']+)'[^\n]*/.exec(said);
    const source = failed && sources.find(({ id }) => id === failed[1]);
    if (source) return `${source.field}: ${source.url} cannot be read: ${failed[0]}`;
    const problems = said.slice(Math.max(0, said.lastIndexOf("Error:"))).replace(/^Error:\s*/, "");
    return problems
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "" && !line.startsWith("(try to add"))
      .join("; ");
  }

  async #query(args: readonly string[]): Promise<{ found: Nevra; location: string; id: string }[]> {
    const { said, ok } = await this.#run(["-q", "repoquery", "--available", "--qf", FORMAT, ...args]);
    if (!ok) throw new PackageError(this.#inWords(said));
    return said.split("\n").flatMap((line) => {
      const [name = "", version = "", arch = "", location, id] = line.split("|");
      const found = nevra(name, version, arch);
      return found && location && id ? [{ found, location, id }] : [];
    });
  }

  async names(): Promise<Set<string>> {
    return new Set((await this.#query([])).map(({ found }) => found.name));
  }

  async plan(names: readonly string[]): Promise<Nevra[]> {
    // What it would do it tells in lines only when it may talk; that it was not let is its failure then.
    const { said } = await this.#run(["-v", "--assumeno", "install", ...names]);
    if (!/^Operation aborted\.$/m.test(said))
      throw new PackageError(`the packages cannot be installed together: ${this.#inWords(said)}`);
    return plannedOf(said);
  }

  async newest(names: readonly string[]): Promise<Nevra[]> {
    if (names.length === 0) return [];
    const found = await this.#query(["--latest-limit=1", ...names]);
    return names.map((name) => {
      const one = found.find((each) => each.found.name === name);
      if (!one) throw new PackageError(`the package sources have no ${name}`);
      return one.found;
    });
  }

  async download(packages: readonly Nevra[], folder: string): Promise<void> {
    const { sources, signal } = this.#options;
    const known = await this.#query(packages.map(({ name, version, arch }) => `${name}-${version}.${arch}`));
    const dropped: string[] = [];
    const urls = packages.flatMap((wanted) => {
      const one = known.find(
        ({ found }) =>
          found.name === wanted.name && found.version === wanted.version && found.arch === wanted.arch,
      );
      const source = sources.find(({ id }) => id === one?.id);
      if (one && source) return [`${source.url.replace(/\/$/, "")}/${one.location}`];
      dropped.push(`${wanted.name} ${wanted.version}`);
      return [];
    });
    if (dropped.length > 0)
      throw new DroppedError(
        dropped,
        sources.map(({ url }) => url),
      );
    const config = urls.map((url) => `url = "${url}"\nremote-name\n`).join("");
    await run("curl", ["-fsSL", "--retry", "3", "--parallel", "--parallel-max", "4", "--config", "-"], {
      input: config,
      cwd: folder,
      timeoutMs: DOWNLOAD_MS,
      ...(signal ? { signal } : {}),
    }).catch((cause: unknown) => {
      signal?.throwIfAborted();
      const said = cause instanceof Error ? cause.message : String(cause);
      throw new PackageError(`packages cannot be downloaded: ${said}`, { cause });
    });
  }
}

export async function dnfInstall({ root, release, files, folder }: Installation): Promise<string[]> {
  const conf = join(folder, "dnf.conf");
  await writeFile(conf, configuration("/var/cache/dnf", release, []));
  return ["dnf", ...optionsOf(conf, root, release), "install", ...files];
}

/** "---> Package bash.x86_64 5.2-1 will be installed". Pure. */
export function plannedOf(said: string): Nevra[] {
  return [...said.matchAll(/^---> Package (\S+)\.(\S+) (\S+) will be installed$/gm)].flatMap(
    ([, name = "", arch = "", version = ""]) => nevra(name, version, arch) ?? [],
  );
}
