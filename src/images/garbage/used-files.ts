/**
 * Which files of images the disks of machines are made on: read from the disks themselves. A file is only taken for unused when every machine's folder was
 * seen, so what cannot be seen or read ends the search with the reason.
 */
import { open, readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { Instance } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import { isFields } from "../../resource/fields.ts";

/** Why it is not known what is used, for users. */
export class NotSeen extends Error {}

const ORIGIN = "boot.json";
const MAX_NAME = 1023;

/**
 * Names of files, of whichever pool: more than needed is kept rather than less.
 * @param pools all that there are
 * @param instances all that there are: the machines whose disks must be there to be seen
 * @throws NotSeen
 */
export async function usedFiles(
  pools: readonly StoragePool[],
  instances: readonly Instance[],
): Promise<Set<string>> {
  const apart = pools.find(({ spec }) => !spec.directory.shared);
  if (apart)
    throw new NotSeen(
      `disks in the storage pool ${apart.metadata.name} are not to be seen from here, because it is not shared`,
    );
  for (const { metadata, spec, status } of instances) {
    // It has had its disks, so they are there.
    if (!spec.volumesExist && status?.custody !== "Held") continue;
    const pool = pools.find(({ metadata: { name } }) => name === spec.storagePool);
    const name = `${spec.vm}-${spec.vmUid.slice(0, 8)}`;
    const path = pool && join(pool.spec.directory.path, "machines", metadata.namespace ?? "default", name);
    const isThere = path !== undefined && (await stat(path).then(() => true, isGone));
    if (!isThere)
      throw new NotSeen(
        `the disks of vm/${spec.vm} are not in the storage pool ${spec.storagePool} as it is seen from here; is it mounted?`,
      );
  }
  const used = new Set<string>();
  for (const { spec } of pools)
    for (const path of await filesBelow(join(spec.directory.path, "machines")))
      for (const file of await needsOf(path)) used.add(basename(file));
  return used;
}

/** @returns false when it is gone. @throws NotSeen otherwise */
function isGone(error: unknown): false {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return false;
  throw new NotSeen(error instanceof Error ? error.message : String(error), { cause: error });
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
    isGone(error);
    return [];
  });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** What a file of a machine's folder is made on. One that goes while it is looked at needs nothing any more. */
async function needsOf(path: string): Promise<string[]> {
  try {
    if (basename(path).startsWith(ORIGIN)) return originOf(path, await readFile(path, "utf8"));
    const below = await backingOf(path);
    return below === undefined ? [] : [below];
  } catch (error) {
    if (error instanceof NotSeen) throw error;
    isGone(error);
    return [];
  }
}

/** What the agent writes beside a machine's disks before it makes them (agent/disks). */
function originOf(path: string, text: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new NotSeen(`${path} does not say what its machine boots`, { cause });
  }
  if (!isFields(value) || typeof value.file !== "string")
    throw new NotSeen(`${path} does not say what its machine boots`);
  const boot = isFields(value.boot) ? [value.boot.kernel, value.boot.initrd] : [];
  return [value.file, ...boot.filter((file) => typeof file === "string")];
}

/** The file below a qcow2 layer (QEMU, docs/interop/qcow2.txt); undefined of all other files. */
async function backingOf(path: string): Promise<string | undefined> {
  const file = await open(path, "r");
  try {
    const head = Buffer.alloc(20);
    await file.read(head, 0, head.length, 0);
    if (head.toString("latin1", 0, 4) !== "QFI\xfb") return undefined;
    const [at, length] = [Number(head.readBigUInt64BE(8)), head.readUInt32BE(16)];
    if (at === 0) return undefined;
    if (length > MAX_NAME) throw new NotSeen(`${path}: its header is damaged`);
    const name = Buffer.alloc(length);
    await file.read(name, 0, length, at);
    return name.toString();
  } finally {
    await file.close();
  }
}
