/**
 * Where in a storage pool images are, and what is done when the pool does not answer.
 *
 * A pool may be on a file server, and one that is gone leaves every call hanging for as long as it is (nfs(5), `hard`, the default), each in one of libuv's few threads, which all calls on
 * files of this process share. So a pool is asked first, once at a time whoever wants it: who comes while it does not answer is told so, and takes no thread. What is under way when it
 * goes is given up after a while, so that the work on other pools goes on; what still hangs of it ends when the pool is back.
 */
import { statfs } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../client/client.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { ApiError } from "../resource/errors.ts";

export interface Patience {
  /** For so long an answer is waited for before something begins. */
  beginMs: number;
  /** What is under way outlives a restart of the file server: of NFS the grace period alone is 90 s (RFC 8881, 8.4.2). */
  giveUpMs: number;
  /** How often a pool is asked while something is under way. */
  everyMs: number;
}

const PATIENCE: Patience = { beginMs: 10_000, giveUpMs: 180_000, everyMs: 5000 };

export class Pools {
  readonly #ask: (path: string) => Promise<unknown>;
  readonly #patience: Patience;
  /** Questions that are not answered yet, one for each pool. */
  readonly #asked = new Map<string, Promise<void>>();

  /** @param ask what nothing but the pool itself can answer: what is told of files may come from this machine's memory */
  constructor(ask: (path: string) => Promise<unknown> = statfs, patience = PATIENCE) {
    this.#ask = ask;
    this.#patience = patience;
  }

  /** The pool's folder of images. @throws ApiError ServiceUnavailable when the pool does not answer */
  async folderOf({ spec }: StoragePool): Promise<string> {
    const folder = join(spec.directory.path, "images");
    if (!(await this.#answers(folder, this.#patience.beginMs))) throw silent(folder);
    return folder;
  }

  /**
   * Does what works in a pool, as long as the pool answers.
   * @param folder of folderOf(): the pool answered just now
   * @param action ends by the signal that it is given: by `signal`, or because it was given up. What it does after that is nobody's business
   * @throws what `action` does; ApiError ServiceUnavailable when it was given up
   */
  async whileAnswering<T>(
    folder: string,
    signal: AbortSignal,
    action: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const gone = new AbortController();
    const over = new AbortController();
    const givenUp = this.#silence(folder, signal, over.signal).then(() => {
      throw silent(folder);
    });
    try {
      return await Promise.race([action(AbortSignal.any([signal, gone.signal])), givenUp]);
    } catch (error) {
      gone.abort(error);
      throw error;
    } finally {
      over.abort();
    }
  }

  /** whileAnswering() of all of these. */
  whileAllAnswer<T>(
    folders: readonly string[],
    signal: AbortSignal,
    action: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const [first, ...others] = folders;
    return first === undefined
      ? action(signal)
      : this.whileAnswering(first, signal, (ended) => this.whileAllAnswer(others, ended, action));
  }

  /** Resolves when the pool has not answered for so long that what works in it is given up, or when that is over. */
  async #silence(folder: string, signal: AbortSignal, over: AbortSignal): Promise<void> {
    const { beginMs, giveUpMs, everyMs } = this.#patience;
    let heard = performance.now();
    while (!over.aborted) {
      await sleep(everyMs, undefined, { signal: over, ref: false }).catch(() => {});
      if (over.aborted) return;
      if (await this.#answers(folder, everyMs)) heard = performance.now();
      // Who wants no more of it waits no longer than who wants to begin.
      else if (performance.now() - heard >= (signal.aborted ? beginMs : giveUpMs)) return;
    }
  }

  async #answers(folder: string, waitMs: number): Promise<boolean> {
    const pool = dirname(folder);
    // That it is not there, say, is an answer, too.
    const ask = () => this.#ask(pool).then(done, done);
    const done = () => void this.#asked.delete(pool);
    const asked = this.#asked.get(pool) ?? ask();
    this.#asked.set(pool, asked);
    const late = new AbortController();
    try {
      return await Promise.race([
        asked.then(() => true),
        sleep(waitMs, false, { signal: late.signal, ref: false }),
      ]);
    } finally {
      late.abort();
    }
  }
}

const silent = (folder: string) =>
  new ApiError(
    "ServiceUnavailable",
    `the storage pool ${dirname(folder)} does not answer; is its file server up, and to be reached from the control plane's machine? Try again when it is`,
    { retryAfterSeconds: 10 },
  );

/** Of this process. */
export const POOLS = new Pools();

/** The pool's folder of images. @throws Error for users; ApiError ServiceUnavailable when the pool does not answer */
export async function imagesFolder(client: Client, storagePool: string, pools = POOLS): Promise<string> {
  const pool = await client.get(StoragePool, { name: storagePool });
  if (!pool) throw new Error(`spec.storagePool: there is no StoragePool ${storagePool}`);
  return pools.folderOf(pool);
}
