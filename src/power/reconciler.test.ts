/** The power reconciler over a pretend BMC and the real store: machines are never switched off under, whoever is late. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Client, modify } from "../client/client.ts";
import { overriding } from "../client/testing/overriding.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../compute/kinds.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { announceControlPlane } from "../reconcile/control-planes.ts";
import { Informer } from "../reconcile/informer.ts";
import { Event } from "../reconcile/kinds.ts";
import { silentLogger } from "../reconcile/log.ts";
import { SteppedClock } from "../reconcile/testing/stepped-clock.ts";
import { getCondition, setCondition } from "../resource/object.ts";
import { isEmptied, POWER_AS_ASKED, WAKE_TEST_DUE, WAKE_TEST_FAILED } from "./kinds.ts";
import { runPowerReconciler } from "./reconciler.ts";
import { PretendBmc } from "./testing/pretend-bmc.ts";

let plane: TestControlPlane;
let clock: SteppedClock;
let bmc: PretendBmc;
let stop: AbortController;
let running: Promise<void>;
/** What the director has a wake test wait for. */
let waits: string | undefined;

const start = ({
  bootId = "the control plane's",
  client = plane.client,
}: {
  bootId?: string;
  client?: Client;
} = {}) => {
  stop = new AbortController();
  running = runPowerReconciler({
    client,
    clock,
    log: silentLogger,
    signal: stop.signal,
    secretOf: async () => undefined,
    bootId,
    open: async () => bmc,
    wakeTestWaits: async () => waits,
  });
};
const restart = async (bootId?: string) => {
  stop.abort();
  await running;
  start(bootId === undefined ? {} : { bootId });
};
const host = async () => {
  const found = await plane.client.get(Host, { name: "a" });
  if (!found) throw new Error("no host");
  return found;
};
const standing = async () => getCondition((await host()).status?.conditions, POWER_AS_ASKED);
const ask = async (spec: object) => {
  await plane.client.patch(Host, { name: "a" }, { spec });
  await clock.step(5000);
};
const reasons = async () => (await plane.client.list(Event)).items.map(({ spec }) => spec.reason);

/** A run on the host that has its machine's disks. */
async function runOn(bound: string, name = "web"): Promise<void> {
  const vm = await plane.client.create(VirtualMachine, {
    metadata: { name, namespace: "default" },
    spec: { image: "web", memory: "64Mi" },
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
      host: bound,
      running: true,
      image: "web",
      memory: "64Mi",
      cpus: 1,
      storagePool: "default",
      interfaces: [],
    },
  });
}
const at = { name: "web-1", namespace: "default" };

beforeEach(async () => {
  plane = await openControlPlane();
  clock = new SteppedClock(() => plane.idle());
  bmc = new PretendBmc("On");
  waits = undefined;
  await plane.client.create(StoragePool, {
    metadata: { name: "default" },
    spec: { directory: { path: "/pool", shared: true } },
  });
  await plane.client.create(Host, {
    metadata: { name: "a" },
    spec: { bmc: { ipmi: { address: "10.0.0.1" }, credentials: { name: "bmc-a" } } },
  });
  start();
  await clock.step(5000);
});
afterEach(async () => {
  stop.abort();
  await running;
  await plane.close();
});

describe("power reconciler", () => {
  it("waits for the machines to be gone, also for one whose host is silent, and lets no other come meanwhile", async () => {
    await runOn("a");
    for (const status of [undefined, { phase: "Running", custody: "Held" }]) {
      if (status) await plane.client.patch(Instance, at, { status }, { subresource: "status" });
      await ask({ power: "ForceOff", unschedulable: true, rack: status ? "r1" : "r2" });
      await clock.step(60_000);
      expect(bmc.pressed).toEqual([]);
      expect(await standing()).toMatchObject({
        status: "False",
        reason: "MachinesThere",
        message:
          "waits to be switched off: machines are on it: default/web-1; vireo drain a moves them elsewhere",
      });
    }
    await plane.client.patch(Instance, at, { status: { custody: "Released" } }, { subresource: "status" });
    await clock.step(15_000);
    expect(bmc.pressed).toEqual(["cut"]);
    expect(await standing()).toMatchObject({ status: "True", reason: "AsAsked" });
    expect(await reasons()).toEqual(expect.arrayContaining(["SwitchingOff", "SwitchedOff"]));
  });

  it("no run is bound to a host that is to be switched off, by whomever", async () => {
    bmc.heeds = false;
    await ask({ power: "Off", unschedulable: true });
    expect(bmc.pressed).toEqual(["shutDown"]);
    await expect(runOn("a")).rejects.toThrow("host a takes no machines: it is being switched off");
    // Asked back: its system may go down at any moment all the same.
    await ask({ power: "On", unschedulable: false });
    expect((await host()).status?.power?.task?.kind).toBe("Off");
    await expect(
      plane.client.create(VirtualMachine, {
        metadata: { name: "other", namespace: "default" },
        spec: { image: "web", memory: "64Mi" },
      }),
    ).resolves.toBeDefined();
    await clock.step(310_000);
    expect((await host()).status?.power).toMatchObject({
      state: "On",
      lastTask: { kind: "Off", succeeded: false },
    });
    expect((await host()).status?.power?.task).toBeUndefined();
    expect(await standing()).toMatchObject({ status: "True", reason: "AsAsked" });
  });

  it("a shutdown that does not come is told and left; On is tried again", async () => {
    bmc.heeds = false;
    await ask({ power: "Off", unschedulable: true });
    await clock.step(3_600_000);
    expect(bmc.pressed).toEqual(["shutDown"]);
    expect(await standing()).toMatchObject({ status: "False", reason: "TimedOut" });
    expect(await reasons()).toContain("SwitchOffFailed");
    await ask({ power: "ForceOff" });
    expect(bmc.pressed).toEqual(["shutDown", "cut"]);
    bmc.comesOn = false;
    await ask({ power: "On" });
    await clock.step(100_000);
    expect(await standing()).toMatchObject({ status: "False", reason: "TimedOut" });
    bmc.comesOn = true;
    await clock.step(600_000);
    expect(await standing()).toMatchObject({ status: "True", reason: "AsAsked" });
    expect(bmc.pressed).toEqual(["shutDown", "cut", "on", "on"]);
  });

  it("gives a host that is woken by Wake-on-LAN the time to boot, sends the packet again meanwhile, and tells what to look at when it does not come", async () => {
    const booted = "2026-01-01T00:00:00Z";
    const told = async (ready: "True" | "Unknown", startedTime = booted) => {
      await modify(plane.client, Host, { name: "a" }, "status", (h) => ({
        ...h,
        status: {
          ...h.status,
          agent: { version: "1", startedTime },
          parting: { agent: booted, task: booted, time: booted },
          conditions: setCondition(
            h.status?.conditions,
            { type: "Ready", status: ready, reason: "Test", message: "played" },
            clock.now().toISOString(),
          ),
        },
      }));
      await clock.step(5000);
    };
    await ask({
      bmc: { wakeOnLan: { mac: "02:00:00:00:00:0a", address: "10.0.0.255" }, ipmi: null, credentials: null },
    });
    await told("Unknown");
    await ask({ power: "On" });
    await clock.step(400_000);
    expect(await standing()).toMatchObject({ reason: "SwitchingOn" });
    expect(bmc.pressed.length).toBeGreaterThanOrEqual(6);
    expect(new Set(bmc.pressed)).toEqual(new Set(["on"]));
    await told("True", clock.now().toISOString());
    expect(await standing()).toMatchObject({ status: "True", reason: "AsAsked" });
    expect((await host()).status?.power?.lastTask?.message).toMatch(/^is switched on, 4\d\d s after/);
    await ask({ power: null });
    await told("Unknown");
    await ask({ power: "On" });
    await clock.step(920_000);
    expect(await standing()).toMatchObject({
      status: "False",
      reason: "TimedOut",
      message: expect.stringContaining(
        "its agent was not heard from within 900 s; see whether spec.bmc.wakeOnLan.mac",
      ),
    });
  });

  it("goes on after a control plane that was killed before, or after, it pressed", async () => {
    bmc.heeds = false;
    await ask({ power: "Off", unschedulable: true });
    const { startedTime } = (await host()).status?.power?.task ?? {};
    await restart();
    await clock.step(5000);
    // Asked once more: its system may not have heard. The time runs on from the first.
    expect(bmc.pressed).toEqual(["shutDown", "shutDown"]);
    expect((await host()).status?.power?.task?.startedTime).toBe(startedTime);
    bmc.power = "Off";
    await clock.step(5000);
    expect(await standing()).toMatchObject({ status: "True", reason: "AsAsked" });
  });

  it("does nothing unasked, tells what it sees, and keeps silence apart from off", async () => {
    expect((await host()).status?.power).toMatchObject({ state: "On" });
    bmc.power = "Off";
    await clock.step(130_000);
    expect((await host()).status?.power).toMatchObject({ state: "Off" });
    bmc.broken = "the BMC at 10.0.0.1 does not answer";
    await clock.step(130_000);
    expect((await host()).status?.power).toMatchObject({ state: "Unknown", reason: bmc.broken });
    await ask({ power: "Off", unschedulable: true });
    expect(await standing()).toMatchObject({ status: "Unknown", reason: "BmcFailed", message: bmc.broken });
    expect(bmc.pressed).toEqual([]);
    expect(await reasons()).toEqual(expect.arrayContaining(["SwitchedOff", "PowerUnknown"]));
    await ask({ power: null, bmc: null });
    expect((await host()).status?.power).toBeUndefined();
    expect(await standing()).toBeUndefined();
  });

  describe("wake test", () => {
    let boots = 0;
    /** The agent's part: it has started, and is heard from, or not. */
    const agent = async (status: "True" | "Unknown") => {
      await modify(plane.client, Host, { name: "a" }, "status", (now) => ({
        ...now,
        status: {
          ...now.status,
          ...(status === "True" ? { agent: { version: "1", startedTime: `start ${boots++}` } } : {}),
          conditions: setCondition(
            now.status?.conditions,
            { type: "Ready", status, reason: "Test", message: "played" },
            clock.now().toISOString(),
          ),
        },
      }));
      await clock.step(5000);
    };
    const lastTest = async () => (await host()).status?.power?.lastWakeTest;
    const DAY = 86_400_000;
    const wakeTest = { everyDays: 7, bootSeconds: 600 };

    it("passes when its agent, started anew, is heard from; the next is due after its days", async () => {
      await agent("True");
      await ask({ powerManagement: { wakeTest } });
      expect(bmc.pressed).toEqual(["shutDown", "on"]);
      // Ready is old news: the heartbeat of the agent from before.
      await clock.step(20_000);
      expect((await host()).status?.power?.task).toMatchObject({ kind: "WakeTest" });
      await expect(runOn("a")).rejects.toThrow("host a takes no machines: it is being switched off");
      await restart();
      await clock.step(5000);
      await agent("True");
      expect(await lastTest()).toMatchObject({
        passed: true,
        message: expect.stringMatching(/it woke in \d+ s/),
      });
      expect(await reasons()).toEqual(expect.arrayContaining(["WakeTestBegun", "WakeTestPassed"]));
      expect(getCondition((await host()).status?.conditions, WAKE_TEST_FAILED)).toMatchObject({
        status: "False",
      });
      await clock.step(DAY / 24);
      expect(bmc.pressed).toEqual(["shutDown", "on"]);
    });

    it("is for empty hosts that are heard from, and asked for", async () => {
      await agent("Unknown");
      await ask({ powerManagement: { wakeTest } });
      expect(bmc.pressed).toEqual([]);
      await agent("True");
      expect(bmc.pressed).toEqual(["shutDown", "on"]);
    });

    it("is not for a host that another control plane runs on, nor is that switched off for a PowerPolicy", async () => {
      const said = new AbortController();
      const { client } = plane;
      const bootId = FACTS.bootId;
      const saying = announceControlPlane({
        client,
        clock,
        log: silentLogger,
        signal: said.signal,
        bootId,
      });
      await plane.client.patch(Host, { name: "a" }, { status: { facts: FACTS } }, { subresource: "status" });
      await agent("True");
      await ask({ powerManagement: { wakeTest } });
      const automatic = {
        power: "Off",
        since: clock.now().toISOString(),
        policy: "frugal",
        reason: "it is empty",
      };
      await client.patch(
        Host,
        { name: "a" },
        { status: { power: { automatic } } },
        { subresource: "status" },
      );
      await clock.step(300_000);
      expect(await standing()).toMatchObject({ status: "False", reason: "ControlPlane" });
      expect(bmc.pressed).toEqual([]);
      said.abort();
      await saying;
    });

    it("leaves a host alone that a user has closed, until it is open again", async () => {
      await agent("True");
      for (const closed of [{ maintenance: true }, { maintenance: null, unschedulable: true }]) {
        await ask({ powerManagement: { wakeTest }, ...closed });
        await clock.step(300_000);
        expect(bmc.pressed).toEqual([]);
      }
      await ask({ unschedulable: false });
      expect(bmc.pressed).toEqual(["shutDown", "on"]);
    });

    it("waits for machines and for what the director keeps, and tells when it is overdue", async () => {
      await runOn("a");
      await agent("True");
      waits = "because default/web finds no other host";
      await ask({ powerManagement: { wakeTest } });
      await clock.step(300_000);
      expect(bmc.pressed).toEqual([]);
      const due = async () => getCondition((await host()).status?.conditions, WAKE_TEST_DUE);
      const { message = "" } = (await due()) ?? {};
      expect(message).toMatch(
        /^its wake test is due since 2\S+Z, and waits because default\/web finds no other host$/,
      );
      expect(await standing()).toMatchObject({
        status: "True",
        message: `is switched on; nothing else is asked for; ${message}`,
      });
      expect(await due()).toMatchObject({ status: "True", reason: "Due" });
      waits = "for 22:00-06:00 UTC";
      await plane.client.patch(Instance, at, { status: { custody: "Released" } }, { subresource: "status" });
      await clock.step(300_000);
      expect((await due())?.message).toContain(", and waits for 22:00-06:00 UTC");
      expect(await reasons()).not.toContain("WakeTestOverdue");
      await clock.step(7 * DAY);
      expect(await due()).toMatchObject({ status: "True", reason: "Overdue" });
      expect(await reasons()).toContain("WakeTestOverdue");
      expect(bmc.pressed).toEqual([]);
      waits = undefined;
      await clock.step(130_000);
      expect(bmc.pressed).toEqual(["shutDown", "on"]);
      await agent("True");
      expect(await due()).toMatchObject({ status: "False", reason: "NotDue" });
    });

    describe("of a host with machines", () => {
      const due = async () => getCondition((await host()).status?.conditions, WAKE_TEST_DUE)?.message;
      const emptying = async () => (await host()).status?.power?.emptying;
      const leave = () =>
        plane.client.patch(Instance, at, { status: { custody: "Released" } }, { subresource: "status" });
      beforeEach(async () => {
        await runOn("a");
        await agent("True");
        await ask({ powerManagement: { wakeTest } });
      });

      it("has them moved elsewhere, and begins when the last has left", async () => {
        const { startedTime = "" } = (await emptying()) ?? {};
        expect(await due()).toMatch(
          /, and its machines are moved elsewhere for it: default\/web-1 is still there$/,
        );
        await plane.client.create(Host, { metadata: { name: "b" }, spec: {} });
        const vm = { name: "web", namespace: "default" };
        const { metadata, spec } = (await plane.client.get(Instance, at)) ?? {};
        if (!metadata || !spec) throw new Error("no run");
        await expect(
          plane.client.create(Instance, { metadata: { ...vm, name: "web-2" }, spec: { ...spec, host: "a" } }),
        ).rejects.toThrow("host a takes no machines: it is emptied for its wake test");
        await restart();
        await clock.step(300_000);
        expect(bmc.pressed).toEqual([]);
        expect((await emptying())?.startedTime).toBe(startedTime);
        await leave();
        await clock.step(40_000);
        expect(bmc.pressed).toEqual(["shutDown", "on"]);
        expect(await emptying()).toBeUndefined();
        await agent("True");
        expect(await lastTest()).toMatchObject({ passed: true });
        expect(await reasons()).toEqual(
          expect.arrayContaining(["Emptying", "WakeTestBegun", "WakeTestPassed"]),
        );
      });

      it("gives that up when it is needed or too long, and begins anew half a day later", async () => {
        waits = "because without it the loss of host b would not be survived";
        await clock.step(40_000);
        expect(await emptying()).toMatchObject({ endedTime: expect.any(String), message: waits });
        waits = undefined;
        await clock.step(3_600_000);
        expect(await due()).toMatch(
          /waits until 2\S+Z, when it is emptied anew; the last time that was given up: because without it the loss/,
        );
        await clock.step(12 * 3_600_000);
        expect((await emptying())?.endedTime).toBeUndefined();
        await clock.step(2 * 3_600_000);
        expect(await emptying()).toMatchObject({
          message: "because default/web-1 was still there 120 minutes after it began to be emptied",
        });
        expect(await reasons()).toContain("EmptyingGivenUp");
        expect(bmc.pressed).toEqual([]);
        // Empty by itself it is tested at once.
        await leave();
        await clock.step(130_000);
        expect(bmc.pressed).toEqual(["shutDown", "on"]);
      });

      it("stops when a user closes the host, or wants no test, and begins anew at once", async () => {
        await ask({ unschedulable: true });
        expect(await emptying()).toBeUndefined();
        await ask({ unschedulable: false });
        expect(await emptying()).toMatchObject({ startedTime: expect.any(String) });
        await ask({ powerManagement: null });
        expect(await emptying()).toBeUndefined();
        expect(bmc.pressed).toEqual([]);
      });

      it("goes on after its BMC or its agent was not heard from for a while", async () => {
        const { startedTime } = (await emptying()) ?? {};
        bmc.broken = "the BMC at 10.0.0.1 does not answer";
        await clock.step(130_000);
        expect((await host()).status?.power).toMatchObject({ state: "Unknown", emptying: { startedTime } });
        bmc.broken = undefined;
        await clock.step(130_000);
        await agent("Unknown");
        expect(await emptying()).toEqual({ startedTime });
        await agent("True");
        expect(await emptying()).toEqual({ startedTime });
        expect(await due()).toMatch(/its machines are moved elsewhere/);
        // Not for ever: until then it takes no machines.
        await agent("Unknown");
        await clock.step(2 * 3_600_000);
        expect(await emptying()).toBeUndefined();
      });
    });

    describe("of several hosts", () => {
      const names = ["a", "b", "c"];
      const dueOf = async (name: string) =>
        getCondition(
          (await plane.client.get(Host, { name }))?.status?.conditions,
          WAKE_TEST_DUE,
        )?.message?.replace(/.* waits /, "");
      const emptied = async () =>
        (await plane.client.list(Host)).items
          .filter((each) => isEmptied(each))
          .map(({ metadata }) => metadata.name);
      /** All are due from the start, with a machine each. */
      beforeEach(async () => {
        stop.abort();
        await running;
        const { client } = plane;
        for (const name of names) {
          const spec = {
            bmc: { ipmi: { address: "10.0.0.1" }, credentials: { name: "bmc-a" } },
            powerManagement: { wakeTest },
          };
          if (name === "a") await client.patch(Host, { name }, { spec });
          else await client.create(Host, { metadata: { name }, spec });
          await runOn(name, `web-of-${name}`);
          const heard = { type: "Ready", status: "True" as const, reason: "Test", message: "played" };
          const conditions = setCondition([], heard, clock.now().toISOString());
          const status = { agent: { version: "1", startedTime: "start" }, conditions };
          await client.patch(Host, { name }, { status }, { subresource: "status" });
        }
      });

      it("each tells what it waits for itself, and not that others are looked at", async () => {
        const told = new Set<string>();
        const ended = new AbortController();
        const hosts = new Informer(plane.client, Host);
        hosts.onChange((_name, of) => {
          const { message } = getCondition(of?.status?.conditions, WAKE_TEST_DUE) ?? {};
          if (message) told.add(message.replace(/.* waits /, ""));
        });
        const informed = hosts.run(ended.signal);
        await hosts.synced;
        waits = "for 22:00-06:00 UTC";
        start();
        await clock.step(300_000);
        for (const name of names) expect(await dueOf(name)).toBe(waits);
        ended.abort();
        await informed;
        expect([...told]).toEqual([waits]);
      });

      it("one is emptied, also while changes of hosts are heard of late", async () => {
        let hear = () => {};
        const heard = new Promise<void>((resolve) => {
          hear = resolve;
        });
        start({
          client: overriding(plane.client, {
            watch: async function* (...all) {
              await heard;
              yield* plane.client.watch(...all);
            },
          }),
        });
        await clock.step(300_000);
        const first = await emptied();
        hear();
        expect(first).toHaveLength(1);
        await clock.step(300_000);
        expect(await emptied()).toEqual(first);
        const others = names.filter((name) => !first.includes(name));
        for (const name of others) expect(await dueOf(name)).toBe("for that of another host");
      });

      it("of two that are emptied the later gives way, and any to one that is tested", async () => {
        const set = (name: string, power: object) =>
          plane.client.patch(Host, { name }, { status: { power } }, { subresource: "status" });
        const at = (ms: number) => new Date(clock.now().getTime() - ms).toISOString();
        await clock.step(180_000);
        await set("a", { state: "On", since: at(0), emptying: { startedTime: at(60_000) } });
        await set("b", { state: "On", since: at(0), emptying: { startedTime: at(120_000) } });
        start();
        await clock.step(40_000);
        expect(await emptied()).toEqual(["b"]);
        expect(await dueOf("a")).toContain("for that of another host");
        bmc.heeds = false;
        const gone = { name: "web-of-c-1", namespace: "default" };
        const left = { status: { custody: "Released" } };
        await plane.client.patch(Instance, gone, left, { subresource: "status" });
        await set("c", { task: { kind: "WakeTest", startedTime: at(0), generation: 1 } });
        await clock.step(40_000);
        expect(await emptied()).toEqual([]);
      });

      it("one whose agent is silent holds up no other, and gives way to it once it is heard from", async () => {
        const since = clock.now().toISOString();
        const hear = (status: "True" | "Unknown") => {
          const played = { type: "Ready", status, reason: "Test", message: "played" };
          const conditions = setCondition([], played, clock.now().toISOString());
          return plane.client.patch(
            Host,
            { name: "a" },
            { status: { conditions } },
            { subresource: "status" },
          );
        };
        const power = { state: "On", since, emptying: { startedTime: since } };
        await plane.client.patch(Host, { name: "a" }, { status: { power } }, { subresource: "status" });
        await hear("Unknown");
        start();
        await clock.step(300_000);
        const [first, second, ...more] = await emptied();
        expect([first, more]).toEqual(["a", []]);
        expect(second).toMatch(/^[bc]$/);
        await hear("True");
        await clock.step(40_000);
        // The one that began later goes on: it was not silent.
        expect(await emptied()).toEqual([second]);
        expect(await dueOf("a")).toBe("for that of another host");
      });
    });

    it("a host that failed it is tried to be brought back, and never shut down again until somebody says so", async () => {
      await agent("True");
      bmc.comesOn = false;
      await ask({ powerManagement: { wakeTest } });
      await agent("Unknown");
      await clock.step(650_000);
      expect(await lastTest()).toMatchObject({ passed: false, message: "it did not come on within 600 s" });
      expect(getCondition((await host()).status?.conditions, WAKE_TEST_FAILED)).toMatchObject({
        status: "True",
      });
      expect(await reasons()).toContain("WakeTestFailed");
      bmc.comesOn = true;
      await clock.step(700_000);
      expect(bmc.power).toBe("On");
      await agent("True");
      const before = [...bmc.pressed];
      await ask({ power: "Off", unschedulable: true });
      await clock.step(300_000);
      expect(await standing()).toMatchObject({ status: "False", reason: "WakeTestFailed" });
      await ask({ power: null });
      await clock.step(300_000);
      await restart();
      await clock.step(300_000);
      expect(bmc.pressed).toEqual(before);
      // Of another test: not this one.
      await ask({ power: "Off", powerManagement: { acknowledgedWakeTest: "another" } });
      expect(bmc.pressed).toEqual(before);
      const { startedTime } = (await lastTest()) ?? {};
      await ask({ powerManagement: { acknowledgedWakeTest: startedTime } });
      expect(bmc.pressed).toEqual([...before, "shutDown"]);
      expect(getCondition((await host()).status?.conditions, WAKE_TEST_FAILED)).toMatchObject({
        status: "False",
        reason: "Acknowledged",
      });
    });
  });

  it("does not switch off the machine that it runs on itself", async () => {
    await plane.client.patch(Host, { name: "a" }, { status: { facts: FACTS } }, { subresource: "status" });
    await restart("b00t");
    await ask({ power: "ForceOff", unschedulable: true });
    expect(await standing()).toMatchObject({ status: "False", reason: "ControlPlane" });
    expect(bmc.pressed).toEqual([]);
  });

  it("refuses what makes no sense, and says where", async () => {
    const refusal = (spec: object) =>
      plane.client.patch(Host, { name: "a" }, { spec }).then(
        () => "taken",
        (error: Error) => error.message,
      );
    expect(await refusal({ power: "Off" })).toMatch(
      /spec.unschedulable: .*must be true while spec.power is Off/,
    );
    expect(await refusal({ bmc: null, power: "On" })).toMatch(/spec.power: .*spec.bmc does not say/);
    expect(await refusal({ bmc: { credentials: null } })).toMatch(/spec.bmc.credentials: Required/);
    expect(await refusal({ bmc: { ipmi: { address: "-x evil" } } })).toMatch(/spec.bmc.ipmi.address/);
    await refusal({ power: "Off", unschedulable: true });
    expect(await refusal({ unschedulable: false })).toMatch(/spec.unschedulable/);
  });
});

const FACTS = {
  source: "measured",
  cpu: { model: "x", sockets: 1, cores: 1, threads: 1, mhz: 0 },
  memory: { totalBytes: 1, modules: [] },
  disks: [],
  links: [],
  qemu: { version: "7.2", accelerator: "tcg", reason: "x" },
  kernel: "6",
  bootId: "b00t",
};
