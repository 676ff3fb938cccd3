import { expect, it } from "vitest";
import type { Window } from "../../resource/window.ts";
import type { Policy } from "../kinds.ts";
import { explain } from "../planning/explain.ts";
import { predict } from "../planning/figures.ts";
import { place } from "../planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { checkSite, type Site } from "../sites.ts";
import type { HostView, MachineView } from "./estate.ts";
import { aimOf, dearness, describeWatts } from "./goals.ts";
import { describeWindow } from "./policy-words.ts";
import { tariffsOf } from "./tariffs.ts";
import { holds } from "./windows.ts";

const GiB = 2 ** 30;
const NONE = new Map();
const at = (text: string) => Date.parse(text);

it.each<[Window, string, boolean]>([
  [{ hours: "08:00-18:00" }, "2026-11-27T08:00:00Z", true],
  [{ hours: "08:00-18:00" }, "2026-11-27T18:00:00Z", false],
  [{ hours: "22:00-06:00" }, "2026-11-27T05:59:00Z", true],
  [{ hours: "22:00-06:00" }, "2026-11-27T06:00:00Z", false],
  // The night of Friday ends on Saturday.
  [{ hours: "22:00-06:00", days: ["Fri"] }, "2026-11-28T05:00:00Z", true],
  [{ hours: "22:00-06:00", days: ["Fri"] }, "2026-11-27T05:00:00Z", false],
  [{ days: ["Sat", "Sun"] }, "2026-11-28T12:00:00Z", true],
  [{ days: ["Sat", "Sun"] }, "2026-11-27T23:30:00Z", false],
  [{ days: ["Sat", "Sun"], timeZone: "Europe/Berlin" }, "2026-11-27T23:30:00Z", true],
  // Summer time: 06:30 UTC is 08:30.
  [{ hours: "08:00-18:00", timeZone: "Europe/Berlin" }, "2026-07-01T06:30:00Z", true],
  [{ hours: "08:00-18:00", timeZone: "Europe/Berlin" }, "2026-12-01T06:30:00Z", false],
  [{ hours: "08:00-18:00", timeZone: "Nowhere" }, "2026-12-01T09:00:00Z", false],
])("%j at %s: %s", (window, time, expected) => {
  expect(holds(window, at(time), NONE)).toBe(expected);
});

const site = (name: string, spec: Partial<Site["spec"]>): Site => ({
  apiVersion: "vireo.dev/v1",
  kind: "Site",
  metadata: { name },
  spec: { timeZone: "UTC", ...spec },
});
const byHour = (night: number, day: number) =>
  Array.from({ length: 24 }, (_, hour) => (hour < 6 ? night : day));

it("prices and carbon are those of the hour at the site, and bound windows", () => {
  const sites = [
    site("north", { timeZone: "Europe/Berlin", pricePerKWh: byHour(0.1, 0.4), pue: [1.5] }),
    site("south", { carbonPerKWh: [300] }),
  ];
  const night = tariffsOf(sites, at("2026-11-28T04:30:00Z"));
  const day = tariffsOf(sites, at("2026-11-28T05:30:00Z"));
  expect([...night]).toEqual([
    ["north", { pue: 1.5, price: 0.1, timeZone: "Europe/Berlin" }],
    ["south", { pue: 1, carbon: 300, timeZone: "UTC" }],
  ]);
  expect(day.get("north")?.price).toBe(0.4);
  const is = (window: Window, tariffs = day) => holds(window, 0, tariffs);
  expect(is({ price: { above: 0.3 } })).toBe(true);
  expect(is({ price: { above: 0.3 } }, night)).toBe(false);
  expect(is({ price: { above: 0.3, below: 0.35 } })).toBe(false);
  expect(is({ price: { above: 0.3, site: "south" } })).toBe(false);
  expect(is({ carbon: { above: 200 }, price: { below: 1 } })).toBe(true);
  expect(checkSite(site("x", { timeZone: "Europe/Berlim" }))[0]).toMatchObject({
    field: "spec.timeZone",
    message: 'Invalid value: "Europe/Berlim": is no time zone; did you mean "Europe/Berlin"?',
  });
});

const policy = (goals: Policy["spec"]["goals"]): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name: "p", namespace: "default" },
  spec: { selector: {}, automation: "act", priority: 0, ...(goals ? { goals } : {}) },
});

it("goals whose time it is take the place of those that have none, and count by weight", () => {
  const goals: Policy["spec"]["goals"] = [
    { goal: "energy", weight: 1 },
    { goal: "performance", weight: 2, during: { hours: "08:00-18:00", days: ["Mon"] } },
    { goal: "balanced", weight: 1, during: { days: ["Mon"] } },
  ];
  const now = (time: string) => aimOf(policy(goals), { now: at(time) });
  expect(now("2026-11-29T09:00:00Z")).toMatchObject({ words: "energy" });
  expect(now("2026-11-29T09:00:00Z").because).toBeUndefined();
  const monday = now("2026-11-30T09:00:00Z");
  expect(monday.words).toBe("performance 67 %, balanced 33 %");
  expect(monday.because).toBe("08:00-18:00 Mon UTC; Mon UTC");
  expect(monday.weights.speed).toBeCloseTo((2 * 0.6 + 0.25) / 3);
  expect(aimOf(policy(undefined), {}).words).toBe("balanced");
  expect(aimOf(policy([{ goal: "cost", weight: 1, during: { days: ["Mon"] } }]), {}).words).toBe("balanced");
  expect(
    describeWindow({ price: { above: 0.3, site: "north" }, timeZone: "CET", hours: "01:00-02:00" }),
  ).toBe("01:00-02:00 CET, price at north above 0.3");
});

const host = (name: string, more: Partial<HostView> = {}): HostView => ({
  name,
  ready: true,
  site: "north",
  rack: name,
  cpus: 16,
  memoryBytes: 64 * GiB,
  mhz: 3000,
  cores: 8,
  cpuModel: "x",
  idleWatts: 100,
  maxWatts: 300,
  accelerator: "kvm",
  ssd: true,
  linkMbps: 1000,
  ...more,
});
const machine = (name: string, on?: string, app = "db"): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels: { app },
  cpus: 2,
  memoryBytes: 4 * GiB,
  movable: true,
  since: 0,
  ...(on ? { host: on } : {}),
});

it("cost and carbon go to where power is cheap or clean now, and say what it comes to", () => {
  const sites = new Map([
    ["north", { pue: 1.2, price: 0.4, carbon: 20 }],
    ["south", { pue: 1.2, price: 0.1, carbon: 500 }],
  ]);
  const hosts = [host("n1"), host("s1", { site: "south", maxWatts: 320 })];
  const placed = (goal: "cost" | "carbon" | "energy") => {
    const one = machine("a");
    return place({ hosts, machines: [one], policies: [policy([{ goal, weight: 1 }])], odd: [], sites }, one);
  };
  expect(placed("cost")).toMatchObject({
    host: "s1",
    reason: "policy p (cost): 128 W more, 0.0153 an hour, the best of 2 possible hosts",
  });
  expect(placed("carbon")).toMatchObject({
    host: "n1",
    reason: "policy p (carbon): 125 W more, 3.0 g CO2 an hour, the best of 2 possible hosts",
  });
  expect(placed("energy").host).toBe("n1");
  const { weights } = aimOf(policy([{ goal: "cost", weight: 1 }]), {});
  // A site that does not tell is as all on average.
  expect(dearness(weights, sites, "elsewhere")).toBe(1);
  expect(dearness(weights, sites, "north")).toBeCloseTo(1.6);
  expect(describeWatts(undefined, true, weights, undefined)).toBe("in use already; watts unknown");
});

it("energy goes by what the curves of hosts say from what is done there already, and so do reason and prediction", () => {
  const steep = [100, 180, 240, 260, 270, 275, 280, 285, 290, 295, 300];
  const flat = [100, 105, 110, 115, 120, 125, 130, 140, 160, 220, 300];
  const policies = [policy([{ goal: "energy", weight: 1 }])];
  // On a host of 8 processors one CPU is a sixteenth of them, four CPUs are a quarter: steep from 150 to 261.25 W, flat from 103.125 to 115.625 W.
  const there = [
    { ...machine("x1", "a"), cpus: 1, movable: false },
    { ...machine("x2", "b"), cpus: 1, movable: false },
  ];
  const one = { ...machine("new"), cpus: 4 };
  for (const [a, b, chosen] of [
    [steep, flat, "b"],
    [flat, steep, "a"],
  ] as const) {
    const hosts = [host("a", { wattsCurve: a }), host("b", { wattsCurve: b })];
    expect(place({ hosts, machines: [...there, one], policies, odd: [] }, one)).toEqual({
      host: chosen,
      policy: "p",
      reason: "policy p (energy): 13 W more, the best of 2 possible hosts",
    });
    const from = chosen === "a" ? "b" : "a";
    const estate = { hosts, machines: [...there, { ...one, host: from }], policies, odd: [] };
    const moves = planMoves(estate, { ...PLAN_DEFAULTS, now: 1e12, released: new Set() });
    expect(moves.map(({ vm, to }) => [vm, to])).toEqual([["new", chosen]]);
    expect(moves[0]?.expected).toContain("watts: 111 W more -> 13 W more");
    expect(predict(estate, moves, [])[0]?.predicted?.watts).toBe(-98.8);
  }
});

it("packing takes the fullest host that has room", () => {
  const hosts = [host("a"), host("b"), host("c")];
  const there = [machine("x1", "a", "x"), machine("x2", "b", "x"), machine("x3", "b", "x")];
  const one = machine("new");
  const policies = [policy([{ goal: "packing", weight: 1 }])];
  expect(place({ hosts, machines: [...there, one], policies, odd: [] }, one).host).toBe("b");
  const full = Array.from({ length: 6 }, (_, i) => machine(`y${i}`, "b", "x"));
  expect(place({ hosts, machines: [...there, ...full, one], policies, odd: [] }, one).host).toBe("a");
});

it("licences keeps the policy's machines on the fewest hosts, of the fewest sockets", () => {
  const hosts = [host("a", { sockets: 4 }), host("b", { sockets: 1 }), host("c", { sockets: 2, mhz: 4000 })];
  const policies: Policy[] = [
    {
      ...policy([{ goal: "licences", weight: 1 }]),
      spec: { ...policy([{ goal: "licences", weight: 1 }]).spec, selector: { matchLabels: { app: "db" } } },
    },
  ];
  const one = machine("new");
  const others = [machine("x1", "a", "x"), machine("x2", "c", "x")];
  const at = (list: MachineView[]) => place({ hosts, machines: list, policies, odd: [] }, one);
  expect(at([...others, one]).host).toBe("b");
  expect(at([...others, machine("db1", "a"), one])).toMatchObject({
    host: "a",
    reason: "policy p (licences): licensed already, the best of 3 possible hosts",
  });
  // One that is alone goes to the others.
  const spread = [machine("db1", "a"), machine("db2", "a"), machine("db3", "c")];
  const moves = planMoves(
    { hosts, machines: spread, policies, odd: [] },
    { ...PLAN_DEFAULTS, now: 1e12, released: new Set() },
  );
  expect(moves.map(({ vm, to }) => [vm, to])).toEqual([["db3", "a"]]);
});

it("of two ways that lead to the same the machine that is moved sooner moves, and none for hours", () => {
  const hosts = [host("a", { linkMbps: 100 }), host("b", { linkMbps: 100 })];
  const policies = [policy([{ goal: "energy", weight: 1 }])];
  const moves = (onA: number, onB: number, more: Partial<MachineView> = {}) =>
    planMoves(
      {
        hosts,
        machines: [
          { ...machine("x", "a"), memoryBytes: onA * GiB, ...more },
          { ...machine("y", "b"), memoryBytes: onB * GiB, ...more },
        ],
        policies,
        odd: [],
      },
      { ...PLAN_DEFAULTS, now: 1e12, released: new Set() },
    ).map(({ vm, to }) => [vm, to]);
  expect(moves(1, 4)).toEqual([["x", "b"]]);
  expect(moves(4, 1)).toEqual([["y", "a"]]);
  expect(moves(1, 4, { localDisks: true, localDiskBytes: 500 * GiB })).toEqual([]);
});

it("a host that does not tell its clock is taken for an average one, and no rule about clocks is kept there", () => {
  const hosts = [host("slow", { mhz: 2000 }), host("untold", { mhz: 0 }), host("fast", { mhz: 4000 })];
  const one = machine("a");
  const fast = policy([{ goal: "performance", weight: 1 }]);
  const told = (spec: Partial<Policy["spec"]> = {}) => {
    const policies = [{ ...fast, spec: { ...fast.spec, ...spec } }];
    const found = explain({ hosts, machines: [one], policies, odd: [] }, one.key);
    return (found?.hosts ?? []).map(({ name, verdict }) => [name, verdict]);
  };
  expect(told()).toEqual([
    ["fast", expect.stringContaining("speed 1.00")],
    ["untold", expect.stringMatching(/speed 0\.75 .*clock not known, taken for 3000 MHz/)],
    ["slow", expect.stringContaining("speed 0.50")],
  ]);
  const ruled = (rule: string) =>
    Object.fromEntries(
      told({ required: [rule] }).map(([name, verdict]) => [name, /ruled out/.test(`${verdict}`)]),
    );
  expect(ruled("host.cpu.mhz < 3000")).toEqual({ slow: false, untold: true, fast: true });
  expect(ruled("!(host.cpu.mhz < 3000)")).toEqual({ slow: true, untold: true, fast: false });
  expect(ruled("!has(host.cpu.mhz)")).toEqual({ slow: true, untold: false, fast: true });
});
