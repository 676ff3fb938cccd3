/** A file system that loses its power: what it has on its disk at some moment is looked at, and nothing of what the kernel had still to write. */
import { closeSync, fsyncSync, mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../system/run.ts";

export interface Losable {
  /** Where it is mounted. */
  path: string;
  /** What is there after a power cut just now. @param look is given where it is mounted then */
  cut<T>(look: (path: string) => T | Promise<T>): Promise<T>;
  remove(): Promise<void>;
}

/** An ext4, as most hosts have it. It needs root. */
export async function losable(): Promise<Losable> {
  const folder = mkdtempSync(join(tmpdir(), "vireo-power-cut-"));
  const [disk, after] = [join(folder, "disk"), join(folder, "after")];
  const [path, looked] = [join(folder, "mounted"), join(folder, "looked")];
  for (const each of [path, looked]) mkdirSync(each);
  await run("truncate", ["-s", "256M", disk]);
  await run("mkfs.ext4", ["-q", disk]);
  await run("mount", ["-o", "loop", disk, path]);
  return {
    path,
    async cut(look) {
      // Somebody makes sure of something else: all names that were given are on the disk then, and not what is in new files.
      const other = openSync(join(path, "other"), "w");
      fsyncSync(other);
      closeSync(other);
      await run("cp", ["--sparse=always", disk, after]);
      await run("mount", ["-o", "loop", after, looked]);
      try {
        return await look(looked);
      } finally {
        await run("umount", [looked]);
      }
    },
    async remove() {
      await run("umount", [path]);
      rmSync(folder, { recursive: true });
    },
  };
}
