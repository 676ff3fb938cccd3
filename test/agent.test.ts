/** What an agent tells of its runs, over the real API and a pretended hypervisor. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { type AgentContext, runAgent } from "../src/agent/agent.ts";
import type { MachineId } from "../src/agent/hypervisor.ts";
import { PrepareError } from "../src/agent/prepare-error.ts";
import { PretendEnvironment } from "../src/agent/testing/pretend-environment.ts";
import { PretendHypervisor } from "../src/agent/testing/pretend-hypervisor.ts";
import { PretendWorld } from "../src/agent/testing/pretend-world.ts";
import { modify } from "../src/client/client.ts";
import { overriding } from "../src/client/testing/overriding.ts";
import { Host } from "../src/compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import {
  openControlPlane,
  type TestControlPlane,
  untilObject,
} from "../src/compute/testing/control-plane.ts";
import { type Clock, systemClock } from "../src/reconcile/clock.ts";
import { silentLogger } from "../src/reconcile/log.ts";
import { ApiError } from "../src/resource/errors.ts";
import { getCondition } from "../src/resource/object.ts";
import { FACTS } from "./chaos/estate.ts";

const NS = "default";

let plane: TestControlPlane;
let world: PretendWorld;
let environment: PretendEnvironment;
let stop: AbortController;
let agent: Promise<void>;
const agentOf = (name: string, more: Partial<AgentContext> = {}) =>
  runAgent({
    client: plane.client,
    name,
    hypervisor: new PretendHypervisor(world, name),
    environment,
    facts: FACTS,
    capacity: { cpus: 4, memoryBytes: 2 ** 30 },
    address: "10.0.0.1",
    version: "test",
    log: silentLogger,
    signal: stop.signal,
    intervals: { probe: 5, refresh: 100, sweep: 1000, grace: 5, registered: 20 },
    ...more,
  });
beforeEach(async () => {
  plane = await openControlPlane();
  world = new PretendWorld({ random: () => 0.5, stepMs: 1, breakage: 0 });
  environment = new PretendEnvironment();
  stop = new AbortController();
  agent = agentOf("a");
});
afterEach(async () => {
  stop.abort();
  await agent;
  await plane.close();
});

/** A run of the machine, bound to this agent's host; one that it is to come from is on another. */
async function run(spec: Partial<Instance["spec"]> = {}, name = "web"): Promise<void> {
  const { client } = plane;
  const vm = await client.create(VirtualMachine, {
    metadata: { name, namespace: NS },
    spec: { image: "web", memory: "64Mi" },
  });
  const own = {
    ...{ vm: name, vmUid: vm.metadata.uid ?? "", memory: "64Mi", image: "web" },
    ...{ storagePool: "default", interfaces: [] },
  };
  const make = async (sequence: number, more: Partial<Instance["spec"]>) => {
    await client.patch(
      VirtualMachine,
      { name, namespace: NS },
      { status: { sequence } },
      { subresource: "status" },
    );
    await client.create(Instance, {
      metadata: { name: `${name}-${sequence}`, namespace: NS },
      spec: { ...own, ...more },
    });
  };
  if (spec.predecessor) await make(0, { host: "b" });
  await make(1, { host: "a", ...spec });
}
const ready = ({ status }: Pick<Instance, "status">) => getCondition(status?.conditions, "Ready");
const told = (what: string, wanted: (instance: Instance) => boolean) =>
  untilObject(plane.client, Instance, { name: "web-1", namespace: NS }, what, wanted);

it("tells on what accelerator and CPU a run began", async () => {
  await run();
  const { status } = await told("Running", (i) => i.status?.phase === "Running");
  expect(status).toMatchObject({ accelerator: FACTS.qemu.accelerator, cpuModel: FACTS.cpu.model });
});

it("guests that do not answer hold up no other machine of their host", async () => {
  const silent = [...Array(20).keys()].map((n) => `silent-${n}`);
  stop.abort();
  await agent;
  stop = new AbortController();
  const hypervisor = new PretendHypervisor(world, "a");
  const answer = hypervisor.guestAgent.bind(hypervisor);
  const asked = new Set<MachineId>();
  hypervisor.guestAgent = (id, command) => {
    if (!world.machines.get(id)?.config.name.startsWith("silent")) return answer(id, command);
    asked.add(id);
    return new Promise(() => {});
  };
  agent = agentOf("a", { hypervisor, capacity: { cpus: 64, memoryBytes: 2 ** 36 } });
  await untilObject(
    plane.client,
    Host,
    { name: "a" },
    "its capacity",
    ({ status }) => status?.capacity?.cpus === 64,
  );
  await Promise.all(silent.map((name) => run({}, name)));
  await expect.poll(() => asked.size, { timeout: 10_000 }).toBe(silent.length);
  await run();
  await told("Running", (i) => i.status?.phase === "Running");
});

it("another run is watched only for as long as one of this host waits for it", async () => {
  const { client } = plane;
  const watched = new Map<string, number>();
  const count = (of: string, by: number) => watched.set(of, (watched.get(of) ?? 0) + by);
  const counted = overriding(client, {
    watch: async function* (kind, options) {
      const of = options.fieldSelector ?? "";
      count(of, 1);
      try {
        yield* client.watch(kind, options);
      } finally {
        count(of, -1);
      }
    },
  });
  stop.abort();
  await agent;
  stop = new AbortController();
  agent = agentOf("a", { client: counted });
  // Its disks are another's still.
  await run({ predecessor: "web-0" });
  await expect.poll(() => watched.get("metadata.name=web-0"), { timeout: 10_000 }).toBe(1);
  const before = { name: "web-0", namespace: NS };
  const released = { phase: "Stopped", custody: "Released" } as const;
  await client.patch(Instance, before, { status: released }, { subresource: "status" });
  await told("Running", (i) => i.status?.phase === "Running");
  await expect.poll(() => watched.get("metadata.name=web-0")).toBe(0);
  // Nobody is there to take it.
  const migrateTo = { migration: "m", instance: "web-2", host: "c", address: "tcp:10.0.0.9:1" };
  await client.patch(Instance, { name: "web-1", namespace: NS }, { spec: { migrateTo } });
  await told("that it failed", (i) => i.status?.migration?.phase === "Failed");
  await expect.poll(() => watched.get("metadata.name=web-2")).toBe(0);
});

it("also of a run that waits for its memory", async () => {
  await run({ incoming: true, predecessor: "web-0" });
  const { status } = await told("Incoming", (i) => i.status?.phase === "Incoming");
  expect(status).toMatchObject({ accelerator: FACTS.qemu.accelerator, cpuModel: FACTS.cpu.model });
});

it("tells the user's text of what cannot be prepared, not the inside; a start is tried again", async () => {
  environment.prepare = async () => {
    throw new PrepareError("there is no room", { cause: new Error("/secret/path") });
  };
  await run();
  const { status } = await told("PrepareFailed", (i) => ready(i)?.reason === "PrepareFailed");
  expect(ready({ status })?.message).toBe("there is no room");
  environment.prepare = new PretendEnvironment().prepare;
  await told("Running", (i) => i.status?.phase === "Running");
});

it("keeps what was not foreseen out of it", async () => {
  environment.prepare = async () => {
    throw new Error("/secret/path");
  };
  await run();
  const { status } = await told("PrepareFailed", (i) => ready(i)?.reason === "PrepareFailed");
  expect(ready({ status })?.message).toBe(
    "host a could not prepare it: an error that is not expected, which its host's agent has logged; tell whoever runs the host",
  );
});

it("a target of a migration that cannot be prepared ends at once, with its reason", async () => {
  environment.prepare = async () => {
    throw new PrepareError("the disks are not here");
  };
  await run({ incoming: true, predecessor: "web-0" });
  const { status } = await told("Failed", (i) => i.status?.phase === "Failed");
  expect(status).toMatchObject({
    custody: "Released",
    end: { reason: "MigrationFailed", message: "the disks are not here" },
  });
});

it("a machine whose memory would be nowhere does not start, and starts when it would", async () => {
  environment.memoryLack = () => "host a has 1Gi of memory and swap left";
  await run();
  const waiting = await told("that it waits", (i) => ready(i)?.reason === "PrepareFailed");
  expect(ready(waiting)?.message).toBe("host a has 1Gi of memory and swap left");
  expect(world.machines.size).toBe(0);
  environment.memoryLack = () => undefined;
  await told("Running", (i) => i.status?.phase === "Running");
});

it("a move to a host whose memory is gone ends at once, before anything was sent", async () => {
  environment.memoryLack = () => "host a has 1Gi of memory and swap left";
  await run({ incoming: true, predecessor: "web-0" });
  const { status } = await told("Failed", (i) => i.status?.phase === "Failed");
  expect(status?.end).toMatchObject({
    reason: "MigrationFailed",
    message: "host a has 1Gi of memory and swap left",
  });
  expect(world.machines.size).toBe(0);
});

it("a machine without a network that others reach says so", async () => {
  const pretended = new PretendEnvironment();
  environment.prepare = async (instance) => ({ ...(await pretended.prepare(instance)), isolated: "no taps" });
  await run();
  const { status } = await told("Running", (i) => i.status?.phase === "Running");
  expect(getCondition(status?.conditions, "NetworkReady")).toMatchObject({
    status: "False",
    reason: "UserNetwork",
    message: "no taps",
  });
  expect(ready({ status })?.status).toBe("True");
});

it("a host that was deleted under its agent is there again, with what it is made of", async () => {
  const made = (what: string, wanted: (host: Host) => boolean) =>
    untilObject(plane.client, Host, { name: "a" }, what, wanted);
  const { metadata } = await made("synced", (host) => Boolean(host.status?.agent?.syncedTime));
  await plane.client.delete(Host, { name: "a" });
  const again = await made(
    "made again",
    (host) => host.metadata.uid !== metadata.uid && Boolean(host.status?.agent?.syncedTime),
  );
  expect(again.status).toMatchObject({ address: "10.0.0.1", capacity: { cpus: 4 } });
});

it("tells that it looks after all machines of its host, however often that is refused", async () => {
  const { client } = plane;
  let refusals = 20;
  const busy = overriding(client, {
    patch: (kind, at, patch, options) =>
      JSON.stringify(patch).includes('"syncedTime":"') && refusals-- > 0
        ? Promise.reject(new ApiError("TooManyRequests", "come again later"))
        : client.patch(kind, at, patch, options),
  });
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 5), signal),
  };
  const other = agentOf("b", { client: busy, clock });
  const isSynced = (host: Host) => Boolean(host.status?.agent?.syncedTime);
  await untilObject(client, Host, { name: "b" }, "synced", isSynced);
  expect(refusals).toBeLessThan(0);
  stop.abort();
  await other;
});

it("a look that finds what a machine uses changed is one read and one write: its own news are no reason to look again", async () => {
  const { client } = plane;
  const calls: string[] = [];
  const counted = overriding(client, {
    get: (kind, at, signal) => {
      if (kind.plural === Instance.plural) calls.push("get");
      return client.get(kind, at, signal);
    },
    updateStatus: (kind, object, signal) => {
      if (kind.plural === Instance.plural) calls.push("write");
      return client.updateStatus(kind, object, signal);
    },
  });
  class Growing extends PretendHypervisor {
    #residentBytes = 2 ** 26;
    override async usage() {
      // Always by enough to be told.
      this.#residentBytes = Math.round(1.5 * this.#residentBytes);
      const residentBytes = this.#residentBytes;
      return { cpuSeconds: 0, stealSeconds: 0, residentBytes, disks: [], nics: [] };
    }
  }
  const intervals = { probe: 5, refresh: 40, sample: 10, sweep: 60_000, registered: 60_000 };
  const other = agentOf("b", { client: counted, hypervisor: new Growing(world, "b"), intervals });
  await run({ host: "b" });
  const { status } = await told("its use", (i) => i.status?.usage !== undefined);
  calls.length = 0;
  await told("more and more", (i) => (i.status?.usage?.hostMemoryBytes ?? 0) > 1e12);
  expect(status?.phase).toBe("Running");
  const writes = calls.filter((call) => call === "write").length;
  expect(writes).toBeGreaterThan(3);
  // The one under way at either end.
  expect(Math.abs(calls.length - 2 * writes)).toBeLessThanOrEqual(2);
  stop.abort();
  await other;
});

it("what a guest says of itself is in its status: the memory that it uses by its balloon, its addresses by its agent", async () => {
  class Telling extends PretendHypervisor {
    override async usage() {
      const guestUsedBytes = 70 * 2 ** 20;
      return { cpuSeconds: 0, stealSeconds: 0, residentBytes: 2 ** 27, guestUsedBytes, disks: [], nics: [] };
    }
    override async guestAgent(id: MachineId, command: string) {
      if (command !== "guest-network-get-interfaces") return super.guestAgent(id, command);
      const of = (type: string, address: unknown) => ({
        "ip-address-type": type,
        "ip-address": address,
        prefix: 24,
      });
      return [
        { name: "lo", "ip-addresses": [of("ipv4", "127.0.0.1"), of("ipv6", "::1")] },
        {
          name: "eth0",
          "ip-addresses": [of("ipv4", "10.20.0.7"), of("ipv6", "fe80::1"), of("ipv4", "; rm -rf /")],
        },
        { name: "docker0", "ip-addresses": [of("ipv4", "172.17.0.1"), "odd"] },
        { name: "down0" },
        "odd",
      ];
    }
  }
  const intervals = { probe: 5, refresh: 20, sample: 10, sweep: 60_000, registered: 60_000 };
  const other = agentOf("b", { hypervisor: new Telling(world, "b"), intervals });
  await run({ host: "b" });
  const { status } = await told("its use", (i) => i.status?.usage !== undefined);
  expect(status?.usage).toMatchObject({ guestMemoryBytes: 70 * 2 ** 20, hostMemoryBytes: 2 ** 27 });
  expect(status?.addresses).toEqual(["10.20.0.7", "172.17.0.1"]);
  stop.abort();
  await other;
});

it("a stop that was told together with the agent's own look, of a list that was read anew, is not overlooked", async () => {
  const { client } = plane;
  const cut = new AbortController();
  const stopped = Promise.withResolvers<void>();
  let watches = 0;
  const unreliable = overriding(client, {
    // The first ends, and what came meanwhile is listed.
    watch: async function* (kind, options) {
      if (kind.plural !== Instance.plural || watches++ > 0) return yield* client.watch(kind, options);
      const signals = [cut.signal, ...(options.signal ? [options.signal] : [])];
      yield* client.watch(kind, { ...options, signal: AbortSignal.any(signals) });
      await stopped.promise;
      throw new ApiError("Expired", "too old");
    },
    updateStatus: async (kind, object, signal) => {
      const isLook = kind.plural === Instance.plural && JSON.stringify(object).includes('"usage"');
      if (!isLook || cut.signal.aborted) return client.updateStatus(kind, object, signal);
      // What the look writes, and the stop after it, come together.
      cut.abort();
      const written = await client.updateStatus(kind, object, signal);
      await client.patch(Instance, { name: "web-1", namespace: NS }, { spec: { running: false } });
      stopped.resolve();
      return written;
    },
  });
  class Using extends PretendHypervisor {
    override async usage() {
      return { cpuSeconds: 0, stealSeconds: 0, residentBytes: 2 ** 26, disks: [], nics: [] };
    }
  }
  const intervals = { probe: 5, refresh: 3_600_000, sample: 10, sweep: 60_000, grace: 5, registered: 60_000 };
  const other = agentOf("b", { client: unreliable, hypervisor: new Using(world, "b"), intervals });
  await run({ host: "b" });
  await told("its end", (i) => i.status?.custody === "Released");
  stop.abort();
  await other;
});

it.each([
  { move: "goes on", migration: "Active", ordered: true },
  { move: "was called off", migration: "Active", ordered: false },
  { move: "was begun by an agent that died before it told", migration: undefined, ordered: true },
  { move: "was begun so and called off", migration: undefined, ordered: false },
] as const)(
  "a machine that is stopped while its disks go to another host shuts down at its own pace, when the move $move",
  async ({ migration, ordered }) => {
    const { client } = plane;
    const first = new AbortController();
    const dying = agentOf("b", { signal: first.signal });
    await run({ host: "b" });
    const { metadata } = await told("Running", (i) => i.status?.phase === "Running");
    first.abort();
    await dying;
    const target = "there" as MachineId;
    const copies = { phase: "copying", transferredBytes: 1, remainingBytes: 1, target } as const;
    world.set(metadata.uid as MachineId, { slowed: true, copies });
    const at = { name: "web-1", namespace: NS };
    const [address, disksAddress] = ["tcp:10.0.0.9:1", "tcp:10.0.0.9:2"];
    const migrateTo = { migration: "m", instance: "web-2", host: "c", address, disksAddress };
    const spec = { running: false, stop: { graceSeconds: 600 }, ...(ordered ? { migrateTo } : {}) };
    await client.patch(Instance, at, { spec });
    const status = { migration: { to: "web-2", phase: "Active", stage: "Disks" } };
    if (migration) await client.patch(Instance, at, { status }, { subresource: "status" });
    const next = agentOf("b");
    const ended = await told("its end", (i) => i.status?.custody === "Released");
    expect(ended.status?.end?.message).not.toMatch(/did not shut down/);
    expect(ended.status?.migration?.phase).toBe(migration && "Cancelled");
    expect(world.trace).toContain("web-1 power button");
    expect(world.violations).toEqual([]);
    stop.abort();
    await next;
  },
);

it("a Host that others made anew is told what it is", async () => {
  const { client } = plane;
  const told = (host: Host) => host.status?.facts !== undefined && host.status.agent !== undefined;
  await untilObject(client, Host, { name: "a" }, "registered", told);
  // As one that was just made: without any status.
  await modify(client, Host, { name: "a" }, "status", (host) => ({ ...host, status: {} }));
  await untilObject(client, Host, { name: "a" }, "told again", told);
});
