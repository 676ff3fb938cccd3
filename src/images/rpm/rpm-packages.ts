/**
 * RPMs for an image, with all that they need: resolved and downloaded by the distribution's own tool. Each is checked by its own signature with the keys of the
 * distribution and of the recipe's repositories before it counts as downloaded.
 */
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import { flush } from "../../system/durable.ts";
import { withFileLock } from "../../system/file-lock.ts";
import { fetchAsLocked, requireNames } from "../packages/asked.ts";
import { PackageError } from "../packages/package-error.ts";
import type { Package, PackageSource } from "../packages/packages.ts";
import { touchPackage } from "../packages/prune.ts";
import { digestOf, type LockedPackage, type Recipe } from "../recipe.ts";
import { type RpmRelease, withoutKeys } from "../releases/release.ts";
import { describe } from "./describe.ts";
import { Dnf } from "./dnf.ts";
import { withoutLanguage } from "./languages.ts";
import { runTool } from "./run-tool.ts";
import type { Nevra, RpmTool } from "./tools.ts";
import { Zypper } from "./zypper.ts";

/** Whoever resolves or downloads with the same sources waits so long for the others. */
const TURN_MS = 3600_000;

type Named = Pick<Recipe, "distribution" | "release" | "mirror" | "repositories" | "locale">;

export class RpmPackages implements PackageSource {
  readonly #folder: string;
  readonly #release: RpmRelease;
  readonly #recipe: Named;
  readonly #signal: AbortSignal | undefined;
  readonly #tool: RpmTool;

  /** `cache` keeps package lists and RPMs between builds; `signal` ends what is under way. */
  constructor(cache: string, recipe: Named, release: RpmRelease, signal?: AbortSignal) {
    const { distribution, mirror, repositories = [] } = recipe;
    this.#recipe = recipe;
    this.#release = release;
    this.#signal = signal;
    // Packages of the same name and version may be others elsewhere: each choice of sources has a folder of its own.
    const own = mirror || repositories.length ? `-${digestOf([mirror, repositories]).slice(0, 12)}` : "";
    this.#folder = join(cache, `rpm-${distribution}-${recipe.release}${own}`);
    const root = (mirror?.uri ?? release.mirror).replace(/\/$/, "");
    const field = mirror?.uri ? "recipe.mirror" : "recipe.distribution";
    const sources = [
      ...release.parts.map((part, i) => ({ id: `distribution-${i}`, url: `${root}/${part}`, field })),
      ...repositories.map(({ uri }, i) => ({
        id: `repository-${i}`,
        url: uri,
        field: `recipe.repositories[${i}]`,
      })),
    ];
    const options = { folder: this.#folder, release, sources, signal };
    this.#tool = release.tool === "dnf" ? new Dnf(options) : new Zypper(options);
  }

  get #archives(): string {
    return join(this.#folder, "archives");
  }

  /** One at a time of all, in other processes, too: the tools keep their lists in the folder. */
  async #inTurn<T>(action: () => Promise<T>): Promise<T> {
    await mkdir(this.#archives, { recursive: true });
    const path = join(this.#folder, "turn.lock");
    const options = { timeoutMs: TURN_MS, signal: this.#signal };
    return withFileLock(
      path,
      async () => {
        // Of builds that were killed.
        for (const name of await readdir(this.#folder))
          if (/^\.(download|keys)-/.test(name))
            await rm(join(this.#folder, name), { recursive: true, force: true });
        return action();
      },
      options,
    );
  }

  async fetch(
    named: readonly string[],
    alone: readonly string[] = [],
    base: readonly string[] = [],
  ): Promise<Package[]> {
    return this.#inTurn(async () => {
      const names = await this.#tool.names();
      requireNames(
        [...base, ...named, ...alone],
        names,
        withoutLanguage(this.#recipe.locale, this.#release, names),
      );
      const plan = await this.#tool.plan([...new Set([...base, ...named])]);
      const known = new Set(plan.map(({ name }) => name));
      const rest = await this.#tool.newest(alone.filter((name) => !known.has(name)));
      return this.#download([...plan, ...rest]);
    });
  }

  async fetchLocked(lock: readonly LockedPackage[]): Promise<Package[]> {
    const wanted = lock.map(({ name, version, arch = "noarch" }) => ({ name, version, arch }));
    return fetchAsLocked(lock, () => this.#inTurn(() => this.#download(wanted)), this.#signal);
  }

  /** In the same order; those that are in the cache are not asked for. */
  async #download(packages: readonly Nevra[]): Promise<Package[]> {
    const at = (each: Nevra) => join(this.#archives, fileName(each));
    const missing = packages.filter((each) => !existsSync(at(each)));
    if (missing.length > 0) {
      const part = await mkdtemp(join(this.#folder, ".download-"));
      try {
        await this.#tool.download(missing, part);
        const files = (await readdir(part, { recursive: true })).filter((name) => name.endsWith(".rpm"));
        const paths = files.map((name) => join(part, name));
        await this.#requireSigned(paths);
        for (const { file, ...each } of await describe(paths, this.#signal)) {
          // One without its name is downloaded again; one that is empty would be taken for what it is called.
          await flush(file);
          await rename(file, at(each));
        }
      } finally {
        await rm(part, { recursive: true, force: true });
      }
    }
    return Promise.all(
      packages.map(async (each) => {
        const file = at(each);
        if (!existsSync(file))
          throw new PackageError(`package ${each.name} ${each.version} was not downloaded`);
        await touchPackage(file);
        return { ...each, file, sha256: await sha256Of(file) };
      }),
    );
  }

  /** @throws PackageError for files that nobody has signed whose key is known here */
  async #requireSigned(files: readonly string[]): Promise<void> {
    const ring = join(this.#folder, `.keys-${randomUUID()}`);
    const options = { folder: this.#folder, signal: this.#signal, timeoutMs: TURN_MS };
    const rpmkeys = (...args: string[]) =>
      runTool("rpmkeys", ["--dbpath", ring, "--define", "_pkgverify_level all", ...args], options);
    try {
      await mkdir(ring);
      for (const { path, field } of await this.#keys(ring)) {
        const imported = await rpmkeys("--import", path);
        if (!imported.ok)
          throw new PackageError(`${field}: rpm cannot read the key: ${imported.said.trim()}`);
      }
      const { said, ok } = await rpmkeys("--checksig", ...files);
      if (ok) return;
      // "…/bash@5.2-1@x86_64.rpm: digests SIGNATURES NOT OK"
      const bad = [...said.matchAll(/^(\S+\.rpm): .*NOT OK/gm)].map(([, path = ""]) => basename(path));
      throw new PackageError(
        `packages are not signed with a key of ${this.#release.title} or of recipe.repositories: ${bad.slice(0, 5).join(", ") || said.trim()}`,
      );
    } finally {
      await rm(ring, { recursive: true, force: true });
    }
  }

  /** @returns paths of the keys. @throws PackageError when there is nothing to check the distribution's signatures with */
  async #keys(folder: string): Promise<{ path: string; field: string }[]> {
    const { mirror, repositories = [] } = this.#recipe;
    const here = mirror?.key === undefined ? this.#release.keys.files.filter((path) => existsSync(path)) : [];
    if (mirror?.key === undefined && here.length === 0) throw new PackageError(withoutKeys(this.#release));
    const texts = [
      ...(mirror?.key === undefined ? [] : [{ text: mirror.key, field: "recipe.mirror.key" }]),
      ...repositories.map(({ key }, i) => ({ text: key, field: `recipe.repositories[${i}].key` })),
    ];
    const paths: { path: string; field: string }[] = [];
    for (const [i, { text, field }] of texts.entries()) {
      const path = join(folder, `key-${i}.asc`);
      await writeFile(path, text);
      paths.push({ path, field });
    }
    return [...paths, ...here.map((path) => ({ path, field: path }))];
  }
}

const fileName = ({ name, version, arch }: Nevra) => `${name}@${encodeURIComponent(version)}@${arch}.rpm`;
