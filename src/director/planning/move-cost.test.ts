/** What a move has to gain for what it costs: its time, for how long the guest stands still, and that it may fail. */
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { type Experience, Forecaster } from "../execution/forecast.ts";
import type { Policy } from "../kinds.ts";
import { leastGain, moveCost } from "./draft.ts";
import { explain } from "./explain.ts";
import { PLAN_DEFAULTS, planMoves } from "./plan.ts";

const GiB = 2 ** 30;

/** The second is a fifth faster: 0.12 better. */
const hosts: HostView[] = [
  { name: "slow", mhz: 2400 },
  { name: "fast", mhz: 3000 },
].map(({ name, mhz }) => ({
  ...{ name, mhz, ready: true, site: "", rack: name, cpus: 8, memoryBytes: 16 * GiB },
  ...{ cores: 8, cpuModel: "x", accelerator: "kvm", ssd: true, linkMbps: 10_000 },
}));

const web: MachineView = {
  ...{ key: "default/web", namespace: "default", name: "web", labels: {}, cpus: 1, memoryBytes: GiB },
  ...{ movable: true, since: 0, host: "slow" },
};

const policy = (spec: Partial<Policy["spec"]> = {}): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name: "all", namespace: "default" },
  spec: {
    ...{ selector: {}, automation: "act", priority: 0 },
    ...{ goals: [{ goal: "performance", weight: 1 }] },
    ...spec,
  },
});

const estateOf = (machine: MachineView, spec?: Partial<Policy["spec"]>): Estate => ({
  ...{ hosts, machines: [machine], policies: [policy(spec)], odd: [] },
});

const optionsOf = (...downtimes: number[]) => {
  const took = { key: "default/web", memoryBytes: GiB, linkMbps: 10_000, bytes: GiB, diskBytes: 0 };
  const experience = downtimes.map((downtimeMs): Experience => ({ ...took, seconds: 3, downtimeMs }));
  return { ...PLAN_DEFAULTS, now: 1e9, released: new Set<string>(), forecaster: new Forecaster(experience) };
};
const THRESHOLD = PLAN_DEFAULTS.threshold;

it("counts how long the guest stood still, against how long its policies let it", () => {
  const cost = (spec: Partial<Policy["spec"]>, ...downtimes: number[]) =>
    moveCost(estateOf(web, spec), web, optionsOf(...downtimes)) / THRESHOLD;
  const time = cost({}, 0);
  expect(time).toBeLessThan(0.01);
  expect(cost({}, 500) - time).toBeCloseTo(0.5);
  expect(cost({ transfer: { downtimeMs: 100 } }, 40) - time).toBeCloseTo(0.4);
  // No more than twice as much: what needs seconds is moved all the same where that gains much.
  expect(cost({}, 60_000) - time).toBeCloseTo(1);
});

it("counts that four times of a machine with high latency sensitivity, and not at all with low", () => {
  const cost = (latencySensitivity: "low" | "normal" | "high", downtimeMs: number) => {
    const machine = { ...web, latencySensitivity };
    return moveCost(estateOf(machine), machine, optionsOf(downtimeMs)) / THRESHOLD;
  };
  const time = cost("normal", 0);
  expect([cost("low", 500), cost("normal", 500), cost("high", 500)].map((all) => all - time)).toEqual(
    [0, 0.5, 2].map((still) => expect.closeTo(still)),
  );
});

it("counts moves that failed", () => {
  const least = (times: number) => {
    const machine = times === 0 ? web : { ...web, failed: { times, at: 0, why: "played" } };
    return leastGain(estateOf(machine), machine, optionsOf()) - leastGain(estateOf(web), web, optionsOf());
  };
  expect([0, 1, 2].map(least)).toEqual([0, 0.5, 1].map((share) => expect.closeTo(share * THRESHOLD)));
});

it("moves no machine for less than that, and tells so", () => {
  const moves = (machine: MachineView, downtimeMs: number, spec?: Partial<Policy["spec"]>) =>
    planMoves(estateOf(machine, spec), optionsOf(downtimeMs)).map(({ to }) => to);
  expect(moves(web, 60)).toEqual(["fast"]);
  expect(moves(web, 900)).toEqual([]);
  expect(moves(web, 60, { transfer: { downtimeMs: 50 } })).toEqual([]);
  expect(moves({ ...web, failed: { times: 2, at: 0, why: "played" } }, 60)).toEqual([]);
  // What mends a rule is moved whatever that costs.
  const twice = { ...web, failed: { times: 9, at: 0, why: "played" } };
  expect(moves(twice, 900, { required: ['host.name == "fast"'] })).toEqual(["fast"]);
  const { hosts: told = [] } = explain(estateOf(web), web.key, 9, optionsOf(900).forecaster) ?? {};
  expect(told.map(({ compared }) => compared ?? "").join()).toContain("a move has to gain about 0.15");
});
