/** Measured use: hosts that are too busy are relieved with the fewest moves, and no gain makes a host too busy. */
import { expect, it } from "vitest";
import type { Policy } from "../kinds.ts";
import { place } from "../planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { GiB, hostView, machineView } from "../testing/views.ts";
import type { Estate, HostView, MachineView } from "./estate.ts";
import { applyTo } from "./moved.ts";
import type { Demand } from "./use.ts";

const host = (name: string) =>
  hostView(name, {
    ...{ cpus: 16, cores: 8, memoryBytes: 64 * GiB, mhz: 2000, idleWatts: 50, maxWatts: 150 },
    ...{ ssd: true, linkMbps: 10_000 },
  });

const machine = (name: string, on: string, expected: number, gib = 4) =>
  machineView(name, on, { cpus: 2, memoryBytes: gib * GiB, use: { cpus: expected, expected } });

const plan = (hosts: HostView[], machines: MachineView[]) => {
  const estate: Estate = { hosts, machines, policies: [], odd: [] };
  return planMoves(estate, { ...PLAN_DEFAULTS, threshold: 2, now: 1e9, released: new Set() });
};

it("relieves a host that is too busy by one move, of the smallest machine that is enough", () => {
  const busy = [1.9, 1.9, 1.9, 1.9].map((cpus, i) => machine(`m${i}`, "a", cpus, 4 + 2 * i));
  const idle = [machine("idle", "a", 0.1), machine("other", "b", 1)];
  const moves = plan([host("a"), host("b")], [...busy, ...idle]);
  expect(moves.map(({ vm, to }) => [vm, to])).toEqual([["m0", "b"]]);
  expect(moves[0]?.reason).toBe(
    "a is too busy: its machines are expected to use 7.7 of 8 processors, this one 1.9",
  );
});

it("leaves a host that is nearly too busy as it is, and does not make another one too busy", () => {
  expect(
    plan(
      [host("a"), host("b")],
      [1.9, 1.9, 1.9, 1.8].map((c, i) => machine(`m${i}`, "a", c)),
    ),
  ).toEqual([]);
  const full = [1.9, 1.9, 1.9].map((cpus, i) => machine(`n${i}`, "b", cpus));
  const over = [1.9, 1.9, 1.9, 1.9, 0.6].map((cpus, i) => machine(`m${i}`, "a", cpus));
  // 0.6 more, and b has 6.3 of the 6.4 up to which it is filled.
  expect(plan([host("a"), host("b")], [...over, ...full]).map(({ vm, to }) => [vm, to])).toEqual([
    ["m4", "b"],
  ]);
});

it("counts a machine that was not measured as a quarter busy", () => {
  const unknown = Array.from({ length: 8 }, (_, i) => {
    const { use: _use, ...of } = machine(`m${i}`, "a", 0);
    return of;
  });
  // By declaration it is full; it is not too busy.
  expect(plan([host("a"), host("b")], unknown)).toEqual([]);
});

it("fills a small host less with machines that were not measured, of which few even out, than a large one", () => {
  const energy: Policy = {
    ...{ apiVersion: "vireo.dev/v2", kind: "Policy", metadata: { name: "all", namespace: "default" } },
    spec: { selector: {}, automation: "act", priority: 0, goals: [{ goal: "energy", weight: 1 }] },
  };
  const placed = (processors: number): number => {
    const hosts = [
      { ...host("frugal"), idleWatts: 1, maxWatts: 2 },
      { ...host("other"), idleWatts: 900, maxWatts: 9000 },
    ].map((each) => ({ ...each, processors, cpus: 6 * processors, memoryBytes: 1024 * GiB }));
    const machines = Array.from({ length: processors }, (_, i) => {
      const { use: _use, host: _host, ...of } = machine(`m${i}`, "", 0);
      return { ...of, cpus: 4 };
    });
    const estate: Estate = { hosts, machines: [...machines], policies: [energy], odd: [] };
    return machines.filter((each) => {
      const { host: to } = place(estate, each);
      if (to !== undefined) applyTo(estate, each.key, to);
      return to === "frugal";
    }).length;
  };
  // Each is taken to use one processor, more or less. 5 and the root of 5 are below 95 % of 8; 51 are 80 % of 64.
  expect([placed(8), placed(64)]).toEqual([5, 51]);
});

it("expects of many that go up and down by turns less than of one that does as much alone", () => {
  const noisy = (name: string, expected: number, deviation: number): MachineView => ({
    ...machine(name, "a", expected),
    use: { cpus: expected, expected, deviation },
  });
  // 6.8 of 8 on average: by 0.4 more when four vary by 0.2 each, by 1 when one varies by 0.9.
  const many = Array.from({ length: 4 }, (_, i) => noisy(`m${i}`, 1.7, 0.2));
  expect(plan([host("a"), host("b")], many)).toEqual([]);
  const one = [noisy("m0", 1.7, 0.9), ...many.slice(1)];
  expect(plan([host("a"), host("b")], one)[0]?.reason).toMatch(/expected to use 7\.8 of 8 processors/);
});

const GB = 1e9;
const using = (name: string, on: string, demand: Partial<Demand>, gib = 4): MachineView => {
  const none = { iops: 0, diskBytes: 0, networkBytes: 0, memoryBytes: GiB };
  return {
    ...machine(name, on, 0.1, gib),
    use: { cpus: 0.1, expected: 0.1, demand: { ...none, ...demand } },
  };
};

it("relieves a host whose disks are to do more than its budget says, though no machine has limits", () => {
  const hosts = ["a", "b"].map((name) => ({ ...host(name), budget: { iops: 10_000 } }));
  const onA = [6000, 3000, 700, 50].map((iops, i) => using(`m${i}`, "a", { iops }, 4 + i));
  // 9,750 of 10,000; b has 7,000 of the 8,000 up to which it is filled.
  const moves = plan(hosts, [...onA, using("n", "b", { iops: 7000 })]);
  expect(moves.map(({ vm, to }) => [vm, to])).toEqual([["m2", "b"]]);
  expect(moves[0]?.reason).toBe(
    "a is too busy: of 10000 disk requests a second its machines are expected to use 9750, this one 700",
  );
  // Nobody said how many it can do.
  expect(plan([host("a"), host("b")], onA)).toEqual([]);
});

it("relieves a link by what goes over it, and memory that is given out more than once by what is taken", () => {
  const bytes = [0.7, 0.3, 0.2].map((gb, i) => using(`m${i}`, "a", { networkBytes: gb * GB }, 4 + i));
  const [move, ...more] = plan([host("a"), host("b")], bytes);
  // Of those that are enough by themselves the one with the least memory.
  expect([move?.vm, more]).toEqual(["m0", []]);
  expect(move?.reason).toMatch(/^a is too busy: of .* network bandwidth its machines are expected to use .*/);

  const full = [20, 16, 12].map((gib, i) => using(`m${i}`, "a", { memoryBytes: gib * GiB }, 24));
  const twice = ["a", "b"].map((name) => ({
    ...host(name),
    memoryBytes: 96 * GiB,
    ownMemoryBytes: 48 * GiB,
  }));
  expect(plan(twice, full).map(({ to, reason }) => [to, reason])).toEqual([
    ["b", "a is too busy: of 48Gi memory its machines are expected to use 48Gi, this one 20Gi"],
  ]);
  expect(
    plan(
      twice.map(({ ownMemoryBytes: _, ...all }) => all),
      full,
    ),
  ).toEqual([]);
});

it("fills no host by a move beyond what it can do, and moves nobody away from a place that is as busy as any other", () => {
  const hosts = ["a", "b"].map((name) => ({ ...host(name), budget: { iops: 10_000 } }));
  const busy = ["a", "b"].flatMap((on) => [5000, 4900].map((iops, i) => using(`${on}${i}`, on, { iops })));
  expect(plan(hosts, busy)).toEqual([]);
});
