/** Time as reconcilers and agents see it, so that tests can step it. */
export interface Clock {
  /** For times that are written, and compared with such. It jumps when the machine's clock is put right: spans are not measured by it. */
  now(): Date;
  /** Milliseconds since some moment: for spans. It only ever goes on. */
  elapsed(): number;
  /** Resolves after `ms`, or at once when the signal aborts (never rejects: the caller looks at the signal). */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  now: () => new Date(),
  elapsed: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener("abort", done);
    }),
};
