/** Moves that are worth it only together, as the solver finds them. */
import { describe, expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { apply } from "../estate/moved.ts";
import type { Policy } from "../kinds.ts";
import { obstacle } from "../rules/rules.ts";
import { GiB, hostView, machineView, policyOf } from "../testing/views.ts";
import { PLAN_DEFAULTS, type PlanOptions, planMoves } from "./plan.ts";
import { turnOf } from "./regroup.ts";

const NOW = 1e12;
const OPTIONS: PlanOptions = { ...PLAN_DEFAULTS, now: NOW, released: new Set<string>() };

const host = (name: string, gib: number, more: Partial<HostView> = {}) =>
  hostView(name, { cpus: 64, cores: 32, memoryBytes: gib * GiB, mhz: 2000, ...more });
const machine = (name: string, on: string, gib: number, more: Partial<MachineView> = {}) =>
  machineView(name, on, { labels: { app: name.replace(/-.*/, "") }, memoryBytes: gib * GiB, ...more });
const policy = (app: string, spec: Partial<Policy["spec"]>) =>
  policyOf(app, { selector: { matchLabels: { app } }, goals: [{ goal: "balanced", weight: 1 }], ...spec });

/** The moves, after it was seen that each is allowed where it is made. */
function planned(estate: Estate, options = OPTIONS) {
  const moves = planMoves(estate, options);
  let state: Estate = { ...estate, machines: [...estate.machines] };
  for (const { vm, to } of moves) {
    const one = state.machines.find(({ name }) => name === vm) as MachineView;
    const there = state.hosts.find(({ name }) => name === to) as HostView;
    expect(obstacle(state, one, there)).toBeUndefined();
    state = apply(state, one.key, to);
  }
  return moves.map(({ vm, from, to, reason }) => ({ vm, from, to, reason }));
}

describe("others make room", () => {
  /** The database needs a disk that only one host has, which is full of what could be anywhere. */
  const estate: Estate = {
    hosts: [host("ssd", 16, { ssd: true }), host("old", 32), host("other", 6)],
    machines: [
      machine("db-1", "old", 10),
      machine("web-1", "ssd", 8),
      machine("web-2", "ssd", 4, { movable: false }),
      machine("own-1", "ssd", 2, { movable: false }),
      machine("own-2", "old", 12, { movable: false }),
    ],
    policies: [policy("db", { required: ["host.disk.ssd"] })],
    odd: [],
  };

  it("for a machine that has to leave its host", () => {
    expect(planned(estate)).toEqual([
      { vm: "web-1", from: "ssd", to: "old", reason: "makes room on ssd for db-1" },
      {
        vm: "db-1",
        from: "old",
        to: "ssd",
        reason: 'on old policy "db" requires host.disk.ssd (host.disk.ssd is false)',
      },
    ]);
  });

  it("not when they may not be moved, came lately, or the machine would not find room all the same", () => {
    const but = (name: string, more: Partial<MachineView>): Estate => ({
      ...estate,
      machines: estate.machines.map((one) => (one.name === name ? { ...one, ...more } : one)),
    });
    const dbOf = (of: Estate, options = OPTIONS) => planned(of, options).filter(({ vm }) => vm === "db-1");
    expect(dbOf(estate)).toHaveLength(1);
    expect(dbOf(but("web-1", { movable: false }))).toEqual([]);
    expect(dbOf(but("web-1", { since: NOW - 1000 }))).toEqual([]);
    expect(dbOf(but("db-1", { memoryBytes: 15 * GiB }))).toEqual([]);
    const more = (spec: Partial<Policy["spec"]>) => ({
      ...estate,
      policies: [...estate.policies, policy("web", spec)],
    });
    expect(dbOf(more({}))).toHaveLength(1);
    expect(dbOf(more({ moves: { never: true } }))).toEqual([]);
    expect(dbOf(more({ automation: "advise" }))).toEqual([]);
    expect(dbOf(more({ moves: { perHour: 0 } }))).toEqual([]);
    expect(dbOf(estate, { ...OPTIONS, maxMoves: 1 })).toEqual([]);
  });

  it("for one that likes the host much better, when the others do not mind", () => {
    const fast = policy("fast", { goals: [{ goal: "performance", weight: 1 }] });
    const thrifty = policy("thrifty", { goals: [{ goal: "energy", weight: 1 }] });
    const hosts = [host("quick", 16, { mhz: 4000 }), host("slow", 32), host("spare", 32)];
    const machines = [
      machine("fast-1", "slow", 8),
      machine("thrifty-1", "quick", 12),
      machine("own-1", "quick", 1, { movable: false }),
      machine("thrifty-2", "spare", 4, { movable: false }),
    ];
    const both: Estate = { hosts, machines, policies: [fast, thrifty], odd: [] };
    const moves = planned(both);
    expect(moves.map(({ vm }) => vm)).toEqual(["thrifty-1", "fast-1"]);
    expect(moves[1]?.to).toBe("quick");
    expect(moves[1]?.reason).toMatch(/^policy fast \(performance\): 4000 MHz/);
    // All are as fast as that one: then it is fine where it is.
    expect(planned({ ...both, hosts: hosts.map((one) => ({ ...one, mhz: 4000 })) })).toEqual([]);
  });
});

describe("of moves that hang together some are made when all are too much", () => {
  /** The database takes the room on old that thrifty machines would make on quick for a fast one. */
  const estate: Estate = {
    hosts: [
      host("ssd", 16, { ssd: true }),
      host("old", 48),
      host("other", 6),
      host("quick", 16, { mhz: 4000 }),
    ],
    machines: [
      machine("db-1", "old", 10),
      machine("web-1", "ssd", 8),
      machine("own-0", "ssd", 4, { movable: false }),
      machine("own-1", "ssd", 2, { movable: false }),
      machine("own-2", "old", 10, { movable: false }),
      machine("fast-1", "old", 12),
      machine("thrifty-1", "quick", 6),
      machine("thrifty-2", "quick", 6),
      machine("own-3", "quick", 3, { movable: false }),
    ],
    policies: [
      policy("db", { required: ["host.disk.ssd"] }),
      policy("fast", { goals: [{ goal: "performance", weight: 1 }] }),
      policy("thrifty", { goals: [{ goal: "energy", weight: 1 }] }),
    ],
    odd: [],
  };
  const names = (of: Estate, options = OPTIONS) => planned(of, options).map(({ vm }) => vm);

  it("all of them, when they may", () => {
    expect(names(estate).sort()).toEqual(["db-1", "fast-1", "thrifty-1", "thrifty-2", "web-1"]);
  });

  it("those for what has to move first, when a plan may not be that long", () => {
    expect(names(estate, { ...OPTIONS, maxMoves: 2 })).toEqual(["web-1", "db-1"]);
  });

  it("those that policies let move, also when another one of the same group may not", () => {
    const policies = [
      ...estate.policies.slice(0, 2),
      policy("thrifty", { goals: [{ goal: "energy", weight: 1 }], moves: { perHour: 1 } }),
    ];
    expect(names({ ...estate, policies })).toEqual(["web-1", "db-1"]);
  });
});

it("what is measured has to gain half as much again in a part of the estate, too", () => {
  /** Others make room for a database, which is why the hosts are looked at together; "low" wants watts only. */
  const moved = (maxWatts: number) => {
    const fast = { linkMbps: 10_000, idleWatts: 50 };
    const estate: Estate = {
      hosts: [
        host("ssd", 16, { ssd: true }),
        host("old", 32),
        host("other", 6),
        host("hungry", 32, { ...fast, maxWatts }),
        host("frugal", 32, { ...fast, maxWatts: 150 }),
        host("worst", 4, { ...fast, maxWatts: 600 }),
      ],
      machines: [
        machine("db-1", "old", 10),
        machine("web-1", "ssd", 8),
        machine("own-1", "ssd", 6, { movable: false }),
        machine("own-2", "old", 12, { movable: false }),
        machine("low-1", "hungry", 4, { cpus: 4, use: { cpus: 4, expected: 4 } }),
        machine("own-3", "hungry", 4, { movable: false }),
        machine("own-4", "frugal", 4, { movable: false }),
      ],
      policies: [
        policy("db", { required: ["host.disk.ssd"] }),
        policy("web", { required: ["host.link.mbps <= 1000"] }),
        policy("low", { goals: [{ goal: "energy", weight: 1 }], required: ["host.link.mbps > 1000"] }),
      ],
      odd: [],
    };
    return planned(estate).map(({ vm }) => vm);
  };
  // A tenth of the score; and more.
  expect(moved(245)).toEqual(["web-1", "db-1"]);
  expect(moved(330).sort()).toEqual(["db-1", "low-1", "web-1"]);
});

it("the first part is looked at each time, of the others other ones each minute, none twice in a plan", () => {
  for (const all of [1, 2, 3, 5, 8]) {
    const seen = new Set<number>();
    for (let minute = 0; minute < all; minute++) {
      const turn = Array.from({ length: Math.min(3, all) }, (_, n) => turnOf(n, all, minute * 60_000));
      expect(turn[0]).toBe(0);
      expect(new Set(turn).size).toBe(turn.length);
      for (const part of turn) seen.add(part);
    }
    expect([...seen].sort()).toEqual(Array.from({ length: all }, (_, i) => i));
  }
});

it("two half-empty hosts become one, whose machines no host alone would have taken", () => {
  const watts = { idleWatts: 200, maxWatts: 260 };
  const hosts = ["a", "b", "c", "d"].map((name) => host(name, 16, watts));
  const estate: Estate = {
    hosts,
    machines: [
      machine("big-1", "a", 10),
      machine("big-2", "b", 10),
      machine("mid-1", "c", 6),
      machine("mid-2", "c", 5),
      machine("low-1", "d", 5),
    ],
    policies: ["big", "mid", "low"].map((app) => policy(app, { goals: [{ goal: "energy", weight: 1 }] })),
    odd: [],
  };
  let state = estate;
  let count = 0;
  for (const { vm, to } of planned(estate)) {
    state = apply(state, `default/${vm}`, to);
    count++;
  }
  expect(count).toBeLessThanOrEqual(3);
  expect(new Set(state.machines.map(({ host: on }) => on)).size).toBe(3);
  expect(planned({ ...state, machines: [...state.machines] })).toEqual([]);
});
