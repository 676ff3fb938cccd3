/** What is planned while plans are being carried out. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { apply } from "../estate/moved.ts";
import type { Policy } from "../kinds.ts";
import { obstacle } from "../rules/rules.ts";
import { anyEstate, HOSTS as HOSTS_OF_ANY, MACHINES } from "../testing/any-estate.ts";
import { estateOf, GiB, hostView, machineView, policyOf } from "../testing/views.ts";
import { Forecaster } from "./forecast.ts";
import type { Plan } from "./kinds.ts";
import type { Move } from "./plan.ts";
import { holdForApproved, Planning } from "./under-way.ts";

const host = (name: string, more: Partial<HostView> = {}) =>
  hostView(name, {
    ...{ cpus: 16, cores: 8, memoryBytes: 64 * GiB, mhz: 2000, ssd: true, linkMbps: 10_000 },
    ...more,
  });
const machine = (name: string, on: string, more: Partial<MachineView> = {}) =>
  machineView(name, on, { labels: { app: name }, cpus: 2, memoryBytes: 4 * GiB, ...more });
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
const plan = (name: string, moves: { of: Move; phase: Phase }[], spec: Partial<Plan["spec"]> = {}): Plan => ({
  apiVersion: "vireo.dev/v1",
  kind: "Plan",
  metadata: { name },
  spec: { trigger: "played", automation: "act", moves: moves.map(({ of }) => of), ...spec },
  status: { phase: "Running", moves: moves.map(({ phase }) => ({ phase })) },
});
const LEAVE = { maintenance: true, closed: "it is in maintenance" };
const HOSTS = [host("a"), host("b"), host("c"), host("d")];
const estate = (machines: MachineView[], hosts = HOSTS, policies: Policy[] = []) =>
  estateOf(hosts, machines, policies);
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
  const policies = [policyOf("fast", { goals: [{ goal: "performance", weight: 1 }] })];
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

it("while one that a user stopped is being ended only what has to go is planned, and its moves that were not made are free", () => {
  const machines = [moving("big", "a", "b"), machine("web", "c")];
  const moves = [move("big", "a", "b", "Running"), move("web", "c", "d", "Waiting", true)];
  const stopped = plan("p", moves, { approval: "Rejected" });
  const fast: Policy[] = [
    {
      apiVersion: "vireo.dev/v2",
      kind: "Policy",
      metadata: { name: "fast", namespace: "default" },
      spec: { selector: {}, goals: [{ goal: "performance", weight: 1 }], automation: "act", priority: 0 },
    },
  ];
  expect(planned(estate(machines, but("d", { mhz: 9000 }), fast), [stopped])).toEqual(NOTHING);
  expect(planned(estate(machines, but("c", LEAVE)), [stopped])).toEqual({
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

it("what waits for the end of quiet hours is not taken for done: that may be long", () => {
  const apart: Policy[] = [
    {
      apiVersion: "vireo.dev/v2",
      kind: "Policy",
      metadata: { name: "apart", namespace: "default" },
      spec: { selector: { matchLabels: { app: "web" } }, keepApart: "host", automation: "act", priority: 0 },
    },
  ];
  const web = { labels: { app: "web" } };
  const machines = [moving("big", "b", "c"), machine("web-1", "a", web), machine("web-2", "a", web)];
  const busy = plan("p", [move("big", "b", "c", "Running")]);
  const moves = [move("web-1", "a", "d", "Waiting", true)];
  const approved = plan("q", moves, { automation: "ask", approval: "Approved" });
  expect(planned(estate(machines, HOSTS, apart), [busy, approved])).toEqual(NOTHING);
  const held: Plan = { ...approved, status: { phase: "Held" } };
  expect(planned(estate(machines, HOSTS, apart), [busy, held])).toEqual({
    moves: [["web-2", "a", true]],
    supersedes: [],
  });
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

it("a further proposal of what has to go holds what is proposed already, and each look proposes the same", () => {
  const policies: Policy[] = [
    {
      apiVersion: "vireo.dev/v2",
      kind: "Policy",
      metadata: { name: "all", namespace: "default" },
      spec: { selector: {}, automation: "ask", priority: 0 },
    },
  ];
  const machines = [moving("big", "a", "b"), machine("db", "d"), machine("web", "c")];
  const left = HOSTS.map((each) => ("cd".includes(each.name) ? { ...each, ...LEAVE } : each));
  const state = estate(machines, left, policies);
  const busy = plan("p", [move("big", "a", "b", "Running")]);
  const proposal = (name: string, moves: Parameters<typeof plan>[1]) => ({
    ...plan(name, moves, { automation: "ask" }),
    status: { phase: "Proposed" as const },
  });
  const both = {
    moves: [
      ["db", "d", true],
      ["web", "c", true],
    ],
    supersedes: [],
  };
  const first = proposal("q1", [move("web", "c", "b", "Waiting", true)]);
  expect(planned(state, [busy, first], "ask")).toEqual(both);
  const second = proposal("q2", [
    move("db", "d", "b", "Waiting", true),
    move("web", "c", "b", "Waiting", true),
  ]);
  const over = { ...first, status: { phase: "Superseded" as const } };
  expect(planned(state, [busy, over, second], "ask")).toEqual(NOTHING);
});

it("in any estate a plan beside others moves no machine that one of them moves, each move is allowed after those before it, and looks come to an end", () => {
  let beside = 0;
  fc.assert(
    fc.property(
      anyEstate,
      fc.integer({ min: 0, max: HOSTS_OF_ANY - 1 }),
      fc.array(fc.record({ h: fc.nat(HOSTS_OF_ANY - 1), begun: fc.boolean(), needed: fc.boolean() }), {
        minLength: MACHINES,
        maxLength: MACHINES,
      }),
      (any, left, wishes) => {
        const free = { now: 1e12, released: new Set<string>(), forecaster: new Forecaster([]) };
        // Else hardly any of its machines may move at all.
        const roomy = any.hosts.map(({ dedicatedTo: _d, closed: _c, ...each }) => ({
          ...{ ...each, ready: true, accelerator: "kvm" as const, has: { offers: ["uefi" as const] } },
          ...{ cpus: 2 * each.cpus, memoryBytes: 2 * each.memoryBytes },
        }));
        const lenient = any.policies.map((each, i) => {
          const { moves: _m, required: _r, keepTogether: _t, ...spec } = each.spec;
          return i === 0 ? { ...each, spec } : each;
        });
        const calm = any.machines.map(({ platform: _, ...each }) => ({
          ...each,
          movable: each.movingTo === undefined,
        }));
        // A plan of whatever moves are allowed one after the other.
        let then: Estate = { ...any, hosts: roomy, policies: lenient, machines: [...calm] };
        const first: Move[] = [];
        const phases: Phase[] = [];
        for (const [i, { h, begun, needed }] of wishes.entries()) {
          const [one, there] = [then.machines[i], roomy[h]];
          const isAble = one?.movable && roomy.some(({ name }) => name === one.host);
          if (!isAble || !there || one.host === there.name || obstacle(then, one, there)) continue;
          const { of } = move(one.name, one.host ?? "", there.name, "Waiting", needed);
          first.push(of);
          phases.push(begun ? "Running" : "Waiting");
          then = apply(then, one.key, there.name);
        }
        if (first.length === 0) return;
        const running = new Map(
          first.flatMap((of, i) => (phases[i] === "Running" ? [[`${of.namespace}/${of.vm}`, of.to]] : [])),
        );
        const machines = calm.map((each) => {
          const to = running.get(each.key);
          return to === undefined ? each : { ...each, movable: false, movingTo: to };
        });
        const hosts = roomy.map((each, h): HostView => (h === left ? { ...each, ...LEAVE } : each));
        const state: Estate = { ...any, policies: lenient, hosts, machines };
        let plans = [
          plan(
            "p",
            first.map((of, i) => ({ of, phase: phases[i] as Phase })),
          ),
        ];
        let looks = 0;
        for (; looks < 5; looks++) {
          const { moves, supersedes } = new Planning(state, plans, free).movesOf("act");
          if (moves.length === 0) break;
          let after: Estate = { ...state, machines: [...machines] };
          for (const { namespace, vm, from, to } of moves) {
            const one = after.machines.find(({ key }) => key === `${namespace}/${vm}`) as MachineView;
            expect([one.host, one.movable, one.movingTo]).toEqual([from, true, undefined]);
            const there = hosts.find(({ name }) => name === to) as HostView;
            expect(obstacle(after, one, there)).toBeUndefined();
            after = apply(after, one.key, to);
          }
          const open = plans.filter((each) => !supersedes.includes(each)).flatMap(({ spec }) => spec.moves);
          for (const { vm } of open) expect(moves.map((each) => each.vm)).not.toContain(vm);
          plans = [
            ...plans.map((each) =>
              supersedes.includes(each)
                ? { ...each, status: { ...each.status, superseded: "played" } }
                : each,
            ),
            plan(
              `n${looks}`,
              moves.map((of) => ({ of: { ...of, needed: true }, phase: "Waiting" })),
            ),
          ];
        }
        expect(looks).toBeLessThan(5);
        beside += looks;
      },
    ),
    { numRuns: 300, seed: 20_261_201 },
  );
  expect(beside).toBeGreaterThan(20);
});
