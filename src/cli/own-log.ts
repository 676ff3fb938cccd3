/**
 * The log of a background process (daemons.ts) does not grow without end: it is on the file system on which there may be disks of machines, too. It is the process's stderr, and perhaps
 * that of programs that it has started, which hold the file open: so it is copied and emptied, not renamed. All append, so what they write goes on at its new end; what such a
 * program says between the two is lost.
 */
import {
  closeSync,
  copyFileSync,
  existsSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { createLogger, type Logger } from "../reconcile/log.ts";

/** Tells a process that this is the file of its log. */
export const LOG_FILE = "VIREO_LOG_FILE";

const MAX_BYTES = 16 * 2 ** 20;
/** FILE.1 is the newest of them. */
const OLDER = 3;

/** A logger to stderr, which keeps its file small when that is one of ours. */
export function ownLogger(component: string, maxBytes = MAX_BYTES): Logger {
  const file = process.env[LOG_FILE];
  return createLogger(component, (line) => {
    process.stderr.write(line);
    if (file !== undefined) keepSmall(file, maxBytes);
  });
}

function keepSmall(file: string, maxBytes: number): void {
  const { size, dev, ino } = fstatSync(process.stderr.fd);
  if (size < maxBytes) return;
  try {
    const there = statSync(file);
    if (there.dev !== dev || there.ino !== ino) return;
  } catch {
    return; // somebody took it away, or it is another's, who was started by hand
  }
  try {
    for (let n = OLDER - 1; n >= 1; n--)
      if (existsSync(`${file}.${n}`)) renameSync(`${file}.${n}`, `${file}.${n + 1}`);
    copyFileSync(file, `${file}.1`);
  } catch {
    // There is no room for it: then least of all for more.
    rmSync(`${file}.1`, { force: true });
  }
  ftruncateSync(process.stderr.fd);
}

/** The last of a file, and at most that: it may be large. @throws Error when it cannot be read */
export function endOfFile(file: string, bytes: number): string {
  const opened = openSync(file, "r");
  try {
    const from = Math.max(0, fstatSync(opened).size - bytes);
    const buffer = Buffer.alloc(bytes);
    return buffer.toString("utf8", 0, readSync(opened, buffer, 0, bytes, from));
  } finally {
    closeSync(opened);
  }
}
