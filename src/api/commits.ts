/**
 * From a write that is prepared to one that is done: in its turn, again when it lost a race, and no sooner than this server has seen what the
 * request has. The history of the store is cut short here, too.
 */
import { isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { CompareFailed, type Store, Unavailable } from "../store/store.ts";
import { currentRequest, requestOf, withRequest } from "../telemetry/request-id.ts";
import type { Cache } from "./cache.ts";
import { MAX_OBJECT, storeError, tooLarge } from "./operation-errors.ts";
import { modified } from "./overwrite.ts";
import { storedForm } from "./stored.ts";
import type { Prepared, Turns } from "./turns.ts";

/** History kept for watches that come back: at 100 writes/s more than three minutes. */
export const KEEP_REVISIONS = 20_000;
/** Forgotten in small bites: a large one would hold up everybody. */
const COMPACT_EVERY = 500;
/** A write without a precondition that loses a race is tried again on the new state. */
export const ATTEMPTS = 10;
/** How long a request waits for this server to have seen what another one wrote. */
const CATCH_UP_MS = 3000;

export class Commits {
  readonly #store: Store;
  readonly #cache: Cache;
  readonly #turns: Turns;
  #compactAt: number;

  constructor(store: Store, cache: Cache, turns: Turns) {
    this.#store = store;
    this.#cache = cache;
    this.#turns = turns;
    this.#compactAt = store.revision() + COMPACT_EVERY;
  }

  /**
   * Waits until this server has seen as much as the request needs: what the client has seen elsewhere (`resourceVersion`), or,
   * without one, every write that anybody was told of. "0": whatever is here. Returns also when that takes too long: then the
   * reader refuses a revision of the future. @throws ApiError ServiceUnavailable
   */
  async catchUp(resourceVersion?: string): Promise<void> {
    if (resourceVersion === "0") return;
    try {
      const wanted = resourceVersion ? Number(resourceVersion) : Number.POSITIVE_INFINITY;
      // Not a revision at all: the reader says so.
      if (wanted <= this.#cache.revision || Number.isNaN(wanted)) return;
      const revision = Math.min(wanted, await this.#store.latest());
      const there = await this.#cache.reached(revision, CATCH_UP_MS);
      if (!there && !resourceVersion) throw new Unavailable("this server is behind the store");
    } catch (error) {
      throw storeError(error);
    }
  }

  /** A lost race is tried again on the new state; what the client gave as a precondition is checked again with it. */
  async again<T>(kind: Kind, name: string, prepare: () => Prepared<T>): Promise<T> {
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#turns.run(prepare);
      } catch (error) {
        if (attempt === 0 && isApiError(error, "NotFound")) {
          // Another server may have made it, and this one may not have heard of it yet.
          const before = this.#cache.revision;
          await this.catchUp();
          if (this.#cache.revision > before) continue;
        }
        if (!(error instanceof CompareFailed)) throw storeError(error);
        if (attempt >= ATTEMPTS) throw modified(kind, name, error);
        await this.#cache.reached(error.revision, CATCH_UP_MS);
      }
    }
  }

  /** The write of an object. @param expected the revision that it takes the place of; 0: none */
  put(kind: Kind, key: string, given: Resource, expected: number) {
    const object = this.#withRequest(kind, key, given);
    const value = storedForm(object);
    if (Buffer.byteLength(value) > MAX_OBJECT) throw tooLarge(kind, object);
    return {
      write: { key, expected, value },
      done: (revision: number): Resource => {
        this.#compact(revision);
        return { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
      },
    };
  }

  /** With the id of the request, when that changes what is wanted of the object. Kinds without status are not worked on by anybody. */
  #withRequest(kind: Kind, key: string, object: Resource): Resource {
    if (!kind.hasStatus) return object;
    const old = this.#cache.get(key)?.object;
    const isChanged = object.metadata.generation !== old?.metadata.generation;
    return withRequest(object, (isChanged ? currentRequest() : undefined) ?? requestOf(old));
  }

  #compact(revision: number): void {
    if (revision < this.#compactAt) return;
    this.#compactAt = revision + COMPACT_EVERY;
    // Should it fail (a full disk), the next one does its work, too.
    this.#store.compact(revision - KEEP_REVISIONS).catch(() => undefined);
  }
}
