/**
 * What was made of texts, kept for the next time: so many characters, and so many parts that were added to it later, of all together. When it becomes more, what was not asked for the
 * longest goes, a quarter of all. Pure.
 */
interface Entry<T> {
  made: T;
  parts: number;
  used: number;
}

/** A rule takes some 70 bytes for each character, so that all take some 200 MB at most. */
const MOST_CHARACTERS = 3_000_000;
/** As much as so many characters is taken by what each has besides. */
const OF_EACH = 20;
/** As an outcome of a rule is: some hundred bytes. */
const MOST_PARTS = 1_000_000;
/** So much remains. */
const REST = 0.75;

export class Kept<T> {
  readonly #of = new Map<string, Entry<T>>();
  readonly #most: { characters: number; parts: number };
  #characters = 0;
  #parts = 0;
  #asked = 0;

  constructor(most = { characters: MOST_CHARACTERS, parts: MOST_PARTS }) {
    this.#most = most;
  }

  /** How many there are. */
  get size(): number {
    return this.#of.size;
  }

  get(text: string): T | undefined {
    const entry = this.#of.get(text);
    if (!entry) return undefined;
    entry.used = ++this.#asked;
    return entry.made;
  }

  set(text: string, made: T): void {
    this.#drop(text);
    this.#of.set(text, { made, parts: 0, used: ++this.#asked });
    this.#characters += text.length + OF_EACH;
    this.#shrink();
  }

  /** It has one part more; of what is no longer kept nothing is counted. */
  grown(text: string, made: T): void {
    const entry = this.#of.get(text);
    if (entry?.made !== made) return;
    entry.parts++;
    this.#parts++;
    this.#shrink();
  }

  #drop(text: string): void {
    const entry = this.#of.get(text);
    if (!entry) return;
    this.#of.delete(text);
    this.#characters -= text.length + OF_EACH;
    this.#parts -= entry.parts;
  }

  #shrink(): void {
    const { characters, parts } = this.#most;
    if (this.#characters <= characters && this.#parts <= parts) return;
    for (const [text] of [...this.#of].sort(([, a], [, b]) => a.used - b.used)) {
      if (this.#characters <= characters * REST && this.#parts <= parts * REST) return;
      this.#drop(text);
    }
  }
}
