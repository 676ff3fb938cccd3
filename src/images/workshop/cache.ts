/**
 * What builds keep for the next ones: files and folders by the digest of all that they are made of, so that one that is there is right.
 * Builds of several control planes on one machine share it: what both make is the same, and the first one counts.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";
import { flushTree, renameDurably } from "../../system/durable.ts";

const KINDS = ["kernels", "loaders", "layers", "disks", "roots", "lists"] as const;
type Kind = (typeof KINDS)[number];

/** What nobody used for so long goes. */
const KEPT_MS = 14 * 24 * 3600_000;

/**
 * @param make writes the file, or fills a folder of its own making, at the path that it is given
 * @returns the path of what is kept; nobody may change it. @throws Error of `make`; nothing is kept then
 */
export async function cached(
  cache: string,
  kind: Kind,
  key: string,
  make: (path: string) => Promise<void>,
): Promise<string> {
  const kept = join(cache, kind, key);
  if (!existsSync(kept)) {
    await mkdir(join(cache, kind), { recursive: true });
    const making = await mkdtemp(join(cache, kind, ".making-"));
    try {
      await make(join(making, "it"));
      await flushTree(join(making, "it"));
      await renameDurably(join(making, "it"), kept).catch((error: unknown) => {
        if (!existsSync(kept)) throw error;
      });
    } finally {
      await rm(making, { recursive: true, force: true });
    }
  }
  const now = new Date();
  await utimes(kept, now, now);
  return kept;
}

/** Removes what has not been used for two weeks, and what builds that were killed have left. */
export async function pruneCache(cache: string, now: number): Promise<void> {
  for (const kind of KINDS)
    for (const name of await readdir(join(cache, kind)).catch(() => [])) {
      const path = join(cache, kind, name);
      const used = await stat(path).catch(() => undefined);
      if (used && now - used.mtimeMs > KEPT_MS) await rm(path, { recursive: true, force: true });
    }
}
