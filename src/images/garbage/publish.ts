/**
 * Files of a build or an import get their names in the pool so that whoever is killed in between leaves nothing for ever: first the description is there as the mark of removal.ts, so
 * that the collector knows the files, then they come, and at the end the mark becomes the description, by which builds and imports know that all are there. The store says durably that
 * an image is ready: what was published outlives a power cut, too.
 */
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { flush } from "../../system/durable.ts";
import { MARK } from "./removal.ts";

/**
 * In the lock, or while the collector is held off by a build that is not over.
 * @param description a file with it
 * @param files name in the pool's folder -> where it is now, on the same file system
 * @param step before each change: tests are killed there
 */
export async function publish(
  folder: string,
  base: string,
  { description, files }: { description: string; files: Readonly<Record<string, string>> },
  step: () => void = () => {},
): Promise<void> {
  const mark = join(folder, `${base}${MARK}`);
  await Promise.all([description, ...Object.values(files)].map(flush));
  step();
  await rename(description, mark);
  for (const [name, from] of Object.entries(files)) {
    step();
    await rename(from, join(folder, name));
  }
  step();
  await flush(folder);
  await rename(mark, join(folder, `${base}.json`));
  await flush(folder);
}
