/**
 * Initial RAM disks. The kernel unpacks several archives, one behind the other, into the same root (Documentation/driver-api/early-userspace/buffer-format.rst in its
 * source), so each package is an archive of its own, whose compressed form is kept: of an image that changes little, little is compressed anew.
 */
import { appendFile, lstat, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import { digestOf } from "../recipe.ts";
import type { Layer } from "../rootfs/layers.ts";
import { cached } from "../workshop/cache.ts";
import { clampTimes } from "../workshop/times.ts";
import { step, type Workshop } from "../workshop/workshop.ts";

/** fast: unpacked in a moment. small: a seventh smaller, and each MB of it takes a third of a second under emulation. */
export type Packing = "fast" | "small";

/**
 * Windows are small, because the kernel has to find the memory for them in machines of 80 MiB. Of zstd's levels all are unpacked in the same time.
 * Kernels know no check of xz but CRC32; its filter for programs makes libraries smaller, and modules larger.
 */
const PACKERS: Readonly<Record<Packing, (programs: boolean) => string[]>> = {
  fast: () => ["zstd", "-19", "--zstd=wlog=20"],
  small: (programs) => [
    ...["xz", "--check=crc32", "--threads=1"],
    ...(programs ? ["--x86"] : []),
    "--lzma2=preset=9e,dict=4MiB",
  ],
};

/**
 * Packs a folder. Files in no layer, all folders and all links come first.
 * @param layers of programs and libraries @returns the path of the packed file. @throws Error
 */
export async function packInitrd(
  work: Workshop,
  tree: string,
  epoch: number,
  { layers = [], packing = "fast" }: { layers?: readonly Layer[]; packing?: Packing } = {},
): Promise<string> {
  await clampTimes(work, tree, epoch);
  const initrd = join(work.folder, "initrd");
  const all = (await step(work, "find", [tree, "-mindepth", "1", "-printf", "/%P\n"]))
    .split("\n")
    .filter(Boolean);
  const there = new Set(all);
  const taken = new Set<string>();
  const parts: string[][] = [];
  for (const { paths } of layers) {
    const files: string[] = [];
    for (const path of paths)
      if (there.has(path) && !taken.has(path) && (await lstat(join(tree, path))).isFile()) files.push(path);
    for (const path of files) taken.add(path);
    if (files.length > 0) parts.push(files);
  }
  await writeFile(initrd, "");
  const rest = all.filter((path) => !taken.has(path));
  for (const paths of [rest, ...parts]) {
    const [packer = "", ...options] = PACKERS[packing](paths !== rest);
    await appendFile(initrd, await readFile(await packed(work, tree, paths, packer, options)));
  }
  return initrd;
}

/** One compressed archive, from the cache when it was made before. */
async function packed(
  work: Workshop,
  tree: string,
  paths: readonly string[],
  packer: string,
  options: readonly string[],
): Promise<string> {
  const archive = join(work.folder, "layer.cpio");
  const list = [...paths].sort((a, b) => (a < b ? -1 : 1)).map((path) => `${path.slice(1)}\n`);
  const script = 'cd "$1" && cpio --quiet --reproducible -o -H newc -R 0:0 > "$2"';
  await step(work, "sh", ["-ec", script, "sh", tree, archive], { input: list.join("") });
  const key = `${await sha256Of(archive)}-${digestOf([packer, options]).slice(0, 16)}`;
  const made = await cached(work.cache, "layers", key, async (path) => {
    await step(work, "sh", [
      "-ec",
      'from=$1 to=$2; shift 2; "$@" < "$from" > "$to"',
      "sh",
      archive,
      path,
      packer,
      "-qc",
      ...options,
    ]);
  });
  await rm(archive);
  return made;
}
