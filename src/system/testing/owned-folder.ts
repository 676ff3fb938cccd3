/**
 * Temporary folders of tests that others than this process may be using (daemons, QEMU): each is marked as this process's own, so that a later run knows the
 * folder of a test that was killed, and ends what it has left behind. One that is given up, as evidence of a failed test, is nobody's to sweep.
 *
 *   /tmp/PREFIX…        the folder
 *   /tmp/PREFIX….test   whose it is: a ProcessIdentity
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isFields } from "../../resource/fields.ts";
import { identify, isSame, type ProcessIdentity, sendSignal, waitForExit } from "../process.ts";

const MARK = ".test";
const END_MS = 10_000;

/** Everybody may enter it: QEMU's users have files of their own in it. */
export function ownFolder(prefix: `vireo-${string}-`): string {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(folder, 0o755);
  writeFileSync(`${folder}${MARK}`, JSON.stringify(identify(process.pid)));
  return folder;
}

/** It is kept, or gone. */
export function giveUp(folder: string): void {
  rmSync(`${folder}${MARK}`, { force: true });
}

/** Folders whose test was killed. */
export function abandoned(): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith("vireo-") && name.endsWith(MARK))
    .map((name) => join(tmpdir(), name))
    .filter((mark) => !isOwned(mark))
    .map((mark) => mark.slice(0, -MARK.length));
}

/** Ends the processes that have it in an argument, and removes it. */
export async function removeAbandoned(folder: string): Promise<void> {
  const users = processesOf(folder);
  for (const user of users) sendSignal(user, "SIGKILL");
  for (const user of users) await waitForExit(user, END_MS);
  rmSync(folder, { recursive: true, force: true });
  giveUp(folder);
}

function isOwned(mark: string): boolean {
  try {
    const owner: unknown = JSON.parse(readFileSync(mark, "utf8"));
    // Of another form: another version's, which knows what to do with it.
    if (!isFields(owner) || typeof owner.pid !== "number" || typeof owner.startTime !== "string") return true;
    return isSame({ pid: owner.pid, startTime: owner.startTime });
  } catch {
    return true; // being written, or given up while we looked
  }
}

function processesOf(folder: string): ProcessIdentity[] {
  return readdirSync("/proc").flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return [];
    try {
      const has = readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(folder);
      const found = has ? identify(Number(pid)) : undefined;
      return found ? [found] : [];
    } catch {
      return []; // ended while we looked
    }
  });
}
