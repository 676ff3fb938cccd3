/** What the measurements here share. A figure that could not be taken is NaN, or not among the values: it keeps no bar. */

import { readFileSync } from "node:fs";

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A number from 1 on of the command line. @throws Error for anything else */
export function count(text: string | undefined, otherwise: number, what: string): number {
  const number = Number(text ?? otherwise);
  if (!(number >= 1 && Number.isFinite(number))) throw new Error(`${what}: ${text} is no number from 1 on`);
  return number;
}

/** Looks again and again until there is something. @throws Error after limitMs */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
  { limitMs = 120_000, everyMs = 5 } = {},
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${limitMs / 1000} s`);
    await pause(everyMs);
  }
}

/** The value below which a share q of them is; NaN of none. */
export const quantile = (values: readonly number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(q * values.length) - 1)] ?? Number.NaN;

export const median = (values: readonly number[]): number => quantile(values, 0.5);

export const spread = (values: readonly number[], digits = 0): string => {
  const at = (q: number) => quantile(values, q).toFixed(digits);
  return `min ${at(0)}, median ${at(0.5)}, p90 ${at(0.9)}, max ${at(1)} ms of ${values.length}`;
};

/** Whether there are some, and all are at most so much. */
export const within = (values: readonly number[], bar: number): boolean =>
  values.length > 0 && values.every((value) => value <= bar);

/** Processor time of a process so far, in ms (proc(5): ticks of 10 ms). @throws Error when it has ended */
export function cpuMs(pid: number | string): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
