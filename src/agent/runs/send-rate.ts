/** How fast what is sent gets on, and when it is all there. */

/** Nobody waits for a month. */
const NO_END_S = 30 * 86_400;

/**
 * How long until all is sent, in seconds: what is left, and what the guest makes of it anew meanwhile. Undefined while the rate is not known, or
 * when the guest writes as fast as is sent, or nothing has been sent for long.
 */
export function secondsLeft(
  remainingBytes: number,
  bytesPerSecond: number,
  dirtyBytesPerSecond = 0,
): number | undefined {
  const net = bytesPerSecond - dirtyBytesPerSecond;
  const seconds = Math.ceil(remainingBytes / net);
  return net > 0 && seconds < NO_END_S ? seconds : undefined;
}

/** Of a new look, against all before: one that is off counts little (as KubeVirt's migration monitor). */
const WEIGHT = 0.4;

export class SendRate {
  #last: { bytes: number; atMs: number } | undefined;
  #bytesPerSecond: number | undefined;

  /** @param bytes sent in all @returns bytes per second; undefined before the second look */
  look(bytes: number, atMs: number): number | undefined {
    const last = this.#last;
    if (last && atMs <= last.atMs) return this.#bytesPerSecond;
    this.#last = { bytes, atMs };
    if (!last) return undefined;
    const now = Math.max(0, ((bytes - last.bytes) * 1000) / (atMs - last.atMs));
    const before = this.#bytesPerSecond;
    this.#bytesPerSecond = before === undefined ? now : before + WEIGHT * (now - before);
    return this.#bytesPerSecond;
  }
}
