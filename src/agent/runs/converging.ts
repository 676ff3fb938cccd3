/**
 * Whether copies of disks which a guest writes meanwhile get to their end, and what is done when they do not: as QEMU's auto-converge takes processors
 * from a guest that writes its memory faster than it is sent, its writes are slowed to half of what is sent, and by half again, until what is sent gains
 * on what is written. Pure, but for what it remembers of earlier looks.
 */
import type { Copying } from "../../qemu/copying.ts";
import { formatBytes } from "../../resource/quantity.ts";

/** As auto-converge's threshold: more than half of what was sent in a window, of at least so long, was written anew, in two windows in turn. */
const WINDOW_MS = 5000;
const TELLING = 2;
/** A guest's disk must not come to a standstill: its kernel would give up. */
export const LEAST_WRITTEN = 256 * 2 ** 10;
/** How long a guest that is slowed that much is waited for, in windows. */
const PATIENCE = 6;
/** How long a target that takes nothing at all is waited for; with a limit, under which QEMU sends up to 16 MiB of each disk at once, and then pauses. */
export const TAKES_NOTHING_MS = 60_000;
const TAKES_NOTHING_LIMITED_MS = 600_000;

export type Verdict =
  | { do: "slow"; bytesPerSecond: number; sentPerSecond: number; writtenPerSecond: number }
  | { do: "fail"; why: string };

const MiB = 2 ** 20;
/** For people. */
export const roughly = (bytes: number): string =>
  formatBytes(bytes >= MiB ? Math.round(bytes / MiB) * MiB : Math.ceil(bytes));

export class Converging {
  #window: (Copying & { atMs: number }) | undefined;
  readonly #patienceMs: number;
  #movedAtMs = 0;
  #moved = -1;
  /** Windows in turn in which it was written too much. */
  #bad = 0;
  #slowedTo: number | undefined;

  /** @param limited whether it may use only so much of the link */
  constructor(limited: boolean) {
    this.#patienceMs = limited ? TAKES_NOTHING_LIMITED_MS : TAKES_NOTHING_MS;
  }

  /** @returns what is to be done about it, if anything */
  look({ transferredBytes, remainingBytes }: Copying, atMs: number): Verdict | undefined {
    if (transferredBytes !== this.#moved) [this.#moved, this.#movedAtMs] = [transferredBytes, atMs];
    else if (atMs - this.#movedAtMs >= this.#patienceMs)
      return { do: "fail", why: `nothing of its disks could be sent for ${this.#patienceMs / 1000} s` };
    const since = this.#window;
    const sent = transferredBytes - (since?.transferredBytes ?? 0);
    // With little bandwidth QEMU sends some MiB at once, and then nothing for many seconds.
    if (since && (sent <= 0 || atMs - since.atMs < WINDOW_MS)) return undefined;
    this.#window = { transferredBytes, remainingBytes, atMs };
    if (!since) return undefined;
    const written = sent + remainingBytes - since.remainingBytes;
    if (written * 2 <= sent) {
      this.#bad = 0;
      return undefined;
    }
    this.#bad++;
    const seconds = (atMs - since.atMs) / 1000;
    return this.#tooMuch(sent / seconds, written / seconds);
  }

  #tooMuch(sentPerSecond: number, writtenPerSecond: number): Verdict | undefined {
    if (this.#bad < TELLING) return undefined;
    if (this.#slowedTo === LEAST_WRITTEN) {
      if (this.#bad < PATIENCE) return undefined;
      const why = `its guest writes its disks faster than they are sent (${roughly(sentPerSecond)} a second), though its writes were slowed to ${roughly(LEAST_WRITTEN)} a second; give the move more bandwidth (spec.transfer), or try again when the guest writes less`;
      return { do: "fail", why };
    }
    this.#bad = 0;
    const half = Math.floor((this.#slowedTo ?? sentPerSecond) / 2);
    this.#slowedTo = Math.max(LEAST_WRITTEN, half);
    return { do: "slow", bytesPerSecond: this.#slowedTo, sentPerSecond, writtenPerSecond };
  }
}
