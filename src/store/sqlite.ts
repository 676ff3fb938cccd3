/**
 * The store on one machine: SQLite.
 *
 *   commit ──► what waits ──► one transaction, on a thread of its own (sqlite-worker.ts) ──► watches, then the committers hear
 *
 * node:sqlite blocks while a commit is made durable, which takes as long as the disk likes; on its own thread it keeps nobody from reading. What
 * comes meanwhile goes into the next transaction together (group commit), so that throughput does not pay one fsync a write.
 * The thread does and answers requests in order: what is read there was written before, and what its answer says is told at once.
 */
import { Worker } from "node:worker_threads";
import type { Outcome } from "./sqlite-file.ts";
import type { Answer, Request } from "./sqlite-worker.ts";
import {
  type Change,
  Compacted,
  CompareFailed,
  type Entry,
  NotWritten,
  OutcomeUnknown,
  type Store,
  type Write,
} from "./store.ts";

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

/** Called with an answer before any later one is looked at. */
type Waiting = (answer: Answer) => void;

class SqliteStore implements Store {
  readonly #worker: Worker;
  readonly #waiting: Waiting[] = [];
  readonly #watchers = new Set<Watcher>();
  #pending: Pending[] = [];
  #committing = false;
  #revision = 0;
  #closed: Promise<void> | undefined;
  #broken: Error | undefined;
  readonly failed: Promise<Error>;

  constructor(path: string, opened: (error?: Error) => void) {
    this.#worker = new Worker(new URL("./sqlite-worker.ts", import.meta.url), { workerData: path });
    this.#waiting.push((answer) => {
      if ("error" in answer) {
        this.#closed = Promise.resolve();
        opened(new Error(answer.error));
        return;
      }
      this.#revision = Number(answer.result);
      opened();
    });
    this.#worker.on("message", (answer: Answer) => {
      this.#waiting.shift()?.(answer);
      // One that is to close is waited for until it has ended, after its last answer.
      if (this.#waiting.length === 0 && !this.#closed) this.#worker.unref();
    });
    this.failed = new Promise((resolve) => {
      const end = (error: Error) => {
        this.#broken ??= error;
        for (const waiting of this.#waiting.splice(0)) waiting({ error: error.message });
        if (!this.#closed) resolve(error);
      };
      this.#worker.on("error", end);
      this.#worker.on("exit", () => end(new Error("the thread of the store has ended")));
    });
  }

  /** `then` runs with the answer, in the order of requests. */
  #ask(request: Request, then: Waiting): void {
    if (this.#broken) {
      then({ error: this.#broken.message });
      return;
    }
    this.#worker.ref();
    this.#waiting.push(then);
    this.#worker.postMessage(request);
  }

  /** @param read what the method gives */
  #request<T>(request: Request, read: (result: unknown) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error("the store is closed"));
      this.#ask(request, (answer) => {
        if ("error" in answer) reject(errorOf(answer));
        else resolve(read(answer.result));
      });
    });
  }

  revision(): number {
    return this.#revision;
  }

  async latest(): Promise<number> {
    return this.#revision;
  }

  /** Nobody else writes here: at once. */
  async reached(revision: number): Promise<boolean> {
    return revision <= this.#revision;
  }

  get(key: string): Promise<Entry | undefined> {
    return this.#request({ method: "get", key }, (result) => result as Entry | undefined); // SqliteFile.get
  }

  range(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    return this.#request(
      { method: "range", key: prefix },
      (result) => result as { entries: Entry[]; revision: number }, // SqliteFile.range
    );
  }

  commit(write: Write): Promise<Entry> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error("the store is closed"));
      if (this.#pending.push({ write, resolve, reject }) === 1 && !this.#committing)
        setImmediate(() => this.#flush());
    });
  }

  /** Everything that is waiting goes into one transaction. */
  #flush(): void {
    const batch = this.#pending;
    if (batch.length === 0) return;
    this.#pending = [];
    this.#committing = true;
    this.#ask({ method: "commit", writes: batch.map(({ write }) => write) }, (answer) => {
      this.#committing = false;
      this.#tell(batch, answer);
      this.#flush();
    });
  }

  #tell(batch: readonly Pending[], answer: Answer): void {
    if ("error" in answer) {
      // A thread that died may have committed; one that answers has rolled back.
      const error = this.#broken ? new OutcomeUnknown(answer.error) : errorOf(answer);
      for (const { reject } of batch) reject(error);
      return;
    }
    const { outcomes, revision } = answer.result as { outcomes: Outcome[]; revision: number }; // SqliteFile.commit
    this.#revision = revision;
    const changes = batch.map(({ write }, i) => changeOf(write, outcomes[i]));
    for (const change of changes) if (change) this.#spread(change);
    for (const [i, { resolve, reject }] of batch.entries()) {
      const [change, outcome] = [changes[i], outcomes[i]];
      if (change) resolve({ key: change.key, value: change.value, revision: change.revision });
      else reject(new CompareFailed(outcome && "refused" in outcome ? outcome.refused : "", revision));
    }
  }

  #spread(change: Change): void {
    for (const watcher of this.#watchers) {
      if (change.revision <= watcher.seen) continue;
      watcher.seen = change.revision;
      if (change.key.startsWith(watcher.prefix)) watcher.onChange(change);
    }
  }

  watch(prefix: string, after: number, onChange: (change: Change) => void): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new Error("the store is closed"));
      this.#ask({ method: "since", key: prefix, revision: after }, (answer) => {
        if ("error" in answer) return reject(errorOf(answer));
        const { changes, revision } = answer.result as { changes: Change[]; revision: number }; // SqliteFile.since
        for (const change of changes) onChange(change);
        // Answers come in order: what is committed after this revision has not been told yet.
        const watcher = { prefix, onChange, seen: Math.max(after, revision) };
        this.#watchers.add(watcher);
        resolve(() => this.#watchers.delete(watcher));
      });
    });
  }

  compact(revision: number): Promise<void> {
    return this.#request({ method: "compact", revision }, () => undefined);
  }

  async continueAfter(revision: number): Promise<void> {
    await this.#request({ method: "continueAfter", revision }, () => undefined);
    this.#revision = Math.max(this.#revision, revision);
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => {
      this.#flush();
      if (this.#broken) return resolve();
      this.#worker.once("exit", () => resolve());
      this.#ask({ method: "close" }, () => this.#watchers.clear());
    });
    return this.#closed;
  }
}

/** What a write changed; undefined when it was refused. */
function changeOf({ key, value }: Write, outcome: Outcome | undefined): Change | undefined {
  if (!outcome || "refused" in outcome) return undefined;
  const { revision, previous } = outcome;
  if (value === undefined) return { type: "delete", key, value: previous ?? "", revision };
  return { type: "put", key, value, revision, ...(previous === undefined ? {} : { previous }) };
}

const errorOf = ({ error, compacted, notWritten }: Extract<Answer, { error: string }>) =>
  compacted !== undefined ? new Compacted(compacted) : notWritten ? new NotWritten(error) : new Error(error);

/** Opens the file, making it when it is missing. @throws when it is not ours, of another format, or in use */
export function openSqliteStore(path: string): Promise<Store> {
  return new Promise((resolve, reject) => {
    const store: SqliteStore = new SqliteStore(path, (error) => (error ? reject(error) : resolve(store)));
  });
}
