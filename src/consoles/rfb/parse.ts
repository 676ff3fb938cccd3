/**
 * Reads a stream of messages whose lengths are known only from what is in them: a grammar (a generator) asks for so many bytes, and gets them when they are
 * there. Whole messages come out, as they came in. Pure.
 */

/** Asks for a number of bytes, gets exactly those. The Buffer is the message's own: what is changed in it, is changed in what comes out. */
export type Grammar<T = void> = Generator<number, T, Buffer>;

/** No message is longer: a screen of 4096 x 4096 fits. What claims to be is no RFB. */
const MAX_MESSAGE_BYTES = 64 * 2 ** 20;

export class ProtocolError extends Error {}

export class Messages {
  readonly #grammar: () => Grammar;
  #running: Grammar | undefined;
  #needed = 0;
  #queue: Buffer[] = [];
  #queued = 0;
  #message: Buffer[] = [];
  #bytes = 0;

  constructor(grammar: () => Grammar) {
    this.#grammar = grammar;
  }

  /** Whether all that came in came out. */
  get isBetween(): boolean {
    return this.#running === undefined && this.#queued === 0;
  }

  /** The messages that are whole now. @throws ProtocolError */
  *push(bytes: Buffer): Generator<Buffer> {
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    for (;;) {
      if (!this.#running) {
        if (this.#queued === 0) return;
        this.#running = this.#grammar();
        this.#step(this.#running.next());
      }
      while (this.#running) {
        if (this.#queued < this.#needed) return;
        this.#step(this.#running.next(this.#take(this.#needed)));
      }
      const message = Buffer.concat(this.#message, this.#bytes);
      this.#message = [];
      this.#bytes = 0;
      yield message;
    }
  }

  #step({ done, value }: IteratorResult<number, void>): void {
    if (done) {
      this.#running = undefined;
      return;
    }
    if (this.#bytes + value > MAX_MESSAGE_BYTES)
      throw new ProtocolError("a message is longer than any can be");
    this.#needed = value;
  }

  #take(length: number): Buffer {
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      const first = this.#queue[0];
      if (!first) break;
      if (first.length <= missing) {
        parts.push(first);
        this.#queue.shift();
        missing -= first.length;
      } else {
        parts.push(first.subarray(0, missing));
        this.#queue[0] = first.subarray(missing);
        missing = 0;
      }
    }
    this.#queued -= length;
    const [only] = parts;
    const taken = parts.length === 1 && only ? only : Buffer.concat(parts, length);
    this.#message.push(taken);
    this.#bytes += length;
    return taken;
  }
}
