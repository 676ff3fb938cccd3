/** First-boot data of a machine: a NoCloud seed, which cloud-init and our slim images both understand. */
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
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

/** Writes the seed as a file system image (vfat, label CIDATA) to `path`. @throws Error */
export async function makeSeed(path: string, seed: Seed): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "vireo-seed-"));
  try {
    await writeFile(path, "");
    await truncate(path, BYTES);
    await run("mkfs.vfat", ["-n", "CIDATA", "-i", "56495245", path]);
    const files = Object.entries(seedFiles(seed));
    for (const [name, text] of files) await writeFile(join(folder, name), text);
    await run("mcopy", ["-i", path, ...files.map(([name]) => join(folder, name)), "::"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
