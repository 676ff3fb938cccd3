/**
 * The store contract: a revisioned key-value store with etcd's semantics. Implementations: sqlite.ts (one machine), etcd.ts (a cluster).
 * One conformance suite (testing/conformance.ts) runs against each.
 *
 *  - One revision counter for the whole store; every committed write raises it, and it never goes back, not even after a crash.
 *  - Writes are compare-and-swap on the key's last revision, and durable before their promise resolves: fsynced, by a majority where
 *    there are several members.
 *  - A commit that fails with CompareFailed changed nothing. One that fails with OutcomeUnknown may have happened, or may still happen:
 *    it is never told as a failure or as done.
 *  - Watch delivers every write after a revision exactly once, in order, without gaps; a writer hears that its write is done only
 *    after the watches of this process have heard of it.
 *  - get, range and latest are linearizable: they see every write that was acknowledged before they were called, to whomever.
 *  - History is bounded by compaction: reading before it fails with Compacted, never silently skips.
 *
 * Leader election needs nothing more: a lease is an object with a holder and a time, taken by compare-and-swap.
 */

/** Keys are "KIND_PLURAL/namespace/name" or "KIND_PLURAL/name"; values are UTF-8 JSON. */
export interface Entry {
  key: string;
  value: string;
  /** Revision of the write that made this value. */
  revision: number;
}

export interface Change {
  type: "put" | "delete";
  key: string;
  /** For a delete: the last value. */
  value: string;
  revision: number;
  /** Value before this write; undefined when it created the key. */
  previous?: string;
}

export type Guard =
  /** Nothing was put under `prefix` after revision `since` (deletions may have happened). */
  | { prefix: string; since: number }
  /** The key is there, as written at that revision. */
  | { key: string; revision: number };

export interface Write {
  key: string;
  /** New value, or undefined to delete. */
  value: string | undefined;
  /** Revision of the key that the writer has seen; 0: the key must not exist. */
  expected: number;
  /** What else must still hold at the commit. */
  guards?: readonly Guard[];
}

/** The key was written since, or a guard does not hold; nothing was changed. */
export class CompareFailed extends Error {
  /** The store's revision when it found that: who has come so far sees what has changed. */
  readonly revision: number;
  constructor(message: string, revision: number) {
    super(message);
    this.revision = revision;
  }
}
export class Compacted extends Error {
  readonly oldest: number;
  constructor(oldest: number) {
    super(`history before revision ${oldest} has been compacted`);
    this.oldest = oldest;
  }
}
/** No member of the store answered in time; nothing was changed. */
export class Unavailable extends Error {}
/** The store's disk is full, or fails: nothing was changed, and all of it can still be read. Its message is for users: what is wrong, and what helps. */
export class NotWritten extends Error {}
/** Something else than the store forbids it for now: nothing was changed. Its message is for users, too. */
export class WritesForbidden extends Error {}
/** The connection was lost after a write was sent. */
export class OutcomeUnknown extends Error {}

/** All may throw Unavailable. */
export interface Store {
  /** The newest revision that this process's watches have come to. */
  revision(): number;
  /** The store's revision now. */
  latest(): Promise<number>;
  /**
   * Resolves when this process's watches have heard of everything up to this revision, which the store has come to, whoever wrote it: true, or
   * false when it takes longer than `timeoutMs`.
   */
  reached(revision: number, timeoutMs: number): Promise<boolean>;
  get(key: string): Promise<Entry | undefined>;
  /** All entries whose key starts with `prefix`, sorted by key, as of one revision. */
  range(prefix: string): Promise<{ entries: Entry[]; revision: number }>;
  /** @returns what was written, or what was deleted with the revision of the deletion. @throws CompareFailed, OutcomeUnknown */
  commit(write: Write): Promise<Entry>;
  /**
   * Changes of keys under `prefix` with revision > `after`, as they are committed. The callback is called in order and
   * must not block. @throws Compacted. @returns stop function
   */
  watch(prefix: string, after: number, onChange: (change: Change) => void): Promise<() => void>;
  /** Forgets history up to and including `revision`; current values stay. */
  compact(revision: number): Promise<void>;
  /** Of an empty store only: revisions from now on are higher than this. For restoring a backup; open it anew afterwards. */
  continueAfter(revision: number): Promise<void>;
  /** Resolves when the store cannot go on (it was cut off for longer than history lasts): start the process again. */
  readonly failed: Promise<Error>;
  close(): Promise<void>;
}
