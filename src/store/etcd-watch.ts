/** One watch of a range of etcd's keys that lives through the loss of connections and members: it goes on from where it was. */
import { changeFrom } from "./etcd-answers.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { type Change, Compacted } from "./store.ts";

/** Between two attempts, ms. */
const PAUSE_MS = 100;

export interface WatchHandlers {
  /** In order, each once; the key is etcd's whole one. */
  onChange: (change: Change) => void;
  /** What comes next is not in the history any more; the watch has ended. */
  onCompacted: (error: Compacted) => void;
}

export class WatchLoop {
  readonly #client: EtcdClient;
  readonly #range: { key: Buffer; range_end: Buffer };
  readonly #handlers: WatchHandlers;
  #seen: number;
  #stop: () => void = () => {};
  #stopped = false;

  /** Begins after revision `after`. */
  constructor(
    client: EtcdClient,
    range: { key: Buffer; range_end: Buffer },
    after: number,
    handlers: WatchHandlers,
  ) {
    this.#client = client;
    this.#range = range;
    this.#seen = after;
    this.#handlers = handlers;
    void this.#run();
  }

  stop(): void {
    this.#stopped = true;
    this.#stop();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await this.#once().catch(() => undefined);
      if (!this.#stopped) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }

  async #once(): Promise<void> {
    const stream = await this.#client.watch({
      ...this.#range,
      // One that is known already: etcd would begin at a compacted revision, though deletions of it are forgotten.
      start_revision: Math.max(1, this.#seen),
      prev_kv: true,
    });
    await new Promise<void>((resolve) => {
      const end = () => {
        stream.cancel();
        resolve();
      };
      this.#stop = end;
      if (this.#stopped) return end();
      stream.on("data", (answer) => {
        try {
          if (!this.#take(answer)) end();
        } catch {
          end(); // not an answer of etcd's: ask again
        }
      });
      stream.on("error", end);
      stream.on("end", end);
    });
  }

  /** @returns false when the stream is of no more use */
  #take(answer: Record<string, unknown>): boolean {
    if (this.#stopped) return false;
    const compacted = Number(answer.compact_revision ?? 0);
    if (compacted > 0) {
      this.#stopped = true;
      this.#handlers.onCompacted(new Compacted(compacted));
      return false;
    }
    if (answer.canceled === true) return false;
    for (const event of Array.isArray(answer.events) ? answer.events : []) {
      const change = changeFrom(event);
      if (change.revision <= this.#seen) continue;
      this.#seen = change.revision;
      this.#handlers.onChange(change);
    }
    return true;
  }
}
