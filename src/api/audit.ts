/**
 * The audit log: who changed what, who was refused, who read secrets. Lines of JSON, each with the SHA-256 of the line before, so that a line
 * that was changed, taken out, or moved is found (`vireo audit verify`). Contents of objects are never in it.
 *
 * A line is written before its answer leaves, and is on the disk within a second (FLUSH_MS). While it cannot be written (a full disk), nothing is begun that
 * would need one (audit-requests.ts); what was under way is kept in memory until it can. Every control plane writes a chain of its own:
 * NAME.jsonl, and what was rotated away as NAME.N.jsonl, N counting up.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

/** A file is rotated when it is larger than this. */
const MAX_BYTES = 64 * 2 ** 20;
const FLUSH_MS = 1000;
/** Enough to hold the last line. */
const TAIL_BYTES = 64 * 1024;

export interface AuditRecord {
  time: string;
  request: string;
  user: string;
  /** Who really asked, when it was as somebody else. */
  impersonatedBy?: string;
  from: string;
  verb: string;
  path: string;
  code: number;
}

const hashOf = (line: string) => createHash("sha256").update(line).digest("hex");

export class AuditLog {
  readonly #folder: string;
  readonly #name: string;
  readonly #maxBytes: number;
  readonly #timer: NodeJS.Timeout;
  #fd: number;
  #bytes: number;
  #previous: string;
  #dirty = false;
  /** In order: what could not be written yet. */
  readonly #waiting: AuditRecord[] = [];
  #trouble: string | undefined;
  readonly #tell: (why: string | undefined) => void;

  /**
   * Goes on with the chain that is there. A last line that a crash has cut is taken out: its answer never left.
   * @param options.tell why it cannot be written since now; undefined: it can again
   */
  constructor(
    folder: string,
    name: string,
    options: { maxBytes?: number; tell?: (why: string | undefined) => void } = {},
  ) {
    this.#tell = options.tell ?? (() => {});
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#folder = folder;
    this.#name = name;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
    this.#fd = openSync(this.#path, "a+", 0o600);
    const { last, bytes } = wholeEnd(this.#fd);
    ftruncateSync(this.#fd, bytes);
    this.#bytes = bytes;
    this.#previous = last === undefined ? this.#endOfRotated() : hashOf(last);
    this.#timer = setInterval(() => this.#write(), FLUSH_MS).unref();
  }

  get #path(): string {
    return join(this.#folder, `${this.#name}.jsonl`);
  }

  /** Why it cannot be written, for users; undefined: it can. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Never throws: what cannot be written is kept, and tried again each second. */
  record(record: AuditRecord): void {
    this.#waiting.push(record);
    if (this.#trouble === undefined) this.#write({ flush: false });
  }

  close(): void {
    clearInterval(this.#timer);
    this.#write();
    closeSync(this.#fd);
  }

  #write({ flush } = { flush: true }): void {
    let why: string | undefined;
    try {
      for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
        this.#append(next);
        this.#waiting.shift();
      }
      if (flush) this.#flush();
    } catch (error) {
      why = `the audit log in ${this.#folder} cannot be written: ${error instanceof Error ? error.message : error}`;
    }
    if (why === this.#trouble) return;
    this.#trouble = why;
    this.#tell(why);
  }

  /** @throws what the disk does; then the file and the chain are as before */
  #append(record: AuditRecord): void {
    if (this.#bytes > this.#maxBytes) this.#rotate();
    // What an attempt before may have left of a line would be glued to this one.
    if (this.#trouble !== undefined) ftruncateSync(this.#fd, this.#bytes);
    const line = JSON.stringify({ ...record, previous: this.#previous });
    const bytes = Buffer.from(`${line}\n`);
    // In one piece: a crash leaves a whole line or a cut one at the end, never two mixed.
    const written = writeSync(this.#fd, bytes);
    if (written < bytes.length) {
      ftruncateSync(this.#fd, this.#bytes);
      throw new Error(
        `only ${written} of the ${bytes.length} bytes of a line could be written: is the disk full?`,
      );
    }
    this.#previous = hashOf(line);
    this.#bytes += bytes.length;
    this.#dirty = true;
  }

  #flush(): void {
    if (this.#dirty) fsyncSync(this.#fd);
    this.#dirty = false;
  }

  #rotate(): void {
    this.#flush();
    const number = Math.max(0, ...rotated(this.#folder, this.#name)) + 1;
    const away = join(this.#folder, `${this.#name}.${number}.jsonl`);
    renameSync(this.#path, away);
    let fd: number;
    try {
      fd = openSync(this.#path, "a+", 0o600);
    } catch (error) {
      renameSync(away, this.#path);
      throw error;
    }
    closeSync(this.#fd);
    this.#fd = fd;
    this.#bytes = 0;
  }

  #endOfRotated(): string {
    const number = Math.max(0, ...rotated(this.#folder, this.#name));
    if (number === 0) return "";
    const fd = openSync(join(this.#folder, `${this.#name}.${number}.jsonl`), "r");
    const { last } = wholeEnd(fd);
    closeSync(fd);
    return last === undefined ? "" : hashOf(last);
  }
}

/** Numbers of the files that were rotated away, in order. */
function rotated(folder: string, name: string): number[] {
  return readdirSync(folder)
    .map((file) => (file.startsWith(`${name}.`) ? /^(\d+)\.jsonl$/.exec(file.slice(name.length + 1)) : null))
    .flatMap((match) => (match ? [Number(match[1])] : []))
    .sort((a, b) => a - b);
}

/** The last whole line of a file, and how many bytes are whole. */
function wholeEnd(fd: number): { last: string | undefined; bytes: number } {
  const { size } = fstatSync(fd);
  const tail = Buffer.alloc(Math.min(size, TAIL_BYTES));
  readSync(fd, tail, 0, tail.length, size - tail.length);
  const end = tail.lastIndexOf(10);
  if (end < 0) return { last: undefined, bytes: 0 };
  const start = tail.lastIndexOf(10, end - 1) + 1;
  return { last: tail.subarray(start, end).toString("utf8"), bytes: size - tail.length + end + 1 };
}

export interface AuditVerdict {
  file: string;
  records: number;
  first?: string;
  last?: string;
  /** Hash of the last line: written down elsewhere, it shows later whether lines at the end are gone. */
  end: string;
  /** Line and what is wrong with it; undefined when the chain is whole. */
  wrong?: { line: number; what: string };
}

/** Follows the chain of each control plane in the folder, through its rotated files. */
export function verifyAudit(folder: string): AuditVerdict[] {
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder)
    .filter((file) => file.endsWith(".jsonl") && !/\.\d+\.jsonl$/.test(file))
    .map((file) => file.slice(0, -".jsonl".length));
  return names.sort().flatMap((name) => {
    let previous = "";
    const files = [...rotated(folder, name).map((n) => `${name}.${n}.jsonl`), `${name}.jsonl`];
    return files.map((file) => {
      const verdict = verifyFile(join(folder, file), previous);
      previous = verdict.end;
      return verdict;
    });
  });
}

/** One file whose first line follows the one with the hash `previous`; undefined: whatever comes first is taken for it. */
export function verifyFile(file: string, previous?: string): AuditVerdict {
  const lines = readFileSync(file, "utf8").split("\n");
  const cut = lines.pop();
  const verdict: AuditVerdict = { file, records: lines.length, end: previous ?? "" };
  let expected = previous;
  for (const [i, line] of lines.entries()) {
    const wrong = (what: string) => ({ ...verdict, wrong: { line: i + 1, what } });
    let record: unknown;
    try {
      record = JSON.parse(line);
    } catch {
      return wrong("is not JSON");
    }
    const field = (name: string): unknown =>
      typeof record === "object" && record !== null ? Reflect.get(record, name) : undefined;
    const before = field("previous");
    if (typeof before !== "string") return wrong("is not a record of the audit log");
    if (expected !== undefined && before !== expected)
      return wrong(
        i === 0
          ? "does not follow the end of the file before: lines or files are missing, or were changed"
          : `does not follow line ${i}: that line was changed, or lines between were taken out or moved`,
      );
    expected = hashOf(line);
    verdict.end = expected;
    const time = String(field("time"));
    verdict.first ??= time;
    verdict.last = time;
  }
  if (cut) return { ...verdict, wrong: { line: lines.length + 1, what: "is cut off" } };
  return verdict;
}
