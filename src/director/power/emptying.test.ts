/** A host with machines is emptied for its wake test, tested, and takes machines again. */
import { describe, expect, it } from "vitest";
import { modify } from "../../client/client.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { until } from "../../compute/testing/control-plane.ts";
import { openEstate } from "../../compute/testing/estate.ts";
import { runPowerReconciler } from "../../power/reconciler.ts";
import { PretendBmc } from "../../power/testing/pretend-bmc.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { Event } from "../../reconcile/kinds.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { setCondition } from "../../resource/object.ts";
import type { MachineView } from "../estate/estate.ts";
import { viewHost } from "../estate/estate.ts";
import { runPlanExecutor } from "../execution/executor.ts";
import type { Policy } from "../kinds.ts";
import { explain } from "../planning/explain.ts";
import { Plan } from "../planning/kinds.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import { runPlanner } from "../planning/planner.ts";
import { hostView } from "../testing/views.ts";
import { wakeTestsOf } from "./wake-tests.ts";

describe("plans of a host that is emptied for its wake test", () => {
  const NOW = Date.parse("2026-01-01T12:00:00Z");
  const machine = (name: string, on: string, more: Partial<MachineView> = {}): MachineView => ({
    ...{ key: `default/${name}`, namespace: "default", name, labels: {}, host: on },
    ...{ cpus: 2, memoryBytes: 2 ** 30, movable: true, since: 0, ...more },
  });
  const policy = (spec: Partial<Policy["spec"]>): Policy => ({
    apiVersion: "vireo.dev/v2",
    kind: "Policy",
    metadata: { name: "web", namespace: "default" },
    spec: { selector: {}, automation: "act", priority: 0, ...spec },
  });
  const emptied = hostView("a", { closed: "it is emptied for its wake test", emptied: true });
  const estate = (machines: MachineView[], policies: Policy[] = []) => ({
    hosts: [emptied, hostView("b"), hostView("c")],
    machines,
    policies,
    odd: [],
    now: NOW,
  });
  const two = [machine("m", "a"), machine("n", "a")];
  const moves = (...of: Parameters<typeof estate>) =>
    planMoves(estate(...of), { ...PLAN_DEFAULTS, now: NOW, released: new Set() });

  it("move its machines, and say why", () => {
    const made = moves([...two, machine("o", "b")]);
    expect(made.map(({ vm, from }) => `${vm} ${from}`).sort()).toEqual(["m a", "n a"]);
    expect(made[0]?.reason).toBe("a is emptied for its wake test");
    expect(made.some(({ to }) => to === "a")).toBe(false);
    const told = explain(estate(two), "default/m");
    expect(told?.hosts.find(({ name }) => name === "a")?.verdict).toBe(
      "to be left: it is emptied for its wake test",
    );
  });

  it("leave those for whom limits, stay times or the load of others speak against it", () => {
    expect(moves(two, [policy({ moves: { quiet: [{ hours: "11:00-13:00" }] } })])).toEqual([]);
    expect(moves(two, [policy({ moves: { perHour: 1 } })])).toHaveLength(1);
    expect(moves(two, [policy({ automation: "advise" })])).toEqual([]);
    const lately = two.map((each) => ({ ...each, since: NOW - 60_000 }));
    expect(moves(lately)).toEqual([]);
    const busy = { cpus: 4, expected: 3, deviation: 0 };
    const others = ["b", "c"].map((on) => machine(`on-${on}`, on, { use: busy }));
    expect(moves([...two.map((each) => ({ ...each, use: { ...busy, expected: 1 } })), ...others])).toEqual(
      [],
    );
  });
});

it("the host is emptied by a plan, tested, and open again", { timeout: 60_000 }, async () => {
  const estate = await openEstate();
  const stop = new AbortController();
  const running: Promise<unknown>[] = [];
  const { client } = estate;
  try {
    for (const name of ["a", "b"]) await estate.hostFacts(name);
    await estate.runMachine("web", "a");
    const agent = async (startedTime: string) =>
      modify(client, Host, { name: "a" }, "status", (now) => ({
        ...now,
        status: {
          ...now.status,
          agent: { startedTime, version: "1" },
          conditions: setCondition(
            now.status?.conditions,
            { type: "Ready", status: "True", reason: "Test", message: "played" },
            startedTime,
          ),
        },
      }));
    await agent("2026-01-01T00:00:00Z");
    // It has been there for an hour.
    const clock = { ...systemClock, now: () => new Date(Date.now() + 3_600_000) };
    const context = { client, clock, log: silentLogger, signal: stop.signal };
    const bmc = new PretendBmc("On");
    await client.patch(
      Host,
      { name: "a" },
      {
        spec: {
          bmc: { ipmi: { address: "10.0.0.1" }, credentials: { name: "bmc-a" } },
          powerManagement: { wakeTest: { everyDays: 7 } },
        },
      },
    );
    running.push(
      runPowerReconciler({
        ...context,
        ...{ secretOf: async () => undefined, bootId: "elsewhere", open: async () => bmc },
        wakeTestWaits: wakeTestsOf({ ...context, bootId: "elsewhere" }),
        intervals: { busyMs: 20, idleMs: 50, emptyingMs: 50 },
      }),
    );
    const host = () => client.get(Host, { name: "a" });
    await until("it is being emptied", async () => (await host())?.status?.power?.emptying);
    const found = await host();
    expect(found && viewHost(found)).toMatchObject({
      emptied: true,
      closed: "it is emptied for its wake test",
    });
    running.push(runPlanner(context), runPlanExecutor(context));
    const plan = await until("the plan", async () => (await client.list(Plan)).items[0]);
    expect(plan.spec.moves).toMatchObject([
      { vm: "web", from: "a", to: "b", reason: "a is emptied for its wake test" },
    ]);
    // The agents' part.
    await estate.instance("web-2", (i) => i.spec.incoming === true);
    await estate.report("web-2", {
      phase: "Incoming",
      custody: "None",
      incomingAddress: "tcp:10.0.0.2:4444",
    });
    await estate.instance("web-1", (i) => i.spec.migrateTo !== undefined);
    expect(bmc.pressed).toEqual([]);
    await estate.report("web-1", {
      phase: "HandedOver",
      custody: "Released",
      migration: { to: "web-2", phase: "Completed", downtimeMs: 42 },
    });
    await estate.report("web-2", { custody: "Held", phase: "Running" });
    await until("it was off, and on", async () => bmc.pressed.includes("on") || undefined);
    await agent("2026-01-01T01:00:00Z");
    const after = await until("it has passed", async () => {
      const now = await host();
      return now?.status?.power?.lastWakeTest?.passed ? now : undefined;
    });
    expect(after.status?.power?.emptying).toBeUndefined();
    expect(viewHost(after)?.closed).toBeUndefined();
    await until("it is told", async () => {
      const reasons = (await client.list(Event)).items.map(({ spec }) => spec.reason);
      return (
        ["Emptying", "WakeTestBegun", "WakeTestPassed"].every((each) => reasons.includes(each)) || undefined
      );
    });
  } finally {
    stop.abort();
    await Promise.all(running);
    await estate.close();
  }
});
