/**
 * Which files of images the disks of machines are made on: read from the disks themselves. A file is only taken for unused when every machine's folder was
 * seen, so what cannot be seen or read ends the search with the reason.
 */
import { open, readdir, readFile, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { hasVolumes, type Instance, type VirtualMachine, VOLUMES_FINALIZER } from "../../compute/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import { isFields } from "../../resource/fields.ts";
import { isMissing } from "../../system/exists.ts";

/** Why it is not known what is used, for users. */
export class NotSeen extends Error {}

const ORIGIN = "boot.json";
const MAX_NAME = 1023;

/** How often the disks are looked at anew when some come or go meanwhile. */
const ATTEMPTS = 3;

/**
 * Names of files, of whichever pool: more than needed is kept rather than less.
 * @param pools all that there are
 * @param machines, instances all that there are: they tell whose disks must be there to be seen
 * @throws NotSeen
 */
export async function usedFiles(
  pools: readonly StoragePool[],
  machines: readonly VirtualMachine[],
  instances: readonly Instance[],
): Promise<Set<string>> {
  const apart = pools.find(({ spec }) => !spec.directory.shared);
  if (apart)
    throw new NotSeen(
      `disks in the storage pool ${apart.metadata.name} are not to be seen from here, because it is not shared`,
    );
  for (const { namespace, name, uid, storagePool } of withDisks(machines, instances)) {
    const pool = pools.find(({ metadata }) => metadata.name === storagePool);
    const path = pool && join(pool.spec.directory.path, "machines", namespace, `${name}-${uid.slice(0, 8)}`);
    if (path === undefined || !(await isThere(path)))
      throw new NotSeen(
        `the disks of vm/${name} are not in the storage pool ${storagePool} as it is seen from here; is it mounted?`,
      );
  }
  for (let attempt = 1; ; attempt++)
    try {
      const used = new Set<string>();
      for (const { spec } of pools) {
        const folder = join(spec.directory.path, "machines");
        if (!(await isThere(folder))) continue;
        for await (const path of filesBelow(folder))
          for (const file of await needsOf(path)) used.add(basename(file));
      }
      return used;
    } catch (error) {
      // What goes may have been given on to what was looked at before: a layer that is merged, a disk that is cloned.
      if (!isMissing(error)) throw error instanceof NotSeen ? error : notSeen(error);
      if (attempt === ATTEMPTS) throw new NotSeen("disks come and go while they are looked at");
    }
}

/** Machines that have had disks, whether they run or not. */
function* withDisks(machines: readonly VirtualMachine[], instances: readonly Instance[]) {
  const told = new Set<string>();
  for (const instance of instances) {
    const { namespace = "default" } = instance.metadata;
    const { vm: name, vmUid: uid, storagePool } = instance.spec;
    told.add(uid);
    if (hasVolumes(instance) || instance.status?.custody === "Held")
      yield { namespace, name, uid, storagePool };
  }
  for (const { metadata, spec, status } of machines) {
    const { namespace = "default", name, uid = "", finalizers = [] } = metadata;
    // Nothing is known of its runs: it may have had disks.
    if (!told.has(uid) && finalizers.includes(VOLUMES_FINALIZER) && (status?.sequence ?? 0) > 0)
      yield { namespace, name, uid, storagePool: spec.storagePool };
  }
}

const notSeen = (error: unknown) =>
  new NotSeen(error instanceof Error ? error.message : String(error), { cause: error });

/** @throws NotSeen when that cannot be told */
async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw notSeen(error);
  }
}

/** @throws Error, also when a folder goes meanwhile; NotSeen of a link: what it leads to may be anywhere */
async function* filesBelow(folder: string): AsyncGenerator<string> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isSymbolicLink())
      throw new NotSeen(`${path} is a link, and links are not followed; mount what it leads to in its place`);
    if (entry.isDirectory()) yield* filesBelow(path);
    else if (entry.isFile()) yield path;
  }
}

/** What a file of a machine's folder is made on. */
async function needsOf(path: string): Promise<string[]> {
  if (basename(path).startsWith(ORIGIN)) return originOf(path, await readFile(path, "utf8"));
  const below = await backingOf(path);
  return below === undefined ? [] : [below];
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
