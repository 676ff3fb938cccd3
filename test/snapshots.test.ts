/** Snapshots through the real API, reconcilers and agent, over pretended guests whose disks tell what was written last; with kill -9 of both. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { runAgent } from "../src/agent/agent.ts";
import { killable } from "../src/agent/testing/killable.ts";
import {
  PretendEnvironment,
  PretendHypervisor,
  PretendWorld,
} from "../src/agent/testing/pretend-hypervisor.ts";
import { contentOf } from "../src/agent/testing/pretend-layers.ts";
import type { Client } from "../src/client/client.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Rollback, Snapshot } from "../src/compute/snapshots/kinds.ts";
import { runSnapshotReconciler } from "../src/compute/snapshots/reconciler.ts";
import { until, untilGone, untilObject } from "../src/compute/testing/control-plane.ts";
import { type Estate, NS, openEstate } from "../src/compute/testing/estate.ts";
import { systemClock } from "../src/reconcile/clock.ts";
import { silentLogger } from "../src/reconcile/log.ts";
import { FACTS } from "./chaos/estate.ts";

let estate: Estate;
let world: PretendWorld;
let folder: string;
let killAgent: () => void;
let killReconciler: () => void;
let over: AbortController;

function startAgent(): void {
  const stop = new AbortController();
  let dead = false;
  const files = { world, folder, isDead: () => dead };
  const parts = {
    client: killable(estate.client),
    hypervisor: killable<PretendHypervisor>(new PretendHypervisor(world, "a")),
    environment: killable<PretendEnvironment>(new PretendEnvironment(files)),
  };
  void runAgent({
    client: parts.client.object,
    name: "a",
    hypervisor: parts.hypervisor.object,
    environment: parts.environment.object,
    facts: FACTS,
    capacity: { cpus: 4, memoryBytes: 2 ** 30 },
    address: "10.0.0.1",
    version: "test",
    log: silentLogger,
    signal: stop.signal,
    intervals: { probe: 5, refresh: 100, sweep: 1000, grace: 5 },
  });
  killAgent = () => {
    dead = true;
    for (const part of Object.values(parts)) part.kill();
    stop.abort();
  };
}

function startReconciler(): void {
  const stop = new AbortController();
  const client = killable<Client>(estate.client);
  void runSnapshotReconciler({
    client: client.object,
    clock: systemClock,
    log: silentLogger,
    signal: stop.signal,
    retryMs: 50,
  });
  killReconciler = () => {
    client.kill();
    stop.abort();
  };
}

/** The director's part. */
async function bindAll(): Promise<void> {
  while (!over.signal.aborted) {
    const { items } = await estate.client.list(Instance);
    for (const i of items) if (!i.spec.host) await estate.bind(i.metadata.name, "a").catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const at = (name: string) => ({ name, namespace: NS });
const snapshot = (name: string, wanted = "Ready") =>
  untilObject(estate.client, Snapshot, at(name), wanted, (s) => s.status?.phase === wanted);
const create = (name: string, vm = "web") =>
  estate.client.create(Snapshot, { metadata: at(name), spec: { vm, quiesce: true } });
const take = async (name: string, memory = false) => {
  await estate.client.create(Snapshot, { metadata: at(name), spec: { vm: "web", quiesce: true, memory } });
  return snapshot(name);
};
const rollback = (name: string, to: string, keep = true, wanted = "Succeeded", memory = true) =>
  estate.client
    .create(Rollback, { metadata: at(name), spec: { vm: "web", snapshot: to, keep, memory } })
    .then(() => untilObject(estate.client, Rollback, at(name), wanted, (r) => r.status?.phase === wanted));
const free = () => estate.vm("web", (vm) => !vm.status?.disksBusy, "free");
const runs = () =>
  until("web running", () =>
    Promise.resolve([...world.machines].find(([, m]) => m.state === "running")?.[1]),
  );

/** The guest writes; @returns what it wrote. */
async function write(value: number): Promise<void> {
  const [disk] = (await runs()).config.disks;
  world.contents.set(disk?.path ?? "", value);
}
async function read(): Promise<number | undefined> {
  const [disk] = (await runs()).config.disks;
  return contentOf(world.contents, disk?.path ?? "");
}

/** What the guest has in mind: lost when it boots. */
async function think(value: number): Promise<void> {
  const machine = await runs();
  machine.memory = value;
}
const thinks = async () => (await runs()).memory;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-snapshots-"));
  world = new PretendWorld({ random: () => 0.5, stepMs: 2, breakage: 0 });
  estate = await openEstate();
  over = new AbortController();
  startAgent();
  startReconciler();
  void bindAll();
  await estate.createMachine("web", { readiness: {} });
  await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
});
afterEach(async () => {
  over.abort();
  killAgent();
  killReconciler();
  await estate.close();
  expect(world.violations).toEqual([]);
  rmSync(folder, { recursive: true, force: true });
});

describe("snapshots", () => {
  it("are taken, gone back to, and deleted in any order while the machine runs", async () => {
    await write(1);
    const one = await take("one");
    expect(one.status?.taken).toMatchObject({ consistent: "Crash", disks: [{ name: "root" }] });
    await write(2);
    await take("two");
    await write(3);
    expect((await free()).status?.snapshot).toBe("two");
    expect((await snapshot("two")).status?.parent).toBe("one");

    const done = await rollback("back", "one");
    expect(done.status).toMatchObject({ kept: "back-before" });
    expect(await read()).toBe(1);
    await free();
    expect((await snapshot("back-before")).status).toMatchObject({ parent: "two" });
    expect((await estate.vm("web", (vm) => vm.status?.phase === "Running")).status).toMatchObject({
      snapshot: "one",
      restarts: 0,
    });

    // "one" carries two branches: what it holds stays until there is one.
    await estate.client.delete(Snapshot, at("one"));
    await untilGone(estate.client, Snapshot, at("one"));
    expect(await read()).toBe(1);
    await estate.client.delete(Snapshot, at("two"));
    await untilGone(estate.client, Snapshot, at("two"));
    expect(await read()).toBe(1);
    await rollback("forth", "back-before", false);
    expect(await read()).toBe(3);
    await estate.client.delete(Snapshot, at("back-before"));
    await untilGone(estate.client, Snapshot, at("back-before"));
    expect(await read()).toBe(3);
    // One layer is left, as before.
    const [disk] = (await runs()).config.disks;
    const left = readdirSync(dirname(disk?.path ?? "")).filter((name) => name.endsWith(".qcow2"));
    expect(left).toEqual([basename(disk?.path ?? "")]);
  });

  it("of a stopped machine, and gone back to without starting it", async () => {
    await write(1);
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    await estate.vm("web", (vm) => vm.status?.phase === "Stopped", "Stopped");
    expect((await take("cold")).status?.taken).toMatchObject({ consistent: "Stopped", pauseMs: 0 });
    await free();
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: true } });
    await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
    await write(2);
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    await estate.vm("web", (vm) => vm.status?.phase === "Stopped", "Stopped");
    await rollback("back", "cold");
    await free();
    expect((await estate.vm("web")).status?.phase).toBe("Stopped");
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: true } });
    await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
    expect(await read()).toBe(1);
  });

  it("say what cannot be: no machine, no disks, no such snapshot, a name that is taken", async () => {
    await create("lost", "nothing");
    expect((await snapshot("lost", "Failed")).status?.message).toBe(
      "machine nothing (spec.vm) does not exist",
    );
    await estate.createMachine("new", { running: false });
    await create("early", "new");
    expect((await snapshot("early", "Failed")).status?.message).toBe(
      "new has no disks yet: it has never run",
    );
    const failed = await rollback("x", "nowhere", true, "Failed");
    expect(failed.status?.message).toBe("snapshot nowhere (spec.snapshot) of web does not exist");
    await take("one");
    await take("y-before");
    expect((await rollback("y", "one", true, "Failed")).status?.message).toContain(
      "give the Rollback another name",
    );
    expect((await estate.vm("web")).status?.phase).toBe("Running");
    await estate.client.delete(Snapshot, at("lost"));
    await untilGone(estate.client, Snapshot, at("lost"));
  });

  it("with memory, go on from that very moment; without it, and where it is not wanted, the guest boots", async () => {
    await write(1);
    await think(11);
    const one = await take("one", true);
    expect(one.status?.taken).toMatchObject({
      consistent: "Memory",
      memory: { live: true, cpus: 1, networks: ["default"], machineType: "pretend-1.0" },
    });
    await write(2);
    await think(22);
    await rollback("back", "one");
    expect([await read(), await thinks()]).toEqual([1, 11]);
    await free();
    // Once: the next run of the same disks boots.
    await write(3);
    const [id] = [...world.machines].find(([, m]) => m.state === "running") ?? [];
    if (id) world.crash(id);
    await estate.vm("web", (vm) => vm.status?.phase === "Running" && vm.status.restarts === 1, "restarted");
    expect([await read(), await thinks()]).toEqual([3, undefined]);
    await rollback("cold", "one", false, "Succeeded", false);
    expect([await read(), await thinks()]).toEqual([1, undefined]);
    await free();
    // Stopped, it goes on when it is started.
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    await estate.vm("web", (vm) => vm.status?.phase === "Stopped", "Stopped");
    await rollback("later", "one", false);
    await free();
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: true } });
    await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
    expect([await read(), await thinks()]).toEqual([1, 11]);
  });

  it("with memory, are of the machine as it was: another one cannot go on with it", async () => {
    await take("one", true);
    await estate.client.patch(VirtualMachine, at("web"), { spec: { cpus: 2 } });
    const failed = await rollback("back", "one", true, "Failed");
    expect(failed.status?.message).toBe(
      "the memory of snapshot one is of a machine with 1 CPUs (spec.cpus is 2); make it so again, or set spec.memory of the Rollback to false",
    );
    expect((await rollback("cold", "one", true, "Succeeded", false)).status?.kept).toBe("cold-before");
    await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
    await free();
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    await estate.vm("web", (vm) => vm.status?.phase === "Stopped", "Stopped");
    await estate.client.create(Snapshot, {
      metadata: at("none"),
      spec: { vm: "web", quiesce: true, memory: true },
    });
    expect((await snapshot("none", "Failed")).status?.message).toContain("there is no memory to keep");
  });

  it("go with their machine", async () => {
    await take("one");
    await estate.client.delete(VirtualMachine, at("web"));
    await untilGone(estate.client, VirtualMachine, at("web"));
    await untilGone(estate.client, Snapshot, at("one"));
  });
});

describe("kill -9", () => {
  /** Kills what `kill` says every few ms while the work goes on. */
  async function amid<T>(work: Promise<T>, seed: number): Promise<T> {
    let done = false;
    void work.finally(() => {
      done = true;
    });
    for (let i = seed; !done && i < seed + 25; i++) {
      await new Promise((resolve) => setTimeout(resolve, 3 + ((i * 7) % 23)));
      if (i % 2 === 0) {
        killAgent();
        startAgent();
      } else {
        killReconciler();
        startReconciler();
      }
    }
    return work;
  }

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "of agent and control plane at any step: each state is kept (%i)",
    async (seed) => {
      await write(1);
      await amid(take("one"), seed);
      await write(2);
      await amid(take("two"), seed + 1);
      await write(3);
      await amid(rollback("back", "one"), seed + 2);
      expect(await read()).toBe(1);
      await write(4);
      await estate.client.delete(Snapshot, at("one"));
      await amid(untilGone(estate.client, Snapshot, at("one")), seed);
      expect(await read()).toBe(4);
      await amid(rollback("forth", "back-before"), seed + 3);
      expect(await read()).toBe(3);
      await amid(rollback("again", "two", false), seed + 4);
      expect(await read()).toBe(2);
      await amid(rollback("last", "forth-before", false), seed + 5);
      expect(await read()).toBe(4);
    },
  );

  it.each([1, 2, 3, 4, 5, 6])(
    "with memory: a snapshot is whole or failed, and the guest never goes on with another disk's memory (%i)",
    async (seed) => {
      await write(1);
      await think(11);
      const taken = async (name: string) => {
        await estate.client.create(Snapshot, {
          metadata: at(name),
          spec: { vm: "web", quiesce: true, memory: true },
        });
        const isOver = (s: Snapshot) => s.status?.phase === "Ready" || s.status?.phase === "Failed";
        return untilObject(estate.client, Snapshot, at(name), "over", isOver);
      };
      const one = await amid(taken("one"), seed);
      // Cut short, it is not taken at another instant by the back door.
      if (one.status?.phase === "Failed") await free().then(() => taken("two"));
      const name = one.status?.phase === "Failed" ? "two" : "one";
      await snapshot(name);
      await write(2);
      await think(22);
      await amid(rollback("back", name), seed + 1);
      expect(await read()).toBe(1);
      // An agent that died between loading and running may have to boot it.
      expect([11, undefined]).toContain(await thinks());
      await amid(rollback("forth", "back-before"), seed + 2);
      expect([await read(), await thinks()]).toEqual([2, undefined]);
    },
  );

  it.each([1, 2, 3])(
    "of the guest's process, too: the state of a snapshot is one that was (%i)",
    async (seed) => {
      await write(1);
      await create("one");
      await new Promise((resolve) => setTimeout(resolve, 3 * seed));
      const [id] = [...world.machines].find(([, m]) => m.state === "running") ?? [];
      if (id) world.crash(id);
      await snapshot("one");
      await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
      expect(await read()).toBe(1);
      await write(2);
      await rollback("back", "one");
      expect(await read()).toBe(1);
    },
  );
});
