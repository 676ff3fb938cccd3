/** Plans carried out on the real API and reconcilers, the agents' part played: what came of each move, undo, and a world that changes between two steps. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { killable } from "../../agent/testing/killable.ts";
import { decideWith } from "../../cli/plan-decide.ts";
import { stopWith } from "../../cli/plan-stop.ts";
import { undoWith } from "../../cli/plan-undo.ts";
import { type Client, modify } from "../../client/client.ts";
import { overriding } from "../../client/testing/overriding.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { Migration } from "../../compute/migrations/kinds.ts";
import { until, untilObject } from "../../compute/testing/control-plane.ts";
import { type Estate, NS, openEstate } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { UseHistory } from "../estate/history.ts";
import { readEstate } from "../estate/read-estate.ts";
import { Policy } from "../kinds.ts";
import { isFinalPlan, isPlanUnderWay, Plan } from "../planning/kinds.ts";
import { decide } from "../planning/plan-standing.ts";
import { holdForApproved } from "../planning/under-way.ts";
import { undoingOf } from "../subresources.ts";
import { runPlanExecutor } from "./executor.ts";

let estate: Estate;
let stop: AbortController;
let running: Promise<unknown>;
/** What machines use. */
let history: UseHistory;
/** Machines whose moves the played agents carry out. */
let agentsMove: Set<string>;
/** How often the executor has read the estate, and had when it began each move. */
let readings: number;
let readingsAtMove: number[];
/** Done when a move begins, before it has. */
let onMove: () => Promise<unknown>;
/** Done when the estate is read, before it is. */
let onRead: () => Promise<unknown>;

beforeEach(async () => {
  estate = await openEstate();
  for (const name of ["a", "b", "c"])
    await estate.hostFacts(name, {
      links: [{ name: "eth0", mac: "52:54:00:00:00:01", mbps: 10_000, up: true }],
      power: { idleWatts: 10, maxWatts: 50 },
    });
  agentsMove = new Set();
  stop = new AbortController();
  readings = 0;
  readingsAtMove = [];
  onMove = async () => {};
  onRead = async () => {};
  const client = overriding(estate.client, {
    create: async (kind, object) => {
      if (kind.kind === "Migration") {
        readingsAtMove.push(readings);
        await onMove();
      }
      return estate.client.create(kind, object);
    },
    list: async (kind, options) => {
      if (kind.kind === "VirtualMachine") {
        readings++;
        await onRead();
      }
      return estate.client.list(kind, options);
    },
  });
  history = new UseHistory();
  const context = { client, clock: systemClock, log: silentLogger, signal: stop.signal, history };
  running = Promise.all([runPlanExecutor(context, 50, 100), playAgents()]);
});
afterEach(async () => {
  stop.abort();
  await running;
  await estate.close();
});

/** Both ends of every move, from the target's start to the source's end. */
async function playAgents(): Promise<void> {
  while (!stop.signal.aborted) {
    const { items } = await estate.client.list(Instance);
    for (const target of items) {
      const { name } = target.metadata;
      const source = items.find((i) => i.metadata.name === target.spec.predecessor);
      if (!target.spec.incoming || !agentsMove.has(target.spec.vm)) continue;
      if (!target.status?.phase)
        await estate.report(name, {
          phase: "Incoming",
          custody: "None",
          incomingAddress: "tcp:10.0.0.2:4444",
        });
      else if (source?.spec.migrateTo && source.status?.custody === "Held") {
        const sent = { to: name, phase: "Completed", downtimeMs: 42, transferredBytes: 2 ** 26 } as const;
        await estate.report(source.metadata.name, {
          phase: "HandedOver",
          custody: "Released",
          migration: sent,
        });
        await estate.report(name, { custody: "Held", phase: "Running" });
      }
      if (source?.metadata.deletionTimestamp) await estate.finalize(source.metadata.name);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

type Move = Plan["spec"]["moves"][number];
const move = (vm: string, from: string, to: string, more: Partial<Move> = {}): Move => ({
  namespace: NS,
  vm,
  from,
  to,
  reason: "played",
  expected: "nothing",
  ...more,
});
const create = (name: string, moves: Move[]) =>
  estate.client.create(Plan, { metadata: { name }, spec: { trigger: "a test", automation: "act", moves } });
const plan = (name: string, what: string, wanted: (plan: Plan) => boolean) =>
  untilObject(estate.client, Plan, { name }, what, wanted);
const over = (name: string) =>
  plan(name, "over", ({ status }) => status?.phase === "Succeeded" || status?.phase === "Failed");
const runsOn = (vm: string, host: string) =>
  estate.vm(vm, ({ status }) => status?.phase === "Running" && status.host === host, `on ${host}`);
const migrations = async () =>
  (await estate.client.list(Migration)).items.map(({ metadata }) => metadata.name).sort();
const said = ({ status }: Plan) => status?.moves?.map(({ phase, message }) => `${phase}: ${message}`);

it.each([
  ["machines that a policy keeps together", { keepTogether: "site" as const }, "policy"],
  ["more than a policy moves at once", { moves: { concurrent: 1 } }, "one of its machines"],
])("does not move %s at once, in two plans neither", async (_, spec, why) => {
  await estate.client.create(Policy, {
    metadata: { name: "few", namespace: NS },
    spec: { selector: {}, ...spec },
  });
  const vms = ["w", "x", "y", "z"];
  for (const vm of vms) await estate.runMachine(vm, "a");
  await Promise.all(vms.map((vm, i) => create(`p-${vm}`, [move(vm, "a", i % 2 ? "b" : "c")])));
  const waiting = async () => {
    const { items } = await estate.client.list(Plan);
    return items.filter(({ status }) => status?.moves?.[0]?.message?.includes(why));
  };
  await until(
    "all but one wait",
    async () => (await waiting()).length >= 3 || (await migrations()).length > 1,
  );
  expect(await migrations()).toHaveLength(1);
  expect(await waiting()).toHaveLength(3);
});

it("tells of a move that failed what it took until then", async () => {
  await estate.runMachine("x", "a");
  await create("p1", [move("x", "a", "b")]);
  const at = { name: "p1-0", namespace: NS };
  await untilObject(estate.client, Migration, at, "begun", ({ status }) => status?.startedTime !== undefined);
  await estate.client.patch(Migration, at, { spec: { cancel: true } });
  const [failed] = (await over("p1")).status?.moves ?? [];
  expect(failed).toMatchObject({ phase: "Failed", actual: { seconds: expect.any(Number) } });
  expect(failed?.actual).not.toHaveProperty("score");
});

it("of which every move is overtaken before it begins has not failed: it is superseded", async () => {
  await estate.runMachine("x", "a");
  await create("p1", [move("x", "b", "c"), move("nobody", "a", "b")]);
  const { status } = await plan("p1", "over", isFinalPlan);
  expect(status).toMatchObject({
    phase: "Superseded",
    done: 0,
    moves: [{ phase: "Skipped" }, { phase: "Skipped" }],
  });
  expect(await migrations()).toEqual([]);
});

it("stopped by a user: what has begun is cancelled, the rest is not made, and the plan is over as rejected", async () => {
  agentsMove = new Set(["x"]);
  for (const vm of ["x", "y", "z"]) await estate.runMachine(vm, "a");
  await create("p1", [move("x", "a", "b"), move("y", "a", "b"), move("z", "a", "b")]);
  const at = { name: "p1-1", namespace: NS };
  await untilObject(estate.client, Migration, at, "begun", ({ status }) => status?.startedTime !== undefined);
  const lines: string[] = [];
  await stopWith(estate.client, undefined, (line) => lines.push(line));
  expect(lines.at(-1)).toMatch(/^plan\/p1 is being stopped;/);
  const { status } = await plan("p1", "over", isFinalPlan);
  expect(status).toMatchObject({ phase: "Rejected", endedTime: expect.any(String) });
  expect(status?.moves?.map(({ phase }) => phase)).toContain("Failed");
  expect(status?.moves?.findLast(({ phase }) => phase === "Skipped")?.message).toBe(
    "a user stopped the plan",
  );
  expect((await estate.client.get(Migration, at))?.spec.cancel).toBe(true);
  await runsOn("y", "a");
  await expect(stopWith(estate.client, "p1", () => {})).rejects.toThrow(
    "is Rejected: there is nothing to stop",
  );
});

it("stopped while the estate is read for its first move, that is not begun", async () => {
  await estate.runMachine("x", "a");
  onRead = async () => {
    // The first reading is for its outlook.
    if (readings < 2) return;
    onRead = async () => {};
    await stopWith(estate.client, "p1", () => {});
  };
  await create("p1", [move("x", "a", "b")]);
  const stopped = await plan("p1", "over", isFinalPlan);
  expect(stopped.status?.phase).toBe("Rejected");
  expect(said(stopped)).toEqual(["Skipped: a user stopped the plan"]);
  expect(await migrations()).toEqual([]);
});

it("tells anew how the estate stands when a proposal is approved: that may be days later", async () => {
  agentsMove = new Set(["x"]);
  await estate.runMachine("x", "a");
  await estate.client.create(Plan, {
    metadata: { name: "p1" },
    spec: { trigger: "a test", automation: "ask", moves: [move("x", "a", "b")] },
  });
  const asks = await plan("p1", "a proposal", ({ status }) => status?.phase === "Proposed");
  expect(asks.status?.outlook?.before).toMatchObject({ hostsInUse: 1 });
  await estate.runMachine("y", "c");
  await estate.client.patch(Plan, { name: "p1" }, { spec: { approval: "Approved" } });
  const { status } = await over("p1");
  expect(status).toMatchObject({ phase: "Succeeded", outlook: { before: { hostsInUse: 2 } } });
  // Once it is begun, before is before.
  expect(status?.outlook?.before.watts).toBe(40);
});

describe("approved in quiet hours", () => {
  const always = [{ hours: "00:00-12:00" }, { hours: "12:00-00:00" }];
  const machine = async (vm: string, host: string, app: string) => {
    await estate.runMachine(vm, host);
    await estate.client.patch(VirtualMachine, { name: vm, namespace: NS }, { metadata: { labels: { app } } });
  };
  const policy = (name: string, moves?: Policy["spec"]["moves"]) =>
    estate.client.create(Policy, {
      metadata: { name, namespace: NS },
      spec: { selector: { matchLabels: { app: name } }, automation: "ask", ...(moves ? { moves } : {}) },
    });
  const approved = (name: string, moves: Move[]) =>
    estate.client.create(Plan, {
      metadata: { name },
      spec: { trigger: "a test", automation: "ask", approval: "Approved", moves },
    });
  const held = (name: string) => plan(name, "held", ({ status }) => status?.phase === "Held");
  const WAITS = 'waits for the end of quiet hours of policy "night"';

  beforeEach(async () => {
    agentsMove = new Set(["x", "y"]);
    await machine("x", "a", "night");
    await machine("y", "a", "day");
    await policy("day");
  });

  it("moves wait for their end, those of other policies go on, and the plan is not under way", async () => {
    await policy("night", { quiet: always });
    await approved("p1", [move("x", "a", "b", { policy: "night" }), move("y", "a", "b")]);
    await runsOn("y", "b");
    const waiting = await held("p1");
    expect(said(waiting)).toEqual([expect.stringContaining(WAITS), expect.stringMatching(/^Succeeded/)]);
    expect(isPlanUnderWay(waiting)).toBe(false);
    // Nothing else is planned for the machine that waits; for others it is.
    const { machines } = holdForApproved(await readEstate(estate.client), [waiting]);
    expect(machines.map(({ name, movable }) => [name, movable])).toEqual([
      ["x", false],
      ["y", true],
    ]);
    await estate.client.patch(Policy, { name: "night", namespace: NS }, { spec: { moves: null } });
    expect((await over("p1")).status).toMatchObject({ phase: "Succeeded", done: 2 });
    await runsOn("x", "b");
  });

  it("one that waits for their end may still be rejected", async () => {
    await policy("night", { quiet: always });
    await approved("p1", [move("x", "a", "b", { policy: "night" }), move("y", "a", "b")]);
    await held("p1");
    await decideWith(estate.client, "p1", { decision: "Rejected" }, () => {});
    const { status } = await plan("p1", "over", isFinalPlan);
    expect(status).toMatchObject({ phase: "Rejected", done: 1 });
    expect(status?.moves?.[0]).toMatchObject({ phase: "Skipped", message: "a user stopped the plan" });
  });

  it("a move that waits gives up at once when what it was planned for is no more, and the plan with it", async () => {
    await policy("night", { quiet: always });
    await approved("p1", [move("x", "a", "b", { policy: "night", policyGeneration: 1 })]);
    await held("p1");
    await estate.client.patch(Policy, { name: "night", namespace: NS }, { spec: { priority: 3 } });
    const { status } = await plan("p1", "over", isFinalPlan);
    expect(status?.phase).toBe("Superseded");
    expect(status?.moves?.[0]?.message).toBe('policy "night" has changed since it was planned');
  });

  it("one that can go only when another has gone waits with it", async () => {
    await policy("night", { quiet: always });
    await modify(estate.client, Host, { name: "b" }, "status", (host) =>
      host.status?.capacity
        ? { ...host, status: { ...host.status, capacity: { ...host.status.capacity, cpus: 0 } } }
        : undefined,
    );
    await approved("p1", [move("x", "a", "c", { policy: "night" }), move("y", "a", "b")]);
    const waiting = await held("p1");
    expect(said(waiting)).toEqual([
      expect.stringContaining(WAITS),
      expect.stringMatching(/^Waiting: host b/),
    ]);
  });

  it("a part that was approved waits, too; what acts by itself is skipped and planned anew afterwards", async () => {
    await policy("night", { quiet: always });
    const proposal = await estate.client.create(Plan, {
      metadata: { name: "p1" },
      spec: { trigger: "a test", automation: "ask", moves: [move("x", "a", "b"), move("y", "a", "b")] },
    });
    const { approval, instead } = decide(proposal, proposal.spec.moves.slice(0, 1), 0);
    expect(approval).toBe("Rejected");
    await estate.client.create(Plan, { metadata: { name: "part" }, spec: instead?.spec as Plan["spec"] });
    expect(said(await held("part"))).toEqual([expect.stringContaining(WAITS)]);
    await estate.client.patch(Policy, { name: "night", namespace: NS }, { spec: { automation: "act" } });
    await create("acts", [move("x", "a", "b")]);
    expect(said(await plan("acts", "over", isFinalPlan))).toEqual([
      expect.stringMatching(/^Skipped: policy "night" lets nothing move now/),
    ]);
  });
});

it("tells of each move what was predicted and what came of it, and takes it back when asked", async () => {
  const of = (machines: number, watts: number) => ({
    machines,
    cpus: machines,
    memoryBytes: machines * 2 ** 26,
    watts,
  });
  agentsMove = new Set(["x", "y"]);
  for (const vm of ["x", "y"]) await estate.runMachine(vm, "a");
  await create("p1", [
    move("x", "a", "b", { predicted: { seconds: 3, bytes: 2 ** 26 } }),
    move("y", "a", "c"),
  ]);
  const done = await over("p1");
  expect(done.status).toMatchObject({ phase: "Succeeded", done: 2 });
  expect(done.status?.outlook).toEqual({
    before: { hostsInUse: 1, watts: 30, rulesBroken: 0 },
    after: { hostsInUse: 2, watts: 40, rulesBroken: 0 },
    hosts: ["a", "b", "c"].map((name) => ({
      name,
      capacity: { cpus: 4, memoryBytes: 2 ** 30, watts: 50 },
      before: name === "a" ? of(2, 30) : of(0, 0),
      after: name === "a" ? of(0, 0) : of(1, 20),
    })),
  });
  const [first] = done.status?.moves ?? [];
  expect(first).toMatchObject({
    phase: "Succeeded",
    migration: "p1-0",
    memoryBytes: 2 ** 26,
    toSendBytes: 2 ** 26,
    linkMbps: 10_000,
    before: { from: { machines: 2, cpus: 2, watts: 30 }, to: { machines: 0, watts: 0 } },
    after: { to: { machines: 1, cpus: 1, watts: 20 } },
    actual: { bytes: 2 ** 26, downtimeMs: 42 },
  });
  expect(first?.actual?.seconds).toBeGreaterThan(0);
  expect(first?.message).toMatch(
    /^runs on b: [\d.]+ s, 64Mi sent, 42 ms still, .*\(predicted: 3 s, 64Mi sent\)$/,
  );
  await runsOn("x", "b");
  await runsOn("y", "c");

  // y goes on by itself; only x can go back. First as a preview.
  await estate.client.create(Migration, {
    metadata: { name: "m", namespace: NS },
    spec: { vm: "y", to: "b" },
  });
  await runsOn("y", "b");
  await until("nothing of y's old runs", async () => (await estate.client.list(Instance)).items.length === 2);
  const lines: string[] = [];
  const options = { wait: true, timeoutMs: 5000, signal: stop.signal };
  const undo = (more: { name?: string; dryRun?: boolean }) =>
    undoWith(
      estate.client,
      (name) =>
        undoingOf(estate.client, name, systemClock, () => readEstate(estate.client, { clock: systemClock })),
      { ...options, dryRun: false, ...more },
      (line) => lines.push(line),
    );
  await undo({ dryRun: true });
  expect(lines).toEqual([
    "undo of plan/p1 (a test):",
    expect.stringMatching(
      /^ {2}x from b to a: [\d.]+ s, 64Mi sent, 42 ms still, score [-+\d.]+, .* W (more|less)$/,
    ),
    "  y stays: it has come to b since, and is no longer on c",
  ]);
  expect((await estate.client.list(Plan)).items).toHaveLength(1);
  await expect(undo({})).rejects.toThrow("1 of 2 machines stay where plan/p1 brought them");
  await runsOn("x", "a");
  const undone = (await estate.client.list(Plan)).items.find(({ spec }) => spec.undoes === "p1");
  expect(undone?.status).toMatchObject({ phase: "Succeeded", done: 1 });
  expect(lines.at(-1)).toMatch(/succeeded: x runs on a: /);
  // Nothing is left to undo, and what is not there is said.
  await expect(undo({})).rejects.toThrow("there is no plan that moved something and is not undone");
  await expect(undo({ name: "p2" })).rejects.toThrow('there is no plan "p2"');
  await expect(undo({ name: "p1" })).rejects.toThrow(
    "nothing of plan/p1 can be taken back:\n  y stays: it has come to b since, and is no longer on c\n  x stays: it is back on a already",
  );
});

it("some minutes after a plan looks at what its machines use then, beside what was expected", async () => {
  agentsMove = new Set(["x", "y"]);
  // z stays: a is not emptied.
  for (const vm of ["x", "y", "z"]) await estate.runMachine(vm, "a");
  const tenMinutesAgo = Date.now() - 600_000;
  history.observe(`${NS}/x`, tenMinutesAgo, 0.5);
  history.observe(`${NS}/x`, tenMinutesAgo + 1000, 0.5);
  await create("p1", [move("x", "a", "b"), move("y", "a", "c")]);
  await plan("p1", "begun", ({ status }) => status?.moves?.[0]?.phase === "Running");
  history.observe(`${NS}/x`, Date.now(), 0.25);
  const measured = await plan("p1", "measured", ({ status }) => status?.moves?.[0]?.measured !== undefined);
  expect(measured.status?.phase).toBe("Succeeded");
  const [x, y] = measured.status?.moves ?? [];
  expect(x?.measured).toMatchObject({ cpus: 0.25, to: { cpus: 0.25 } });
  expect(x?.after?.expectedCpus).toBeGreaterThan(0.4);
  expect(x?.measured).toMatchObject({ watts: expect.any(Number), expectedWatts: expect.any(Number) });
  // Nobody has seen what y uses.
  expect(y).not.toHaveProperty("measured");
});

describe("when the world changes between two steps", () => {
  /** x and y run on a, z on b; the plan's first move is under way and stays so until its agents are let. */
  async function amid(...moves: Move[]) {
    for (const vm of ["x", "y"]) await estate.runMachine(vm, "a");
    await estate.runMachine("z", "b");
    // One at a time from a.
    for (const name of ["a", "b", "c"])
      await modify(estate.client, Host, { name }, "status", (host) => {
        const { facts } = host.status ?? {};
        return facts
          ? {
              ...host,
              status: {
                ...host.status,
                facts: {
                  ...facts,
                  links: [{ name: "eth0", mac: "52:54:00:00:00:01", mbps: 1000, up: true }],
                },
              },
            }
          : undefined;
      });
    agentsMove = new Set(["y", "z"]);
    await create("p1", [move("x", "a", "c"), ...moves]);
    await plan("p1", "under way", ({ status }) => status?.moves?.[0]?.phase === "Running");
    await estate.instance("x-2");
  }

  it("a host that is not ready any more is skipped at once; the others go on", async () => {
    await amid(move("y", "a", "b"), move("z", "b", "c"));
    const waiting = await plan("p1", "waiting", ({ status }) => status?.moves?.[1]?.message !== undefined);
    expect(waiting.status?.moves?.[1]).toMatchObject({
      phase: "Waiting",
      message: "waits: host a takes part in a move already",
    });
    expect(await migrations()).toEqual(["p1-0"]);
    await estate.hostReady("b", "Unknown");
    await plan("p1", "skipped", ({ status }) => status?.moves?.[1]?.phase === "Skipped");
    agentsMove.add("x");
    const done = await over("p1");
    expect(said(done)).toEqual([
      expect.stringMatching(/^Succeeded: runs on c/),
      "Skipped: host b: it is not ready",
      "Skipped: host b, where machine z is, is not ready",
    ]);
    expect(done.status).toMatchObject({ phase: "Failed", done: 1 });
    expect(await migrations()).toEqual(["p1-0"]);
  });

  it("a machine that was deleted is skipped, and one after it moves", async () => {
    await amid(move("y", "a", "b"), move("z", "b", "c"));
    await estate.client.delete(VirtualMachine, { name: "y", namespace: NS });
    await estate.instance("y-1", (i) => !i.spec.running, "told to stop");
    await estate.end("y-1", "Requested");
    await estate.finalize("y-1");
    await plan("p1", "skipped", ({ status }) => status?.moves?.[1]?.phase === "Skipped");
    agentsMove.add("x");
    expect(said(await over("p1"))).toEqual([
      expect.stringMatching(/^Succeeded: runs on c/),
      expect.stringMatching(/^Skipped: machine y (is gone|is not running|does not run)/),
      expect.stringMatching(/^Succeeded: runs on c/),
    ]);
  });

  it("a policy that has changed takes back the moves that it asked for, and no others", async () => {
    const spec = { selector: { matchLabels: { not: "chosen" } } };
    const made = await estate.client.create(Policy, { metadata: { name: "web", namespace: NS }, spec });
    const planned = { policy: "web", policyGeneration: made.metadata.generation ?? 0 };
    await amid(move("y", "a", "b", planned), move("z", "b", "c"));
    await estate.client.patch(Policy, { name: "web", namespace: NS }, { spec: { automation: "advise" } });
    agentsMove.add("x");
    expect(said(await over("p1"))).toEqual([
      expect.stringMatching(/^Succeeded: runs on c/),
      'Skipped: policy "web" has changed since it was planned',
      expect.stringMatching(/^Succeeded: runs on c/),
    ]);
  });

  it("a required rule that is new is kept", async () => {
    await amid(move("y", "a", "c"));
    const spec = { selector: {}, keepApart: "host" as const };
    await estate.client.create(Policy, { metadata: { name: "apart", namespace: NS }, spec });
    agentsMove.add("x");
    expect(said(await over("p1"))).toEqual([
      expect.stringMatching(/^Succeeded: runs on c/),
      'Skipped: host c: policy "apart" keeps its machines on different hosts, x is there',
    ]);
  });
});

it("moves that share no host go on at once; one that waits for room begins when it is there", async () => {
  for (const [vm, host, cpus] of [
    ["x", "a", 3],
    ["y", "b", 3],
  ] as const)
    await estate.runMachine(vm, host, { cpus });
  await estate.runMachine("z", "c");
  agentsMove = new Set(["y", "z"]);
  // y needs the room that x leaves; z only shares a's link, which takes two.
  await create("p1", [move("x", "a", "c"), move("y", "b", "a"), move("z", "c", "b")]);
  const waiting = await plan("p1", "waiting", ({ status }) => status?.moves?.[1]?.message !== undefined);
  expect(waiting.status?.moves?.[1]?.message).toBe("host a: needs 3 CPUs, 1 of 4 are free");
  expect(waiting.status?.moves?.[0]?.phase).toBe("Running");
  agentsMove.add("x");
  expect(said(await over("p1"))?.map((text) => text.slice(0, 20))).toEqual([
    "Succeeded: runs on c",
    "Succeeded: runs on a",
    "Succeeded: runs on b",
  ]);
});

it("of a large estate one reading is enough to begin all that may", async () => {
  const moves = [move("x", "a", "b"), move("y", "b", "c"), move("z", "c", "a"), move("w", "a", "b")];
  for (const { vm, from } of moves) await estate.runMachine(vm, from);
  await create("p1", moves);
  const begun = await plan("p1", "begun", ({ status }) => status?.moves?.[3]?.message !== undefined);
  expect(begun.status?.moves?.map(({ phase }) => phase)).toEqual([
    "Running",
    "Running",
    "Running",
    "Waiting",
  ]);
  expect(begun.status?.moves?.[3]?.message).toBe("waits: host a takes part in 2 moves already");
  // One to tell what the plan is to change, one to begin.
  expect(readingsAtMove).toEqual([2, 2, 2]);
});

it("begins eight by one reading at most", async () => {
  const moves = Array.from({ length: 9 }, (_, i) => move(`m${i}`, `from-${i}`, `to-${i}`));
  for (const { vm, from, to } of moves) {
    for (const name of [from, to]) {
      await estate.client.create(Host, { metadata: { name }, spec: {} });
      await estate.hostReady(name, "True");
      await estate.hostFacts(name);
    }
    await estate.runMachine(vm, from);
  }
  await create("p1", moves);
  await plan(
    "p1",
    "begun",
    ({ status }) => status?.moves?.every(({ phase }) => phase === "Running") ?? false,
  );
  const [first] = readingsAtMove;
  expect(readingsAtMove.filter((at) => at === first).length).toBeLessThanOrEqual(8);
  expect(readingsAtMove).toHaveLength(9);
});

it("a policy that changes when a move begins takes back the next by the same reading", async () => {
  const made = await estate.client.create(Policy, {
    metadata: { name: "web", namespace: NS },
    spec: { selector: { matchLabels: { not: "chosen" } } },
  });
  const planned = { policy: "web", policyGeneration: made.metadata.generation ?? 0 };
  await estate.runMachine("x", "a");
  await estate.runMachine("y", "b");
  onMove = () =>
    estate.client.patch(Policy, { name: "web", namespace: NS }, { spec: { automation: "advise" } });
  await create("p1", [move("x", "a", "b"), move("y", "b", "c", planned)]);
  const { status } = await plan("p1", "looked at", (now) => now.status?.moves?.[1]?.phase === "Skipped");
  expect(status?.moves?.[1]?.message).toBe('policy "web" has changed since it was planned');
});

it("superseded while its outlook is made it stays so", async () => {
  const ask = (name: string) =>
    estate.client.create(Plan, {
      metadata: { name },
      spec: { trigger: "a test", automation: "ask", moves: [move("x", "a", "b")] },
    });
  await estate.runMachine("x", "a");
  onRead = async () => {
    onRead = async () => {};
    await modify(estate.client, Plan, { name: "p1" }, "status", (now) => ({
      ...now,
      status: { ...now.status, phase: "Superseded" as const },
    }));
  };
  await ask("p1");
  await plan("p1", "superseded", ({ status }) => status?.phase === "Superseded");
  await ask("p2");
  await plan("p2", "proposed", ({ status }) => status?.phase === "Proposed");
  expect((await estate.client.get(Plan, { name: "p1" }))?.status?.phase).toBe("Superseded");
});

it("a user's move that has not begun takes no place from it", async () => {
  for (const vm of ["x", "y"]) await estate.runMachine(vm, "a");
  for (const name of ["a", "b", "c"]) await estate.hostFacts(name);
  agentsMove = new Set(["x"]);
  // Nobody chooses a host for it.
  await estate.client.create(Migration, { metadata: { name: "m", namespace: NS }, spec: { vm: "y" } });
  await create("p1", [move("x", "a", "b")]);
  expect((await over("p1")).status?.phase).toBe("Succeeded");
  const waits = await estate.client.get(Migration, { name: "m", namespace: NS });
  expect(waits?.status).toMatchObject({
    phase: "Pending",
    message: "waits for the director to choose a host",
  });
});

it("killed at any moment and started again, makes each move once, with what came of it", async () => {
  for (const vm of ["x", "y", "z"]) await estate.runMachine(vm, "a");
  agentsMove = new Set(["x", "y", "z"]);
  // Not the one that lives on beside it.
  stop.abort();
  await running;
  stop = new AbortController();
  let kill: () => void = () => {};
  const restart = () => {
    kill();
    const client = killable<Client>(estate.client);
    const dead = new AbortController();
    kill = () => {
      client.kill();
      dead.abort();
    };
    // Not waited for: what is dead does not end.
    void runPlanExecutor(
      { client: client.object, clock: systemClock, log: silentLogger, signal: dead.signal },
      50,
    );
  };
  running = playAgents();
  restart();
  await create("p1", [move("x", "a", "b"), move("y", "a", "c"), move("z", "a", "b")]);
  let done = await estate.client.get(Plan, { name: "p1" });
  for (let i = 0; done?.status?.phase !== "Succeeded" && i < 60; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5 + ((i * 13) % 60)));
    restart();
    done = await estate.client.get(Plan, { name: "p1" });
    expect(done?.status?.phase).not.toBe("Failed");
  }
  done = await over("p1");
  kill();
  expect(await migrations()).toEqual(["p1-0", "p1-1", "p1-2"]);
  for (const state of done.status?.moves ?? [])
    expect(state).toMatchObject({ phase: "Succeeded", memoryBytes: 2 ** 26, actual: { bytes: 2 ** 26 } });
  expect(done.status?.moves?.every(({ before, after }) => before?.from && after?.to)).toBe(true);
});
