/** So many at once; others wait for a place, in turn. */
export class Places {
  #free: number;
  readonly #waiting = new Set<() => void>();

  constructor(places: number) {
    this.#free = places;
  }

  /** Resolves to the function that gives the place back (once or more often). @throws the signal's reason when it aborts before */
  async take(signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else
      await new Promise<void>((resolve, reject) => {
        const enter = () => {
          signal?.removeEventListener("abort", leave);
          resolve();
        };
        const leave = () => {
          this.#waiting.delete(enter);
          reject(signal?.reason);
        };
        this.#waiting.add(enter);
        signal?.addEventListener("abort", leave, { once: true });
      });
    let isBack = false;
    return () => {
      if (isBack) return;
      isBack = true;
      const [next] = this.#waiting;
      if (!next) return void this.#free++;
      this.#waiting.delete(next);
      next();
    };
  }
}
