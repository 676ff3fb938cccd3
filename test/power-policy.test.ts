/**
 * A PowerPolicy over real BMCs: hosts whose power is ipmi_sim's over ipmitool, with real agents (over pretended guests) that start when their host is switched on and die with it, beside
 * the real reconcilers. Each host is proven by its wake test, one goes off when it is not needed, and comes back for a machine that finds no place.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { runAgent } from "../src/agent/agent.ts";
import { killable } from "../src/agent/testing/killable.ts";
import { PretendEnvironment } from "../src/agent/testing/pretend-environment.ts";
import { PretendHypervisor } from "../src/agent/testing/pretend-hypervisor.ts";
import { PretendWorld } from "../src/agent/testing/pretend-world.ts";
import { Host } from "../src/compute/hosts/kinds.ts";
import { runHostReconciler } from "../src/compute/hosts/reconciler.ts";
import { until } from "../src/compute/testing/control-plane.ts";
import { type Estate, openEstate } from "../src/compute/testing/estate.ts";
import { runScheduler } from "../src/director/planning/scheduler.ts";
import { runHostPower } from "../src/director/power/power-reconciler.ts";
import { PowerPolicy } from "../src/power/policies/kinds.ts";
import { runPowerReconciler } from "../src/power/reconciler.ts";
import { PASSWORD, type SimulatedHost, startIpmiSim, USERNAME } from "../src/power/testing/ipmi-sim.ts";
import { systemClock } from "../src/reconcile/clock.ts";
import { Event } from "../src/reconcile/kinds.ts";
import { silentLogger } from "../src/reconcile/log.ts";
import { FACTS } from "./chaos/estate.ts";

const NAMES = ["a", "b"] as const;
const WAIT_MS = 60_000;

let estate: Estate;
let sims: Map<string, SimulatedHost>;
let folder: string;
let world: PretendWorld;
let over: AbortController;
let running: Promise<unknown>;
const agents = new Map<string, () => void>();

function startAgent(name: string): void {
  const stop = new AbortController();
  let dead = false;
  const parts = {
    client: killable(estate.client),
    hypervisor: killable<PretendHypervisor>(new PretendHypervisor(world, name)),
    environment: killable<PretendEnvironment>(new PretendEnvironment({ world, folder, isDead: () => dead })),
  };
  void runAgent({
    client: parts.client.object,
    name,
    hypervisor: parts.hypervisor.object,
    environment: parts.environment.object,
    facts: { ...FACTS, bootId: name, power: { idleWatts: 100, maxWatts: 200 } },
    capacity: { cpus: 16, memoryBytes: 2 ** 30 },
    address: name,
    version: "test",
    log: silentLogger,
    signal: stop.signal,
    heartbeatSeconds: 0.5,
    intervals: { probe: 5, refresh: 100, sweep: 1000, grace: 5 },
  });
  agents.set(name, () => {
    dead = true;
    for (const part of Object.values(parts)) part.kill();
    stop.abort();
    agents.delete(name);
  });
}

/** An agent lives while its host is on. */
async function playHosts(): Promise<void> {
  while (!over.signal.aborted) {
    for (const [name, sim] of sims) {
      if (sim.isOn() && !agents.has(name)) startAgent(name);
      if (!sim.isOn()) agents.get(name)?.();
    }
    await systemClock.sleep(50, over.signal);
  }
}

beforeEach(async () => {
  estate = await openEstate();
  estate.startReconcilers();
  folder = mkdtempSync(join(tmpdir(), "vireo-power-policy-"));
  world = new PretendWorld({ random: () => 0.5, stepMs: 2, breakage: 0 });
  over = new AbortController();
  sims = new Map();
  for (const name of NAMES) sims.set(name, await startIpmiSim());
  const context = { client: estate.client, clock: systemClock, log: silentLogger, signal: over.signal };
  const credentials = { username: USERNAME, password: PASSWORD };
  const data = Object.fromEntries(
    Object.entries(credentials).map(([key, value]) => [key, Buffer.from(value).toString("base64")]),
  );
  for (const name of NAMES) {
    const bmc = {
      ipmi: { address: "127.0.0.1", port: sims.get(name)?.port ?? 0, cipherSuite: 3 },
      credentials: { name: "bmc" },
    };
    const powerManagement = { wakeTest: { everyDays: 30, bootSeconds: 60 } };
    await estate.client.patch(Host, { name }, { spec: { bmc, power: "On", powerManagement } });
  }
  for (const { metadata } of (await estate.client.list(Host)).items)
    if (!sims.has(metadata.name)) await estate.client.delete(Host, { name: metadata.name });
  running = Promise.all([
    runHostReconciler(context),
    runPowerReconciler({
      ...context,
      secretOf: async () => ({
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name: "bmc" },
        ...{ type: "vireo.dev/bmc", data },
      }),
      bootId: "the control plane's",
      intervals: { busyMs: 200, idleMs: 1000 },
    }),
    runScheduler(context),
    runHostPower({ ...context, bootId: "the control plane's" }),
    playHosts(),
  ]);
});
afterEach(async () => {
  over.abort();
  await running;
  for (const kill of [...agents.values()]) kill();
  for (const sim of sims.values()) sim.close();
  await estate.close();
  rmSync(folder, { recursive: true, force: true });
});

const host = async (name: string) => (await estate.client.get(Host, { name })) as Host;
const eventually = (what: string, look: () => Promise<boolean>, seen: () => Promise<unknown>) =>
  until(what, async () => (await look()) || undefined, seen, WAIT_MS);
const powers = () => Promise.all(NAMES.map(async (name) => (await host(name)).status?.power));
const isOn = () => NAMES.filter((name) => sims.get(name)?.isOn());

it("proves that hosts wake, switches off the one that is not needed, and wakes it for a machine", async () => {
  await eventually(
    "both wake tests",
    async () => (await powers()).every((power) => power?.lastWakeTest?.passed && !power.task),
    powers,
  );
  expect((await powers()).map((power) => power?.boots?.length)).toEqual([1, 1]);
  await estate.client.create(PowerPolicy, {
    metadata: { name: "frugal" },
    spec: { selector: {}, automation: "act", spareHosts: 0, minOnMinutes: 0, minOffMinutes: 0 },
  });
  const frugal = async () => (await estate.client.get(PowerPolicy, { name: "frugal" }))?.status;
  await eventually("the first look", async () => (await frugal())?.hosts === 2, frugal);
  // A user's word goes first.
  expect(isOn()).toHaveLength(2);
  for (const name of NAMES) await estate.client.patch(Host, { name }, { spec: { power: null } });
  await eventually("one of them off", async () => isOn().length === 1, powers);
  const [asleep = "?"] = NAMES.filter((name) => !isOn().includes(name));
  expect(sims.get(asleep)?.orders().at(-1)).toBe("set shutdown 1");

  for (const name of ["one", "two"]) await estate.createMachine(name, { memory: "700Mi" });
  const hosts = () =>
    Promise.all(["one-1", "two-1"].map(async (name) => (await estate.instance(name)).spec.host));
  await eventually(
    "both machines running",
    async () =>
      (await Promise.all(["one-1", "two-1"].map((name) => estate.instance(name)))).every(
        ({ status }) => status?.phase === "Running",
      ),
    async () => [await hosts(), await powers()],
  );
  expect(new Set(await hosts())).toEqual(new Set(NAMES));
  expect(isOn()).toEqual([...NAMES]);
  await eventually(
    "what came of it",
    async () => (await host(asleep)).status?.power?.past?.at(-1)?.power === "On",
    powers,
  );
  const { power } = (await host(asleep)).status ?? {};
  expect(power?.boots).toHaveLength(2);
  expect(power?.past).toMatchObject([
    { power: "Off", succeeded: true },
    { power: "On", succeeded: true, message: expect.stringMatching(/^its agent was heard from \d+ s after/) },
  ]);
  const reasons = (await estate.client.list(Event)).items
    .filter(({ spec }) => spec.about.name === asleep)
    .map(({ spec }) => spec.reason);
  expect(reasons).toEqual(
    expect.arrayContaining([
      "WakeTestPassed",
      "PowerOffWanted",
      "SwitchedOff",
      "PowerOnWanted",
      "SwitchedOn",
      "Woken",
    ]),
  );
});
