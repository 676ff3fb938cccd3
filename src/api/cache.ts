/**
 * All current objects in memory, kept in line with the store by its watch. Reads and lists never touch the store; a
 * commit resolves only after the cache has seen it, so every client reads its own writes.
 */
import type { Resource } from "../resource/object.ts";
import type { Change, Store } from "../store/store.ts";

export interface Cached {
  key: string;
  object: Resource;
  revision: number;
}

/** Stored values are written by Operations alone, after validation. */
export function parseStored(value: string): Resource {
  return JSON.parse(value) as Resource;
}

const parsedValues = new WeakMap<Change, Resource>();

/** The object of a change, the same one for the cache and all watchers: parsed once, and its JSON for the wire is made once. */
export function objectOf(change: Change): Resource {
  const kept = parsedValues.get(change);
  if (kept) return kept;
  const object = parseStored(change.value);
  parsedValues.set(change, object);
  return object;
}

/** One kind's objects; `sorted` is made again only after a change, and never changed in place: lists page over it. */
class Collection {
  readonly byKey = new Map<string, Cached>();
  #sorted: readonly Cached[] | undefined;

  set(entry: Cached): void {
    this.byKey.set(entry.key, entry);
    this.#sorted = undefined;
  }
  delete(key: string): void {
    this.byKey.delete(key);
    this.#sorted = undefined;
  }
  sorted(): readonly Cached[] {
    this.#sorted ??= [...this.byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
    return this.#sorted;
  }
}

export class Cache {
  readonly #collections = new Map<string, Collection>();
  #stop: () => void = () => {};
  /** Revision of the newest change that is in here. */
  revision = 0;

  static async load(store: Store): Promise<Cache> {
    const cache = new Cache();
    const { entries, revision } = await store.range("");
    for (const { key, value, revision: at } of entries)
      cache.collection(pluralOf(key)).set({ key, object: parseStored(value), revision: at });
    cache.revision = revision;
    cache.#stop = await store.watch("", revision, (change) => cache.#take(change));
    return cache;
  }

  #take(change: Change): void {
    const collection = this.collection(pluralOf(change.key));
    if (change.type === "delete") collection.delete(change.key);
    else collection.set({ key: change.key, object: objectOf(change), revision: change.revision });
    this.revision = change.revision;
  }

  collection(plural: string): Collection {
    let found = this.#collections.get(plural);
    if (!found) {
      found = new Collection();
      this.#collections.set(plural, found);
    }
    return found;
  }

  /** Every object of every kind. */
  *all(): Generator<Cached> {
    for (const collection of this.#collections.values()) yield* collection.byKey.values();
  }

  close(): void {
    this.#stop();
  }
}

export const keyFor = (plural: string, namespace: string | undefined, name: string) =>
  namespace ? `${plural}/${namespace}/${name}` : `${plural}/${name}`;

export const pluralOf = (key: string) => key.slice(0, key.indexOf("/"));
