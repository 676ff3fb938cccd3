/** Hosts switched on and off over real IPMI: the reconciler, ipmitool, and ipmi_sim whose chassis hook starts and ends a process. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { Secret } from "../api/secrets.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { openControlPlane, type TestControlPlane, until } from "../compute/testing/control-plane.ts";
import { systemClock } from "../reconcile/clock.ts";
import { Event } from "../reconcile/kinds.ts";
import { createLogger } from "../reconcile/log.ts";
import { getCondition } from "../resource/object.ts";
import { POWER_AS_ASKED } from "./kinds.ts";
import { runPowerReconciler } from "./reconciler.ts";
import { PASSWORD, type SimulatedHost, startIpmiSim, USERNAME } from "./testing/ipmi-sim.ts";

let plane: TestControlPlane;
let sim: SimulatedHost;
let stop: AbortController;
let running: Promise<void>;
let logged: string[];

const start = () => {
  stop = new AbortController();
  running = runPowerReconciler({
    client: plane.client,
    clock: systemClock,
    log: createLogger("test", (line) => logged.push(line)),
    signal: stop.signal,
    secretOf: (at) => plane.client.get(Secret, at),
    bootId: "another machine's",
    intervals: { busyMs: 200, idleMs: 1000 },
  });
};
const secret = (password: string) =>
  plane.service.create(
    Secret,
    "default",
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "bmc-a" },
      type: "vireo.dev/bmc",
      data: {
        username: Buffer.from(USERNAME).toString("base64"),
        password: Buffer.from(password).toString("base64"),
      },
    },
    { user: { name: "test", groups: [] } },
  );
const ask = (spec: object) => plane.client.patch(Host, { name: "a" }, { spec });
const host = async () => {
  const found = await plane.client.get(Host, { name: "a" });
  if (!found) throw new Error("no host");
  return found;
};
const told = (reason: string, state: string) =>
  until(
    `${reason}, ${state}`,
    async () => {
      const { status, metadata } = await host();
      const condition = getCondition(status?.conditions, POWER_AS_ASKED);
      const is = condition?.reason === reason && condition.observedGeneration === metadata.generation;
      return is && status?.power?.state === state && condition;
    },
    host,
    15_000,
  );

beforeEach(async () => {
  logged = [];
  plane = await openControlPlane();
  sim = await startIpmiSim();
  await plane.client.create(Host, {
    metadata: { name: "a" },
    spec: {
      bmc: {
        // The one that ipmi_sim knows.
        ipmi: { address: "127.0.0.1", port: sim.port, cipherSuite: 3 },
        credentials: { name: "bmc-a" },
      },
    },
  });
});
afterEach(async () => {
  stop.abort();
  await running;
  sim.close();
  await plane.close();
});

it("switches a host on and off, asks before it cuts, and tells why; the password shows nowhere", async () => {
  await secret(PASSWORD);
  start();
  await told("NotAsked", "Off");
  await ask({ power: "On" });
  await told("AsAsked", "On");
  expect(sim.isOn()).toBe(true);
  await ask({ power: "Off", unschedulable: true });
  await told("AsAsked", "Off");
  expect(sim.isOn()).toBe(false);
  expect(sim.orders()).toEqual(["set power 1", "set shutdown 1"]);

  // A system that does not listen is not cut off by itself, also by a control plane that starts anew in the middle.
  await ask({ power: "On" });
  await told("AsAsked", "On");
  sim.setDeaf(true);
  await ask({ power: "Off", powerManagement: { shutdownSeconds: 10 } });
  await told("SwitchingOff", "On");
  stop.abort();
  await running;
  start();
  const failed = await told("TimedOut", "On");
  expect(failed.message).toMatch(/did not shut down within 10 s .*--force/);
  expect(sim.isOn()).toBe(true);
  expect(sim.orders()).not.toContain("set power 0");
  await ask({ power: "ForceOff" });
  await told("AsAsked", "Off");
  expect(sim.isOn()).toBe(false);

  const events = await until("events", async () => {
    const { items } = await plane.client.list(Event);
    return items.some(({ spec }) => spec.reason === "SwitchOffFailed") && items;
  });
  const reasons = events.map(({ spec }) => spec.reason);
  for (const reason of ["SwitchingOn", "SwitchedOn", "SwitchingOff", "SwitchedOff"])
    expect(reasons).toContain(reason);
  const shown = JSON.stringify([events, await host(), logged]);
  expect(shown).not.toContain(PASSWORD);
  expect(shown).not.toContain(Buffer.from(PASSWORD).toString("base64"));
}, 60_000);

it("says what is wrong with a BMC that cannot be asked, and finds it again", async () => {
  start();
  const missing = await told("BmcFailed", "Unknown");
  expect(missing.message).toMatch(/Secret default\/bmc-a .*does not exist; kubectl create secret/);
  await secret("not the password");
  await ask({ rack: "r1" });
  const refused = await until(
    "the refusal",
    async () => {
      const { message = "" } = getCondition((await host()).status?.conditions, POWER_AS_ASKED) ?? {};
      return message.includes("refuses the username or password") && message;
    },
    host,
    30_000,
  );
  expect(refused).toContain(`127.0.0.1, UDP port ${sim.port}`);
  expect(refused).not.toContain("not the password");
}, 60_000);
