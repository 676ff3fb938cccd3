/**
 * The file of the SQLite store, through node:sqlite: WAL with synchronous=FULL. Everything here blocks until it is done: sqlite-worker.ts runs it
 * on a thread of its own.
 *
 * One process owns the file: the revision is counted in memory, so a second writer is locked out (locking_mode EXCLUSIVE;
 * the kernel drops the lock with the process, whatever kills it).
 *
 * Rejected: synchronous=NORMAL (may lose the last commits at power loss, and the revision would go back).
 */
import { accessSync, chmodSync, constants, existsSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { type Change, Compacted, type Entry, type Guard, NotWritten, type Write } from "./store.ts";

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS current (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS history (
    revision INTEGER PRIMARY KEY, type TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, previous TEXT
  );
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
  INSERT OR IGNORE INTO meta VALUES ('format', 1), ('revision', 1), ('compacted', 1);
`;
const FORMAT = 1;
/** A control plane that is being replaced may need a moment to let go of the file. */
const LOCK_WAIT_MS = 1000;

/** What became of one write of a group: its revision and what was there before, or why it was refused. */
export type Outcome = { revision: number; previous?: string } | { refused: string };

/** The smallest string above all that start with `prefix`; keys are ASCII. */
const after = (prefix: string) => `${prefix}\uffff`;

const text = (value: unknown): string => {
  if (typeof value !== "string")
    throw new Error("the store's file holds something else than this program wrote");
  return value;
};
const integer = (value: unknown): number => {
  if (typeof value !== "number")
    throw new Error("the store's file holds something else than this program wrote");
  return value;
};

/** Result codes of SQLite. */
const SQLITE = {
  busy: 5,
  locked: 6,
  readOnly: 8,
  io: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  notADatabase: 26,
} as const;

/**
 * What SQLite's result codes are to users (https://www.sqlite.org/rescode.html; extended ones have the code itself in their lowest byte).
 * Undefined: an error of ours.
 */
function wordsFor(error: unknown): { ofTheDisk: boolean; words: string } | undefined {
  if (!(error instanceof Error) || !("errcode" in error)) return undefined;
  switch (Number(error.errcode) & 0xff) {
    case SQLITE.busy:
    case SQLITE.locked:
      return { ofTheDisk: false, words: "another control plane is using it; stop that one first" };
    case SQLITE.corrupt:
    case SQLITE.notADatabase:
      return {
        ofTheDisk: false,
        words:
          "it is not a store of Vireo, or it is damaged; move it away to begin anew, or restore it from a backup",
      };
    case SQLITE.full:
      return {
        ofTheDisk: true,
        words: "its disk is full; make room where the control plane keeps its state",
      };
    case SQLITE.readOnly:
    case SQLITE.io:
    case SQLITE.cannotOpen:
      return {
        ofTheDisk: true,
        words: `its disk fails (${error.message}); look at the disk of the control plane's state`,
      };
  }
  return undefined;
}

/** What is there instead of a file that can be written, or of a folder to make one in. Of all that SQLite says the same: cannot open. */
function obstacleAt(path: string): string | undefined {
  const folder = dirname(path);
  if (!existsSync(folder)) return `there is no folder ${folder}; make it`;
  if (!statSync(folder).isDirectory()) return `${folder} is not a folder`;
  if (existsSync(path) && !statSync(path).isFile()) return "it is not a file; move it away";
  try {
    accessSync(existsSync(path) ? path : folder, constants.R_OK | constants.W_OK);
  } catch (error) {
    return `it cannot be written (${error instanceof Error ? error.message : String(error)}); give whoever runs the control plane that right`;
  }
  return undefined;
}

/** @throws Error that names the file and says what would help */
function open(path: string): DatabaseSync {
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { timeout: LOCK_WAIT_MS });
    // Resources will hold secrets; the -wal file gets the same mode.
    chmodSync(path, 0o600);
    db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
    db.exec(SCHEMA);
    return db;
  } catch (cause) {
    db?.close();
    const why =
      obstacleAt(path) ?? wordsFor(cause)?.words ?? (cause instanceof Error ? cause.message : String(cause));
    throw new Error(`${path}: cannot be opened as the store: ${why}`, { cause });
  }
}

/** What is about the disk in words for users; other errors as they are. */
function diskError(error: unknown): unknown {
  const found = wordsFor(error);
  return found?.ofTheDisk ? new NotWritten(found.words, { cause: error }) : error;
}

export class SqliteFile {
  readonly #db: DatabaseSync;
  readonly #statements: Record<
    "get" | "put" | "del" | "log" | "meta" | "range" | "since" | "putSince",
    StatementSync
  >;
  #revision: number;
  #compacted: number;

  /** Makes the file when it is missing. @throws when it is not ours or of another format */
  constructor(path: string) {
    this.#db = open(path);
    const meta = (name: string) =>
      integer(this.#db.prepare("SELECT value FROM meta WHERE name = ?").get(name)?.value);
    const format = meta("format");
    if (format !== FORMAT) {
      this.#db.close();
      throw new Error(
        `${path}: has format ${format}, of another version of Vireo; this version reads format ${FORMAT}. Start that version, or move the file away to begin anew.`,
      );
    }
    this.#revision = meta("revision");
    this.#compacted = meta("compacted");
    this.#statements = {
      get: this.#db.prepare("SELECT key, value, revision FROM current WHERE key = ?"),
      put: this.#db.prepare(
        "INSERT INTO current VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision",
      ),
      del: this.#db.prepare("DELETE FROM current WHERE key = ?"),
      log: this.#db.prepare("INSERT INTO history VALUES (?, ?, ?, ?, ?)"),
      meta: this.#db.prepare("UPDATE meta SET value = ? WHERE name = ?"),
      range: this.#db.prepare(
        "SELECT key, value, revision FROM current WHERE key >= ? AND key < ? ORDER BY key",
      ),
      since: this.#db.prepare(
        "SELECT * FROM history WHERE revision > ? AND key >= ? AND key < ? ORDER BY revision",
      ),
      putSince: this.#db.prepare(
        "SELECT 1 FROM history WHERE revision > ? AND key >= ? AND key < ? AND type = 'put' LIMIT 1",
      ),
    };
  }

  revision(): number {
    return this.#revision;
  }

  get(key: string): Entry | undefined {
    const row = this.#statements.get.get(key);
    return row && { key: text(row.key), value: text(row.value), revision: integer(row.revision) };
  }

  range(prefix: string): { entries: Entry[]; revision: number } {
    const entries = this.#statements.range
      .all(prefix, after(prefix))
      .map((row) => ({ key: text(row.key), value: text(row.value), revision: integer(row.revision) }));
    return { entries, revision: this.#revision };
  }

  /** Changes under `prefix` after revision `from`, up to now. @throws Compacted */
  since(prefix: string, from: number): { changes: Change[]; revision: number } {
    if (from < this.#compacted) throw new Compacted(this.#compacted);
    const changes = this.#statements.since.all(from, prefix, after(prefix)).map(
      (row): Change => ({
        type: row.type === "delete" ? "delete" : "put",
        key: text(row.key),
        value: text(row.value),
        revision: integer(row.revision),
        ...(typeof row.previous === "string" ? { previous: row.previous } : {}),
      }),
    );
    return { changes, revision: this.#revision };
  }

  /**
   * One transaction for all of them (group commit): each is checked by itself against the state that the ones before it leave, those that are
   * refused are left out. @throws NotWritten when the whole did not become durable (disk full, I/O error): nobody's write happened
   */
  commit(writes: readonly Write[]): { outcomes: Outcome[]; revision: number } {
    const before = this.#revision;
    try {
      const outcomes = this.#durably(() => {
        const outcomes = writes.map((write) => this.#apply(write));
        this.#statements.meta.run(this.#revision, "revision");
        return outcomes;
      });
      return { outcomes, revision: this.#revision };
    } catch (error) {
      this.#revision = before;
      throw error;
    }
  }

  /** All that `act` writes, or nothing. @throws NotWritten */
  #durably<T>(act: () => T): T {
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      const result = act();
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      try {
        this.#db.exec("ROLLBACK");
      } catch {
        // SQLite has rolled back by itself
      }
      throw diskError(error);
    }
  }

  /** A write that is refused has changed nothing: checks come first. */
  #apply({ key, value, expected, guards }: Write): Outcome {
    const current = this.get(key);
    const found = current?.revision ?? 0;
    if (found !== expected) return { refused: `${key}: expected revision ${expected}, found ${found}` };
    for (const guard of guards ?? []) {
      const broken = this.#broken(guard);
      if (broken) return { refused: broken };
    }
    const revision = ++this.#revision;
    const previous = current?.value;
    if (value === undefined) {
      this.#statements.del.run(key);
      this.#statements.log.run(revision, "delete", key, previous ?? "", null);
    } else {
      this.#statements.put.run(key, value, revision);
      this.#statements.log.run(revision, "put", key, value, previous ?? null);
    }
    return { revision, ...(previous === undefined ? {} : { previous }) };
  }

  /** Why a guard does not hold. */
  #broken(guard: Guard): string | undefined {
    if ("key" in guard) {
      const found = this.get(guard.key)?.revision;
      return found === guard.revision
        ? undefined
        : `${guard.key}: not of revision ${guard.revision} any more`;
    }
    const { prefix, since } = guard;
    const isBroken =
      since < this.#compacted || this.#statements.putSince.get(since, prefix, after(prefix)) !== undefined;
    return isBroken ? `${prefix}: written after revision ${since}` : undefined;
  }

  /** @throws NotWritten */
  compact(revision: number): void {
    const upTo = Math.min(revision, this.#revision);
    if (upTo <= this.#compacted) return;
    this.#durably(() => {
      this.#db.prepare("DELETE FROM history WHERE revision <= ?").run(upTo);
      this.#statements.meta.run(upTo, "compacted");
    });
    this.#compacted = upTo;
  }

  /** @throws NotWritten */
  continueAfter(revision: number): void {
    if (revision <= this.#revision) return;
    this.#durably(() => {
      this.#statements.meta.run(revision, "revision");
      this.#statements.meta.run(revision, "compacted");
    });
    this.#revision = revision;
    this.#compacted = revision;
  }

  close(): void {
    this.#db.close();
  }
}
