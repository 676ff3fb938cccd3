/**
 * Programs that read what strangers made (import/: qemu-img, gzip, …), or are theirs (workshop/packaged.ts), may be taken over by it: they run as a user of their own, without a network, and of the host they see programs
 * and the files that they are given.
 */
import { chmod, stat } from "node:fs/promises";
import { enclose } from "../system/enclosure.ts";
import { run } from "../system/run.ts";

/** Numbers that are no account's, below those of machines (compute/users). */
const FIRST_READER = 199_000;
const READERS = 999;
let readers = 0;

export interface Files {
  reads?: readonly string[];
  /** Folders of what may be run; who has the user's number reads there what all may read. */
  programs?: readonly string[];
  /** Files and folders; they exist. */
  writes?: readonly string[];
}

/**
 * @param folder that only we may enter: what they see is put together there
 * @returns the command before the program's; nothing when we are not root, whose alone that is, and have few rights ourselves
 */
export async function confined(folder: string, files: Files): Promise<string[]> {
  return process.getuid?.() === 0 ? enclosed(folder, files) : [];
}

/** As confined(), for who is not root, too: to be run in a user namespace of our own then, whose root they stay, without any rights. */
export async function enclosed(
  folder: string,
  { reads = [], programs = [], writes = [] }: Files,
): Promise<string[]> {
  const reach = { readable: reads, programs, writable: writes, devices: [] };
  if (process.getuid?.() !== 0) return ["unshare", "--net", ...enclose(folder, reach)];
  // In that folder nobody else reaches them.
  for (const path of reads) await chmod(path, 0o644);
  for (const path of writes) await chmod(path, (await stat(path)).isDirectory() ? 0o777 : 0o666);
  const id = FIRST_READER + (readers++ % READERS);
  return ["unshare", "--net", ...enclose(folder, reach, { uid: id, gid: id })];
}

/** @throws Error with what to do when they cannot be confined here */
export async function requireConfinement(folder: string): Promise<void> {
  const [first, ...rest] = await confined(folder, {});
  if (first === undefined) return;
  await run(first, [...rest, "true"]).catch((cause: unknown) => {
    throw new Error(
      "files from elsewhere are read in namespaces of their own, which are not to be had here. In a container it takes CAP_SYS_ADMIN: give the control plane that, or run it as another user than root",
      { cause },
    );
  });
}
