/** What machines used over some time, step by step: what a simulation runs on. Pure. */

/** Of every trace: published ones have samples of five minutes. */
export const STEP_MS = 300_000;

/** Something is wrong with a file that a user gave; the message names it, and the line. */
export class InputError extends Error {}

export interface TracedMachine {
  name: string;
  labels: Record<string, string>;
  /** Declared. */
  cpus: number;
  memoryBytes: number;
  /** Processors that it used, by step. */
  use: Float32Array;
}

export interface Trace {
  /** Of the first step, ms since the epoch. */
  startMs: number;
  steps: number;
  machines: TracedMachine[];
}

/** What a trace does not tell of its machines. */
export interface Sizes {
  cpus: number;
  memoryBytes: number;
}

/** What was told of a machine at some time. */
export interface Reading {
  /** ms since the epoch */
  at: number;
  /** Processors. */
  used: number;
}

const MiB = 2 ** 20;

/** A number of a trace. @throws InputError naming `where` */
export function numberOf(text: string, where: string, what: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < 0)
    throw new InputError(`${where}: ${what}: ${JSON.stringify(text.slice(0, 40))} is no number from 0 on`);
  return value;
}

/**
 * A file with a line each five minutes for one machine, as of PlanetLab (CPU in percent) and of Google's cluster (CPU and memory, both in percent).
 * @param file for errors @throws InputError
 */
export function readSeries(text: string, file: string, name: string, sizes: Sizes): TracedMachine {
  const lines = text.split("\n");
  while (lines.at(-1)?.trim() === "") lines.pop();
  if (lines.length === 0)
    throw new InputError(`${file}: holds no line; one with CPU percent each five minutes is needed`);
  let columns = 0;
  let most = 0;
  const use = Float32Array.from(lines, (line, i) => {
    const where = `${file}:${i + 1}`;
    const parts = line.trim().split(/[\s,]+/);
    if (i === 0) columns = parts.length;
    if (parts.length !== columns || parts.length > 2)
      throw new InputError(
        `${where}: ${parts.length} numbers; each line has CPU percent, or CPU and memory percent, as the first one`,
      );
    most = Math.max(most, numberOf(parts[1] ?? "0", where, "memory percent"));
    return (numberOf(parts[0] ?? "", where, "CPU percent") / 100) * sizes.cpus;
  });
  const memoryBytes =
    columns === 2
      ? Math.max(1, Math.ceil((most * sizes.memoryBytes) / 100 / 64 / MiB)) * 64 * MiB
      : sizes.memoryBytes;
  return { name, labels: {}, cpus: sizes.cpus, memoryBytes, use };
}

/** All of the same time, on one grid: what was told last holds, and nothing is used before. */
export function onGrid(machines: readonly (Omit<TracedMachine, "use"> & { readings: Reading[] })[]): Trace {
  let [startMs, endMs] = [Number.POSITIVE_INFINITY, 0];
  for (const { readings } of machines)
    for (const { at } of readings) [startMs, endMs] = [Math.min(startMs, at), Math.max(endMs, at)];
  startMs = Math.floor(startMs / STEP_MS) * STEP_MS;
  const steps = Math.floor((endMs - startMs) / STEP_MS) + 1;
  return {
    startMs,
    steps,
    machines: machines.map(({ readings, ...machine }) => {
      const use = new Float32Array(steps);
      readings.sort((a, b) => a.at - b.at);
      let step = 0;
      let last = 0;
      for (const { at, used } of readings) {
        const to = Math.floor((at - startMs) / STEP_MS);
        while (step < to) use[step++] = last;
        last = used;
      }
      use.fill(last, step);
      return { ...machine, use };
    }),
  };
}
