/** First-boot data of a machine: a NoCloud seed, which cloud-init and our slim images both understand. */
import { mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { run } from "../system/run.ts";

export interface Seed {
  /** Changes only with the machine: cloud-init runs its first-boot part once for each. */
  instanceId: string;
  hostname: string;
  sshAuthorizedKeys: readonly string[];
  /** Replaces the generated user-data. */
  userData?: string;
}

/** Of the disk that a machine has it on: the second, which has no name (qemu/command-line.ts). It can only be read. */
export const SEED_SERIAL = "disk1";

/** vfat's smallest comfortable size. */
const BYTES = 512 * 1024;

/** The files of the seed. Networks are left to DHCP, cloud-init's default. */
export function seedFiles(seed: Seed): Record<string, string> {
  const { instanceId, hostname, sshAuthorizedKeys, userData } = seed;
  const config = {
    hostname,
    ...(sshAuthorizedKeys.length ? { ssh_authorized_keys: [...sshAuthorizedKeys] } : {}),
  };
  return {
    "meta-data": stringify({ "instance-id": instanceId, "local-hostname": hostname }),
    "user-data": userData ?? `#cloud-config\n${stringify(config, { lineWidth: 0 })}`,
  };
}

/** An empty one: always the same bytes, so it is made once for all. */
let empty: Promise<Buffer> | undefined;

async function makeEmpty(): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), "vireo-seed-"));
  try {
    const path = join(folder, "empty.img");
    await writeFile(path, "");
    await truncate(path, BYTES);
    await run("mkfs.vfat", ["-n", "CIDATA", "-i", "56495245", path]);
    return await readFile(path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes the seed as a file system image (vfat, label CIDATA) to `path`. @throws Error */
export async function makeSeed(path: string, seed: Seed): Promise<void> {
  empty ??= makeEmpty();
  await writeFile(
    path,
    await empty.catch((error: unknown) => {
      empty = undefined; // its program may be installed later
      throw error;
    }),
  );
  const folder = await mkdtemp(join(tmpdir(), "vireo-seed-"));
  try {
    const files = Object.entries(seedFiles(seed)).map(([name, text]) => [join(folder, name), text] as const);
    await Promise.all(files.map(([file, text]) => writeFile(file, text)));
    await run("mcopy", ["-i", path, ...files.map(([file]) => file), "::"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
