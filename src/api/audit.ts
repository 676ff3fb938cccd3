/**
 * The audit log: who changed what, who was refused, who read secrets. Lines of JSON, each with the SHA-256 of the line before, so that a line
 * that was changed, taken out, or moved is found (`vireo audit verify`). Contents of objects are never in it.
 *
 * A line is written before its answer leaves, and is on the disk within a second (FLUSH_MS). Every control plane writes a chain of its own:
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

  /** Goes on with the chain that is there. A last line that a crash has cut is taken out: its answer never left. */
  constructor(folder: string, name: string, options: { maxBytes?: number } = {}) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#folder = folder;
    this.#name = name;
    this.#maxBytes = options.maxBytes ?? MAX_BYTES;
    this.#fd = openSync(this.#path, "a+", 0o600);
    const { last, bytes } = wholeEnd(this.#fd);
    ftruncateSync(this.#fd, bytes);
    this.#bytes = bytes;
    this.#previous = last === undefined ? this.#endOfRotated() : hashOf(last);
    this.#timer = setInterval(() => this.#flush(), FLUSH_MS).unref();
  }

  get #path(): string {
    return join(this.#folder, `${this.#name}.jsonl`);
  }

  record(record: AuditRecord): void {
    const line = JSON.stringify({ ...record, previous: this.#previous });
    const bytes = Buffer.from(`${line}\n`);
    // In one piece: a crash leaves a whole line or a cut one at the end, never two mixed.
    writeSync(this.#fd, bytes);
    this.#previous = hashOf(line);
    this.#bytes += bytes.length;
    this.#dirty = true;
    if (this.#bytes > this.#maxBytes) this.#rotate();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#flush();
    closeSync(this.#fd);
  }

  #flush(): void {
    if (this.#dirty) fsyncSync(this.#fd);
    this.#dirty = false;
  }

  #rotate(): void {
    this.#flush();
    closeSync(this.#fd);
    const number = Math.max(0, ...rotated(this.#folder, this.#name)) + 1;
    renameSync(this.#path, join(this.#folder, `${this.#name}.${number}.jsonl`));
    this.#fd = openSync(this.#path, "a+", 0o600);
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
