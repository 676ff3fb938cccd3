/**
 * Work as root on folders in which another user may do as he likes meanwhile. Node's asynchronous functions go through them by path, and a folder that becomes a
 * link between two steps takes them anywhere on the host; rmSync does not, but keeps all else waiting. These programs hold each folder open, and follow no link.
 */
import { run } from "./run.ts";

/** As many files as there may be, on a slow storage. */
const TIMEOUT_MS = 3_600_000;

/** The folder, or file, and all in it; no-op when it is gone. @throws CommandError */
export async function removeTree(path: string): Promise<void> {
  await run("rm", ["-rf", "--", path], { timeoutMs: TIMEOUT_MS });
}

/** Gives all in the folder that is neither root's nor that user's to him. @param but a file that stays as it is @throws CommandError */
export async function giveTree(
  folder: string,
  { uid, gid }: { uid: number; gid: number },
  but: string,
): Promise<void> {
  const others = ["!", "-uid", "0", "!", "-uid", String(uid), "!", "-samefile", but];
  const give = ["chown", "--no-dereference", `${uid}:${gid}`, "{}", "+"];
  await run("find", ["-P", folder, "-mindepth", "1", ...others, "-execdir", ...give], {
    timeoutMs: TIMEOUT_MS,
    // It refuses to work where a program could come from the folder itself.
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
  });
}
