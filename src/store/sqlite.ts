/**
 * The store on one machine: SQLite through node:sqlite, WAL with synchronous=FULL.
 *
 * DatabaseSync blocks while it fsyncs, so the commits of one turn of the event loop share one transaction (group commit):
 * each is checked on its own against the state that the ones before it leave, failed ones are left out, then one COMMIT makes the
 * rest durable, and only then their promises resolve and watchers hear of them.
 *
 * One process owns the file: the revision is counted in memory, so a second writer is locked out (locking_mode EXCLUSIVE;
 * the kernel drops the lock with the process, whatever kills it).
 *
 * Rejected: synchronous=NORMAL (may lose the last commits at power loss, and the revision would go back).
 */
import { chmodSync } from "node:fs";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { type Change, Compacted, CompareFailed, type Entry, type Store, type Write } from "./store.ts";

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

interface Pending {
  write: Write;
  resolve: (entry: Entry) => void;
  reject: (error: unknown) => void;
}

interface Watcher {
  prefix: string;
  /** It has everything up to here: a watch begun by another watcher's callback must not hear of this batch twice. */
  seen: number;
  onChange: (change: Change) => void;
}

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
    const why = cause instanceof Error ? cause.message : String(cause);
    const help = /locked/.test(why)
      ? "another control plane is using it; stop that one first"
      : /not a database|malformed/.test(why)
        ? "it is not a store of Vireo, or it is damaged; move it away to begin anew, or restore it"
        : why;
    throw new Error(`${path}: cannot be opened as the store: ${help}`, { cause });
  }
}

class SqliteStore implements Store {
  readonly #db: DatabaseSync;
  readonly #statements: Record<
    "get" | "put" | "del" | "log" | "meta" | "range" | "since" | "putSince",
    StatementSync
  >;
  /** Nobody cuts a file off. */
  readonly failed = new Promise<Error>(() => {});
  readonly #watchers = new Set<Watcher>();
  #pending: Pending[] = [];
  #revision: number;
  #compacted: number;
  #closed = false;

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

  async latest(): Promise<number> {
    return this.#revision;
  }

  #entry(key: string): Entry | undefined {
    const row = this.#statements.get.get(key);
    return row && { key: text(row.key), value: text(row.value), revision: integer(row.revision) };
  }

  async get(key: string): Promise<Entry | undefined> {
    return this.#entry(key);
  }

  async range(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    const entries = this.#statements.range
      .all(prefix, after(prefix))
      .map((row) => ({ key: text(row.key), value: text(row.value), revision: integer(row.revision) }));
    return { entries, revision: this.#revision };
  }

  commit(write: Write): Promise<Entry> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error("the store is closed"));
      if (this.#pending.push({ write, resolve, reject }) === 1) setImmediate(() => this.#flush());
    });
  }

  /** One transaction for everything that is waiting. */
  #flush(): void {
    const batch = this.#pending;
    this.#pending = [];
    if (batch.length === 0) return;
    const before = this.#revision;
    const done: { pending: Pending; entry: Entry }[] = [];
    const failed: { pending: Pending; error: unknown }[] = [];
    const changes: Change[] = [];
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      for (const pending of batch) {
        // A write that is refused has changed nothing: checks come first.
        try {
          done.push({ pending, entry: this.#apply(pending.write, changes) });
        } catch (error) {
          if (!(error instanceof CompareFailed)) throw error;
          failed.push({ pending, error });
        }
      }
      this.#statements.meta.run(this.#revision, "revision");
      this.#db.exec("COMMIT");
    } catch (error) {
      // The transaction as a whole did not become durable (disk full, I/O error): nobody's write happened.
      this.#revision = before;
      try {
        this.#db.exec("ROLLBACK");
      } catch {
        // SQLite has rolled back by itself
      }
      for (const { reject } of batch) reject(error);
      return;
    }
    for (const change of changes)
      for (const watcher of this.#watchers) {
        if (change.revision <= watcher.seen) continue;
        watcher.seen = change.revision;
        if (change.key.startsWith(watcher.prefix)) watcher.onChange(change);
      }
    for (const { pending, entry } of done) pending.resolve(entry);
    for (const { pending, error } of failed) pending.reject(error);
  }

  #apply(write: Write, changes: Change[]): Entry {
    const current = this.#entry(write.key);
    if ((current?.revision ?? 0) !== write.expected)
      throw new CompareFailed(
        `${write.key}: expected revision ${write.expected}, found ${current?.revision ?? 0}`,
        this.#revision,
      );
    for (const { prefix, since } of write.guards ?? [])
      if (since < this.#compacted || this.#statements.putSince.get(since, prefix, after(prefix)))
        throw new CompareFailed(`${prefix}: written after revision ${since}`, this.#revision);
    const revision = ++this.#revision;
    const previous = current?.value;
    if (write.value === undefined) {
      const value = previous ?? "";
      this.#statements.del.run(write.key);
      this.#statements.log.run(revision, "delete", write.key, value, null);
      changes.push({ type: "delete", key: write.key, value, revision });
      return { key: write.key, value, revision };
    }
    const { value } = write;
    this.#statements.put.run(write.key, value, revision);
    this.#statements.log.run(revision, "put", write.key, value, previous ?? null);
    changes.push({
      type: "put",
      key: write.key,
      value,
      revision,
      ...(previous === undefined ? {} : { previous }),
    });
    return { key: write.key, value, revision };
  }

  async watch(prefix: string, from: number, onChange: (change: Change) => void): Promise<() => void> {
    if (from < this.#compacted) throw new Compacted(this.#compacted);
    for (const row of this.#statements.since.all(from, prefix, after(prefix)))
      onChange({
        type: row.type === "delete" ? "delete" : "put",
        key: text(row.key),
        value: text(row.value),
        revision: integer(row.revision),
        ...(typeof row.previous === "string" ? { previous: row.previous } : {}),
      });
    // No write can come between: everything here runs in one turn of the event loop.
    const watcher = { prefix, onChange, seen: Math.max(from, this.#revision) };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  async compact(revision: number): Promise<void> {
    const upTo = Math.min(revision, this.#revision);
    if (upTo <= this.#compacted) return;
    this.#db.exec("BEGIN IMMEDIATE");
    this.#db.prepare("DELETE FROM history WHERE revision <= ?").run(upTo);
    this.#statements.meta.run(upTo, "compacted");
    this.#db.exec("COMMIT");
    this.#compacted = upTo;
  }

  async continueAfter(revision: number): Promise<void> {
    if (revision <= this.#revision) return;
    this.#db.exec("BEGIN IMMEDIATE");
    this.#statements.meta.run(revision, "revision");
    this.#statements.meta.run(revision, "compacted");
    this.#db.exec("COMMIT");
    this.#revision = revision;
    this.#compacted = revision;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#watchers.clear();
    this.#db.close();
  }
}

/** Opens the file, making it when it is missing. @throws when it is not ours or of another format */
export async function openSqliteStore(path: string): Promise<Store> {
  return new SqliteStore(path);
}
