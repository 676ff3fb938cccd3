/**
 * The newest changes, and everybody who watches: all are handed the same Change, so that its object is parsed, and its JSON for the wire is
 * made, once, however many watch. Kubernetes' API server calls this its watch cache.
 */
import type { Change } from "../store/store.ts";
import { Followers } from "./followers.ts";
import type { Equality } from "./selectors.ts";

/** What is kept for watchers that come back: this many changes, of at most so many characters in all. */
const MAX_CHANGES = 10_000;
const MAX_CHARACTERS = 32 * 2 ** 20;

export class Feed {
  readonly #followers = new Followers();
  /** From #head on; what was there before is gone, its place is given back later. */
  #changes: (Change | undefined)[] = [];
  #head = 0;
  #characters = 0;
  /** Every change after this revision is here. */
  #after: number;

  /** @param after revision after which changes will be pushed, in order and without gaps */
  constructor(after: number) {
    this.#after = after;
  }

  push(change: Change): void {
    this.#changes.push(change);
    this.#characters += sizeOf(change);
    while (this.#changes.length - this.#head > MAX_CHANGES || this.#characters > MAX_CHARACTERS) this.#drop();
    this.#followers.tell(change);
  }

  /**
   * @param equality what it wants only; it is still handed others of before
   * @returns the function that ends it; undefined when changes after that revision are not here any more
   */
  follow(
    prefix: string,
    after: number,
    onChange: (change: Change) => void,
    equality?: Equality,
  ): (() => void) | undefined {
    if (after < this.#after) return undefined;
    for (let i = this.#firstAfter(after); i < this.#changes.length; i++) {
      const change = this.#changes[i];
      if (change?.key.startsWith(prefix)) onChange(change);
    }
    const follower = { prefix, equality, onChange };
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  #drop(): void {
    const oldest = this.#changes[this.#head];
    if (!oldest) return;
    // Now, not when its place is given back: with its object and JSON it may be large.
    this.#changes[this.#head++] = undefined;
    this.#after = oldest.revision;
    this.#characters -= sizeOf(oldest);
    if (this.#head < MAX_CHANGES) return;
    this.#changes = this.#changes.slice(this.#head);
    this.#head = 0;
  }

  #firstAfter(revision: number): number {
    let [low, high] = [this.#head, this.#changes.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#changes[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

const sizeOf = ({ value, previous }: Change) => value.length + (previous?.length ?? 0);
