/**
 * A live copy of all objects of one kind: list once, then follow a watch. Reconcilers read from it instead of asking the
 * server again and again, and are nudged by its changes.
 *
 *   list ──► watch ──► ends: watch again from where it came to
 *    ▲         │
 *    └─────────┴── Expired (history compacted), or the watch failed several times: list again, and tell the differences
 *
 * What a reader sees may be old, never torn: each object is as it once was, and later ones follow. Whoever decides on it must
 * write with compare-and-swap.
 */
import type { Client, ListOptions } from "../client/client.ts";
import { isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import { keyOf, type Resource } from "../resource/object.ts";
import { backoffMs } from "./backoff.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type Logger, silentLogger } from "./log.ts";

export type InformerCallback<T> = (key: string, object: T | undefined, old: T | undefined) => void;

/** After so many failed watches in a row the copy may be of another time of the server: list again. */
const FAILURES_BEFORE_RELIST = 3;

export class Informer<T extends Resource> {
  readonly #client: Client;
  readonly #kind: Kind<T>;
  readonly #selection: ListOptions;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #objects = new Map<string, T>();
  readonly #callbacks = new Set<InformerCallback<T>>();
  /** Resolves after the first list. */
  readonly synced: Promise<void>;
  #markSynced: () => void = () => {};
  #failures = 0;

  constructor(
    client: Client,
    kind: Kind<T>,
    options: Omit<ListOptions, "signal"> & { log?: Logger; clock?: Clock } = {},
  ) {
    const { log, clock, ...selection } = options;
    this.#client = client;
    this.#kind = kind;
    // They are shared by all who read from this copy, too.
    this.#selection = { ...selection, shared: true };
    this.#log = (log ?? silentLogger).child({ informer: kind.plural });
    this.#clock = clock ?? systemClock;
    this.synced = new Promise((resolve) => {
      this.#markSynced = resolve;
    });
  }

  get(key: string): T | undefined {
    return this.#objects.get(key);
  }

  list(): readonly T[] {
    return [...this.#objects.values()];
  }

  /** Calls back with every change from now on; the objects are shared and must not be changed. @returns unsubscribe */
  onChange(callback: InformerCallback<T>): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  /** Keeps the copy up to date until the signal aborts; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    let revision: string | undefined;
    while (!signal.aborted) {
      try {
        if (revision === undefined) {
          const { items, resourceVersion } = await this.#client.list(this.#kind, {
            ...this.#selection,
            signal,
          });
          if (signal.aborted) return;
          this.#replace(items);
          revision = resourceVersion;
          this.#markSynced();
        }
        const options = { ...this.#selection, resourceVersion: revision, signal };
        let progressed = false;
        for await (const event of this.#client.watch(this.#kind, options)) {
          if (signal.aborted) return;
          progressed = true;
          this.#failures = 0;
          if (event.type === "BOOKMARK") revision = event.resourceVersion;
          else {
            this.#apply(event.type, event.object);
            revision = event.object.metadata.resourceVersion ?? revision;
          }
        }
        // A server that ends every watch at once must not be asked in a loop.
        if (!progressed) await this.#clock.sleep(backoffMs(0), signal);
      } catch (error) {
        if (signal.aborted) return;
        if (isApiError(error, "Expired", "Gone")) {
          revision = undefined;
          this.#log.info("history is gone, listing again");
          if (this.#failures++ === 0) continue;
        } else {
          if (this.#failures++ === 0)
            this.#log.warn("the control plane does not answer, trying again", { error });
          if (this.#failures >= FAILURES_BEFORE_RELIST) revision = undefined;
        }
        await this.#clock.sleep(backoffMs(this.#failures), signal);
      }
    }
  }

  #replace(items: readonly T[]): void {
    const gone = new Set(this.#objects.keys());
    for (const object of items) {
      gone.delete(keyOf(object));
      this.#apply("MODIFIED", object);
    }
    for (const key of gone) {
      const old = this.#objects.get(key);
      if (old) this.#apply("DELETED", old);
    }
  }

  #apply(type: "ADDED" | "MODIFIED" | "DELETED", object: T): void {
    const key = keyOf(object);
    const old = this.#objects.get(key);
    if (type === "DELETED") {
      if (!old) return;
      this.#objects.delete(key);
      this.#tell(key, undefined, old);
      return;
    }
    if (old && old.metadata.resourceVersion === object.metadata.resourceVersion) return;
    this.#objects.set(key, object);
    this.#tell(key, object, old);
  }

  #tell(key: string, object: T | undefined, old: T | undefined): void {
    for (const callback of this.#callbacks) {
      try {
        callback(key, object, old);
      } catch (error) {
        this.#log.error("a reader of changes failed", { key, error });
      }
    }
  }
}
