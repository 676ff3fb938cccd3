/** What the source of a live migration says before it does what cannot be taken back, over a pretended guest whose memory goes. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../../compute/testing/control-plane.ts";
import { createImage } from "../../compute/testing/estate.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { MachineState } from "../hypervisor.ts";
import { PretendEnvironment } from "../testing/pretend-environment.ts";
import { PretendHypervisor } from "../testing/pretend-hypervisor.ts";
import { IDLE, PretendWorld } from "../testing/pretend-world.ts";
import { Incoming } from "./incoming.ts";
import { Outgoing } from "./outgoing.ts";
import { Peers } from "./peers.ts";
import { StatusWriter } from "./status-writer.ts";

let plane: TestControlPlane;
let stop: AbortController;
beforeEach(async () => {
  plane = await openControlPlane();
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  await plane.close();
});

const AT = { name: "web-1", namespace: "default" };
const stored = async (): Promise<Instance> => {
  const instance = await plane.client.get(Instance, AT);
  if (!instance) throw new Error("web-1 is gone");
  return instance;
};

/** Its memory goes, and it is told when the rest is to follow. */
class Sending extends PretendHypervisor {
  /** By each call: the stage that everybody could read then. */
  readonly began: (string | undefined)[] = [];
  phase: "active" | "post-copy" = "active";
  override async migration() {
    return { ...IDLE, phase: this.phase };
  }
  override async startPostCopy(): Promise<void> {
    this.began.push((await stored()).status?.migration?.stage);
  }
}

/** A machine whose memory goes to another host, by post-copy. */
async function sending() {
  const { client } = plane;
  await createImage(client);
  const metadata = { name: "web", namespace: "default" };
  const vm = await client.create(VirtualMachine, { metadata, spec: { image: "web", memory: "64Mi" } });
  await client.patch(VirtualMachine, metadata, { status: { sequence: 1 } }, { subresource: "status" });
  const address = "tcp:10.0.0.2:4444";
  const {
    metadata: { uid = "" },
  } = await client.create(Instance, {
    metadata: AT,
    spec: {
      vm: "web",
      vmUid: vm.metadata.uid ?? "",
      running: true,
      cpus: 1,
      memory: "64Mi",
      image: "web",
      storagePool: "default",
      interfaces: [],
      host: "a",
      migrateTo: { migration: "m", instance: "web-2", host: "b", address, transfer: { postCopy: true } },
    },
  });
  const migration = { to: "web-2", phase: "Active", stage: "Memory" } as const;
  const status = { phase: "Running", custody: "Held", migration } as const;
  await client.patch(Instance, AT, { status }, { subresource: "status" });
  const hypervisor = new Sending(new PretendWorld({ random: () => 0, stepMs: 0, breakage: 0 }), "a");
  const machine: MachineState = await hypervisor.start(
    {
      id: uid as MachineState["id"],
      name: "web",
      cpus: 1,
      memory: parseBytes("64Mi"),
      disks: [],
      nics: [],
      accelerator: "tcg",
      user: { uid: 1, gid: 1 },
    },
    "run",
  );
  const log = silentLogger;
  const events = new EventRecorder(client, "agent", log, systemClock, "a");
  const context = {
    client,
    hypervisor,
    environment: new PretendEnvironment(),
    clock: systemClock,
    log,
    events,
  };
  const peers = new Peers({ client, log, signal: stop.signal }, () => {});
  const outgoing = new Outgoing(context, peers, new StatusWriter(context).write);
  return {
    hypervisor,
    step: (instance: Instance) => outgoing.step(instance, machine),
    stopping: (instance: Instance) => outgoing.stopping(instance, machine),
    peers,
  };
}

const TARGET = { name: "web-2", namespace: "default" };

/** The host that it goes to, where all has come that the guest needs to go on. */
async function receiving(source: Instance, peers: Peers) {
  const { client } = plane;
  const { migrateTo: _, ...spec } = source.spec;
  const incoming = { ...spec, host: "b", incoming: true, predecessor: "web-1", postCopy: true };
  const vm = { name: "web", namespace: "default" };
  await client.patch(VirtualMachine, vm, { status: { sequence: 2 } }, { subresource: "status" });
  await client.create(Instance, { metadata: TARGET, spec: incoming });
  const status = { phase: "Incoming", custody: "None" } as const;
  await client.patch(Instance, TARGET, { status }, { subresource: "status" });
  const done: string[] = [];
  const hypervisor = new PretendHypervisor(
    new PretendWorld({ random: () => 0, stepMs: 0, breakage: 0 }),
    "b",
  );
  hypervisor.kill = async () => void done.push("kill");
  hypervisor.resume = async () => void done.push("resume");
  hypervisor.setPaused = async () => {};
  const log = silentLogger;
  const context = {
    client,
    hypervisor,
    environment: new PretendEnvironment(),
    host: "b",
    clock: systemClock,
    log,
    events: new EventRecorder(client, "agent", log, systemClock, "b"),
  };
  const start = { prepare: vi.fn(), hostOf: vi.fn() };
  const incomings = new Incoming(context, peers, new StatusWriter(context), start);
  const step = async () => {
    const instance = await client.get(Instance, TARGET);
    if (!instance) throw new Error("web-2 is gone");
    const id = instance.metadata.uid as MachineState["id"];
    await incomings.step(instance, {
      id,
      pid: 1,
      state: "paused",
      machineType: "q35",
      accelerator: "tcg",
    });
    return (await client.get(Instance, TARGET))?.status;
  };
  return { done, step };
}

it("says that post-copy begins before it does, and again after an agent died in between", async () => {
  const { hypervisor, step } = await sending();
  await step(await stored());
  expect(hypervisor.began).toEqual(["PostCopy"]);
  await step(await stored());
  expect(hypervisor.began).toEqual(["PostCopy", "PostCopy"]);
});

it("looks once more before that, where it is an earlier move that had got so far", async () => {
  const { hypervisor, step } = await sending();
  const migration = { to: "web-0", phase: "Cancelled", stage: "PostCopy" } as const;
  await plane.client.patch(Instance, AT, { status: { migration } }, { subresource: "status" });
  await step(await stored());
  expect(hypervisor.began).toEqual([]);
  expect((await stored()).status?.migration).toMatchObject({ to: "web-2", stage: "Memory" });
  await step(await stored());
  expect(hypervisor.began).toEqual(["PostCopy"]);
});

it("does not begin post-copy when it was called off since the order was read", async () => {
  const { hypervisor, step } = await sending();
  const read = await stored();
  const { migrateTo: _, ...spec } = read.spec;
  await plane.client.update(Instance, { ...read, spec });
  await step(read);
  expect(hypervisor.began).toEqual([]);
  expect((await stored()).status?.migration?.stage).not.toBe("PostCopy");
});

it("of a machine that is to stop once post-copy began hands it over all the same: its guest is asked to shut down over there", async () => {
  const { hypervisor, step, stopping, peers } = await sending();
  await step(await stored());
  const target = await receiving(await stored(), peers);
  hypervisor.phase = "post-copy";
  for (const at of [AT, TARGET]) await plane.client.patch(Instance, at, { spec: { running: false } });
  expect(await target.step()).toMatchObject({ phase: "Incoming" });
  await stopping(await stored());
  expect((await stored()).status).toMatchObject({ phase: "HandedOver", custody: "Released" });
  expect(await target.step()).toMatchObject({ phase: "Running", custody: "Held" });
  expect(target.done).toEqual(["resume"]);
});

it("of a machine that is to be ended by force is not waited for in post-copy", async () => {
  const { hypervisor, step, peers } = await sending();
  await step(await stored());
  const target = await receiving(await stored(), peers);
  hypervisor.phase = "post-copy";
  const spec = { running: false, stop: { force: true } };
  await plane.client.patch(Instance, TARGET, { spec });
  expect(await target.step()).toMatchObject({ end: { reason: "MigrationFailed" } });
  expect(target.done).toEqual(["kill"]);
});
