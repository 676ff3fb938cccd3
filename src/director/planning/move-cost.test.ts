/** What a move has to gain for what it costs: its time, for how long the guest stands still, and that it may fail. */
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";
import { leastGain, moveCost } from "./draft.ts";
import { explain } from "./explain.ts";
import { type Experience, Forecaster } from "./forecast.ts";
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
  const took = { key: "default/web", toSendBytes: GiB, linkMbps: 10_000, bytes: GiB, diskBytes: 0 };
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

it("asks twice as much of a move that gains only watts by what is measured", () => {
  const more = (goal: "energy" | "performance") => {
    const spec = { goals: [{ goal, weight: 1 }] };
    const measured = { ...web, use: { cpus: 0.5, expected: 0.5 } };
    return (
      leastGain(estateOf(measured, spec), measured, optionsOf()) -
      leastGain(estateOf(web, spec), web, optionsOf())
    );
  };
  expect(more("energy")).toBeCloseTo(0.95 * THRESHOLD);
  expect(more("performance")).toBe(0);
});

it("counts how long it takes to send what the guest writes meanwhile, over what may be used of the link", () => {
  const seconds = (machine: MachineView, spec?: Partial<Policy["spec"]>) =>
    (moveCost(estateOf(machine, spec), machine, optionsOf()) / THRESHOLD) * 600;
  const large = { ...web, memoryBytes: 100 * 1.25e9 };
  const writes = (share: number) => ({ ...large, dirtyBytesPerSecond: share * 1.25e9 });
  expect([large, writes(0), writes(0.5), writes(0.75)].map((each) => seconds(each))).toEqual(
    [102, 102, 202, 402].map((all) => expect.closeTo(all, 5)),
  );
  // A tenth of the link may be used.
  const slow = { transfer: { bandwidth: "125M" } };
  expect(seconds(large, slow)).toBeCloseTo(1002, 5);
  expect(seconds(writes(0.05), slow)).toBeCloseTo(2002, 5);
});

it("moves a guest that writes as fast as can be sent only when it has to go, unless its memory is sent once", () => {
  const moves = (machine: MachineView, spec?: Partial<Policy["spec"]>, faster = 10_000) => {
    const [slow, fast] = hosts.map((host) => ({ ...host, linkMbps: faster }));
    const estate = { ...estateOf(machine, spec), hosts: [slow, { ...fast, linkMbps: 10_000 }] as HostView[] };
    return planMoves(estate, optionsOf()).map(({ to }) => to);
  };
  const hungry = { ...web, dirtyBytesPerSecond: 1.1e9 };
  expect(moves({ ...web, dirtyBytesPerSecond: 0.9e9 })).toEqual(["fast"]);
  expect(moves(hungry)).toEqual([]);
  // It is the slower link of both that counts.
  expect(moves(hungry, {}, 100_000)).toEqual([]);
  expect(moves(hungry, { transfer: { postCopy: true } })).toEqual(["fast"]);
  expect(moves(hungry, { required: ['host.name == "fast"'] })).toEqual(["fast"]);
  expect(moves({ ...web, dirtyBytesPerSecond: 0.1e9 }, { transfer: { bandwidth: "100M" } })).toEqual([]);
  const { moves: told, use } = explain(estateOf(hungry), web.key) ?? {};
  expect(told).toBe(
    "only when it has to leave its host: it writes 1049.0 MiB a second to its memory, of which 10000 Mbit/s can be sent",
  );
  expect(use).toBeDefined();
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
