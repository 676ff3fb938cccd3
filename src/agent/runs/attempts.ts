/** What this process knows of the moves that go out from here, by the instance's key: how fast each gets on, and what of that was told. Another process begins anew. */
import type { Clock } from "../../reconcile/clock.ts";
import type { Converging } from "./converging.ts";
import type { Migration } from "./move-status.ts";
import { SendRate, secondsLeft } from "./send-rate.ts";

interface Attempt {
  rate?: SendRate;
  /** Whether the copies of its disks get to their end. */
  converging?: Converging;
  /** We have seen the sending of its memory begin. */
  begun?: boolean;
  /** When its progress was last written. */
  noted?: { stage: string | undefined; at: number };
  /** What had been sent when the stream last got on. */
  sent?: { bytes: number; at: number };
}

export class Attempts {
  readonly #clock: Clock;
  readonly #all = new Map<string, Attempt>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** From an attempt's beginning to its end. */
  of(key: string): Attempt {
    const attempt = this.#all.get(key) ?? {};
    this.#all.set(key, attempt);
    return attempt;
  }

  end(key: string): void {
    this.#all.delete(key);
  }

  /** How long it still takes. */
  left(
    key: string,
    { transferredBytes, remainingBytes }: { transferredBytes: number; remainingBytes: number },
    dirtyBytesPerSecond = 0,
  ): Pick<Migration, "secondsLeft"> {
    const attempt = this.of(key);
    attempt.rate ??= new SendRate();
    const bytesPerSecond = attempt.rate.look(transferredBytes, this.#now());
    const left = secondsLeft(remainingBytes, bytesPerSecond ?? 0, dirtyBytesPerSecond);
    return left === undefined ? {} : { secondsLeft: left };
  }

  /** For how long nothing more has gone. */
  stalledMs(key: string, bytes: number): number {
    const attempt = this.of(key);
    if (attempt.sent?.bytes !== bytes) attempt.sent = { bytes, at: this.#now() };
    return this.#now() - attempt.sent.at;
  }

  /** Whether its progress is to be written: not oftener than `everyMs` in one stage. */
  isToBeNoted(key: string, stage: string | undefined, everyMs: number): boolean {
    const attempt = this.of(key);
    const now = this.#now();
    if (attempt.noted && attempt.noted.stage === stage && now - attempt.noted.at < everyMs) return false;
    attempt.noted = { stage, at: now };
    return true;
  }

  #now(): number {
    return this.#clock.elapsed();
  }
}
