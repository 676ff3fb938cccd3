/**
 * Initial RAM disks. The kernel unpacks several archives, one behind the other, into the same root (Documentation/driver-api/early-userspace/buffer-format.rst in its
 * source), so each package is an archive of its own, whose compressed form is kept: of an image that changes little, little is compressed anew.
 */
import { appendFile, lstat, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256Of } from "../../system/digest.ts";
import { cached } from "./cache.ts";
import { clampTimes } from "./disk.ts";
import { step, type Workshop } from "./workshop.ts";

/** A part of the tree, by absolute paths in it. */
export interface Layer {
  name: string;
  paths: readonly string[];
}

/** zstd's; unpacking takes the same time whatever it is. A window of 1 MiB: the kernel has to find the memory for it in machines of 80 MiB. */
const ZSTD = ["-19", "--zstd=wlog=20"];

/**
 * Packs a folder. Files in no layer, all folders and all links come first.
 * @returns the path of the packed file. @throws Error
 */
export async function packInitrd(
  work: Workshop,
  tree: string,
  epoch: number,
  layers: readonly Layer[] = [],
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
  for (const paths of [all.filter((path) => !taken.has(path)), ...parts])
    await appendFile(initrd, await readFile(await packed(work, tree, paths)));
  return initrd;
}

/** One compressed archive, from the cache when it was made before. */
async function packed(work: Workshop, tree: string, paths: readonly string[]): Promise<string> {
  const archive = join(work.folder, "layer.cpio");
  const list = [...paths].sort((a, b) => (a < b ? -1 : 1)).map((path) => `${path.slice(1)}\n`);
  const script = 'cd "$1" && cpio --quiet --reproducible -o -H newc -R 0:0 > "$2"';
  await step(work, "sh", ["-ec", script, "sh", tree, archive], { input: list.join("") });
  const key = `${await sha256Of(archive)}-${ZSTD.join("")}`;
  const made = await cached(work.cache, "layers", key, async (path) => {
    await step(work, "zstd", ["-q", ...ZSTD, archive, "-o", path]);
  });
  await rm(archive);
  return made;
}
