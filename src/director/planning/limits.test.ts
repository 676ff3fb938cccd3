import { describe, expect, it } from "vitest";
import type { Window } from "../../resource/window.ts";
import { checkPolicy } from "../checks.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { waitsFor } from "../execution/pace.ts";
import { hindrance, overLimits, quietHours } from "../execution/recheck.ts";
import type { Policy } from "../kinds.ts";
import { explain } from "./explain.ts";
import { crowd } from "./limits.ts";
import { place } from "./place.ts";
import { PLAN_DEFAULTS, planMoves } from "./plan.ts";

const GiB = 2 ** 30;
const NOW = Date.parse("2026-11-27T23:00:00Z");
const HOUR_MS = 3_600_000;

const host = (name: string, mhz: number, more: Partial<HostView> = {}): HostView => ({
  name,
  ready: true,
  site: "",
  rack: name,
  cpus: 32,
  memoryBytes: 64 * GiB,
  mhz,
  cores: 16,
  cpuModel: "x",
  accelerator: "kvm",
  ssd: true,
  linkMbps: 1000,
  ...more,
});
const machine = (name: string, more: Partial<MachineView> = {}): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels: {},
  cpus: 1,
  memoryBytes: GiB,
  host: "slow",
  movable: true,
  since: 0,
  ...more,
});
const policy = (moves: Policy["spec"]["moves"], more: Partial<Policy["spec"]> = {}): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name: "web", namespace: "default" },
  spec: {
    selector: {},
    goals: [{ goal: "performance", weight: 1 }],
    automation: "act",
    priority: 0,
    ...(moves ? { moves } : {}),
    ...more,
  },
});
const HOSTS = [host("fast", 4000), host("slow", 2000)];
const estate = (moves: Policy["spec"]["moves"], more: Partial<Estate> = {}): Estate => ({
  hosts: HOSTS,
  machines: ["a", "b", "c"].map((name) => machine(name)),
  policies: [policy(moves)],
  now: NOW,
  odd: [],
  ...more,
});
const options = { ...PLAN_DEFAULTS, now: NOW, released: new Set<string>() };
const moved = (of: Estate) => planMoves(of, options).map(({ vm }) => vm);
const MOVE = { namespace: "default", vm: "a", from: "slow", to: "fast", reason: "", expected: "" };
const ACT = { automation: "act" } as const;
const ASK = { automation: "ask" } as const;

it("no more move in an hour than the policy lets, those of before included", () => {
  expect(moved(estate(undefined))).toHaveLength(3);
  expect(moved(estate({ perHour: 2 }))).toHaveLength(2);
  const machines = [
    machine("a", { left: [{ host: "x", at: NOW - HOUR_MS / 2 }] }),
    machine("b", { left: [{ host: "x", at: NOW - 2 * HOUR_MS }] }),
    machine("c"),
  ];
  expect(moved(estate({ perHour: 2 }, { machines }))).toHaveLength(1);
  expect(moved(estate({ perHour: 1 }, { machines }))).toEqual([]);
  expect(overLimits(estate({ perHour: 1 }, { machines }), MOVE, ACT)).toEqual({
    why: 'policy "web" lets 1 of its machines move an hour, 1 have or will',
    forGood: true,
  });
  expect(overLimits(estate({ perHour: 2 }, { machines }), MOVE, ACT)).toBeUndefined();
});

it("in quiet times nothing is moved, but out of a host in maintenance", () => {
  const quiet = [{ hours: "22:00-06:00" }];
  expect(moved(estate({ quiet }))).toEqual([]);
  expect(moved(estate({ quiet: [{ hours: "06:00-22:00" }] }))).toHaveLength(3);
  expect(overLimits(estate({ quiet }), MOVE, ACT)?.why).toBe(
    'policy "web" lets nothing move now (22:00-06:00 UTC)',
  );
  // Neither to mend a rule.
  const strict = policy({ quiet }, { required: ["host.cpu.mhz > 3000"] });
  expect(moved(estate(undefined, { policies: [strict] }))).toEqual([]);
  const leaving = {
    hosts: [HOSTS[0] as HostView, host("slow", 2000, { maintenance: true, closed: "it is in maintenance" })],
  };
  expect(moved(estate({ quiet }, leaving))).toHaveLength(3);
  expect(overLimits(estate({ quiet }, leaving), MOVE, ACT)).toBeUndefined();
});

it("what is only proposed is so in quiet times, too; approved, it waits for their end, and tells when that is", () => {
  const quiet = [{ hours: "22:00-06:00" }];
  const at = (windows: Window[], more: Partial<Estate> = {}) =>
    quietHours(estate({ quiet: windows }, more), MOVE, ASK);
  for (const automation of ["ask", "advise"] as const) {
    const policies = [policy({ quiet, perHour: 2 }, { automation })];
    const made = planMoves(estate(undefined, { policies }), { ...options, automation });
    expect(made).toHaveLength(2);
  }
  expect(overLimits(estate({ quiet }), MOVE, ASK)).toBeUndefined();
  const waits = 'waits for the end of quiet hours of policy "web"';
  // It is 23:00 UTC on a Friday.
  expect(at(quiet)).toBe(`${waits} at 06:00 UTC`);
  expect(at([{ hours: "06:00-22:00" }])).toBeUndefined();
  expect(at([{ hours: "23:30-07:15", timeZone: "Europe/Berlin" }])).toBe(`${waits} at 07:15 Europe/Berlin`);
  // One after the other, up to the end of the weekend.
  const week: Window[] = [{ hours: "22:00-00:00" }, { days: ["Sat", "Sun"] }];
  expect(at(week)).toBe(`${waits} at Mon 00:00 UTC`);
  // What power costs nobody knows before.
  const sites = new Map([["", { pue: 1, price: 0.5 }]]);
  expect(at([{ price: { above: 0.3 } }], { sites })).toBe(`${waits} (price above 0.3)`);
  expect(at([{ days: ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] }])).toMatch(/ \(Mon, .*\)$/);
  const several = [policy({ quiet }), policy({ quiet: [{ hours: "20:00-07:00" }] })];
  expect(quietHours(estate(undefined, { policies: several }), MOVE, ASK)).toBe(`${waits} at 07:00 UTC`);
  // Neither what acts by itself, nor what has to leave its host.
  expect(quietHours(estate({ quiet }), MOVE, ACT)).toBeUndefined();
  const leaving = { hosts: [HOSTS[0] as HostView, host("slow", 2000, { maintenance: true })] };
  expect(at(quiet, leaving)).toBeUndefined();
});

it("a host is emptied as a whole or not at all, also by limits", () => {
  const watts = { idleWatts: 100, maxWatts: 110 };
  const hosts = [host("a", 2000, watts), host("b", 2000, watts)];
  const machines = [
    machine("x1", { host: "a" }),
    machine("x2", { host: "a" }),
    ...["y1", "y2", "y3"].map((name) => machine(name, { host: "b" })),
  ];
  const energy = (moves: Policy["spec"]["moves"]) =>
    moved({
      ...estate(moves, { hosts, machines }),
      policies: [policy(moves, { goals: [{ goal: "energy", weight: 1 }] })],
    });
  expect(energy(undefined)).toEqual(["x1", "x2"]);
  expect(energy({ perHour: 2 })).toEqual(["x1", "x2"]);
  expect(energy({ perHour: 1 })).toEqual([]);
});

it("a machine stays as long as its policy says", () => {
  const machines = [machine("a", { since: NOW - HOUR_MS }), machine("b", { since: NOW - 3 * HOUR_MS })];
  expect(moved(estate({ minimumStayMinutes: 120 }, { machines }))).toEqual(["b"]);
  const came = [machine("a", { left: [{ host: "fast", at: NOW - HOUR_MS }] })];
  expect(moved(estate({ minimumStayMinutes: 120 }, { machines: came }))).toEqual([]);
  expect(moved(estate(undefined, { machines: came }))).toEqual(["a"]);
});

it("one that is never to move is not moved by anybody, and says so", () => {
  const never = estate({ never: true });
  expect(moved(never)).toEqual([]);
  const [a] = never.machines as [MachineView];
  expect(place(never, a, "slow")).toEqual({
    reason:
      'fast: policy "web" lets it not be moved while it runs; without moves.never (policy "web") it could run on fast',
  });
  expect(hindrance(never, MOVE)?.why).toContain("lets it not be moved");
  // It is started anywhere.
  const { host: _, ...stopped } = machine("new");
  const started = estate({ never: true }, { machines: [stopped] });
  expect(place(started, stopped).host).toBe("fast");
});

it("no more move at once than the policy lets", () => {
  const machines = [machine("a"), machine("b", { movingTo: "fast", movable: false }), machine("c")];
  const [a] = machines as [MachineView];
  expect(crowd(estate({ concurrent: 2 }, { machines }), a)).toBeUndefined();
  const one = estate({ concurrent: 1 }, { machines });
  expect(crowd(one, a)).toBe('waits: policy "web" lets one of its machines move at once');
  expect(waitsFor(one, MOVE, { before: [], underWay: [] })).toContain("one of its machines");
});

it("an explanation tells when the director does not move it", () => {
  const moves = (of: Estate) => explain(of, "default/a")?.moves;
  expect(moves(estate(undefined))).toBeUndefined();
  expect(moves(estate({ never: true }))).toBe('never: policy "web" lets it not be moved while it runs');
  expect(moves(estate({ quiet: [{ days: ["Fri"] }] }))).toBe(
    'not now: policy "web" lets nothing move now (Fri UTC)',
  );
  const came = { machines: [machine("a", { since: NOW - HOUR_MS })] };
  expect(moves(estate({ minimumStayMinutes: 90 }, came))).toBe(
    "not before 2026-11-27T23:30:00.000Z, unless a rule is broken or a policy of its changes: it came here lately",
  );
  const by = (automation: Policy["spec"]["automation"]) =>
    moves(estate(undefined, { policies: [policy(undefined, { automation })] }));
  expect(by("off")).toBe('by hand only: policy "web" moves nothing');
  expect(by("ask")).toBe('once a plan is approved: policy "web" asks');
});

it("a time zone that is none is refused where it stands", () => {
  const causes = checkPolicy(
    policy({ quiet: [{ hours: "22:00-06:00", timeZone: "Europe/Pariss" }] }),
    undefined,
  );
  expect(causes).toEqual([
    {
      field: "spec.moves.quiet[0].timeZone",
      reason: "FieldValueInvalid",
      message: 'Invalid value: "Europe/Pariss": is no time zone; did you mean "Europe/Paris"?',
    },
  ]);
});

describe("of several policies the most cautious automation counts", () => {
  const named = (name: string, more: Partial<Policy["spec"]>): Policy => {
    const made = policy(undefined, more);
    return { ...made, metadata: { ...made.metadata, name } };
  };
  const of = (...policies: Policy[]) => estate(undefined, { policies });
  const moved = (state: Estate, automation: "act" | "ask" | "advise") =>
    planMoves(state, { ...PLAN_DEFAULTS, now: NOW, released: new Set(), automation }).length;
  const all = (state: Estate) => [moved(state, "act"), moved(state, "ask"), moved(state, "advise")];
  const a = named("a", {});

  it("whatever its priority and its name", () => {
    expect(all(of(a))).toEqual([3, 0, 0]);
    expect(all(of(a, named("b", { automation: "ask", priority: -10 })))).toEqual([0, 3, 0]);
    expect(all(of(a, named("b", { automation: "ask" }), named("c", { automation: "advise" })))).toEqual([
      0, 0, 3,
    ]);
    expect(
      all(of(named("b", { automation: "off" }), named("c", { automation: "ask", priority: 5 }))),
    ).toEqual([0, 0, 0]);
  });

  it("explain says which one", () => {
    const state = of(a, named("b", { automation: "off", priority: -10 }));
    expect(explain(state, "default/a")?.moves).toBe('by hand only: policy "b" moves nothing');
  });

  it("and just before each move of a plan that acts by itself, too; not of one that was approved", () => {
    const state = of(a, named("b", { automation: "ask", priority: -10 }));
    expect(overLimits(state, MOVE, ACT)).toEqual({
      why: 'policy "b" has it not be moved by itself (automation: ask)',
      forGood: true,
    });
    expect(overLimits(state, MOVE, ASK)).toBeUndefined();
  });
});
