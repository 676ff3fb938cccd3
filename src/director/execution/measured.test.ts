/** What a move did by what machines used later, and what the next prediction learns from it. */
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { apply } from "../estate/moved.ts";
import type { Policy } from "../kinds.ts";
import { leastGain, PLAN_DEFAULTS } from "../planning/draft.ts";
import { describeMeasured } from "../planning/effect-words.ts";
import { experienceOf } from "../planning/experience.ts";
import { figuresOf, predict } from "../planning/figures.ts";
import { Forecaster } from "../planning/forecast.ts";
import type { Plan } from "../planning/kinds.ts";
import { measuredOf } from "./measured.ts";

const GiB = 2 ** 30;
const NOW = Date.parse("2026-11-28T12:00:00Z");
const host = (name: string, maxWatts: number): HostView => ({
  name,
  ready: true,
  site: "",
  rack: name,
  cpus: 40,
  processors: 10,
  memoryBytes: 64 * GiB,
  mhz: 2000,
  cores: 10,
  cpuModel: "x",
  accelerator: "kvm",
  ssd: true,
  linkMbps: 1000,
  idleWatts: 100,
  maxWatts,
});
const machine = (name: string, at: string, expected: number, now = expected): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels: {},
  cpus: 4,
  memoryBytes: GiB,
  host: at,
  movable: true,
  since: 0,
  use: { cpus: now, expected },
});
const estate = (...machines: MachineView[]): Estate => ({
  hosts: [host("frugal", 200), host("hungry", 300)],
  machines: machines.sort((a, b) => (a.key < b.key ? -1 : 1)),
  policies: [],
  odd: [],
  now: NOW,
});
const MOVE = {
  ...{ namespace: "default", vm: "x", from: "hungry", to: "frugal" },
  ...{ reason: "it saves watts", expected: "" },
};

it("tells what the machine and both hosts used, and what of the watts came true", () => {
  // Both hosts have another one, so neither is switched: the machine alone makes the difference.
  const before = estate(machine("x", "hungry", 1), machine("y", "hungry", 2), machine("z", "frugal", 4));
  const after = figuresOf(apply(before, "default/x", "frugal"), MOVE);
  expect(after).toMatchObject({ expectedCpus: 1, to: { expectedCpus: 5 }, from: { expectedCpus: 2 } });
  const later = estate(
    machine("x", "frugal", 1, 0.5),
    machine("y", "hungry", 2, 3),
    machine("z", "frugal", 4, 4),
  );
  const measured = measuredOf(later, MOVE, after, NOW);
  // 10 W for a processor on the frugal one, 20 W on the hungry one: whatever y does.
  expect(measured).toEqual({
    time: "2026-11-28T12:00:00.000Z",
    cpus: 0.5,
    from: { cpus: 3, watts: 160 },
    to: { cpus: 4.5, watts: 145 },
    watts: -5,
    expectedWatts: -10,
  });
  expect(measured && describeMeasured(measured, after)).toBe(
    "0.5 processors used (1 expected), 5 W less (10 W less expected)",
  );
  // A host that it left empty, or filled alone, need not be on for it.
  const alone = estate(machine("x", "hungry", 1), machine("z", "frugal", 4));
  const emptied = apply(alone, "default/x", "frugal");
  expect(measuredOf(emptied, MOVE, figuresOf(emptied, MOVE), NOW)).toMatchObject({
    from: { cpus: 0, watts: 0 },
    watts: -110,
    expectedWatts: -110,
  });
  // Of several that emptied a host, none is said to have saved all of what it took, and nothing is learnt of that.
  const second = estate(machine("x", "frugal", 1), machine("y", "frugal", 2), machine("z", "frugal", 4));
  const { watts, expectedWatts, ...rest } = measuredOf(second, MOVE, after, NOW) ?? {};
  expect([watts, expectedWatts, rest]).toEqual([undefined, undefined, expect.objectContaining({ cpus: 1 })]);
  // Not of one that is elsewhere by then, or was not measured.
  expect(measuredOf(before, MOVE, after, NOW)).toBeUndefined();
  const { use: _, ...unmeasured } = machine("x", "frugal", 1);
  expect(measuredOf(estate(unmeasured), MOVE, after, NOW)).toBeUndefined();
});

const plan = (i: number, watts: number, expectedWatts: number): Plan => ({
  apiVersion: "vireo.dev/v1",
  kind: "Plan",
  metadata: { name: `p${i}` },
  spec: { trigger: "a test", automation: "act", moves: [MOVE] },
  status: {
    phase: "Succeeded",
    endedTime: new Date(NOW + i * 60_000).toISOString(),
    moves: [
      {
        phase: "Succeeded",
        ...{ memoryBytes: GiB, linkMbps: 1000 },
        actual: { seconds: 10, bytes: GiB },
        measured: { time: "", cpus: 1, watts, expectedWatts },
      },
    ],
  },
});
const learnt = (plans: Plan[]) => new Forecaster(experienceOf(plans));

it("comes nearer to what is true of watts with each move, and asks as much more of the next where less came true", () => {
  const plans = Array.from({ length: 30 }, (_, i) => plan(i, -10, -20));
  expect(learnt([]).wattsKept).toBe(1);
  expect(learnt(plans.slice(0, 1)).wattsKept).toBeCloseTo(0.95);
  expect(learnt(plans).wattsKept).toBeCloseTo(0.52, 1);
  // What is small is lost in what others do; what is absurd does not count for more than it may.
  expect(learnt([plan(0, -100, -1)]).wattsKept).toBe(1);
  expect(learnt([plan(0, -1000, -20)]).wattsKept).toBeCloseTo(1.05);
  expect(learnt([plan(0, 50, -20)]).wattsKept).toBeCloseTo(0.9);

  const state = estate(machine("x", "hungry", 1), machine("y", "hungry", 2), machine("z", "frugal", 4));
  const predicted = (of: Plan[]) => predict(state, [MOVE], of)[0]?.predicted?.watts;
  expect(predicted([])).toBe(-10);
  expect(predicted(plans)).toBeCloseTo(-5.2, 0);

  const energy: Policy = {
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "e", namespace: "default" },
    spec: { selector: {}, goals: [{ goal: "energy", weight: 1 }], automation: "act", priority: 0 },
  };
  const least = (of: Plan[], policies: Policy[]) => {
    const all = { ...state, policies };
    const forecaster = learnt(
      of.map((one) => ({ ...one, spec: { ...one.spec, moves: [{ ...MOVE, vm: "other" }] } })),
    );
    const options = { ...PLAN_DEFAULTS, now: NOW, released: new Set<string>(), forecaster };
    return leastGain(all, all.machines[0] as MachineView, options);
  };
  expect(least(plans, [energy])).toBeGreaterThan(1.5 * least(plans.slice(0, 1), [energy]));
  const { goals: _, ...fast } = energy.spec;
  const speed = { ...energy, spec: { ...fast, goals: [{ goal: "performance" as const, weight: 1 }] } };
  expect(least(plans, [speed])).toBeCloseTo(least(plans.slice(0, 1), [speed]));
});
