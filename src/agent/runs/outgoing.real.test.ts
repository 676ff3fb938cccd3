/** The source of a live migration whose agent is killed between two steps, on real QEMUs: what it began there is ended by the next one. */
import { chownSync, truncateSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Has } from "../../compute/changes/kinds.ts";
import { Instance, VirtualMachine } from "../../compute/kinds.ts";
import type { Volumes } from "../../compute/migrations/kinds.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../../compute/testing/control-plane.ts";
import { createImage } from "../../compute/testing/estate.ts";
import { TODAY } from "../../qemu/board.ts";
import { isFields, Qmp } from "../../qemu/qmp.ts";
import { type Limits, throttleLimits } from "../../qemu/throttle.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Event } from "../../reconcile/kinds.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { run } from "../../system/run.ts";
import type { MachineConfig } from "../hypervisor.ts";
import type { QemuHypervisor } from "../qemu/qemu-hypervisor.ts";
import { PretendEnvironment } from "../testing/pretend-environment.ts";
import { inState, newId, RealMachines, USER, until } from "../testing/real-machines.ts";
import { LEAST_WRITTEN } from "./converging.ts";
import type { Write } from "./instance-status.ts";
import { Outgoing } from "./outgoing.ts";
import { Peers } from "./peers.ts";

const machines = new RealMachines();
let plane: TestControlPlane;
let stop: AbortController;
let vmUid: string;
const VM = { name: "web", namespace: "default" };
beforeEach(async () => {
  plane = await openControlPlane();
  await plane.client.create(StoragePool, {
    metadata: { name: "local" },
    spec: { directory: { path: machines.folder, shared: false } },
  });
  await createImage(plane.client);
  const { metadata } = await plane.client.create(VirtualMachine, {
    metadata: VM,
    spec: { image: "web", memory: "64Mi", storagePool: "local" },
  });
  vmUid = metadata.uid ?? "";
  const status = { sequence: 2 };
  await plane.client.patch(VirtualMachine, VM, { status }, { subresource: "status" });
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await plane.close();
});

const VOLUMES: Volumes = {
  disks: [{ name: "root", sizeBytes: 16 * 2 ** 20 }],
  seedBytes: 0,
  origin: { file: "web.raw" },
};

/** An instance as its agent reads it; no more of it is needed here. */
const instanceOf = ({ id }: MachineConfig, spec: Partial<Instance["spec"]> = {}): Instance => ({
  apiVersion: "vireo.dev/v1",
  kind: "Instance",
  metadata: { name: "web-1", namespace: "default", uid: id },
  spec: {
    vm: "web",
    vmUid,
    running: true,
    cpus: 1,
    memory: "64Mi",
    image: "web",
    storagePool: "local",
    interfaces: [],
    host: "a",
    ...spec,
  },
  status: { phase: "Running", custody: "Held" },
});

/** The disks of these tests are elsewhere than where a pool has them. */
class Disks extends PretendEnvironment {
  override async volumes() {
    return { volumes: VOLUMES, besides: [] };
  }
}

/** An agent's part for what goes out; `write` is what it tells the control plane. */
function agent(hypervisor: QemuHypervisor, write: Write, clock = systemClock) {
  const { client } = plane;
  const log = silentLogger;
  const events = new EventRecorder(client, "agent", log, systemClock, "a");
  const context = { client, hypervisor, environment: new Disks(), clock, log, events };
  return new Outgoing(context, new Peers({ client, log, signal: stop.signal }, () => {}), write);
}

/** A machine that runs here, and one that waits for its disks there. */
async function pair(guest: "writer" | "flood" = "writer", limits: Limits = {}) {
  const [source, target] = [machines.hypervisor("a"), machines.hypervisor("b")];
  const machine = machines.machine(guest);
  const here = { ...machine, disks: machine.disks.map((disk) => ({ ...disk, limits })) };
  const { machineType } = await machines.start(source, here);
  const path = `${machines.folder}/there.raw`;
  writeFileSync(path, "");
  truncateSync(path, 16 * 2 ** 20);
  chownSync(path, USER.uid, USER.gid);
  const disks = [{ path, format: "raw", readOnly: false }] as const;
  const there = { ...here, id: newId(), machineType, disks: [...disks] };
  await machines.start(target, there, "incoming");
  const address = await target.listen(there.id, "127.0.0.1");
  const disksAddress = await target.listenForDisks(there.id, "127.0.0.1", []);
  const waiting = instanceOf(there, { copyDisks: VOLUMES, host: "b" });
  await plane.client.create(Instance, { ...waiting, metadata: { name: "web-2", namespace: "default" } });
  const order = { migration: newId(), instance: "web-2", host: "b", address, disksAddress };

  const running = await source.get(here.id);
  if (!running) throw new Error("it does not run");
  return { source, target, here, there, machine: running, order };
}

/** Asks the QEMU here itself: no hypervisor may be connected to it. */
async function withMonitor<T>({ id }: MachineConfig, work: (qmp: Qmp) => Promise<T>): Promise<T> {
  const qmp = await until(() => Qmp.connect(machines.path("a", id, "s/qmp"), 2000).catch(() => undefined));
  return work(qmp).finally(() => qmp.close());
}

it("disks that are copied when its agent is killed before it tells of that, and the order is taken back, are let go of by the next", async () => {
  const { source, here, machine, order } = await pair();
  const killed = new Error("killed");
  const dying = agent(source, async () => {
    throw killed;
  });
  await expect(dying.step(instanceOf(here, { migrateTo: order }), machine)).rejects.toBe(killed);
  source.close();

  // It has begun all the same, and would write on there, for ever.
  const next = machines.hypervisor("a");
  await until(async () => ((await next.diskCopies(here.id)).phase === "ready" ? true : undefined));
  const after = agent(next, async () => {
    throw new Error("there is nothing to tell");
  });
  const idle = instanceOf(here);
  expect(await after.step(idle, machine)).toBe("stays");
  const [event] = (await plane.client.list(Event, { namespace: "default" })).items;
  expect(event?.spec).toMatchObject({
    about: { kind: "VirtualMachine", name: "web" },
    reason: "LeftoversRemoved",
    message:
      "left over in its QEMU from a migration that was cut short and called off, needed by nothing, and removed: " +
      "block job mirror-disk0, NBD node to-disk0, dirty bitmaps that are to go along",
  });
  expect(await next.leftCopies(here.id)).toEqual([]);
  expect(await after.step(idle, machine)).toBe("stays");
  expect((await plane.client.list(Event, { namespace: "default" })).items).toHaveLength(1);
  await inState(next, here.id, "running");

  // QEMU itself, beyond what we look for.
  next.close();
  await withMonitor(here, async (qmp) => {
    expect(await qmp.execute("query-jobs")).toEqual([]);
    const nodes = await qmp.execute("query-named-block-nodes", { flat: true });
    const names = (Array.isArray(nodes) ? nodes : []).filter(isFields).map((node) => String(node.drv));
    expect(names).not.toContain("nbd");
    expect(JSON.stringify(nodes)).not.toContain('"dirty-bitmaps"');
  });

  // And it can be moved after all.
  const last = machines.hypervisor("a");
  await last.copyDisks(here.id, { address: order.disksAddress, besides: [], linked: [] });
  await until(async () => ((await last.diskCopies(here.id)).phase === "ready" ? true : undefined));
});

it("a machine whose disks have no ports goes to a target that has them in their order, and to no other", async () => {
  const [source, target] = [machines.hypervisor("a"), machines.hypervisor("b")];
  const disks = ["data", "logs"].map((name) => {
    const path = `${machines.folder}/${name}.raw`;
    writeFileSync(path, "");
    truncateSync(path, 2 ** 20);
    chownSync(path, USER.uid, USER.gid);
    return { name, path, format: "raw", readOnly: false } as const;
  });
  const hardware = { ...TODAY, disks: "sata", firmware: "bios", secureBoot: false, tpm: false } as const;
  const machine = machines.machine("writer", { hardware });
  const here = { ...machine, disks: [...machine.disks, ...disks] };
  const { machineType } = await machines.start(source, here);
  const has = { ports: 0, disks: disks.map(({ name }) => ({ name })), interfaces: [] };
  const running = instanceOf(here, { hardware: { disks: "sata" } });
  const to = async (name: string, has: Has) => {
    const there = { ...here, id: newId(), machineType };
    await machines.start(target, there, "incoming");
    const address = await target.listen(there.id, "127.0.0.1");
    const waiting = instanceOf(there, { host: "b", hardware: { disks: "sata" }, has });
    await plane.client.create(Instance, { ...waiting, metadata: { name, namespace: "default" } });
    const order = { migration: newId(), instance: name, host: "b", address };
    const { spec, status } = running;
    const sent = told({ ...running, spec: { ...spec, migrateTo: order }, status: { ...status, has } });
    const state = await source.get(here.id);
    if (!state) throw new Error("it does not run");
    await agent(source, sent.write).step({ ...sent.now(), status: { ...status, has } }, state);
    return sent.now().status?.migration;
  };
  expect(await to("web-2", { ...has, disks: has.disks.toReversed() })).toMatchObject({
    phase: "Failed",
    error: expect.stringContaining("changed while its target was being made"),
  });
  await plane.client.patch(VirtualMachine, VM, { status: { sequence: 3 } }, { subresource: "status" });
  expect(await to("web-3", has)).toMatchObject({ phase: "Active", stage: "Memory" });
});

/** The API server's part, for what an agent tells. */
function told(instance: Instance): { now: () => Instance; write: Write } {
  let now = instance;
  const write: Write = async (_, change) => {
    now = { ...now, status: { ...now.status, ...change } };
    return now;
  };
  return { now: () => now, write };
}

it("a guest that is to shut down, while its disks go to another host, may write as before, also when its agent was killed in between", async () => {
  const limits = { bytes: 64 * 2 ** 20 };
  const { source, here, machine, order } = await pair("writer", limits);
  const instance = told(instanceOf(here, { migrateTo: order }));
  await agent(source, instance.write).step(instance.now(), machine);
  await source.slowWrites(here.id, LEAST_WRITTEN);
  source.close();
  const next = machines.hypervisor("a");
  const stopping = { ...instance.now(), spec: { ...instance.now().spec, running: false } };
  await agent(next, instance.write).stopping(stopping, machine);
  expect(instance.now().status?.migration?.phase).toBe("Cancelled");
  expect(await next.leftCopies(here.id)).toEqual([]);
  await inState(next, here.id, "running");
  next.close();
  const path = "/objects/throttle0";
  const now = await withMonitor(here, (qmp) => qmp.execute("qom-get", { path, property: "limits" }));
  expect(now).toEqual(expect.objectContaining(throttleLimits(limits)));
});

it("a guest that writes its disk as fast as it is sent is slowed until it is moved or that is called off, also by another agent", async () => {
  const limits = { bytes: 64 * 2 ** 20, burst: { bytes: 128 * 2 ** 20, seconds: 5 } };
  const { source, here, order } = await pair("flood", limits);
  // QEMU sends 16 MiB at once, and then waits until that is within the limit.
  const instance = told(instanceOf(here, { migrateTo: { ...order, transfer: { bandwidth: "2Mi" } } }));
  const outgoing = agent(source, instance.write);
  await until(async () => {
    const machine = await source.get(here.id);
    if (!machine) throw new Error("it does not run");
    await outgoing.step(instance.now(), machine);
    const { migration } = instance.now().status ?? {};
    expect(migration?.phase, migration?.error).toBe("Active");
    return migration?.stage === "Memory" ? true : undefined;
  }, 150_000);
  const [event] = (await plane.client.list(Event, { namespace: "default" })).items;
  expect(event?.spec).toMatchObject({
    reason: "WritesSlowed",
    message: expect.stringMatching(/^its guest wrote \d+[KM]i a second .* may write \d+[KM]i a second$/),
  });
  source.close();
  const limitsNow = () =>
    withMonitor(here, (qmp) => qmp.execute("qom-get", { path: "/objects/throttle0", property: "limits" }));
  const slowed = await limitsNow();
  if (!isFields(slowed)) throw new Error("it has no limits");
  expect(slowed["bps-read"]).toBe(64 * 2 ** 20);
  expect(slowed["bps-write"]).toBeGreaterThanOrEqual(LEAST_WRITTEN);
  expect(slowed["bps-write"]).toBeLessThan(2 * 2 ** 20);
  expect(slowed["iops-write"]).toBe(Math.floor(Number(slowed["bps-write"]) / 2 ** 16));

  const next = machines.hypervisor("a");
  const machine = await next.get(here.id);
  if (!machine) throw new Error("it does not run");
  const { migrateTo: _, ...spec } = instance.now().spec;
  await agent(next, instance.write).step({ ...instance.now(), spec }, machine);
  expect(instance.now().status?.migration?.phase).toBe("Cancelled");
  await inState(next, here.id, "running");
  next.close();
  expect(await limitsNow()).toEqual(expect.objectContaining(throttleLimits(limits)));
}, 200_000);

it("memory that goes to a host which is lost without a word is given up, and its guest runs on", async () => {
  const [source, target] = [machines.hypervisor("a"), machines.hypervisor("b")];
  const here = machines.machine("hungry");
  const { machineType } = await machines.start(source, here);
  const there = { ...here, id: newId(), machineType };
  await machines.start(target, there, "incoming");
  const address = await target.listen(there.id, "127.0.0.1");
  const waiting = instanceOf(there, { host: "b" });
  await plane.client.create(Instance, { ...waiting, metadata: { name: "web-2", namespace: "default" } });
  const order = {
    migration: newId(),
    instance: "web-2",
    host: "b",
    address,
    transfer: { bandwidth: "256Ki" },
  };
  const instance = told(instanceOf(here, { migrateTo: order }));
  // A minute is a while: here it is six seconds.
  const clock = { ...systemClock, elapsed: () => systemClock.elapsed() * 10 };
  const outgoing = agent(source, instance.write, clock);
  const step = async () => {
    const machine = await source.get(here.id);
    if (!machine) throw new Error("it does not run");
    await outgoing.step(instance.now(), machine);
    return instance.now().status?.migration;
  };
  await until(async () => ((await step())?.transferredBytes ?? 0) > 0 || undefined);
  const table = `vireo-lost-${here.id.slice(0, 8)}`;
  const port = address.slice(address.lastIndexOf(":") + 1);
  const rules = `table inet ${table} {
    chain lost {
      type filter hook output priority 0
      tcp dport ${port} drop
      tcp sport ${port} drop
    }
  }
`;
  await run("nft", ["-f", "-"], { input: rules });
  try {
    const over = await until(async () => {
      const now = await step();
      return now?.phase === "Active" ? undefined : now;
    }, 60_000);
    expect(over).toMatchObject({ phase: "Failed", error: "nothing of its memory could be sent for 60 s" });
    await inState(source, here.id, "running");
  } finally {
    await run("nft", ["delete", "table", "inet", table]);
  }
}, 90_000);
