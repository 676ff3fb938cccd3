/** The packages of a full image of Debian or Ubuntu, installed with their maintainer scripts by mmdebstrap, from a repository of exactly those. */
import { open, rename } from "node:fs/promises";
import type { Package } from "../packages/packages.ts";
import { digestOf, type Recipe } from "../recipe.ts";
import type { AptRelease } from "../releases/release.ts";
import { DEFAULT_LOCALE } from "../rootfs/customize.ts";
import { cached } from "../workshop/cache.ts";
import { sealed } from "../workshop/sealed.ts";
import type { Workshop } from "../workshop/workshop.ts";
import { localRepository } from "./local-repository.ts";

/** Raised when the base is made in another way. */
const BASE_VERSION = 1;

/** Not unpacked, now or when the machine installs more: what only people read. */
const UNWANTED = ["doc/*", "info/*", "lintian/*", "locale/*", "man/*"];
const WANTED = ["doc/*/copyright", "locale/locale.alias"];

/** dpkg's options on paths. */
export function pathOptions({ profile, locale }: Recipe): string[] {
  if (profile === "text") return [];
  const language = locale?.split("_")[0];
  const wanted = [...WANTED, ...(language && language !== DEFAULT_LOCALE ? [`locale/${language}*`] : [])];
  return [
    ...UNWANTED.map((path) => `path-exclude=/usr/share/${path}`),
    ...wanted.map((path) => `path-include=/usr/share/${path}`),
  ];
}

/** When the newest of the packages was made, in seconds since 1970: ar(5) has it in the first header of the file. */
async function newestPackage(debs: readonly Package[]): Promise<number> {
  let newest = 0;
  for (const { file } of debs) {
    const handle = await open(file);
    try {
      const { buffer } = await handle.read(Buffer.alloc(12), 0, 12, 8 + 16);
      newest = Math.max(newest, Number(buffer.toString("latin1")) || 0);
    } finally {
      await handle.close();
    }
  }
  return newest;
}

/** @param source a line of sources.list */
async function bootstrap(
  work: Workshop,
  source: string,
  args: readonly string[],
  { to, epoch, paths }: { to: string; epoch: number; paths: readonly string[] },
): Promise<void> {
  const options = [
    "--mode=root",
    // A build that was interrupted begins anew: nothing has to be safe on the disk on the way.
    ...["force-unsafe-io", ...paths].map((option) => `--dpkgopt=${option}`),
    "--aptopt=Acquire::Languages none",
  ];
  const env = { SOURCE_DATE_EPOCH: String(epoch), TMPDIR: work.folder };
  await sealed(work, ["mmdebstrap", ...options, ...args, "", to, source], { env });
}

/**
 * Makes the folder `root`, on a base (essential packages, apt, systemd) that is kept in the cache.
 * @returns when the newest package was made, in seconds since 1970. @throws Error
 */
export async function installDebs(
  work: Workshop,
  root: string,
  debs: readonly Package[],
  { names, recipe, release: { base } }: { names: readonly string[]; recipe: Recipe; release: AptRelease },
): Promise<number> {
  const repository = await localRepository(work, debs);
  const paths = pathOptions(recipe);
  const archive = await makeBase(work, repository, { base, debs: await repository.closure(base), paths });
  const epoch = await newestPackage(debs);
  await bootstrap(
    work,
    repository.source,
    [
      "--variant=custom",
      // mmdebstrap has made /dev, and says where packages come from now.
      `--setup-hook=tar -C "$1" -x --xattrs --xattrs-include='*' --exclude='./dev/*' --exclude=./etc/apt/sources.list -f '${quoted(archive)}'`,
      `--include=${names.join(",")}`,
    ],
    { to: root, epoch, paths },
  );
  return epoch;
}

const quoted = (text: string) => text.replaceAll("'", "'\\''");

/** @returns an archive. @throws Error */
async function makeBase(
  work: Workshop,
  { source }: { source: string },
  {
    base,
    debs,
    paths,
  }: {
    /** Names of what is in it beside the essential packages. */
    base: readonly string[];
    debs: readonly Package[];
    paths: readonly string[];
  },
): Promise<string> {
  const key = digestOf([BASE_VERSION, base, paths, debs.map(({ sha256 }) => sha256).sort()]).slice(0, 32);
  return cached(work.cache, "roots", key, async (path) => {
    work.log(`making the base of ${debs.length} packages; it is kept for the next builds`);
    const hooks = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr";
    const tar = `${path}.tar`;
    await bootstrap(work, source, ["--variant=essential", hooks, `--include=${base.join(",")}`], {
      to: tar,
      epoch: await newestPackage(debs),
      paths,
    });
    await rename(tar, path);
  });
}
