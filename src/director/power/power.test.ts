/** Hosts switched off and on by PowerPolicies: the decision by itself, and with the real reconcilers over pretend BMCs, killed after each write. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Client, modify } from "../../client/client.ts";
import { through } from "../../client/testing/overriding.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../../compute/testing/control-plane.ts";
import { declaredFacts } from "../../compute/testing/estate.ts";
import { PowerPolicy } from "../../power/policies/kinds.ts";
import { runPowerReconciler } from "../../power/reconciler.ts";
import { PretendBmc } from "../../power/testing/pretend-bmc.ts";
import { Event } from "../../reconcile/kinds.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { SteppedClock } from "../../reconcile/testing/stepped-clock.ts";
import { getCondition, setCondition } from "../../resource/object.ts";
import { Plan } from "../planning/kinds.ts";
import { runScheduler } from "../planning/scheduler.ts";
import { readPower, runHostPower } from "./power-reconciler.ts";

const NAMES = ["a", "b", "c"];
const MINUTE = 60_000;

let plane: TestControlPlane;
let clock: SteppedClock;
let bmcs: Map<string, PretendBmc>;
let stop: AbortController;
let running: Promise<unknown>;
let boots: number;
/** Writes that may still be made before all reconcilers are killed. */
let budget: number;

/** Ends for its users after so many writes: each is whole, or never was. */
function mortal(client: Client): Client {
  return through(client, async (call, method) => {
    if (method === "get" || method === "list") return call();
    if (stop.signal.aborted) throw new Error("killed");
    const done = await call();
    if (--budget === 0) stop.abort();
    return done;
  });
}

function start(): void {
  stop = new AbortController();
  const context = { client: mortal(plane.client), clock, log: silentLogger, signal: stop.signal };
  running = Promise.all([
    runPowerReconciler({
      ...context,
      secretOf: async () => undefined,
      bootId: "elsewhere",
      open: async ({ ipmi }) => bmcs.get(ipmi?.address ?? "") as PretendBmc,
    }),
    runHostPower({ ...context, bootId: "elsewhere" }),
    runScheduler(context),
  ]);
}
const host = async (name: string) => (await plane.client.get(Host, { name })) as Host;

/** The agents' part: one of a host that is on and was off has started anew, and is heard from. */
async function playAgents(): Promise<void> {
  for (const name of NAMES) {
    const on = bmcs.get(name)?.power === "On";
    await modify(plane.client, Host, { name }, "status", (now) => {
      const ready = getCondition(now.status?.conditions, "Ready")?.status === "True";
      if (ready === on) return undefined;
      const condition = {
        type: "Ready",
        status: on ? "True" : "Unknown",
        reason: "Test",
        message: "played",
      } as const;
      return {
        ...now,
        status: {
          ...now.status,
          facts: declaredFacts(name, { power: { idleWatts: 50, maxWatts: 100 } }),
          capacity: { cpus: 4, memory: "1Gi" },
          ...(on ? { agent: { version: "1", startedTime: `start ${boots++}` } } : {}),
          conditions: setCondition(now.status?.conditions, condition, clock.now().toISOString()),
        },
      };
    });
  }
}
/** Time goes on; what was killed is started again. */
async function pass(minutes: number, stepMs = 15_000): Promise<void> {
  for (let i = 0; i < (minutes * MINUTE) / stepMs; i++) {
    await clock.step(stepMs);
    await playAgents();
    if (!stop.signal.aborted) continue;
    await running;
    start();
  }
}
async function machine(name: string, memory: string, on?: string): Promise<void> {
  const vm = await plane.client.create(VirtualMachine, {
    metadata: { name, namespace: "default" },
    spec: { image: "web", memory },
  });
  await plane.client.patch(
    VirtualMachine,
    { name, namespace: "default" },
    { status: { sequence: 1 } },
    { subresource: "status" },
  );
  await plane.client.create(Instance, {
    metadata: { name: `${name}-1`, namespace: "default" },
    spec: {
      vm: name,
      vmUid: vm.metadata.uid ?? "",
      ...(on ? { host: on } : {}),
      running: true,
      image: "web",
      memory,
      cpus: 1,
      storagePool: "default",
      interfaces: [],
    },
  });
}
const hostOf = async (name: string) =>
  (await plane.client.get(Instance, { name: `${name}-1`, namespace: "default" }))?.spec.host;
const policy = (spec: Partial<PowerPolicy["spec"]> = {}) =>
  plane.client.create(PowerPolicy, {
    metadata: { name: "frugal" },
    spec: { selector: {}, automation: "act", minOnMinutes: 0, ...spec },
  });
const isOn = () => NAMES.filter((name) => bmcs.get(name)?.power === "On");
const reasons = async (name: string) =>
  (await plane.client.list(Event)).items
    .filter(({ spec }) => spec.about.name === name)
    .map(({ spec }) => spec.reason);

beforeEach(async () => {
  plane = await openControlPlane();
  clock = new SteppedClock(() => plane.idle());
  boots = 0;
  budget = Number.POSITIVE_INFINITY;
  bmcs = new Map(NAMES.map((name) => [name, new PretendBmc("On")]));
  await plane.client.create(StoragePool, {
    metadata: { name: "default" },
    spec: { directory: { path: "/pool", shared: true } },
  });
  for (const name of NAMES) {
    await plane.client.create(Host, {
      metadata: { name },
      spec: { bmc: { ipmi: { address: name }, credentials: { name: "bmc" } } },
    });
    const lastWakeTest = { startedTime: "2025", finishedTime: "2025", passed: true, message: "played" };
    await plane.client.patch(
      Host,
      { name },
      { status: { power: { state: "On", since: "2025-01-01T00:00:00Z", lastWakeTest } } },
      { subresource: "status" },
    );
  }
  await playAgents();
  start();
});
afterEach(async () => {
  stop.abort();
  await running;
  await plane.close();
});

describe("PowerPolicy", () => {
  it("switches off what is not needed, keeps the spare host, and wakes one for a machine that finds no place", async () => {
    await machine("one", "600Mi", "a");
    await policy();
    await pass(5);
    // Of b and c one would do for a's machine.
    expect(isOn()).toHaveLength(2);
    const asleep = NAMES.find((name) => bmcs.get(name)?.power === "Off") ?? "?";
    expect(isOn()).toContain("a");
    expect((await host(asleep)).status?.power?.automatic).toMatchObject({
      power: "Off",
      policy: "frugal",
      reason:
        "it is empty and not needed: without it all machines find room also when any host that is on is lost",
      predicted: { watts: -50, seconds: 1800 },
    });
    expect(await reasons(asleep)).toEqual(
      expect.arrayContaining(["PowerOffWanted", "SwitchingOff", "SwitchedOff"]),
    );
    await pass(60);
    expect(isOn()).toHaveLength(2);
    const frugal = await plane.client.get(PowerPolicy, { name: "frugal" });
    expect(frugal?.status).toMatchObject({ hosts: 3, on: 2, off: 1 });
    expect(getCondition(frugal?.status?.conditions, "SpareKept")).toMatchObject({ status: "True" });

    // It takes the spare host, so that another has to be spare.
    await machine("two", "600Mi");
    await pass(5);
    expect(await hostOf("two")).toBe(isOn().find((name) => name !== "a" && name !== asleep));
    expect(isOn()).toEqual(NAMES);
    const { power } = (await host(asleep)).status ?? {};
    expect(power?.boots).toHaveLength(1);
    expect(power?.past).toMatchObject([
      {
        power: "Off",
        succeeded: true,
        message: expect.stringMatching(/^it was off for \d+ minutes, \d+ Wh less by its idle watts$/),
      },
      {
        power: "On",
        succeeded: true,
        predictedSeconds: 600,
        message: expect.stringMatching(
          /^its agent was heard from \d+ s after it was switched on \(predicted: 600 s\)$/,
        ),
      },
    ]);
    expect(await reasons(asleep)).toEqual(
      expect.arrayContaining(["PowerOnWanted", "SwitchingOn", "SwitchedOn", "Woken"]),
    );
    // And a third has no place but on the host that has just come.
    await machine("three", "600Mi");
    await pass(3);
    expect(await hostOf("three")).toBe(asleep);
    expect(
      getCondition(
        (await plane.client.get(PowerPolicy, { name: "frugal" }))?.status?.conditions,
        "SpareKept",
      ),
    ).toMatchObject({
      status: "False",
      message: expect.stringMatching(/^the loss of host a is not survived: one finds no room elsewhere$/),
    });
  });

  it("only advises by default, and what it switched off comes on again when it no longer acts", async () => {
    await plane.client.create(PowerPolicy, {
      metadata: { name: "frugal" },
      spec: { selector: {}, minOnMinutes: 0 },
    });
    await pass(3);
    expect(isOn()).toEqual(NAMES);
    expect((await plane.client.get(PowerPolicy, { name: "frugal" }))?.status?.advised).toMatchObject([
      { host: "a", power: "Off" },
    ]);
    expect(await reasons("a")).toContain("PowerOffAdvised");
    await plane.client.patch(PowerPolicy, { name: "frugal" }, { spec: { automation: "act" } });
    await pass(10);
    expect(isOn()).toHaveLength(1);
    await plane.client.delete(PowerPolicy, { name: "frugal" });
    await pass(5);
    expect(isOn()).toEqual(NAMES);
  });

  it("leaves alone what has passed no wake test, what users say something about, and what came on lately", async () => {
    await plane.client.patch(
      Host,
      { name: "a" },
      { status: { power: { lastWakeTest: null } } },
      { subresource: "status" },
    );
    await plane.client.patch(Host, { name: "b" }, { spec: { power: "On" } });
    await plane.client.patch(Host, { name: "c" }, { spec: { unschedulable: true } });
    await policy({ spareHosts: 0 });
    await pass(5);
    expect(isOn()).toEqual(NAMES);
    await plane.client.patch(Host, { name: "b" }, { spec: { power: null } });
    await plane.client.patch(Host, { name: "c" }, { spec: { unschedulable: null } });
    await pass(5);
    expect(isOn()).toEqual(["a"]);
    // A user's word goes first; once it is taken back the host has come on lately.
    await plane.client.patch(PowerPolicy, { name: "frugal" }, { spec: { minOnMinutes: 60 } });
    await plane.client.patch(Host, { name: "b" }, { spec: { power: "On" } });
    await pass(5);
    expect((await host("b")).status?.power?.automatic).toBeUndefined();
    await plane.client.patch(Host, { name: "b" }, { spec: { power: null } });
    await pass(10);
    expect(isOn()).toEqual(["a", "b"]);
    await pass(60);
    expect(isOn()).toEqual(["a"]);
  });

  it.each([undefined, "Held" as const])(
    "leaves one on that an approved plan (%s) moves machines to, and one that was closed before it was shut down",
    async (phase) => {
      await plane.client.create(Plan, {
        metadata: { name: "asked" },
        spec: {
          automation: "ask",
          approval: "Approved",
          trigger: "Manual",
          moves: [
            { namespace: "default", vm: "one", from: "a", to: "c", reason: "played", expected: "nothing" },
          ],
        },
      });
      if (phase)
        await plane.client.patch(Plan, { name: "asked" }, { status: { phase } }, { subresource: "status" });
      await plane.client.patch(Host, { name: "b" }, { spec: { unschedulable: true } });
      const since = clock.now().toISOString();
      const automatic = { power: "Off", since, policy: "frugal", reason: "it is empty" };
      await plane.client.patch(
        Host,
        { name: "b" },
        { status: { power: { automatic } } },
        { subresource: "status" },
      );
      await policy({ spareHosts: 0 });
      await pass(5);
      expect(isOn()).toEqual(["b", "c"]);
      expect(bmcs.get("b")?.pressed).toEqual([]);
      expect((await host("b")).status?.power?.automatic).toBeUndefined();
    },
  );

  it("is to be on for moves that are made or may be yet, of a plan that is being stopped, too", async () => {
    const move = { namespace: "default", from: "a", reason: "played", expected: "nothing" };
    await plane.client.create(Plan, {
      metadata: { name: "stopped" },
      spec: {
        automation: "act",
        approval: "Rejected",
        trigger: "played",
        moves: [
          { ...move, vm: "one", to: "b" },
          { ...move, vm: "two", to: "c" },
        ],
      },
    });
    const status: Plan["status"] = {
      phase: "Running",
      moves: [{ phase: "Succeeded" }, { phase: "Running" }],
    };
    await plane.client.patch(Plan, { name: "stopped" }, { status }, { subresource: "status" });
    expect([...(await readPower({ client: plane.client, clock })).expected]).toEqual(["c"]);
  });

  it("is on before the machines of every morning come, from what was stored, too", async () => {
    await machine("night", "200Mi", "a");
    await policy({ spareHosts: 0, minOffMinutes: 10, bootSeconds: 300 });
    await pass(10);
    expect(isOn()).toEqual(["a"]);
    const frugal = async () => (await plane.client.get(PowerPolicy, { name: "frugal" }))?.status;
    await pass(55, MINUTE);
    expect((await frugal())?.demand?.memoryMiB.filter((each) => each >= 0)).toEqual([200]);
    // As if yesterday machines of 1.2 GiB had run from eight o'clock on.
    const memoryMiB = Array.from({ length: 168 }, (_, slot) =>
      slot % 24 >= 8 && slot % 24 < 18 ? 1200 : 200,
    );
    stop.abort();
    await running;
    await plane.client.patch(
      PowerPolicy,
      { name: "frugal" },
      { status: { demand: { cpus: memoryMiB.map(() => 1), memoryMiB, hour: 0 } } },
      { subresource: "status" },
    );
    start();
    const until = async (hour: number) => {
      while (clock.now().getUTCHours() * 60 + clock.now().getUTCMinutes() < hour * 60) await pass(1, MINUTE);
    };
    await until(7.7);
    expect(isOn()).toEqual(["a"]);
    await until(8);
    expect(isOn()).toHaveLength(2);
    const woken = isOn().find((name) => name !== "a") ?? "?";
    expect((await host(woken)).status?.power?.automatic?.reason).toBe(
      "by 2026-01-01T08:00:00.000Z machines usually have 1.2 GiB memory, those that are on have 1.0 GiB",
    );
    await until(17.5);
    expect(isOn()).toHaveLength(2);
    await until(18.3);
    expect(isOn()).toEqual(["a"]);
  });

  it("a host that does not go off is told and left for a day; one that does not wake is never switched off again", async () => {
    for (const bmc of bmcs.values()) bmc.heeds = false;
    await policy();
    await pass(10);
    expect(isOn()).toEqual(NAMES);
    const deaf = NAMES.filter((name) => bmcs.get(name)?.pressed.includes("shutDown"));
    const [first = "?"] = deaf;
    expect((await host(first)).status?.power?.past).toMatchObject([{ power: "Off", succeeded: false }]);
    await pass(60);
    for (const name of deaf) expect(bmcs.get(name)?.pressed).toEqual(["shutDown"]);
    for (const bmc of bmcs.values()) {
      bmc.heeds = true;
      bmc.comesOn = false;
    }
    await clock.step(24 * 60 * MINUTE);
    await pass(10);
    expect(isOn()).toHaveLength(1);
    for (const name of ["one", "two"]) await machine(name, "900Mi");
    await pass(40);
    const woken = NAMES.filter((name) => bmcs.get(name)?.pressed.includes("on"));
    expect(woken.length).toBeGreaterThan(0);
    for (const name of woken)
      expect(getCondition((await host(name)).status?.conditions, "WakeTestFailed")).toMatchObject({
        status: "True",
      });
    for (const bmc of bmcs.values()) bmc.comesOn = true;
    await pass(40);
    expect(isOn().length).toBeGreaterThan(1);
    expect(await hostOf("one")).toBeDefined();
    expect(await hostOf("two")).toBeDefined();
    const pressed = woken.map((name) => bmcs.get(name)?.pressed.length);
    for (const name of ["one-1", "two-1"])
      await plane.client.patch(
        Instance,
        { name, namespace: "default" },
        { status: { custody: "Released" } },
        { subresource: "status" },
      );
    await pass(40);
    expect(woken.map((name) => bmcs.get(name)?.pressed.length)).toEqual(pressed);
  });

  it("killed after any write, goes on from what is stored: no machine loses its host, and the end is the same", async () => {
    await policy({ spareHosts: 0, minOffMinutes: 0 });
    let writes = 0;
    for (let at = 1; at <= 12; at++) {
      budget = at;
      await pass(4);
      if (budget <= 0) writes = at;
      expect(isOn()).toHaveLength(1);
      budget = at;
      // One that is given its host at the same moment as that is to go off.
      await machine(`m${at}`, "900Mi");
      await machine(`n${at}`, "900Mi");
      await pass(5);
      const hosts = [await hostOf(`m${at}`), await hostOf(`n${at}`)];
      for (const name of hosts) expect(bmcs.get(name ?? "?")?.power).toBe("On");
      expect(new Set(hosts).size).toBe(2);
      for (const name of [`m${at}-1`, `n${at}-1`])
        await plane.client.patch(
          Instance,
          { name, namespace: "default" },
          { status: { custody: "Released" } },
          { subresource: "status" },
        );
      if (budget <= 0) writes = at;
    }
    // It was really killed there.
    expect(writes).toBeGreaterThan(5);
  });
});
