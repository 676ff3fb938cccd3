/** How seldom it is measured how fast a machine writes to its memory. */
import { beforeEach, expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import type { MachineId } from "../hypervisor.ts";
import { DirtyRates } from "./dirty-rates.ts";

const MiB = 2 ** 20;
const ID = "a" as MachineId;
const MINUTE = 60_000;
/** As the agent samples. */
const EVERY_MS = 5000;

/** Of the next measurements; "no": QEMU cannot begin one, undefined: it does not end. */
let answers: (number | "no" | undefined)[];
let started: number[];
let [at, cpuSeconds] = [0, 0];
let rates: DirtyRates;
beforeEach(() => {
  [answers, started, at, cpuSeconds] = [[], [], 0, 0];
  rates = new DirtyRates({
    startDirtyRate: async () => {
      started.push(at / MINUTE);
      return answers[0] !== "no" || answers.shift() === undefined;
    },
    dirtyRate: async () => {
      const rate = answers.shift();
      if (rate === undefined) throw new Error("it does not answer");
      return Number(rate);
    },
  });
});

/** @param cpus that it uses @returns what is known then */
async function pass(minutes: number, cpus: number, spec: Partial<Instance["spec"]> = {}) {
  let known: number | undefined;
  for (const end = at + minutes * MINUTE; at < end; ) {
    known = await rates.look({ spec: spec as Instance["spec"] }, ID, at, cpuSeconds);
    at += EVERY_MS;
    cpuSeconds += (cpus * EVERY_MS) / 1000;
  }
  return known;
}

it("a minute after a machine is there, and then once an hour while it goes on as before", async () => {
  answers = [100 * MiB, 50 * MiB, 50 * MiB];
  expect(await pass(1, 0.5)).toBeUndefined();
  expect(await pass(1, 0.5)).toBe(100 * MiB);
  expect(started).toEqual([1]);
  // Two seconds are a glimpse: the mean of both.
  expect(await pass(65, 0.52)).toBe(75 * MiB);
  expect(started).toHaveLength(2);
  expect(started[1]).toBeGreaterThanOrEqual(61);
  await pass(120, 0.52);
  expect(started).toHaveLength(4);
});

it("sooner when it has come to use more of the processors, and no more often than each five minutes", async () => {
  answers = Array.from({ length: 9 }, () => MiB);
  await pass(8, 0.1);
  expect(started).toEqual([1]);
  await pass(6, 1.5);
  expect(started).toHaveLength(2);
  for (const cpus of [0.1, 2, 0.1, 2, 0.1, 2, 0.1, 2, 0.1, 2]) await pass(1, cpus);
  expect(started.length).toBeLessThanOrEqual(4);
});

it("again later where it could not be measured, or did not end", async () => {
  answers = ["no", undefined, 3 * MiB];
  expect(await pass(62, 0.5)).toBeUndefined();
  expect(started).toHaveLength(2);
  expect(await pass(62, 0.5)).toBe(3 * MiB);
});

it("never of a machine that gives memory back: it would be taken again", async () => {
  expect(await pass(120, 0.5, { memoryTarget: "1Gi" })).toBeUndefined();
  expect(started).toEqual([]);
});

it("anew of a machine whose process is another one, and nothing is kept of one that is gone", async () => {
  answers = [100 * MiB, 5 * MiB, 6 * MiB];
  expect(await pass(2, 0.5)).toBe(100 * MiB);
  cpuSeconds = 0;
  expect(await pass(2, 0.5)).toBe(5 * MiB);
  rates.keep(new Set());
  expect(await pass(1, 0.5)).toBeUndefined();
});
