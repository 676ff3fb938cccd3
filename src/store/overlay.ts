import type { Store } from "./store.ts";

/** The store with some of its methods replaced. */
export function overlay(inner: Store, changes: Partial<Store>): Store {
  return {
    failed: inner.failed,
    revision: () => inner.revision(),
    latest: () => inner.latest(),
    reached: (revision, timeoutMs) => inner.reached(revision, timeoutMs),
    get: (key) => inner.get(key),
    range: (prefix) => inner.range(prefix),
    commit: (write) => inner.commit(write),
    watch: (prefix, after, onChange) => inner.watch(prefix, after, onChange),
    compact: (revision) => inner.compact(revision),
    continueAfter: (revision) => inner.continueAfter(revision),
    close: () => inner.close(),
    ...changes,
  };
}
