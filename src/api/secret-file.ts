import { chmodSync, closeSync, mkdirSync, openSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";

/** How long another process may have the lock: it reads and writes one small file. */
const LOCK_TIMEOUT_MS = 10_000;

/** Writes a file that only its owner may read, whole or not at all. */
export function writeSecret(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.${process.pid}.new`;
  writeFileSync(next, text, { mode: 0o600, flush: true });
  // The mode above counts only for a new file.
  chmodSync(next, 0o600);
  renameSync(next, path);
}

/**
 * Runs `work` while no other process runs one under the same lock; `path` is a file of its own. The lock is SQLite's, whose locks are the
 * kernel's: gone with their process, whatever ends it. @throws Error naming the file when it stays taken for ten seconds
 */
export function withLock<T>(path: string, work: () => T): T {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let lock: DatabaseSync | undefined;
  try {
    // Made here, because SQLite would let others read it.
    closeSync(openSync(path, "a", 0o600));
    lock = new DatabaseSync(path, { timeout: LOCK_TIMEOUT_MS });
    lock.exec("BEGIN EXCLUSIVE");
  } catch (cause) {
    lock?.close();
    throw new Error(`${path}: the lock cannot be taken; another process may hold it`, { cause });
  }
  try {
    return work();
  } finally {
    lock.close();
  }
}
