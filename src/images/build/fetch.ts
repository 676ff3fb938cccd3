/**
 * The packages that an image is built of, from their distribution: those of its root file system, and those apart from it, kernel and boot loaders.
 * What boots an image of RPMs besides its kernel (boot loaders, busybox in the initial RAM disk) is Debian's: there it is the same for all of them.
 */

import { loaderPackages } from "../boot/boot-disk.ts";
import { fullPackages } from "../full/full-root.ts";
import { type Package, type PackageSource, Packages } from "../packages/packages.ts";
import type { LockedPackage, Recipe } from "../recipe.ts";
import { isRpm } from "../releases/release.ts";
import { BOOTS, releaseOf } from "../releases/releases.ts";
import { RpmPackages } from "../rpm/rpm-packages.ts";
import { kernelOf } from "../shared.ts";
import { basePackages } from "../slim/slim-root.ts";

export interface Fetched {
  /** Several where its modules are packages of their own. */
  kernel: Package[];
  /** Of the kernel for all hardware, whose file the small one is packed into for disks. */
  packer?: Package;
  loaders: Package[];
  /** What the root file system is made of. */
  inRoot: Package[];
  /** What the image has otherwise: kernel, loaders, what mounts the root. */
  apart: Package[];
}

const BUSYBOX = "busybox-static";

export const isBusybox = ({ name, arch }: Package) => name === BUSYBOX && arch === undefined;

export const lockOf = ({ name, version, arch, sha256 }: Package): LockedPackage => ({
  name,
  version,
  ...(arch ? { arch } : {}),
  sha256,
});

/** Slim images with a boot loader are for small disks; full ones are a hundred times as large. */
function packsKernel(recipe: Recipe): boolean {
  const release = releaseOf(recipe);
  const { mode = "slim", boot = "direct" } = recipe;
  const isSmall = mode === "slim" && boot !== "direct" && kernelOf(recipe) === "cloud";
  return isSmall && !isRpm(release) && release.repacks === true;
}

/** Names are looked at before anything is downloaded. @param cache keeps lists and packages between builds. @throws Error with a text for users */
export async function fetchPackages(
  cache: string,
  recipe: Recipe,
  { signal, warn }: { signal: AbortSignal | undefined; warn: (text: string) => void },
): Promise<Fetched> {
  const { lock, mirror, repositories = [] } = recipe;
  const whole = recipe.mode === "full";
  const release = releaseOf(recipe);
  const loading = loaderPackages(recipe);
  // Slim images have it anyway.
  const mounting = whole ? [BUSYBOX] : [];
  const base = whole ? fullPackages(recipe) : basePackages(recipe);
  const kernels = release.kernels[kernelOf(recipe)];
  const packing = packsKernel(recipe) ? release.kernels.generic : [];
  const boots = [...loading, ...mounting];
  const ofDebian = () => new Packages(cache, BOOTS.release, signal, { warn });
  const own: PackageSource = isRpm(release)
    ? new RpmPackages(cache, recipe, release, signal)
    : new Packages(cache, recipe.release, signal, { whole, warn, repositories, mirror });
  let all: Package[];
  if (!isRpm(release))
    all = lock
      ? await own.fetchLocked(lock)
      : await own.fetch(recipe.packages, [...kernels, ...packing, ...boots], base);
  else if (lock) {
    const rpms = await own.fetchLocked(lock.filter(({ arch }) => arch !== undefined));
    all = [...rpms, ...(await ofDebian().fetchLocked(lock.filter(({ arch }) => arch === undefined)))];
  } else all = [...(await own.fetch(recipe.packages, kernels, base)), ...(await ofDebian().fetch([], boots))];
  const isKernel = isRpm(release)
    ? ({ name }: Package) => kernels.includes(name)
    : ({ name }: Package) => /^linux-(image|modules)-/.test(name);
  const isSmall = ({ name }: Package) => name.includes("-cloud-");
  const linux = all.filter(isKernel);
  // A lock that was made before has none.
  const packer = packing.length > 0 ? linux.find((each) => !isSmall(each)) : undefined;
  const kernel = linux.filter((each) => each !== packer);
  if (kernel.length === 0) throw new Error(`recipe.lock: has no kernel (${kernels.join(", ")})`);
  const named = (names: readonly string[]) =>
    names.map((name) => {
      const found = all.find((each) => each.name === name && each.arch === undefined);
      if (!found) throw new Error(`recipe.lock: has no ${name}, which the recipe needs; make the lock anew`);
      return found;
    });
  const loaders = named(loading);
  const apart = [...kernel, ...(packer ? [packer] : []), ...loaders, ...named(mounting)];
  // Those of its own that the recipe names are in the root, too.
  const isApart = (each: Package) =>
    apart.includes(each) &&
    !(recipe.packages.includes(each.name) && isRpm(release) === (each.arch !== undefined));
  return {
    kernel,
    ...(packer ? { packer } : {}),
    loaders,
    apart,
    inRoot: all.filter((each) => !isApart(each)),
  };
}
