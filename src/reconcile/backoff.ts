/**
 * How long to wait before try number `failures` + 1: doubles from base to max, with jitter (half to all of it), so that many
 * clients that lost the same server do not come back in step.
 */
export function backoffMs(
  failures: number,
  { baseMs = 100, maxMs = 10_000, random = Math.random }: BackoffOptions = {},
): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(failures, 30));
  return Math.ceil(full / 2 + (full / 2) * random());
}

export interface BackoffOptions {
  baseMs?: number;
  maxMs?: number;
  random?: () => number;
}
