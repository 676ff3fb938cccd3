/**
 * The work queue and loop of every reconciler. Keys go in, `reconcile(key)` comes out:
 *
 *  - a key is never worked on twice at once; enqueued while it is worked on, it runs again afterwards;
 *  - many nudges before it runs are one run: reconcile takes no input but the state it reads;
 *  - an error brings the key back after an exponential back-off; one odd key never stops the others (rule 9).
 */

import { counter, gauge, histogram } from "../telemetry/metrics.ts";
import { inRequest } from "../telemetry/request-id.ts";
import { inSpan } from "../telemetry/tracing.ts";
import { backoffMs } from "./backoff.ts";
import { type Clock, systemClock } from "./clock.ts";
import { describeError, type Logger } from "./log.ts";

const duration = histogram("vireo_reconcile_duration_seconds", "Time that work on one object took.", [
  "controller",
]);
const failed = counter("vireo_reconcile_errors_total", "Times that work on an object failed.", [
  "controller",
]);
const queued = gauge("vireo_reconcile_queue_length", "Objects that wait to be worked on.", ["controller"]);

export interface ControllerOptions {
  name: string;
  /** Works on one key. May ask to be called again later even when nothing changes. */
  // biome-ignore lint/suspicious/noConfusingVoidType: reconcilers with nothing to say simply return
  reconcile: (key: string, signal: AbortSignal) => Promise<{ requeueAfterMs?: number } | void>;
  /** The request for which a key is worked on, where one is known: requestOf(its object). */
  requestOf?: (key: string) => string | undefined;
  log: Logger;
  /** How many keys are worked on at once; 4 by default. */
  workers?: number;
  backoff?: { baseMs: number; maxMs: number };
  /** After work that took long (LONG_MS) it rests for so many times as long: what reads a large estate leaves most of the processor to others. */
  rest?: number;
  clock?: Clock;
}

const LONG_MS = 250;
/** What took longer than a large estate does has mostly waited, for an answer that did not come. */
const MOST_REST_MS = 10_000;

/** What fails for the same reason again and again is said once in this time: thousands of objects do while a control plane is away, for days perhaps. */
const SAID_AGAIN_MS = 600_000;
/** And for other reasons by turns, as with several control planes, once in this. */
const OTHER_AGAIN_MS = 30_000;

interface Failures {
  /** In a row. */
  count: number;
  /** What was said of them last, and when, as the clock had elapsed. */
  said: string;
  saidMs: number;
}

interface Delayed {
  due: number;
  cancel: AbortController;
}

export class Controller {
  readonly #options: ControllerOptions;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** Insertion order is the order of work. */
  readonly #ready = new Set<string>();
  readonly #working = new Set<string>();
  readonly #delayed = new Map<string, Delayed>();
  readonly #failures = new Map<string, Failures>();
  #signal: AbortSignal | undefined;
  #onIdle: (() => void)[] = [];
  #rests = 0;

  constructor(options: ControllerOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#log = options.log.child({ controller: options.name });
  }

  /** Has the key worked on soon, or after `delayMs`; of several delays the earliest counts. */
  enqueue(key: string, delayMs = 0): void {
    if (this.#signal?.aborted) return;
    if (delayMs > 0) this.#delay(key, delayMs);
    else {
      this.#ready.add(key);
      this.#pump();
    }
  }

  /** Works until the signal aborts, then resolves when the work under way has ended; never rejects. */
  async run(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#signal = signal;
    const aborted = new Promise<void>((resolve) =>
      signal.addEventListener("abort", () => resolve(), { once: true }),
    );
    this.#pump();
    await aborted;
    for (const { cancel } of this.#delayed.values()) cancel.abort();
    this.#delayed.clear();
    this.#ready.clear();
    await this.idle();
  }

  /** Resolves when no key is worked on or ready to be; those that wait for their time (back-off) do not count. */
  async idle(): Promise<void> {
    while (this.#working.size > 0 || this.#ready.size > 0)
      await new Promise<void>((resolve) => this.#onIdle.push(resolve));
  }

  #delay(key: string, delayMs: number): void {
    const due = this.#clock.elapsed() + delayMs;
    const known = this.#delayed.get(key);
    if (known && known.due <= due) return;
    known?.cancel.abort();
    const cancel = new AbortController();
    this.#delayed.set(key, { due, cancel });
    void this.#clock.sleep(delayMs, cancel.signal).then(() => {
      if (cancel.signal.aborted) return;
      this.#delayed.delete(key);
      this.enqueue(key);
    });
  }

  #pump(): void {
    const signal = this.#signal;
    if (!signal || signal.aborted) return;
    this.#begin(signal);
    queued.set({ controller: this.#options.name }, this.#ready.size);
  }

  #begin(signal: AbortSignal): void {
    if (this.#rests > 0) return;
    for (const key of this.#ready) {
      if (this.#working.size >= (this.#options.workers ?? 4)) return;
      if (this.#working.has(key)) continue;
      this.#ready.delete(key);
      this.#working.add(key);
      // Not under the id of whoever nudged it.
      void inRequest(this.#options.requestOf?.(key), () => this.#work(key, signal));
    }
  }

  /** @param began as the clock had elapsed */
  #rest(began: number, signal: AbortSignal): void {
    const now = this.#clock.elapsed();
    const { rest = 0 } = this.#options;
    if (rest === 0 || now - began < LONG_MS) return;
    const restMs = Math.min(MOST_REST_MS, rest * (now - began));
    this.#rests++;
    void this.#clock.sleep(restMs, signal).then(() => {
      this.#rests--;
      this.#pump();
    });
  }

  #tell(key: string, error: string, retryMs: number): void {
    const nowMs = this.#clock.elapsed();
    const { count = 0, said = "", saidMs = 0 } = this.#failures.get(key) ?? {};
    // The first failure is most often a lost race (Conflict); what goes on failing is worth a warning.
    const isNews = count < 2 || nowMs - saidMs >= (error === said ? SAID_AGAIN_MS : OTHER_AGAIN_MS);
    const told = isNews ? { said: error, saidMs: nowMs } : { said, saidMs };
    this.#failures.set(key, { count: count + 1, ...told });
    if (isNews)
      this.#log[count === 0 ? "info" : "warn"]("reconcile failed", {
        key,
        error,
        failures: count + 1,
        retryMs,
      });
  }

  async #work(key: string, signal: AbortSignal): Promise<void> {
    const began = this.#clock.elapsed();
    const end = duration.startTimer({ controller: this.#options.name });
    try {
      const { name, reconcile } = this.#options;
      const result = await inSpan(`reconcile ${name}`, { "vireo.object": key }, () => reconcile(key, signal));
      this.#failures.delete(key);
      if (result?.requeueAfterMs !== undefined) this.enqueue(key, Math.max(1, result.requeueAfterMs));
    } catch (error) {
      if (!signal.aborted) {
        failed.inc({ controller: this.#options.name });
        const failures = this.#failures.get(key)?.count ?? 0;
        const retryMs = backoffMs(failures, this.#options.backoff ?? { baseMs: 100, maxMs: 30_000 });
        this.#tell(key, describeError(error), retryMs);
        this.enqueue(key, retryMs);
      }
    } finally {
      end();
      this.#working.delete(key);
      this.#rest(began, signal);
      this.#pump();
      if (this.#working.size === 0) for (const tell of this.#onIdle.splice(0)) tell();
    }
  }
}
