/** What is planned while plans are being carried out. */
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { Forecaster } from "../execution/forecast.ts";
import type { Plan, Policy } from "../kinds.ts";
import { holdForApproved, Planning } from "./under-way.ts";

const GiB = 2 ** 30;
const host = (name: string, more: Partial<HostView> = {}): HostView => ({
  name,
  ready: true,
  site: "",
  rack: name,
  cpus: 16,
  memoryBytes: 64 * GiB,
  mhz: 2000,
  cores: 8,
  cpuModel: "x",
  accelerator: "kvm",
  ssd: true,
  linkMbps: 10_000,
  ...more,
});
const machine = (name: string, on: string, more: Partial<MachineView> = {}): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels: { app: name },
  cpus: 2,
  memoryBytes: 4 * GiB,
  host: on,
  movable: true,
  since: 0,
  ...more,
});
/** As a Migration that is not over has it. */
const moving = (name: string, on: string, to: string, more: Partial<MachineView> = {}) =>
  machine(name, on, { movable: false, movingTo: to, ...more });

type Phase = NonNullable<NonNullable<Plan["status"]>["moves"]>[number]["phase"];
const move = (vm: string, from: string, to: string, phase: Phase, needed = false) => ({
  of: {
    namespace: "default",
    vm,
    from,
    to,
    reason: "played",
    expected: "nothing",
    ...(needed ? { needed } : {}),
  },
  phase,
});
const plan = (name: string, moves: ReturnType<typeof move>[], spec: Partial<Plan["spec"]> = {}): Plan => ({
  apiVersion: "vireo.dev/v1",
  kind: "Plan",
  metadata: { name },
  spec: { trigger: "played", automation: "act", moves: moves.map(({ of }) => of), ...spec },
  status: { phase: "Running", moves: moves.map(({ phase }) => ({ phase })) },
});
const LEAVE = { maintenance: true, closed: "it is in maintenance" };
const HOSTS = [host("a"), host("b"), host("c"), host("d")];
const estate = (machines: MachineView[], hosts = HOSTS, policies: Policy[] = []): Estate => ({
  hosts,
  machines,
  policies,
  odd: [],
});
const planned = (state: Estate, plans: Plan[], automation: Plan["spec"]["automation"] = "act") => {
  const free = { now: 1e9, released: new Set<string>(), forecaster: new Forecaster([]) };
  const { moves, supersedes } = new Planning(holdForApproved(state, plans), plans, free).movesOf(automation);
  return {
    moves: moves.map(({ vm, from, needed }) => [vm, from, needed]),
    supersedes: supersedes.map(({ metadata }) => metadata.name),
  };
};
const NOTHING = { moves: [], supersedes: [] };
const but = (name: string, more: Partial<HostView>) =>
  HOSTS.map((each) => (each.name === name ? { ...each, ...more } : each));

it("what has to go is planned at once, and moves that have not begun are superseded for it; what only gains waits", () => {
  const machines = [
    moving("big", "a", "b"),
    machine("later", "b"),
    machine("web-1", "c"),
    machine("web-2", "c"),
  ];
  const busy = plan("p", [move("big", "a", "b", "Running"), move("later", "b", "d", "Waiting")]);
  expect(planned(estate(machines), [busy])).toEqual(NOTHING);
  expect(planned(estate(machines, but("c", LEAVE)), [busy])).toEqual({
    moves: [
      ["web-1", "c", true],
      ["web-2", "c", true],
    ],
    supersedes: ["p"],
  });
  const fast = but("d", { mhz: 9000 });
  const policies: Policy[] = [
    {
      apiVersion: "vireo.dev/v2",
      kind: "Policy",
      metadata: { name: "fast", namespace: "default" },
      spec: { selector: {}, goals: [{ goal: "performance", weight: 1 }], automation: "act", priority: 0 },
    },
  ];
  expect(planned(estate(machines, fast, policies), []).moves.length).toBeGreaterThan(0);
  expect(planned(estate(machines, fast, policies), [busy])).toEqual(NOTHING);
});

it("one that brings about by itself what has to go is left alone, until something else has to", () => {
  const machines = [
    moving("web-1", "c", "a"),
    machine("web-2", "c"),
    machine("web-3", "c"),
    machine("db", "b"),
  ];
  const drain = plan("p", [
    move("web-1", "c", "a", "Running", true),
    move("web-2", "c", "b", "Waiting", true),
    move("web-3", "c", "d", "Waiting", true),
  ]);
  expect(planned(estate(machines, but("c", LEAVE)), [drain])).toEqual(NOTHING);
  const both = HOSTS.map((each) => ("bc".includes(each.name) ? { ...each, ...LEAVE } : each));
  expect(planned(estate(machines, both), [drain])).toEqual({ moves: [["db", "b", true]], supersedes: [] });
  const next = plan("n", [move("db", "b", "d", "Waiting", true)]);
  expect(planned(estate(machines, both), [drain, next])).toEqual(NOTHING);
  // Its host is to be left by now: the executor has skipped the move.
  drain.status = {
    phase: "Running",
    moves: [{ phase: "Running" }, { phase: "Skipped" }, { phase: "Waiting" }],
  };
  expect(planned(estate(machines, both), [drain, next])).toEqual({
    moves: [["web-2", "c", true]],
    supersedes: [],
  });
});

it("what it takes room for is not given to others", () => {
  const machines = [
    moving("web-1", "c", "a"),
    machine("web-2", "c"),
    machine("db", "b", { memoryBytes: 60 * GiB }),
  ];
  const drain = plan("p", [
    move("web-1", "c", "a", "Running", true),
    move("web-2", "c", "d", "Waiting", true),
  ]);
  const both = HOSTS.map((each) => ("bc".includes(each.name) ? { ...each, ...LEAVE } : each));
  expect(planned(estate(machines, both), [drain])).toEqual({ moves: [["db", "b", true]], supersedes: [] });
  const large = [...machines.slice(0, 2), machine("db", "b", { memoryBytes: 62 * GiB })];
  expect(planned(estate(large, both), [drain])).toEqual(NOTHING);
});

it("of more than one plan holds the rest comes when it is over; a host that is to be left does not wait for that", () => {
  const many = Array.from({ length: 70 }, (_, i) => machine(`m${i}`, "c", { cpus: 1, memoryBytes: GiB / 4 }));
  const hosts = HOSTS.map((each) => ({ ...each, cpus: 200, ...(each.name === "c" ? LEAVE : {}) }));
  const full = plan(
    "p",
    many.slice(0, 50).map(({ name }, i) => move(name, "c", "a", i < 2 ? "Running" : "Waiting", true)),
  );
  const begun = many.map((one, i) => (i < 2 ? { ...one, movable: false, movingTo: "a" } : one));
  const state = [...begun, machine("db", "b")].sort((a, b) => (a.key < b.key ? -1 : 1));
  expect(planned(estate(state, hosts), [full])).toEqual(NOTHING);
  const both = hosts.map((each) => (each.name === "b" ? { ...each, ...LEAVE } : each));
  expect(planned(estate(state, both), [full])).toEqual({ moves: [["db", "b", true]], supersedes: [] });
});

it("a move that only was to gain does not stand for one that has to be made: it may wait for long", () => {
  const machines = [moving("big", "a", "b"), machine("web", "c")];
  const busy = plan("p", [move("big", "a", "b", "Running"), move("web", "c", "b", "Waiting")]);
  expect(planned(estate(machines, but("c", LEAVE)), [busy])).toEqual({
    moves: [["web", "c", true]],
    supersedes: ["p"],
  });
});

it("plans that users approved or asked for go on, and their machines are theirs", () => {
  const machines = [moving("big", "a", "b"), machine("back", "c"), machine("web", "c")];
  const moves = [move("big", "a", "b", "Running"), move("back", "c", "d", "Waiting")];
  for (const spec of [
    { undoes: "before" },
    { automation: "ask", approval: "Approved" },
    { automation: "advise", approval: "Approved" },
  ] as const)
    expect(planned(estate(machines, but("c", LEAVE)), [plan("p", moves, spec)])).toEqual({
      moves: [["web", "c", true]],
      supersedes: [],
    });
});

it("a host that is too busy is not relieved once more while the machine that relieves it is on its way", () => {
  const use = { use: { cpus: 1.9, expected: 1.9 } };
  const hot = ["m1", "m2", "m3", "m4"].map((name) => machine(name, "a", use));
  const idle = machine("m5", "b");
  const busy = plan("p", [move("m1", "a", "b", "Running", true), move("m5", "b", "d", "Waiting")]);
  expect(planned(estate([...hot, idle]), []).moves).toHaveLength(1);
  const onWay = [moving("m1", "a", "b", use), ...hot.slice(1), idle];
  expect(planned(estate(onWay), [busy])).toEqual(NOTHING);
  const also = planned(estate([...onWay, machine("web", "c")], but("c", LEAVE)), [busy]);
  expect(also).toEqual({ moves: [["web", "c", true]], supersedes: ["p"] });
});

it("proposals of what has to go are made, too, once", () => {
  const policies: Policy[] = [
    {
      apiVersion: "vireo.dev/v2",
      kind: "Policy",
      metadata: { name: "web", namespace: "default" },
      spec: { selector: { matchLabels: { app: "web" } }, automation: "ask", priority: 0 },
    },
  ];
  const state = estate([moving("big", "a", "b"), machine("web", "c")], but("c", LEAVE), policies);
  const busy = plan("p", [move("big", "a", "b", "Running")]);
  expect(planned(state, [busy])).toEqual(NOTHING);
  expect(planned(state, [busy], "ask")).toEqual({ moves: [["web", "c", true]], supersedes: [] });
  const asked = plan("q", [move("web", "c", "d", "Waiting", true)], { automation: "ask" });
  asked.status = { phase: "Proposed" };
  expect(planned(state, [busy, asked], "ask")).toEqual(NOTHING);
});
