/**
 * All current objects in memory, kept in line with the store by its watch. Reads and lists never touch the store; a
 * commit resolves only after the cache has seen it, so every client reads its own writes.
 */
import type { Resource } from "../resource/object.ts";
import { positionIn } from "../resource/sorted.ts";
import { type Change, Compacted, type Store } from "../store/store.ts";
import { knowPrevious, objectOf, parseStored } from "./changed-objects.ts";
import { Feed } from "./feed.ts";
import { FieldIndexes } from "./field-index.ts";
import type { Equality } from "./selectors.ts";

export interface Cached {
  key: string;
  object: Resource;
  revision: number;
}

/** How far back watchers that come to a server just started are served from its memory. */
const REPLAYED_REVISIONS = 5000;

/** Behind all keys that begin so. */
export const endOf = (prefix: string) => `${prefix}\uffff`;

/** One kind's objects, by key and in order. The lists that it has given out never change: lists page over them. */
class Collection {
  readonly byKey = new Map<string, Cached>();
  #sorted: Cached[] = [];
  /** Of `sorted`: to make this list of a large collection anew after each write would take longer than the write. */
  #objects: Resource[] = [];
  #givenOut = false;
  readonly #parts = new Map<string, readonly Resource[]>();
  readonly #indexes = new FieldIndexes();

  set(entry: Cached): void {
    this.#own();
    const before = this.byKey.get(entry.key);
    if (before) this.#indexes.delete(before);
    const at = this.#position(entry.key);
    this.#sorted.splice(at, before ? 1 : 0, entry);
    this.#objects.splice(at, before ? 1 : 0, entry.object);
    this.byKey.set(entry.key, entry);
    this.#indexes.add(entry);
  }
  delete(key: string): void {
    const before = this.byKey.get(key);
    if (!before) return;
    this.#indexes.delete(before);
    this.byKey.delete(key);
    this.#own();
    const at = this.#position(key);
    this.#sorted.splice(at, 1);
    this.#objects.splice(at, 1);
  }
  sorted(): readonly Cached[] {
    this.#givenOut = true;
    return this.#sorted;
  }

  /** Those whose keys begin so, in order. */
  under(prefix: string): readonly Cached[] {
    return this.#sorted.slice(this.#position(prefix), this.#position(endOf(prefix)));
  }

  /** Those that have this value in this field, in order. */
  having(equality: Equality): readonly Cached[] {
    return this.#indexes.find(equality, this.byKey.values());
  }

  /** The objects under a prefix; the same list until one of the collection changes. */
  objectsUnder(prefix: string): readonly Resource[] {
    const [begin, end] = [this.#position(prefix), this.#position(endOf(prefix))];
    if (begin === 0 && end === this.#objects.length) {
      this.#givenOut = true;
      return this.#objects;
    }
    if (begin === end) return [];
    const known = this.#parts.get(prefix);
    if (known) return known;
    const objects = this.#objects.slice(begin, end);
    this.#parts.set(prefix, objects);
    return objects;
  }

  /** Before it is changed. */
  #own(): void {
    if (this.#parts.size > 0) this.#parts.clear();
    if (!this.#givenOut) return;
    this.#sorted = this.#sorted.slice();
    this.#objects = this.#objects.slice();
    this.#givenOut = false;
  }
  #position(key: string): number {
    return positionIn(this.#sorted, key);
  }
}

export class Cache {
  readonly #store: Store;
  readonly #collections = new Map<string, Collection>();
  readonly #uids = new Set<string>();
  /** uid of an owner -> keys of what it owns. */
  readonly #owned = new Map<string, Set<string>>();
  #stop: () => void = () => {};
  /** Called with what was deleted, by this server or another. */
  onDelete: (object: Resource) => void = () => {};
  /** Every change up to this revision is in here. */
  revision = 0;
  /** Changes as they come into here. */
  feed = new Feed(0);

  private constructor(store: Store) {
    this.#store = store;
  }

  static async load(store: Store): Promise<Cache> {
    const cache = new Cache(store);
    const { entries, revision } = await store.range("");
    for (const { key, value, revision: at } of entries)
      cache.#add({ key, object: parseStored(value, at), revision: at });
    cache.revision = revision;
    await cache.#follow(Math.max(0, revision - REPLAYED_REVISIONS)).catch((error: unknown) => {
      if (!(error instanceof Compacted)) throw error;
      return cache.#follow(revision);
    });
    return cache;
  }

  /** Takes what is newer than the objects that were loaded; what is older is for watchers alone. */
  async #follow(after: number): Promise<void> {
    const loaded = this.revision;
    this.feed = new Feed(after);
    this.#stop = await this.#store.watch("", after, (change) =>
      change.revision > loaded ? this.#take(change) : this.feed.push(change),
    );
  }

  #take(change: Change): void {
    const before = this.get(change.key);
    if (before) this.#index(before, false);
    if (change.type === "delete") {
      this.collection(pluralOf(change.key)).delete(change.key);
      this.onDelete(objectOf(change));
    } else {
      if (before) knowPrevious(change, before.object);
      this.#add({ key: change.key, object: objectOf(change), revision: change.revision });
    }
    this.revision = change.revision;
    this.feed.push(change);
  }

  /** Resolves when everything up to this revision is in here: true, or false when it takes longer than `timeoutMs`. */
  async reached(revision: number, timeoutMs: number): Promise<boolean> {
    if (revision <= this.revision) return true;
    const there = await this.#store.reached(revision, timeoutMs);
    // The newest revisions may be of nothing that is kept here, so that no change tells of them.
    if (there) this.revision = Math.max(this.revision, revision);
    return there;
  }

  #add(entry: Cached): void {
    this.collection(pluralOf(entry.key)).set(entry);
    this.#index(entry, true);
  }

  #index({ key, object: { metadata } }: Cached, present: boolean): void {
    if (metadata.uid) this.#uids[present ? "add" : "delete"](metadata.uid);
    for (const { uid } of metadata.ownerReferences ?? []) {
      const keys = this.#owned.get(uid) ?? new Set();
      keys[present ? "add" : "delete"](key);
      if (keys.size > 0) this.#owned.set(uid, keys);
      else this.#owned.delete(uid);
    }
  }

  get(key: string): Cached | undefined {
    return this.#collections.get(pluralOf(key))?.byKey.get(key);
  }

  collection(plural: string): Collection {
    let found = this.#collections.get(plural);
    if (!found) {
      found = new Collection();
      this.#collections.set(plural, found);
    }
    return found;
  }

  hasUid(uid: string): boolean {
    return this.#uids.has(uid);
  }

  /** Objects that name this uid as an owner. */
  ownedBy(uid: string): Cached[] {
    return [...(this.#owned.get(uid) ?? [])].flatMap((key) => this.get(key) ?? []);
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
