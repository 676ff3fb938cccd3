/** Undo of a plan, what moves will take by what they took, and which may go on at once: the pure parts. */
import { describe, expect, it } from "vitest";
import type { Migration } from "../../compute/migrations/kinds.ts";
import type { Estate, HostView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { apply } from "../estate/moved.ts";
import { outcome } from "../execution/outcome.ts";
import { movesAtOnce, waitsFor } from "../execution/pace.ts";
import type { Policy } from "../kinds.ts";
import { obstacle } from "../rules/rules.ts";
import { estateOf, GiB, hostView, machineView, policyOf } from "../testing/views.ts";
import { describeEffect } from "./effect-words.ts";
import { experienceOf } from "./experience.ts";
import { predict } from "./figures.ts";
import { Forecaster } from "./forecast.ts";
import { outdated, staysOf } from "./kept.ts";
import type { Plan } from "./kinds.ts";
import type { Move } from "./plan.ts";
import { PLAN_DEFAULTS, planMoves } from "./plan.ts";
import { holdForUsers, lastToUndo, planUndo } from "./undo.ts";

const host = (name: string, more: Partial<HostView> = {}) =>
  hostView(name, {
    ...{ cpus: 2, cores: 2, memoryBytes: 4 * GiB, mhz: 2000, cpuModel: name, idleWatts: 20, maxWatts: 60 },
    ...{ accelerator: "tcg", ssd: true },
    ...more,
  });
const policy = (spec: Partial<Policy["spec"]>) =>
  policyOf("web", { goals: [{ goal: "balanced", weight: 1 }], ...spec });
const move = (vm: string, from: string, to: string): Move => ({
  namespace: "default",
  vm,
  from,
  to,
  reason: "played",
  expected: "",
});
type MoveStatus = NonNullable<NonNullable<Plan["status"]>["moves"]>[number];
const plan = (
  name: string,
  moves: Move[],
  phases: (MoveStatus["phase"] | MoveStatus)[] = moves.map(() => "Succeeded"),
  more: Partial<Plan["spec"]> = {},
): Plan => ({
  apiVersion: "vireo.dev/v1",
  kind: "Plan",
  metadata: { name, creationTimestamp: `2026-11-28T10:00:0${name.at(-1)}Z` },
  spec: { trigger: "played", automation: "act", moves, ...more },
  status: {
    phase: "Succeeded",
    moves: phases.map((phase) => (typeof phase === "string" ? { phase } : phase)),
  },
});

describe("an undo", () => {
  it("takes back what was made, and only that, each step allowed where the others are then", () => {
    // Both hosts are full but for one place: the order is forced.
    const before = estateOf(
      [host("a"), host("b"), host("c", { cpus: 1 })],
      [machineView("x", "a"), machineView("y", "b"), machineView("z", "b")],
    );
    const moves = [move("x", "a", "c"), move("y", "b", "a"), move("z", "b", "a")];
    let state = moves.reduce((now, { vm, to }) => apply(now, `default/${vm}`, to), before);
    const undo = planUndo(state, plan("p1", moves));
    expect(undo.kept).toEqual([]);
    expect(undo.moves.map(({ vm, from, to }) => `${vm} ${from} ${to}`)).toEqual(["z a b", "y a b", "x c a"]);
    for (const { vm, to } of undo.moves) {
      const [mover, there] = [indexOf(state).get(`default/${vm}`), indexOf(state).hosts.get(to)];
      expect(mover && there && obstacle(state, mover, there)).toBeUndefined();
      state = apply(state, `default/${vm}`, to);
    }
    expect(state.machines.map((m) => m.host)).toEqual(before.machines.map((m) => m.host));
    expect(undo.moves[0]?.reason).toBe("undo of p1, which moved it here: played");
    const half = planUndo(state, plan("p1", moves, ["Failed", "Skipped", "Failed"]));
    expect(half).toEqual({ moves: [], kept: [] });
  });

  it("finds another order when the reverse one is not possible any more", () => {
    // x went first; by now its place on a is y's, which goes back last if the order were the reverse one of the plan.
    const state = estateOf(
      [host("a", { cpus: 1 }), host("b", { cpus: 1 }), host("c")],
      [machineView("y", "a"), machineView("x", "c")],
    );
    const undo = planUndo(state, plan("p1", [move("y", "b", "a"), move("x", "a", "c")]));
    expect(undo.moves.map(({ vm }) => vm)).toEqual(["y", "x"]);
  });

  it("says of each machine that stays why: gone, elsewhere, stopped, host gone or closed, no room, a rule", () => {
    const apart = policy({ keepApart: "host", selector: { matchLabels: { app: "web" } } });
    const state = estateOf(
      [
        host("a", { closed: "it is not ready" }),
        host("b", { cpus: 8 }),
        host("c", { cpus: 4 }),
        host("d", { cpus: 1 }),
      ],
      [
        machineView("closed", "b"),
        machineView("elsewhere", "c"),
        machineView("stopped", "b", { movable: false }),
        machineView("hostless", "b"),
        machineView("big", "b", { cpus: 2 }),
        machineView("apart", "b", { labels: { app: "web" } }),
        machineView("other", "c", { labels: { app: "web" } }),
        machineView("fine", "b"),
      ],
      [apart],
    );
    const made = [
      move("closed", "a", "b"),
      move("gone", "a", "b"),
      move("elsewhere", "a", "b"),
      move("stopped", "a", "b"),
      move("hostless", "x", "b"),
      move("big", "d", "b"),
      move("apart", "c", "b"),
      move("fine", "d", "b"),
    ];
    const { moves, kept } = planUndo(state, plan("p1", made));
    expect(moves.map(({ vm }) => vm)).toEqual(["fine"]);
    expect(Object.fromEntries(kept.map(({ vm, why }) => [vm, why]))).toEqual({
      gone: "the machine is gone",
      elsewhere: "it has come to c since, and is no longer on b",
      stopped: "it does not run, or is being moved or stopped",
      hostless: "host x is gone",
      closed: "host a: it is not ready",
      big: "host d: needs 2 CPUs, 0 of 1 are free",
      apart: 'host c: policy "web" keeps its machines on different hosts, other is there',
    });
  });

  it("without a name is of the newest plan that moved something and is not undone", () => {
    const [first, second] = [plan("p1", [move("x", "a", "b")]), plan("p2", [move("x", "b", "c")])];
    const nothing = plan("p3", [move("x", "c", "a")], ["Skipped"]);
    expect(lastToUndo([first, second, nothing])?.metadata.name).toBe("p2");
    const undo = plan("u4", [move("x", "c", "b")], undefined, { undoes: "p2" });
    expect(lastToUndo([undo, first, second])?.metadata.name).toBe("p1");
    expect(lastToUndo([undo, second])).toBeUndefined();
  });

  it("is not undone again by the director by itself, but for a broken rule or another policy", () => {
    const now = Date.parse("2026-11-28T11:00:00Z");
    const state = estateOf(
      [host("a"), host("b", { mhz: 9000, idleWatts: 1, maxWatts: 2 })],
      [machineView("x", "a")],
    );
    const undo = plan("u1", [move("x", "b", "a")], undefined, { undoes: "p0" });
    const planned = (given: Estate, released: string[] = []) => {
      const free = { now, released: new Set(released) };
      return planMoves(holdForUsers(given, [undo], free), { ...PLAN_DEFAULTS, ...free }).map(({ to }) => to);
    };
    expect(planMoves(state, { ...PLAN_DEFAULTS, now, released: new Set() })).toHaveLength(1);
    expect(planned(state)).toEqual([]);
    expect(planned(state, ["default/x"])).toEqual(["b"]);
    const strict = policy({
      required: ["host.cpu.mhz >= 3000"],
    });
    expect(planned({ ...state, policies: [strict] })).toEqual(["b"]);
  });
});

it("of plans that are over the newest are kept, and for a day those that did something", () => {
  const now = Date.parse("2026-11-28T12:00:00Z");
  const at = (
    hoursAgo: number,
    name: string,
    phases: MoveStatus["phase"][],
    more: Partial<Plan["spec"]> = {},
  ) => {
    const made = plan(
      name,
      phases.map(() => move("x", "a", "b")),
      phases,
      more,
    );
    made.metadata.creationTimestamp = new Date(now - hoursAgo * 3_600_000).toISOString();
    return made;
  };
  const idle = Array.from({ length: 30 }, (_, i) => at(1 - i / 30, `idle${i}`, ["Skipped"]));
  const open = at(30, "open", ["Succeeded"]);
  open.status = { phase: "Running" };
  const early = [
    at(23, "undo", ["Succeeded"], { undoes: "p0" }),
    at(22, "moved", ["Skipped", "Succeeded"]),
    at(22, "failed", ["Failed"]),
  ];
  const late = [at(25, "late", ["Succeeded"]), at(2, "skipped", ["Skipped"])];
  const names = (plans: Plan[]) => plans.map(({ metadata }) => metadata.name).sort();
  expect(names(outdated([...idle, ...late, ...early, open], now))).toEqual(
    names([...idle.slice(0, 10), ...late]),
  );
  const many = Array.from({ length: 210 }, (_, i) => at(9 - i / 100, `moved${i}`, ["Succeeded"]));
  expect(names(outdated(many, now))).toEqual(names(many.slice(0, 10)));
  // In a busy estate, too, it is known for a day what users wanted back, or where it is.
  const words = (ended: number) => [
    at(ended, "back", ["Succeeded"], { undoes: "moved" }),
    at(ended, "rejected", ["Skipped"], { automation: "ask", approval: "Rejected" }),
  ];
  expect(names(outdated([...words(23), ...many], now))).toEqual(names(many.slice(0, 10)));
  expect(names(outdated([...words(25), ...idle.slice(-20)], now))).toEqual(names(words(25)));
  // One that tells where a machine left last that has to stay away from there for long is kept for that.
  const [away, again] = [at(50, "away", ["Succeeded"]), at(49, "again", ["Succeeded"])];
  const before = [away, again];
  const machines = [machineView("x", "b", { labels: { app: "web" } })];
  const gone = (minutes: number, of = machines) => {
    const estate = estateOf([host("b")], of, [policy({ moves: { minimumStayMinutes: minutes } })]);
    return names(outdated([...before, ...idle.slice(-20)], now, staysOf(estate)));
  };
  expect(gone(60)).toEqual(names(before));
  expect(gone(365 * 24 * 60)).toEqual(names([away]));
  expect(gone(365 * 24 * 60, [])).toEqual(names(before));
});

it("plans count from when they were over, not from when they were made: users may decide late", () => {
  const now = Date.parse("2026-11-28T12:00:00Z");
  const hoursAgo = (hours: number) => new Date(now - hours * 3_600_000).toISOString();
  const late = (
    name: string,
    phases: MoveStatus["phase"][],
    ended: number,
    more: Partial<Plan["spec"]> = {},
  ) => {
    const made = plan(
      name,
      phases.map(() => move("x", "a", "b")),
      phases,
      more,
    );
    made.metadata.creationTimestamp = hoursAgo(40);
    return { ...made, status: { ...made.status, endedTime: hoursAgo(ended) } };
  };
  const names = (plans: Plan[]) => plans.map(({ metadata }) => metadata.name);
  const idle = Array.from({ length: 20 }, (_, i) => late(`idle${i}`, ["Skipped"], 2));
  const [fresh, old] = [late("fresh", ["Succeeded"], 1), late("old", ["Succeeded"], 30)];
  expect(names(outdated([fresh, old, ...idle], now))).toEqual(["old"]);
  // As long as a stay lasts after the move itself.
  const stays = (hours: number) =>
    staysOf(
      estateOf(
        [host("b")],
        [machineView("x", "b", { labels: { app: "web" } })],
        [policy({ moves: { minimumStayMinutes: hours * 60 } })],
      ),
    );
  expect(names(outdated([old, ...idle], now, stays(29)))).toEqual(["old"]);
  expect(names(outdated([old, ...idle], now, stays(31)))).toEqual([]);
  // What was carried out last is undone first.
  const since = plan("p9", [move("x", "b", "c")]);
  since.metadata.creationTimestamp = hoursAgo(10);
  expect(lastToUndo([{ ...since, status: { ...since.status, endedTime: hoursAgo(10) } }, fresh])).toBe(fresh);
  // Rejected late, or not yet seen to be by the executor.
  const state = estateOf(
    [host("a"), host("b", { mhz: 9000, idleWatts: 1, maxWatts: 2 })],
    [machineView("x", "a")],
  );
  const free = { now, released: new Set<string>() };
  const planned = (rejected: Plan) =>
    planMoves(holdForUsers(state, [rejected], free), { ...PLAN_DEFAULTS, ...free });
  const asked = { automation: "ask", approval: "Rejected" } as const;
  const rejected = late("r1", ["Waiting"], 1, asked);
  expect(planned({ ...rejected, status: { phase: "Rejected", endedTime: hoursAgo(1) } })).toEqual([]);
  expect(planned({ ...rejected, status: { phase: "Proposed" } })).toEqual([]);
  expect(planned({ ...rejected, status: { phase: "Rejected", endedTime: hoursAgo(25) } })).toHaveLength(1);
  // Stored by an older version, which did not write it.
  expect(planned({ ...rejected, status: { phase: "Rejected" } })).toHaveLength(1);
});

it("keeps back what would not survive the loss of a host, as the executor would", () => {
  const hosts = [
    host("a", { memoryBytes: 8 * GiB, cpus: 16 }),
    host("b", { cpus: 16 }),
    host("c", { memoryBytes: 8 * GiB, cpus: 16 }),
  ];
  const machines = [
    machineView("y", "a", { memoryBytes: 6 * GiB }),
    machineView("x", "b", { memoryBytes: 3 * GiB }),
    machineView("z", "c", { memoryBytes: 2 * GiB }),
  ];
  const safe = policy({ failover: { per: "host", losses: 1 } });
  const state = estateOf(hosts, machines, [safe]);
  const made = plan("p1", [move("x", "c", "b")], ["Succeeded"]);
  const undo = planUndo(state, made);
  expect(undo.moves).toEqual([]);
  expect(undo.kept).toMatchObject([{ vm: "x", why: expect.stringContaining("loss of host a") }]);
});

describe("what a move will take", () => {
  const took = (seconds: number, bytes: number): MoveStatus => ({
    phase: "Succeeded",
    memoryBytes: GiB,
    linkMbps: 1000,
    actual: { seconds, bytes, downtimeMs: 40 },
  });
  const x = machineView("x", "a");
  const over = (mbps: number) => ({ mbps, how: "passes" as const });

  it("learns from moves that users asked for, too", () => {
    const moved: Migration = {
      apiVersion: "vireo.dev/v1",
      kind: "Migration",
      metadata: { name: "m", namespace: "default" },
      spec: { vm: "x", to: "b" },
      status: {
        phase: "Succeeded",
        from: "a",
        startedTime: "2026-01-01T00:00:00Z",
        finishedTime: "2026-01-01T00:00:20Z",
        toSendBytes: GiB,
        linkMbps: 1000,
        memory: { transferredBytes: 2 * GiB },
        downtimeMs: 70,
      },
    };
    const of = { ...estateOf([host("a"), host("b")], [machineView("x", "a")]), asked: [moved] };
    const [predicted] = predict(of, [move("x", "a", "b")], []);
    expect(predicted?.predicted).toMatchObject({ seconds: 20, bytes: 2 * GiB, downtimeMs: 70 });
    expect(experienceOf([], of)).toHaveLength(1);
    // By what it was as it began: not by what the machine is since, or that it is gone.
    const larger = { ...of, machines: [machineView("x", "b", { memoryBytes: 8 * GiB })] };
    expect(experienceOf([], larger)).toMatchObject([{ toSendBytes: GiB, linkMbps: 1000 }]);
    expect(experienceOf([], { ...of, machines: [] })).toHaveLength(1);
  });

  it("knows that a move was slow because its user wanted it so", () => {
    const hosts = [host("a"), host("b")];
    const of = (linkMbps: number): Estate => ({
      ...estateOf(hosts, [machineView("x", "a"), machineView("y", "a")]),
      asked: [
        {
          apiVersion: "vireo.dev/v1",
          kind: "Migration",
          metadata: { name: "m", namespace: "default" },
          spec: { vm: "x", to: "b" },
          status: {
            phase: "Succeeded",
            from: "a",
            startedTime: "2026-01-01T00:00:00Z",
            finishedTime: "2026-01-01T00:01:28Z",
            toSendBytes: GiB,
            linkMbps,
            memory: { transferredBytes: GiB },
          },
        },
      ],
    });
    const seconds = (state: Estate) => predict(state, [move("y", "a", "b")], [])[0]?.predicted?.seconds;
    expect(seconds(of(1000))).toBeCloseTo(88, 0);
    expect(seconds(of(101))).toBeCloseTo(10.6, 0);
  });

  it("without experience is its memory over the slower link", () => {
    expect(new Forecaster([]).of(x, over(1000))).toEqual({ bytes: GiB, seconds: 10.6 });
    expect(new Forecaster([]).of(x, over(10_000))).toEqual({ bytes: GiB, seconds: 2.9 });
  });

  it("follows what was measured, the newest most, and a machine's own moves before those of others", () => {
    const [slow, fast] = [took(30, 2 * GiB), took(15, GiB)];
    const learnt = experienceOf([
      plan("p2", [move("y", "a", "b")], [fast]),
      plan("p1", [move("y", "b", "a")], [slow]),
    ]);
    expect(learnt.map(({ seconds }) => seconds)).toEqual([30, 15]);
    const other = new Forecaster(learnt).of(x, over(1000));
    // 2 and then 1 byte for each: 1.7.
    expect(other.bytes).toBe(Math.round(1.7 * GiB));
    expect(other.downtimeMs).toBe(40);
    const own = experienceOf([
      plan("p1", [move("y", "a", "b"), move("x", "a", "b")], [slow, took(5.3, GiB / 2)]),
    ]);
    expect(new Forecaster(own).of(x, over(1000))).toEqual({
      bytes: GiB / 2,
      seconds: expect.closeTo(5.3, 1),
      downtimeMs: 40,
    });
    // What did not succeed, or was not measured, teaches nothing.
    expect(experienceOf([plan("p1", [move("x", "a", "b")], ["Succeeded"])])).toEqual([]);
    expect(experienceOf([plan("p1", [move("x", "a", "b")], [{ ...slow, phase: "Failed" }])])).toEqual([]);
  });

  it("goes by how fast the guest writes to its memory, and what it learns is not that once more", () => {
    const half = { ...x, dirtyBytesPerSecond: 0.5 * 125e6 };
    expect(new Forecaster([]).of(half, over(1000))).toEqual({ bytes: 2 * GiB, seconds: 19.2 });
    // Two thirds of its memory are never sent, because they are empty; as fast as it wrote then, that was as often.
    const sent = { ...took(7, (2 / 3) * GiB), toSendBytes: 2 * GiB };
    const learnt = new Forecaster(experienceOf([plan("p1", [move("x", "a", "b")], [sent])]));
    expect(learnt.of(half, over(1000)).bytes).toBe(Math.round((2 / 3) * GiB));
    expect(learnt.of({ ...x, dirtyBytesPerSecond: 0 }, over(1000)).bytes).toBe(Math.round(GiB / 3));
    expect(
      predict(estateOf([host("a"), host("b")], [half]), [move("x", "a", "b")], [])[0]?.predicted,
    ).toMatchObject({
      // Under TCG it is sent once, and what was written meanwhile while the guest stands still.
      bytes: 1.5 * GiB,
      downtimeMs: 4295,
    });
  });

  it("with disks that go along is theirs, too; what others' disks took says nothing of it", () => {
    const withDisks = {
      ...took(900, 101 * GiB),
      actual: { seconds: 900, bytes: 101 * GiB, diskBytes: 100 * GiB },
    };
    const learnt = new Forecaster(
      experienceOf([plan("p1", [move("y", "a", "b")], [{ ...withDisks, linkMbps: 1000 }])]),
    );
    expect(learnt.of(x, over(1000))).toEqual({ bytes: GiB, seconds: expect.closeTo(10.6, 0) });
    expect(learnt.of({ ...x, localDiskBytes: 10 * GiB }, over(1000)).bytes).toBe(11 * GiB);
    // Its own disks are in what it took.
    expect(learnt.of({ ...machineView("y", "b"), localDiskBytes: 500 * GiB }, over(1000))).toMatchObject({
      bytes: 101 * GiB,
    });
  });

  it("comes nearer to what is with each move", () => {
    const plans: Plan[] = [];
    const errors = [0, 1, 2, 3, 4, 5].map((i) => {
      const predicted = new Forecaster(experienceOf(plans)).of(x, over(1000)).seconds;
      plans.push(plan(`p${i}`, [move("x", "a", "b")], [took(40, 1.5 * GiB)]));
      return Math.abs(predicted - 40);
    });
    expect(errors[0]).toBeGreaterThan(25);
    expect(errors.slice(1).every((error) => error < 0.1)).toBe(true);
  });

  it("and gain is told before and after in the same words", () => {
    const state = estateOf([host("a"), host("b", { idleWatts: 10, maxWatts: 20 })], [x]);
    const [predicted] = predict(state, [move("x", "a", "b")], []);
    expect(predicted?.predicted).toMatchObject({ bytes: GiB, seconds: 10.6, watts: -25 });
    expect(describeEffect({ seconds: 12, bytes: 1.1 * GiB, downtimeMs: 30, score: 0.1, watts: -25 })).toBe(
      "12 s, 1.1Gi sent, 30 ms still, score +0.1, 25 W less",
    );
    expect(outcome({ to: "b", predicted: { seconds: 10 } }, { seconds: 12 })).toBe(
      "runs on b: 12 s (predicted: 10 s)",
    );
  });
});

describe("moves at once", () => {
  const hosts = ["a", "b", "c", "d"].map((name) => host(name, { cpus: 8 }));
  const machines = [machineView("x", "a"), machineView("y", "c"), machineView("z", "a")];
  const [x, y, z] = [move("x", "a", "b"), move("y", "c", "d"), move("z", "a", "c")];
  const none = { before: [], underWay: [] };

  it("are limited by the links of both hosts, whoever asked for those that are under way", () => {
    expect(
      [0, 1000, 10_000, 25_000, 100_000].map((linkMbps) => movesAtOnce(host("a", { linkMbps }))),
    ).toEqual([1, 1, 2, 3, 4]);
    const state = estateOf(hosts, machines);
    expect(waitsFor(state, y, { ...none, underWay: [x] })).toBeUndefined();
    expect(waitsFor(state, z, { ...none, underWay: [x] })).toBe("waits: host a takes part in a move already");
    expect(waitsFor(state, y, { ...none, underWay: [move("u", "b", "d")] })).toContain("host d");
    const wide = estateOf(
      hosts.map((each) => ({ ...each, linkMbps: 10_000 })),
      machines,
    );
    expect(waitsFor(wide, z, { ...none, underWay: [x] })).toBeUndefined();
  });

  it("keep the order of the plan on each host, and never overlap in a group that is spread", () => {
    const state = estateOf(hosts, machines);
    expect(waitsFor(state, z, { ...none, before: [x] })).toBe("waits until the move of x has begun");
    const spread = estateOf(hosts, machines, [policy({ spread: "host" })]);
    expect(waitsFor(spread, y, { ...none, underWay: [x] })).toBe(
      'waits until x has moved: policy "web" is about both',
    );
  });
});
