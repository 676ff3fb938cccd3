const [NEWLINE, QUOTE, BACKSLASH, U] = [0x0a, 0x22, 0x5c, 0x75];

/** Goes through lines of JSON that come in pieces, and cuts the strings in it short: still JSON, and bounded, whatever a guest sends. */
export class StringCutter {
  readonly #units: number;
  #isString = false;
  #length = 0;
  /** Units of an escape that are still to come: it is kept whole. */
  #escape = 0;
  /** The rest of this string is left out. */
  #isCut = false;

  /** @param units of a string (UTF-16) that are kept, up to an escape more */
  constructor(units: number) {
    this.#units = units;
  }

  /** @returns what is kept of the next piece */
  next(text: string): string {
    let kept = "";
    let from = this.#isCut ? text.length : 0;
    for (let at = 0; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      // A line's end is never in a string: this is half an answer that somebody before us left behind.
      if (unit === NEWLINE || (unit === QUOTE && this.#escape === 0)) {
        if (this.#isCut) from = at;
        this.#isString = unit === QUOTE && !this.#isString;
        this.#isCut = false;
        this.#length = 0;
        this.#escape = 0;
      } else if (this.#isString) {
        if (!this.#isCut && this.#escape === 0 && this.#length >= this.#units) {
          kept += text.slice(from, at);
          from = text.length;
          this.#isCut = true;
        }
        this.#length++;
        if (this.#escape === 0) this.#escape = unit === BACKSLASH ? 1 : 0;
        else if (this.#escape === 1 && unit === U) this.#escape = 4;
        else this.#escape--;
      }
    }
    return kept + text.slice(from);
  }
}
