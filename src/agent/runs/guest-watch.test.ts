/** What is asked of guests and told of them, with a guest and a clock played by hand; over the real API: test/agent.test.ts. */
import { beforeEach, expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { setCondition } from "../../resource/object.ts";
import { GuestWatch } from "./guest-watch.ts";
import type { InstanceStatus } from "./instance-status.ts";

const PACE = { probe: 500, refresh: 30_000, sample: 5000 };
const BEGAN = Date.UTC(2026, 0, 1);

let instance: Instance;
let nowMs: number;
let writes: string[];
let events: string[];
/** What the guest says. */
let answer: () => Promise<unknown>;
/** Each time that it is to be looked at: the delay, ms. */
let nudges: number[];
let nudged: () => void;
let watch: GuestWatch;

beforeEach(() => {
  nowMs = BEGAN;
  [writes, events, nudges] = [[], [], []];
  nudged = () => undefined;
  answer = async () => undefined;
  instance = {
    apiVersion: "vireo.dev/v1",
    kind: "Instance",
    metadata: { name: "web-1", namespace: "default", uid: "u" },
    spec: {
      vm: "web",
      vmUid: "v",
      cpus: 1,
      memory: "1Gi",
      image: "i",
      storagePool: "p",
      interfaces: [],
      running: true,
    },
    status: { phase: "Starting", startedTime: new Date(BEGAN).toISOString() },
  };
  const now = () => new Date(nowMs);
  const change = ({ conditions, ...rest }: Partial<InstanceStatus>) => {
    const told = conditions?.at(-1);
    if (told) writes.push(`${told.status} ${told.reason}`);
    const all = instance.status?.conditions ?? [];
    const next = told ? setCondition(all, told, now().toISOString()) : all;
    instance = { ...instance, status: { ...instance.status, ...rest, conditions: next } };
  };
  watch = new GuestWatch(
    {
      hypervisor: { guestAgent: async () => answer() },
      clock: { now, elapsed: () => nowMs, sleep: async () => undefined },
      events: { record: (_about, type, reason) => events.push(`${type} ${reason}`) },
      log: silentLogger,
    },
    {
      write: async (_instance, status) => {
        change(status);
        return instance;
      },
      writeSeen: async (_instance, status) => change(status),
    },
    { set: async () => undefined },
    { news: () => undefined },
    PACE,
    (_key, delayMs) => {
      nudges.push(delayMs);
      nudged();
    },
  );
});

/** A look, and what comes of what is asked in it: one that finds no answer asks, and the answer has it looked at again. */
async function look(): Promise<void> {
  const asked = new Promise<void>((resolve) => {
    nudged = resolve;
  });
  await watch.look(instance);
  await asked;
  if (nudges.at(-1) === 0) await watch.look(instance);
}

it("a look does not wait for a guest that says nothing, and asks it one thing at a time", async () => {
  let asked = 0;
  answer = () => {
    asked++;
    return new Promise(() => undefined);
  };
  await watch.look(instance);
  await watch.look(instance);
  expect([asked, watch.isAsking(instance), writes]).toEqual([1, true, []]);
});

it("who waits for its answer, as who keeps its memory does, is told at once that it is there, be it news or not", async () => {
  answer = async () => [];
  await look();
  let answered: (addresses: unknown) => void = () => undefined;
  answer = () =>
    new Promise((resolve) => {
      answered = resolve;
    });
  const told = new Promise<void>((resolve) => {
    nudged = resolve;
  });
  await watch.look(instance);
  expect(watch.isAsking(instance)).toBe(true);
  // It is asked whether it is ready, then for its addresses.
  answer = async () => [];
  answered([]);
  await told;
  expect([nudges.at(-1), watch.isAsking(instance)]).toEqual([0, false]);
});

it("a guest that is not ready in time is asked less and less often, and that is written once", async () => {
  await look();
  expect(nudges).toEqual([500]);
  nowMs = BEGAN + 310_000;
  for (let looks = 0; looks < 5; looks++) await look();
  expect(writes).toEqual(["False NotReadyInTime"]);
  expect(nudges.at(-1)).toBe(1000);
  nowMs = BEGAN + 3_600_000;
  await look();
  expect(nudges.at(-1)).toBe(30_000);
  answer = async () => ({});
  await look();
  expect([writes.at(-1), instance.status?.phase]).toEqual(["True Ready", "Running"]);
});

it("what a guest answered before it was reset does not make it ready", async () => {
  answer = async () => ({});
  const asked = new Promise<void>((resolve) => {
    nudged = resolve;
  });
  await watch.look(instance);
  await asked;
  const startedTime = new Date(BEGAN + 1).toISOString();
  instance = { ...instance, status: { ...instance.status, startedTime } };
  await watch.look(instance);
  expect(writes).toEqual([]);
});

it("a guest that was ready and says nothing for a minute is told of, until it answers again", async () => {
  answer = async () => [];
  await look();
  expect(writes).toEqual(["True Ready"]);
  answer = async () => undefined;
  // First after half a minute; then it stands still for ten, and nobody asks it.
  for (const seconds of [30, 600, 30, 30]) {
    await look();
    expect(writes).toEqual(["True Ready"]);
    nowMs += seconds * 1000;
  }
  await look();
  expect(writes.slice(1)).toEqual(["False NotAnswering"]);
  await look();
  answer = async () => [];
  await look();
  expect(writes.slice(-2)).toEqual(["False NotAnswering", "True Ready"]);
  expect(events.slice(-2)).toEqual(["Warning NotAnswering", "Normal Ready"]);
});
