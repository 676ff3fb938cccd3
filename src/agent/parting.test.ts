/** A host without a BMC: switched off by its own agent, woken by a packet, over the real power reconciler. */

import { afterEach, beforeEach, expect, it } from "vitest";
import { modify } from "../client/client.ts";
import { overriding } from "../client/testing/overriding.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { declaredFacts } from "../compute/testing/estate.ts";
import { BmcError } from "../power/bmc.ts";
import { POWER_AS_ASKED } from "../power/kinds.ts";
import { runPowerReconciler } from "../power/reconciler.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Informer } from "../reconcile/informer.ts";
import { Event } from "../reconcile/kinds.ts";
import { silentLogger } from "../reconcile/log.ts";
import { SteppedClock } from "../reconcile/testing/stepped-clock.ts";
import { getCondition, setCondition } from "../resource/object.ts";
import { runParting } from "./parting.ts";
import { wakeNeighbours } from "./waking.ts";

let plane: TestControlPlane;
let clock: SteppedClock;
let stop: AbortController;
let running: Promise<unknown>;
let partings: number;
let packets: number;
let unreachable: boolean;
/** The host whose status cannot be written. */
let refused: string | undefined;
let machines: { state: "running" | "ended" }[];

const host = async () => (await plane.client.get(Host, { name: "a" })) as Host;
const ownOf = (name: string) =>
  new Informer(plane.client, Host, { fieldSelector: `metadata.name=${name}`, clock });
const standing = async () => getCondition((await host()).status?.conditions, POWER_AS_ASKED);
const ask = async (spec: object) => {
  await plane.client.patch(Host, { name: "a" }, { spec });
  await clock.step(5000);
};
/** Its heartbeats, and its agent's start. */
const heard = async (status: "True" | "Unknown", startedTime?: string) => {
  await modify(plane.client, Host, { name: "a" }, "status", (now) => ({
    ...now,
    status: {
      ...now.status,
      ...(startedTime ? { agent: { version: "1", startedTime } } : {}),
      conditions: setCondition(
        now.status?.conditions,
        { type: "Ready", status, reason: "Test", message: "played" },
        clock.now().toISOString(),
      ),
    },
  }));
  await clock.step(3000);
};

beforeEach(async () => {
  plane = await openControlPlane();
  clock = new SteppedClock(() => plane.idle());
  stop = new AbortController();
  [partings, packets, machines, unreachable, refused] = [0, 0, [], false, undefined];
  await plane.client.create(Host, {
    metadata: { name: "a" },
    spec: { bmc: { wakeOnLan: { mac: "02:00:00:00:00:0a" } } },
  });
  const own = ownOf("a");
  const context = { client: plane.client, clock, log: silentLogger, signal: stop.signal };
  running = Promise.all([
    runPowerReconciler({
      ...context,
      client: overriding(plane.client, {
        updateStatus: (kind, object) =>
          object.metadata.name === refused
            ? Promise.reject(new Error("the store does not answer"))
            : plane.client.updateStatus(kind, object),
      }),
      secretOf: async () => undefined,
      bootId: "another",
      open: async () => ({
        state: () => Promise.reject(new Error("is not asked")),
        on: async () => {
          if (unreachable) throw new BmcError("ENETUNREACH");
          packets++;
        },
        shutDown: async () => {},
        cut: () => Promise.reject(new Error("cannot")),
      }),
    }),
    runParting({
      ...context,
      host: "a",
      own,
      hypervisor: { list: async () => machines.map((machine) => ({ id: "x", ...machine })) as never },
      powerOff: async () => void partings++,
    }),
    own.run(stop.signal),
  ]);
  await heard("True", "first");
});
afterEach(async () => {
  stop.abort();
  await running;
  await plane.close();
});

it("goes off by its agent, once, and comes on by a packet", async () => {
  await ask({ power: "Off", unschedulable: true });
  expect(partings).toBe(1);
  expect((await host()).status?.parting).toMatchObject({ agent: "first" });
  // It is heard from until it is down.
  expect((await host()).status?.power).toMatchObject({ state: "On", task: { kind: "Off" } });
  await heard("Unknown");
  expect(await standing()).toMatchObject({
    status: "True",
    reason: "AsAsked",
    message: expect.stringMatching(/is switched off/),
  });
  expect((await host()).status?.power?.state).toBe("Off");
  await ask({ power: "On" });
  expect(packets).toBeGreaterThan(0);
  await heard("True", "second");
  expect(await standing()).toMatchObject({ status: "True", reason: "AsAsked" });
  // Silent without a word: not off.
  await heard("Unknown");
  await clock.step(130_000);
  expect((await host()).status?.power).toMatchObject({
    state: "Unknown",
    reason: expect.stringMatching(/^its agent is not heard from, and has not said that it goes off/),
  });
  expect(partings).toBe(1);
});

it("is woken by the agents of hosts in its network, each once for a call, and not again when they start anew", async () => {
  const status = (networks: string[], ready: "True" | "Unknown") => ({
    facts: declaredFacts("x", { networks }),
    conditions: setCondition([], { type: "Ready", status: ready, reason: "Test", message: "" }, "2026"),
  });
  const near = "10.0.9.0/24";
  for (const [name, networks, ready, site] of [
    ["b", [near, "10.1.0.0/16"], "True"],
    ["c", ["10.0.8.0/24"], "True"],
    ["d", [near], "Unknown"],
    ["e", [near], "True", "elsewhere"],
  ] as const) {
    await plane.client.create(Host, { metadata: { name }, spec: site ? { site } : {} });
    await modify(plane.client, Host, { name }, "status", (now) => ({
      ...now,
      status: status([...networks], ready),
    }));
  }
  await modify(plane.client, Host, { name: "a" }, "status", (now) => ({
    ...now,
    status: { ...now.status, facts: declaredFacts("a", { networks: [near] }) },
  }));
  const sent: string[] = [];
  const agentOf = (host: string, signal: AbortSignal) => {
    const own = ownOf(host);
    wakeNeighbours({
      client: plane.client,
      host,
      own,
      log: silentLogger,
      events: new EventRecorder(plane.client, "agent", silentLogger, clock),
      send: async ({ mac, address, port }) => void sent.push(`${host}: ${mac} ${address}:${port}`),
    });
    return own.run(signal);
  };
  const agents = ["b", "c", "e"].map((host) => agentOf(host, stop.signal));
  // What goes off says so; the control plane itself is not in its network.
  unreachable = true;
  await ask({ power: "Off", unschedulable: true });
  await heard("Unknown");
  await ask({ power: "On" });
  const once = ["b: 02:00:00:00:00:0a 10.0.9.255:9"];
  expect(sent).toEqual(once);
  expect(await standing()).toMatchObject({ status: "False", reason: "SwitchingOn" });
  const events = (await plane.client.list(Event)).items.map(({ spec }) => spec.reason);
  expect(events).toEqual(expect.arrayContaining(["WakeAsked", "WakePacketSent"]));
  expect(events).not.toContain("BmcFailed");
  // One that starts anew finds what was asked before.
  const again = new AbortController();
  const anew = agentOf("b", again.signal);
  await clock.step(10_000);
  expect(sent).toEqual(once);
  again.abort();
  await heard("True", "second");
  expect(await standing()).toMatchObject({ status: "True", reason: "AsAsked" });
  // One whose watch was broken hears of it when the host is on, or has been switched off since.
  const late = () =>
    modify(plane.client, Host, { name: "b" }, "status", (now) => ({
      ...now,
      status: {
        ...now.status,
        wakes: (now.status?.wakes ?? []).map((wake) => ({ ...wake, time: clock.now().toISOString() })),
      },
    }));
  await late();
  await clock.step(10_000);
  await ask({ power: "Off" });
  await heard("Unknown");
  expect((await host()).status?.power?.state).toBe("Off");
  await late();
  await clock.step(10_000);
  expect(sent).toEqual(once);
  stop.abort();
  await Promise.all([anew, ...agents]);
});

it("is woken by the other ones when one of its neighbours cannot be asked", async () => {
  const near = "10.0.9.0/24";
  const facts = (name: string) => declaredFacts(name, { networks: [near] });
  for (const name of ["b", "c"]) {
    await plane.client.create(Host, { metadata: { name }, spec: {} });
    const ready = { type: "Ready", status: "True" as const, reason: "Test", message: "" };
    await modify(plane.client, Host, { name }, "status", (now) => ({
      ...now,
      status: { facts: facts(name), conditions: setCondition([], ready, "2026") },
    }));
  }
  await modify(plane.client, Host, { name: "a" }, "status", (now) => ({
    ...now,
    status: { ...now.status, facts: facts("a") },
  }));
  await ask({ power: "Off", unschedulable: true });
  await heard("Unknown");
  refused = "b";
  await ask({ power: "On" });
  expect(packets).toBeGreaterThan(0);
  expect((await plane.client.get(Host, { name: "b" }))?.status?.wakes).toBeUndefined();
  expect((await plane.client.get(Host, { name: "c" }))?.status?.wakes).toMatchObject([{ host: "a" }]);
  const events = (await plane.client.list(Event)).items.filter(({ spec }) => spec.reason === "WakeAsked");
  expect(events.map(({ spec }) => spec.message)).toEqual([expect.stringMatching(/: c \(10.0.9.0\/24\)$/)]);
});

it("stays on while a machine runs there, whatever the store says, and its power cannot be cut", async () => {
  machines = [{ state: "running" }];
  await ask({ power: "Off", unschedulable: true });
  await clock.step(310_000);
  expect(partings).toBe(0);
  expect(await standing()).toMatchObject({ status: "False", reason: "TimedOut" });
  await expect(plane.client.patch(Host, { name: "a" }, { spec: { power: "ForceOff" } })).rejects.toThrow(
    /spec.power: .*Wake-on-LAN .* cannot cut its power/,
  );
  await expect(
    plane.client.patch(Host, { name: "a" }, { spec: { bmc: { wakeOnLan: { mac: "zz" } } } }),
  ).rejects.toThrow(/spec.bmc.wakeOnLan.mac/);
});
