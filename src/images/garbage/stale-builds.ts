/** What builds that were killed have left in a pool. */
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";

/** Removes what builds that were killed have left in the folder. @param isOld by default all of it is */
export async function removeStaleBuilds(
  folder: string,
  isOld: (modifiedMs: number) => boolean = () => true,
): Promise<string[]> {
  const removed: string[] = [];
  for (const name of await readdir(folder).catch(() => [])) {
    if (!name.startsWith(".build-")) continue;
    const found = await stat(join(folder, name)).catch(() => undefined);
    if (!found || !isOld(found.mtimeMs)) continue;
    await rm(join(folder, name), { recursive: true, force: true });
    removed.push(name);
  }
  return removed;
}
