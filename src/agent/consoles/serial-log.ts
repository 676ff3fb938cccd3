/**
 * The last of what a guest said on its serial port, in files that cannot grow: segments of at most 256 KiB, each named by the position of its first
 * byte in all that was said. When one is full the next begins and the oldest goes, so a guest has at most 1 MiB of the disk, whatever it does,
 * and what is where is known from the names alone, also after a crash.
 */
import {
  appendFileSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
} from "node:fs";
import { join } from "node:path";

const SEGMENT_BYTES = 256 * 1024;
const SEGMENTS = 4;
/** What one machine's log takes at most. */
export const SERIAL_LOG_MAX_BYTES = SEGMENT_BYTES * SEGMENTS;
const NEWLINE = 10;

const nameOf = (position: number) => position.toString().padStart(16, "0");

interface Segment {
  start: number;
  bytes: number;
  /** It could not be written to its end: the next one begins. */
  isCut?: boolean;
}

export class SerialLog {
  readonly #folder: string;
  /** Oldest first. */
  readonly #segments: Segment[];
  #end: number;

  /** Goes on with what is there. */
  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#segments = readdirSync(folder)
      .filter((name) => /^\d{16}$/.test(name))
      .sort()
      .map((name) => ({ start: Number(name), bytes: statSync(join(folder, name)).size }));
    const last = this.#segments.at(-1);
    this.#end = last ? last.start + last.bytes : 0;
  }

  /** Whether anything was ever recorded in this folder. */
  static exists(folder: string): boolean {
    return existsSync(folder);
  }

  /** The position of the first byte that is kept. */
  get start(): number {
    return this.#segments[0]?.start ?? this.#end;
  }

  /** The position behind the last byte. */
  get end(): number {
    return this.#end;
  }

  /** @throws Error of the file system; the bytes have their positions all the same, and are missing */
  append(bytes: Buffer): void {
    let rest = bytes;
    while (rest.length > 0) {
      const segment = this.#open();
      const part = rest.subarray(0, SEGMENT_BYTES - segment.bytes);
      rest = rest.subarray(part.length);
      this.#end += part.length;
      try {
        appendFileSync(join(this.#folder, nameOf(segment.start)), part, { mode: 0o600 });
        segment.bytes += part.length;
      } catch (error) {
        // A full disk may have taken some of it. What comes next begins a segment of its own, at its own position.
        segment.isCut = true;
        this.#end += rest.length;
        throw error;
      }
    }
  }

  /** The bytes from `position` on, at most `max` and never beyond one segment. What is not kept is passed over. @returns where they begin */
  read(position: number, max: number): { from: number; bytes: Buffer } {
    const segment = this.#segments.find(({ start, bytes }) => position < start + bytes);
    if (!segment) return { from: this.#end, bytes: Buffer.alloc(0) };
    const from = Math.max(position, segment.start);
    const buffer = Buffer.alloc(Math.min(max, segment.start + segment.bytes - from));
    const file = openSync(join(this.#folder, nameOf(segment.start)), "r");
    try {
      return {
        from,
        bytes: buffer.subarray(0, readSync(file, buffer, 0, buffer.length, from - segment.start)),
      };
    } finally {
      closeSync(file);
    }
  }

  /** Where the last `lines` lines begin; what has no line end yet is one, too. */
  lastLines(lines: number): number {
    if (lines <= 0) return this.#end;
    const all: Buffer[] = [];
    let at = this.start;
    for (;;) {
      const { from, bytes } = this.read(at, SEGMENT_BYTES);
      if (bytes.length === 0) break;
      // A part that is missing would shift what is counted: only what is behind it counts.
      if (from !== at) all.length = 0;
      all.push(bytes);
      at = from + bytes.length;
    }
    const kept = Buffer.concat(all);
    let begins = kept.length;
    for (let found = 0; found < lines && begins > 0; found++)
      begins = begins < 2 ? 0 : kept.lastIndexOf(NEWLINE, begins - 2) + 1;
    return at - kept.length + begins;
  }

  #open(): Segment {
    const last = this.#segments.at(-1);
    if (last && !last.isCut && last.bytes < SEGMENT_BYTES) return last;
    // The oldest goes first: at no moment are there more.
    for (const { start } of this.#segments.splice(0, this.#segments.length - SEGMENTS + 1))
      rmSync(join(this.#folder, nameOf(start)), { force: true });
    const made = { start: this.#end, bytes: 0 };
    this.#segments.push(made);
    return made;
  }
}
