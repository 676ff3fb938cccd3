/**
 * The store contract: a revisioned key-value store with etcd's semantics. Implementations: sqlite.ts (one machine); etcd later.
 * One conformance suite (conformance.ts) runs against each.
 *
 *  - One revision counter for the whole store; every committed write raises it by one, and it never goes back, not even after a crash.
 *  - Writes are compare-and-swap on the key's last revision, and durable (fsynced) before their promise resolves.
 *  - Watch delivers every write after a revision exactly once, in order, without gaps.
 *  - History is bounded by compaction: reading before it fails with Compacted, never silently skips.
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

export interface Write {
  key: string;
  /** New value, or undefined to delete. May depend on the revision it will get: resourceVersion is stored inside the object. */
  value: ((revision: number) => string) | undefined;
  /** Revision of the key that the writer has seen; 0: the key must not exist. */
  expected: number;
}

export class CompareFailed extends Error {}
export class Compacted extends Error {
  readonly oldest: number;
  constructor(oldest: number) {
    super(`history before revision ${oldest} has been compacted`);
    this.oldest = oldest;
  }
}

export interface Store {
  /** The revision of the last committed write. */
  revision(): number;
  get(key: string): Promise<Entry | undefined>;
  /** All entries whose key starts with `prefix`, sorted by key, as of one revision. */
  range(prefix: string): Promise<{ entries: Entry[]; revision: number }>;
  /** Atomic: all or none. Each write gets a revision of its own, in order. @throws CompareFailed */
  commit(writes: readonly Write[]): Promise<Entry[]>;
  /**
   * Changes of keys under `prefix` with revision > `after`, as they are committed. The callback is called in order and
   * must not block. @throws Compacted. @returns stop function
   */
  watch(prefix: string, after: number, onChange: (change: Change) => void): Promise<() => void>;
  /** Forgets history up to and including `revision`; current values stay. */
  compact(revision: number): Promise<void>;
  close(): Promise<void>;
}
