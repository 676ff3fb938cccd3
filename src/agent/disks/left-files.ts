/**
 * What work on a machine's disks that was cut short has left in its folder: files that no record names, or that have not got their name. Each is known as ours by
 * its name; whatever is called otherwise is somebody's own.
 */
import { readdir, rename, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { LayerFolder } from "./layer-folder.ts";

const HALF_MADE = /\.(new|part)$/;
const SUSPENDED = /^suspended\.memory(\.|$)/;
/** Of a snapshot or a rollback. */
const OVERLAY = /-[0-9a-f]{12}\.qcow2$/;
const MEMORY = /^([0-9a-f-]{36})\.memory(\.|$)/;

/**
 * Files of the machine that nobody needs unless somebody works on its disks now: those that an agent had begun before `beforeMs`, when it was killed; and, however
 * old, those of snapshots and rollbacks that are not recorded.
 * @param unread is told what cannot be read; what is left of the rest is returned all the same
 * @returns paths
 */
export async function leftFiles(
  folder: string,
  at: LayerFolder,
  beforeMs: number,
  unread: (error: unknown) => void,
): Promise<string[]> {
  const suspended = (await at.pointer()).suspended !== undefined;
  const found: string[] = [];
  for (const part of [folder, join(folder, "snapshots")])
    for (const name of await readdir(part).catch(() => [])) {
      if (!HALF_MADE.test(name) && (suspended || !SUSPENDED.test(name))) continue;
      if (await isOld(join(part, name), beforeMs)) found.push(join(part, name));
    }
  const parts = [overlays(at), memories(at)].map((part) =>
    part.catch((error: unknown): string[] => {
      unread(error);
      return [];
    }),
  );
  return [...new Set([...found, ...(await Promise.all(parts)).flat()])];
}

/** Of a snapshot or a rollback that is not recorded. */
async function overlays(at: LayerFolder): Promise<string[]> {
  // In this order: a layer goes into layers.json before its last record goes (layer-merging.ts).
  const records = await at.records();
  const { active } = await at.pointer();
  const needed = new Set<string | undefined>(Object.values(active));
  for (const [, { layers, next }] of records)
    for (const layer of [...Object.values(layers), ...Object.values(next)]) needed.add(layer);
  const found = (await at.files()).filter((file) => OVERLAY.test(file) && !needed.has(file));
  // Only then their heads are read: this is looked for again and again, in the folders of all machines.
  if (found.length === 0) return [];
  for (const below of (await at.layers()).values()) needed.add(below);
  return found.filter((file) => !needed.has(file)).map((file) => at.path(file));
}

async function memories(at: LayerFolder): Promise<string[]> {
  const records = await at.records();
  const known = new Set(records.flatMap(([uid, { state }]) => (state === "deleted" ? [] : [uid])));
  const found = (await at.snapshotFiles()).filter((file) => {
    const [, uid] = MEMORY.exec(file) ?? [];
    return uid !== undefined && !known.has(uid);
  });
  return found.map((file) => at.path(`snapshots/${file}`));
}

/** Whether it was made before; false when it is not there. */
async function isOld(path: string, beforeMs: number): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found) return false;
  const { birthtimeMs, mtimeMs, nlink } = found;
  // Of one that has got its name already, and kept this one, the guest changes the other. Some file systems do not know when one was made.
  const lastMs = nlink > 1 && birthtimeMs ? birthtimeMs : Math.max(birthtimeMs, mtimeMs);
  return lastMs < beforeMs;
}

/** Removes one of them. One that was made anew at this very moment stays. */
export async function removeLeft(path: string, beforeMs: number): Promise<void> {
  if (!SUSPENDED.test(basename(path))) return rm(path, { force: true });
  const aside = `${path}.left.new`;
  await rename(path, aside);
  if (await isOld(aside, beforeMs)) await rm(aside);
  else await rename(aside, path);
}
