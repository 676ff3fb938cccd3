/** A clock that tests move by hand. */
import type { Clock } from "../clock.ts";

interface Sleeper {
  due: number;
  wake: () => void;
}

export class SteppedClock implements Clock {
  /** What it shows when nothing has elapsed. */
  #start = Date.UTC(2026, 0, 1);
  #elapsed = 0;
  readonly #sleepers = new Set<Sleeper>();
  readonly #idle: Idle;

  /** `idle`: of a store, when it does its work on another thread. */
  constructor(idle?: Idle) {
    this.#idle = idle ?? (async () => undefined);
  }

  now(): Date {
    return new Date(this.#start + this.#elapsed);
  }

  elapsed(): number {
    return this.#elapsed;
  }

  /** As when the machine's clock is put right: no time passes. */
  jump(ms: number): void {
    this.#start += ms;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const sleeper: Sleeper = {
        due: this.#elapsed + ms,
        wake: () => {
          this.#sleepers.delete(sleeper);
          signal?.removeEventListener("abort", sleeper.wake);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener("abort", sleeper.wake);
    });
  }

  /** How many are asleep. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  /** Moves time on, waking sleepers in order, and lets what they woke run before each next one. */
  async step(ms: number): Promise<void> {
    const end = this.#elapsed + ms;
    await settle(this.#idle);
    for (;;) {
      const next = [...this.#sleepers].sort((a, b) => a.due - b.due)[0];
      if (!next || next.due > end) break;
      this.#elapsed = Math.max(this.#elapsed, next.due);
      next.wake();
      await settle(this.#idle);
    }
    this.#elapsed = end;
    await settle(this.#idle);
  }
}

/** Resolves when what was asked before is done. */
export type Idle = () => Promise<unknown>;

/** Lets everything run that can run without time passing. A write that one thing makes may wake the next, so it takes a few turns. */
export async function settle(idle: Idle = async () => undefined): Promise<void> {
  for (let turn = 0; turn < 5; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    await idle();
  }
}
