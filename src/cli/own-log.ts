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
  writeSync,
} from "node:fs";
import { createLogger, type Logger } from "../reconcile/log.ts";

/** Tells a process that this is the file of its log. */
export const LOG_FILE = "VIREO_LOG_FILE";

const MAX_BYTES = 16 * 2 ** 20;
/** FILE.1 is the newest of them. */
const OLDER = 3;
/** Of a full one that cannot be kept stays such a part: the last MiB. */
const KEPT = 16;

/** A logger to stderr, which keeps its file small when that is one of ours. */
export function ownLogger(component: string, maxBytes = MAX_BYTES): Logger {
  const file = process.env[LOG_FILE];
  const log = createLogger(component, (line) => {
    process.stderr.write(line);
    const error = file === undefined ? undefined : keepSmall(file, maxBytes);
    if (error !== undefined)
      log.warn("log.dropped", {
        error,
        why: "the full log could not be kept as a file of its own: only its end is left; make room on its file system",
      });
  });
  return log;
}

/** @returns why what was in the file could not be kept, but for its end */
function keepSmall(file: string, maxBytes: number): unknown {
  const { size, dev, ino } = fstatSync(process.stderr.fd);
  if (size < maxBytes) return undefined;
  try {
    const there = statSync(file);
    if (there.dev !== dev || there.ino !== ino) return undefined;
  } catch {
    return undefined; // somebody took it away, or it is another's, who was started by hand
  }
  const fresh = `${file}.new`;
  try {
    // The older ones stay as they are until there is one more.
    copyFileSync(file, fresh);
    for (let n = OLDER - 1; n >= 1; n--)
      if (existsSync(`${file}.${n}`)) renameSync(`${file}.${n}`, `${file}.${n + 1}`);
    renameSync(fresh, `${file}.1`);
    ftruncateSync(process.stderr.fd);
  } catch (error) {
    try {
      rmSync(fresh, { force: true, recursive: true });
      const end = endOfFile(file, Math.floor(maxBytes / KEPT));
      ftruncateSync(process.stderr.fd);
      // From the first whole line on.
      writeSync(process.stderr.fd, end.slice(end.indexOf("\n") + 1));
    } catch {
      return undefined; // the next line comes back to it
    }
    return error;
  }
  return undefined;
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
