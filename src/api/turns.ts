/**
 * Writes take turns, so that the rules of kinds hold under concurrency.
 *
 * A kind's rules may look at other objects ("nobody else has custody of these disks"). Two writes that are each right by
 * what is stored can be wrong together. So a write is prepared (read, changed, checked) in its turn, and while it is on
 * its way to the disk, whoever wants to read that object for a write of its own, or looks over objects of that kind, waits for it
 * and prepares again. Other writes are not held up: they go into the same group commit.
 *
 * Other API servers on the same store take their turns elsewhere: what was looked over goes along with the write as a guard, and a
 * write that lost to one of theirs is prepared again, when the cache has come that far.
 */
import type { Kind, Lookup } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import type { Entry, Guard, Store, Write } from "../store/store.ts";
import type { Cache, Cached } from "./cache.ts";

/** Thrown while preparing: what was read is being written just now. */
class Busy {
  readonly over: Promise<unknown>;
  constructor(over: Promise<unknown>) {
    this.over = over;
  }
}

export interface Prepared<T> {
  /** Undefined: nothing is to be written. */
  write?: Write;
  /** The answer, made when the write is durable; the revision is 0 when nothing was written. */
  done: (revision: number) => T;
}

export class Turns {
  readonly #store: Store;
  readonly #cache: Cache;
  /** Key -> its commit under way; settles without an error. */
  readonly #underWay = new Map<string, Promise<unknown>>();
  #last: Promise<void> = Promise.resolve();
  /** What the write that is being prepared has looked over. */
  #guards = new Map<string, Guard>();

  constructor(store: Store, cache: Cache) {
    this.#store = store;
    this.#cache = cache;
  }

  /**
   * Runs `prepare` when it is its turn, then commits its write. `prepare` may be run again and must only read (by `read`
   * and `lookup`). @throws what `prepare` throws; CompareFailed
   */
  async run<T>(prepare: () => Prepared<T>): Promise<T> {
    const { prepared, committed } = await this.#inTurn(prepare);
    const entry = await committed;
    return prepared.done(entry?.revision ?? 0);
  }

  async #inTurn<T>(prepare: () => Prepared<T>) {
    const before = this.#last;
    let leave: () => void = () => {};
    this.#last = new Promise((resolve) => {
      leave = resolve;
    });
    await before;
    try {
      const prepared = await this.#prepare(prepare);
      // Not awaited here: the next one's turn begins while this one is on its way to the disk.
      const write = prepared.write && { ...prepared.write, guards: [...this.#guards.values()] };
      return { prepared, committed: write && this.#commit(write) };
    } finally {
      leave();
    }
  }

  async #prepare<T>(prepare: () => Prepared<T>): Promise<Prepared<T>> {
    for (;;) {
      this.#guards.clear();
      try {
        return prepare();
      } catch (error) {
        if (!(error instanceof Busy)) throw error;
        await error.over;
      }
    }
  }

  #commit(write: Write): Promise<Entry> {
    const commit = this.#store.commit(write);
    const over = commit
      .then(
        () => undefined,
        () => undefined,
      )
      .then(() => this.#underWay.delete(write.key));
    this.#underWay.set(write.key, over);
    return commit;
  }

  /** The object as it is after all writes before this turn. Only inside `prepare`. */
  read(key: string): Cached | undefined {
    const over = this.#underWay.get(key);
    if (over) throw new Busy(over);
    return this.#cache.get(key);
  }

  /** As `read`, and the write is made only if this object is then still as it is now. Only inside `prepare`. */
  pin(key: string): Cached | undefined {
    const found = this.read(key);
    if (found) this.#guards.set(key, { key, revision: found.revision });
    return found;
  }

  /** For the rules of kinds. Only inside `prepare`. */
  readonly lookup: Lookup = {
    list: <T extends Resource>(kind: Kind<T>, namespace?: string, begin = ""): readonly T[] => {
      const prefix =
        kind.namespaced && namespace ? `${kind.plural}/${namespace}/${begin}` : `${kind.plural}/`;
      for (const [key, over] of this.#underWay) if (key.startsWith(prefix)) throw new Busy(over);
      this.#guards.set(prefix, { prefix, since: this.#cache.revision });
      // Safe: a collection holds only objects that the schema of its kind accepted.
      return this.#cache.collection(kind.plural).objectsUnder(prefix) as readonly T[];
    },
  };
}
