/**
 * The store of a cluster: etcd, 3.4 or newer. Keys lie under a prefix (ROOT/data/), one etcd transaction is one write.
 *
 *   commit ──► Txn(compare mod_revision, guards; put or delete)         etcd gives the revision
 *                         │
 *   one watch of ROOT/ ◄──┘──► everybody who watches here; then the committer hears that it is done
 *
 * The one watch is kept through changes of members; a watcher that asks for older history is served by a watch of its own
 * until it has come to where the one watch is. When the one watch was away for longer than history lasts, the store has failed.
 */

import { isFields } from "../resource/fields.ts";
import { entryFrom, headerRevision, kvsOf } from "./etcd-answers.ts";
import { EtcdClient, type EtcdOptions, isServiceError } from "./etcd-client.ts";
import { WatchLoop } from "./etcd-watch.ts";
import {
  type Change,
  Compacted,
  CompareFailed,
  type Entry,
  type Guard,
  type Store,
  Unavailable,
  type Write,
} from "./store.ts";

/** Entries per answer. */
const PAGE = 500;
/** How long a writer waits for this process's watches to hear of its write, ms. It is durable all the same. */
const HEARD_MS = 5000;
/** Without a change for this long, whoever waits for a revision makes one: others may write to this etcd, too. */
const TICK_MS = 50;

interface Watcher {
  prefix: string;
  seen: number;
  onChange: (change: Change) => void;
  /** Changes that came while older history is fetched. */
  held: Change[] | undefined;
}

class EtcdStore implements Store {
  readonly #client: EtcdClient;
  readonly #root: string;
  /** What is added to etcd's revisions: after a restore ours go on where those of the backup were, which etcd's cannot. */
  #offset: number;
  readonly #watchers = new Set<Watcher>();
  readonly #loop: WatchLoop;
  readonly #waiting = new Set<{ revision: number; tell: () => void }>();
  #seen: number;
  /** The newest change that was heard of; 0: none yet. */
  #lastChange = 0;
  #asking: Promise<number> | undefined;
  #next: Promise<number> | undefined;
  #ticking: Promise<void> | undefined;
  readonly failed: Promise<Error>;

  constructor(client: EtcdClient, root: string, offset: number, revision: number) {
    this.#client = client;
    this.#root = root;
    this.#offset = offset;
    this.#seen = revision;
    let fail: (error: Error) => void = () => {};
    this.failed = new Promise((resolve) => {
      fail = resolve;
    });
    this.#loop = new WatchLoop(client, rangeOf(`${root}/`), revision - offset, {
      onChange: (change) => this.#take(change),
      onCompacted: (error) => fail(error),
    });
  }

  revision(): number {
    return this.#seen;
  }

  /** One question serves all who ask before it is sent. */
  latest(): Promise<number> {
    if (!this.#asking) {
      this.#asking = this.#ask().finally(() => {
        this.#asking = undefined;
      });
      return this.#asking;
    }
    // The one under way may have been answered for an older state.
    this.#next ??= this.#asking
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
        return this.latest();
      });
    return this.#next;
  }

  async #ask(): Promise<number> {
    return this.#revisionOf(
      await this.#client.read("Range", { key: this.#key(""), keys_only: true, limit: 1 }),
    );
  }

  /** The revision may be that of a write outside of ROOT, of which our watch will never hear: then one of ours follows. */
  async reached(revision: number, timeoutMs: number): Promise<boolean> {
    if (await this.#heard(revision, Math.min(TICK_MS, timeoutMs))) return true;
    this.#ticking ??= this.#tick()
      .catch(() => undefined)
      .finally(() => {
        this.#ticking = undefined;
      });
    return this.#heard(revision, timeoutMs - TICK_MS);
  }

  async get(key: string): Promise<Entry | undefined> {
    const [kv] = kvsOf(await this.#client.read("Range", { key: this.#key(key) }));
    return kv && this.#entry(kv);
  }

  async range(prefix: string): Promise<{ entries: Entry[]; revision: number }> {
    const { key, range_end } = rangeOf(`${this.#data}${prefix}`);
    const entries: Entry[] = [];
    let revision = 0;
    for (let start = key; ; ) {
      const page = {
        key: start,
        range_end,
        limit: PAGE,
        ...(revision ? { revision: revision - this.#offset } : {}),
      };
      const answer = await this.#client.read("Range", page);
      revision ||= this.#revisionOf(answer);
      const kvs = kvsOf(answer);
      for (const kv of kvs) entries.push(this.#entry(kv));
      const last = entries.at(-1);
      if (!answer.more || !last) return { entries, revision };
      start = Buffer.concat([this.#key(last.key), Buffer.of(0)]);
    }
  }

  async commit({ key, value, expected, guards = [] }: Write): Promise<Entry> {
    const at = this.#key(key);
    const change =
      value === undefined
        ? { request_delete_range: { key: at, prev_kv: true } }
        : { request_put: { key: at, value: Buffer.from(value) } };
    // A deletion of what is not there would be no write at all.
    const missing = value === undefined && expected === 0;
    const compare = [
      {
        key: at,
        target: "MOD",
        result: "EQUAL",
        mod_revision: missing ? -1 : expected && expected - this.#offset,
      },
      ...guards.map((guard) => this.#compareGuard(guard)),
    ];
    const answer = await this.#client.write("Txn", { compare, success: [change], failure: [] });
    const revision = this.#revisionOf(answer);
    if (answer.succeeded !== true)
      throw new CompareFailed(`${key}: not of revision ${expected} any more, or a guard failed`, revision);
    await this.#heard(revision, HEARD_MS);
    return { key, value: value ?? previousValue(answer), revision };
  }

  #compareGuard(guard: Guard): object {
    if ("key" in guard)
      return {
        key: this.#key(guard.key),
        target: "MOD",
        result: "EQUAL",
        mod_revision: guard.revision - this.#offset,
      };
    const { prefix, since } = guard;
    const range = rangeOf(`${this.#data}${prefix}`);
    return { ...range, target: "MOD", result: "LESS", mod_revision: since - this.#offset + 1 };
  }

  async watch(prefix: string, after: number, onChange: (change: Change) => void): Promise<() => void> {
    const watcher: Watcher = { prefix, seen: after, onChange, held: undefined };
    this.#watchers.add(watcher);
    const stop = () => void this.#watchers.delete(watcher);
    if (after >= this.#seen) return stop;
    watcher.held = [];
    try {
      await this.#replay(watcher);
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  /** Older history first, then what has come meanwhile. */
  async #replay(watcher: Watcher): Promise<void> {
    // The end of the history is known by its last change, so there must be one.
    if (this.#lastChange < this.#seen) await this.#tick();
    const upTo = this.#seen;
    await new Promise<void>((resolve, reject) => {
      const loop = new WatchLoop(this.#client, rangeOf(`${this.#root}/`), watcher.seen - this.#offset, {
        onChange: (change) => {
          const raw = this.#shift(change);
          if (raw.revision <= upTo) this.#offer(watcher, raw);
          if (raw.revision < upTo) return;
          loop.stop();
          resolve();
        },
        onCompacted: ({ oldest }) => reject(new Compacted(oldest + this.#offset)),
      });
    });
    const held = watcher.held ?? [];
    watcher.held = undefined;
    for (const raw of held) this.#offer(watcher, raw);
  }

  /** A write of no meaning, which our watch will hear of. */
  async #tick(): Promise<void> {
    const answer = await this.#client.write("Put", {
      key: Buffer.from(`${this.#root}/tick`),
      value: Buffer.alloc(0),
    });
    await this.#heard(this.#revisionOf(answer), HEARD_MS);
  }

  async compact(revision: number): Promise<void> {
    const upTo = Math.min(revision, this.#seen) - this.#offset;
    if (upTo <= 0) return;
    try {
      await this.#client.read("Compact", { revision: upTo });
    } catch (error) {
      // Another control plane was there before.
      if (!isServiceError(error) || !/compacted/.test(error.details)) throw error;
    }
  }

  async continueAfter(revision: number): Promise<void> {
    const now = await this.#ask();
    if (revision <= now) return;
    const value = Buffer.from(String(revision - now + this.#offset));
    await this.#client.write("Put", { key: Buffer.from(`${this.#root}/offset`), value });
    // Everything here was counted by the old one.
    this.#offset = Number(value);
    this.#seen = revision;
  }

  async close(): Promise<void> {
    this.#loop.stop();
    this.#watchers.clear();
    for (const { tell } of this.#waiting) tell();
    this.#client.close();
  }

  // --- inside ---

  get #data(): string {
    return `${this.#root}/data/`;
  }

  #key(key: string): Buffer {
    return Buffer.from(this.#data + key);
  }

  #entry(kv: Record<string, unknown>): Entry {
    const entry = entryFrom(kv, this.#data.length);
    return { ...entry, revision: entry.revision + this.#offset };
  }

  #revisionOf(answer: Record<string, unknown>): number {
    return headerRevision(answer) + this.#offset;
  }

  /** A change with our revision. */
  #shift(change: Change): Change {
    return { ...change, revision: change.revision + this.#offset };
  }

  #take(change: Change): void {
    const raw = this.#shift(change);
    this.#seen = raw.revision;
    this.#lastChange = raw.revision;
    for (const watcher of this.#watchers)
      if (watcher.held) watcher.held.push(raw);
      else this.#offer(watcher, raw);
    for (const waiting of this.#waiting) if (waiting.revision <= this.#seen) waiting.tell();
  }

  /** Tells the watcher when it is for him and new. */
  #offer(watcher: Watcher, raw: Change): void {
    if (raw.revision <= watcher.seen || !this.#watchers.has(watcher)) return;
    watcher.seen = raw.revision;
    if (raw.key.startsWith(this.#data + watcher.prefix))
      watcher.onChange({ ...raw, key: raw.key.slice(this.#data.length) });
  }

  /** Whether the one watch came to this revision within the time. */
  #heard(revision: number, timeoutMs: number): Promise<boolean> {
    if (revision <= this.#seen) return Promise.resolve(true);
    return new Promise((resolve) => {
      const waiting = { revision, tell: () => done(true) };
      const done = (heard: boolean) => {
        clearTimeout(timer);
        this.#waiting.delete(waiting);
        resolve(heard);
      };
      const timer = setTimeout(() => done(false), timeoutMs);
      this.#waiting.add(waiting);
    });
  }
}

/** Key and range_end of everything that starts with `prefix`. */
function rangeOf(prefix: string): { key: Buffer; range_end: Buffer } {
  const key = Buffer.from(prefix);
  const range_end = Buffer.from(key);
  const last = range_end.length - 1;
  // Prefixes end in "/" or ASCII letters: the last byte can always be raised.
  range_end.writeUInt8((range_end.at(-1) ?? 0) + 1, last);
  return { key, range_end };
}

/** The value that a transaction has deleted. */
function previousValue(answer: Record<string, unknown>): string {
  const [first] = Array.isArray(answer.responses) ? answer.responses : [];
  const deleted = isFields(first) ? first.response_delete_range : undefined;
  const [kv] = isFields(deleted) && Array.isArray(deleted.prev_kvs) ? deleted.prev_kvs : [];
  return isFields(kv) ? entryFrom(kv, 0).value : "";
}

/**
 * Connects to the cluster. `root` is where everything of this installation lies in etcd, such as "/vireo".
 * @throws Unavailable when no member answers
 */
export async function openEtcdStore(options: EtcdOptions & { root: string }): Promise<Store> {
  const client = new EtcdClient(options);
  try {
    const answer = await client.read("Range", { key: Buffer.from(`${options.root}/offset`) });
    const [kept] = kvsOf(answer);
    const offset = kept ? Number(entryFrom(kept, 0).value) : 0;
    return new EtcdStore(client, options.root, offset, headerRevision(answer) + offset);
  } catch (error) {
    client.close();
    if (isServiceError(error)) throw new Unavailable(`etcd: ${error.details}`, { cause: error });
    throw error;
  }
}
