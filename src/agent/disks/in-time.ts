/**
 * Looks at the files of storage pools that nobody has to have. A pool on a file server that is gone leaves every call hanging for as long as it is: what waited for it
 * would not get to the other pools, and each new call would take another thread of libuv's.
 */
import { setTimeout as sleep } from "node:timers/promises";

/** For so long one look may take. */
const WAIT_MS = 10_000;

export class InTime {
  readonly #waitMs: number;
  /** Pools in which a look has not ended. */
  readonly #hanging = new Set<string>();

  constructor(waitMs = WAIT_MS) {
    this.#waitMs = waitMs;
  }

  /**
   * @param tell is told when the pool has not answered in time
   * @returns undefined then, and for as long as that look hangs, of all others. @throws what `look` does
   */
  async run<T>(pool: string, look: () => Promise<T>, tell: (error: Error) => void): Promise<T | undefined> {
    if (this.#hanging.has(pool)) return undefined;
    const over = new AbortController();
    const late = sleep(this.#waitMs, undefined, { signal: over.signal, ref: false }).then(() => {
      this.#hanging.add(pool);
      const seconds = this.#waitMs / 1000;
      tell(new Error(`the storage pool ${pool} has not answered for ${seconds} s; is its file server up?`));
    });
    late.catch(() => undefined); // it ended in time
    const looking = look().finally(() => {
      over.abort();
      this.#hanging.delete(pool);
    });
    return (await Promise.race([looking, late])) ?? undefined;
  }
}
