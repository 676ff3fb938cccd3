/**
 * The event journal of a QEMU process: what its monitor on stdout wrote, in a file opened for appending. It is there although nobody
 * listened. A guest can make QEMU write without end (a reset loop emits tens of events a second), so the files are kept short.
 */
import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { isFields, parseEvent, type QmpEvent } from "./qmp.ts";

export interface Journal {
  /** QEMU answered `qmp_capabilities`, so all its devices were made and its main loop ran. */
  started: boolean;
  events: QmpEvent[];
}

/** Of what a QEMU that was taken over has made longer since it was last cut. */
const MAX_READ = 8 * 2 ** 20;

/** Its last `max` bytes. @throws Error when it cannot be read */
export function readTail(path: string, max: number): string {
  const fd = openSync(path, "r");
  try {
    const { size } = fstatSync(fd);
    const buffer = Buffer.alloc(Math.min(size, max));
    return buffer.toString("utf8", 0, readSync(fd, buffer, 0, buffer.length, size - buffer.length));
  } finally {
    closeSync(fd);
  }
}

/** An absent file is an empty journal; a line that a crash cut off is skipped. */
export function readJournal(path: string): Journal {
  let text: string;
  try {
    text = readTail(path, MAX_READ);
  } catch {
    return { started: false, events: [] };
  }
  return parseJournal(text);
}

/** Pure. */
export function parseJournal(text: string): Journal {
  // An event begins a line of its own even behind a line that a full disk cut off.
  const lines = text.split(/\n|(?=\{"timestamp")/).filter((line) => line.trim());
  const events = lines.map(parseEvent).filter((event) => event !== undefined);
  // Events without the answer: the beginning was trimmed away.
  return { started: events.length > 0 || lines.some(isAnswer), events };
}

function isAnswer(line: string): boolean {
  try {
    const value: unknown = JSON.parse(line);
    return isFields(value) && "return" in value;
  } catch {
    return false;
  }
}

/**
 * Cuts a file that a process has open for appending back to its last `keep` bytes (whole lines), once it is longer than `max`. The process goes
 * on writing at the new end. What it writes in the microseconds between our reading and cutting is lost; the file is longer than
 * `max` only when its newest lines are noise.
 */
export function trimLog(path: string, max: number, keep: number): void {
  let fd: number | undefined;
  try {
    const { O_RDWR, O_APPEND, O_NOFOLLOW, O_NONBLOCK } = constants;
    fd = openSync(path, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK);
    const found = fstatSync(fd);
    if (!found.isFile() || found.size <= max) return;
    const { size } = found;
    const buffer = Buffer.alloc(keep);
    const tail = buffer.subarray(0, readSync(fd, buffer, 0, keep, size - keep));
    const from = tail.indexOf(10) + 1;
    ftruncateSync(fd, 0);
    writeSync(fd, tail.subarray(from));
  } catch {
    // gone in the meantime
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
