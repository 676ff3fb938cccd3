/** Snapshots through the real API, reconcilers and agent, over pretended guests whose disks tell what was written last; with kill -9 of both. */
import { readdirSync } from "node:fs";
import { basename, dirname } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { PretendWorld } from "../src/agent/testing/pretend-world.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Rollback, Snapshot } from "../src/compute/snapshots/kinds.ts";
import { untilGone, untilObject } from "../src/compute/testing/control-plane.ts";
import { type Estate, NS } from "../src/compute/testing/estate.ts";
import { PretendHost } from "./support/pretend-host.ts";

let host: PretendHost;
let estate: Estate;
let world: PretendWorld;

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
const runs = () => host.runs();
const write = (value: number) => host.write(value);
const read = () => host.read();
const think = (value: number) => host.think(value);
const thinks = () => host.thinks();

beforeEach(async () => {
  host = await PretendHost.open();
  ({ estate, world } = host);
  await estate.createMachine("web", { readiness: {} });
  await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
});
afterEach(async () => {
  await host.close();
  expect(world.violations).toEqual([]);
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

    const generation = async () => [
      (await estate.vm("web")).status?.generationId,
      (await runs()).config.generationId,
    ];
    const [first, seen] = await generation();
    expect([first, seen]).toEqual([(await estate.vm("web")).metadata.uid, first]);
    const done = await rollback("back", "one");
    // The guest is told that its state has gone on from an earlier one.
    await free();
    await estate.vm("web", (vm) => vm.status?.phase === "Running");
    expect(await generation()).toEqual([done.metadata.uid, done.metadata.uid]);
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

  it("tell how far they are while they go on, and no more once they are there", async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    world.copying = { now: { transferredBytes: 1000, remainingBytes: 3000 }, done: promise };
    await estate.client.create(Snapshot, {
      metadata: at("large"),
      spec: { vm: "web", quiesce: true, memory: true },
    });
    const told = (what: string, wanted: (s: Snapshot) => boolean) =>
      untilObject(estate.client, Snapshot, at("large"), what, wanted);
    const { status } = await told("its progress", (s) => s.status?.progress !== undefined);
    expect(status).toMatchObject({
      phase: "Taking",
      progress: { transferredBytes: 1000, remainingBytes: 3000 },
    });
    world.copying.now = { transferredBytes: 3000, remainingBytes: 1000 };
    await told("the time that is left", (s) => (s.status?.progress?.secondsLeft ?? 0) > 0);
    resolve();
    expect((await snapshot("large")).status).not.toHaveProperty("progress");
    await free();
    const { items } = await estate.client.list(Instance);
    expect(items.map(({ status: of }) => of?.diskProgress)).toEqual([undefined]);

    // A rollback, too, while it keeps the memory of the state before.
    const kept = Promise.withResolvers<void>();
    world.copying = { now: { transferredBytes: 1, remainingBytes: 2 }, done: kept.promise };
    const back = rollback("back", "large");
    await untilObject(
      estate.client,
      Rollback,
      at("back"),
      "its progress",
      (r) => r.status?.progress !== undefined,
    );
    kept.resolve();
    expect((await back).status).not.toHaveProperty("progress");
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
    // The state before is kept with its memory, too: just there it goes on.
    expect((await snapshot("back-before")).status).toMatchObject({
      taken: { consistent: "Memory", memory: { live: false, cpus: 1, machineType: "pretend-1.0" } },
      message: "the state before rollback back",
    });
    await rollback("forth", "back-before", false);
    expect([await read(), await thinks()]).toEqual([2, 22]);
    await free();
    await rollback("back-again", "one", false);
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

  it("whose memory cannot be loaded are not tried again and again: the machine says so, and boots without when told to", async () => {
    await write(1);
    const { metadata } = await take("one", true);
    await write(2);
    for (const file of [...world.memories.keys()])
      if (file.endsWith(`${metadata.uid}.memory`)) world.memories.delete(file);
    await rollback("back", "one");
    const failed = await estate.vm("web", (vm) => vm.status?.phase === "Failed", "Failed");
    expect(failed.status).toMatchObject({ restarts: 0, lastEnd: { reason: "ResumeFailed" } });
    expect(failed.status?.lastEnd?.message).toContain("it could not go on with the memory that is kept");
    const spec = { discardMemory: true, requests: { restart: "without" } };
    await estate.client.patch(VirtualMachine, at("web"), { spec });
    await estate.vm("web", (vm) => vm.status?.phase === "Running", "Running");
    expect([await read(), await thinks()]).toEqual([1, undefined]);
  });

  it("keep the memory of the state before when asked to, and only then of one that runs", async () => {
    await write(1);
    await take("one");
    await think(11);
    const go = async (name: string, to: string, spec: Partial<Rollback["spec"]>, wanted = "Succeeded") => {
      await estate.client.create(Rollback, {
        metadata: at(name),
        spec: { vm: "web", snapshot: to, keep: true, memory: true, ...spec },
      });
      const done = await untilObject(
        estate.client,
        Rollback,
        at(name),
        wanted,
        (r) => r.status?.phase === wanted,
      );
      await free();
      return done;
    };
    await go("a", "one", {});
    expect((await snapshot("a-before")).status?.taken?.memory).toBeUndefined();
    await write(2);
    await think(22);
    await go("b", "one", { keepMemory: true });
    expect(await thinks()).toBeUndefined();
    await go("c", "b-before", { keepMemory: false });
    expect([await read(), await thinks()]).toEqual([2, 22]);
    expect((await snapshot("c-before")).status?.taken?.memory).toBeUndefined();
    // Where there is no room for it, the guest runs on.
    world.full = true;
    const failed = await go("d", "one", { keepMemory: true }, "Failed");
    expect(failed.status?.message).toContain("(spec.keepMemory: false goes without): pretended: no room");
    expect([await read(), await thinks()]).toEqual([2, 22]);
    world.full = false;
    await expect(go("e", "one", { keep: false, keepMemory: true })).rejects.toThrow("set keep to true");
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    await estate.vm("web", (vm) => vm.status?.phase === "Stopped", "Stopped");
    await go("f", "b-before", { keepMemory: true });
    expect((await snapshot("f-before")).status?.taken).toMatchObject({ consistent: "Stopped" });
  });

  it("go with their machine", async () => {
    await take("one");
    await estate.client.delete(VirtualMachine, at("web"));
    await untilGone(estate.client, VirtualMachine, at("web"));
    await untilGone(estate.client, Snapshot, at("one"));
  });
});

describe("kill -9", () => {
  const amid = <T>(work: Promise<T>, seed: number) => host.amid(work, seed);

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
      expect(await read()).toBe(2);
      expect([22, undefined]).toContain(await thinks());
    },
  );

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "of a busy guest that goes back: what is kept of it has the memory and the disk of one instant (%i)",
    async (seed) => {
      await take("one", true);
      let last = 0;
      const busy = setInterval(() => host.both(++last), 1);
      const done = await amid(rollback("back", "one"), seed).finally(() => clearInterval(busy));
      expect(done.status?.kept).toBe("back-before");
      expect((await snapshot("back-before")).status?.taken).toMatchObject({ consistent: "Memory" });
      await free();
      const before = last;
      await rollback("forth", "back-before", false);
      const found = await read();
      expect(found).toBeGreaterThan(0);
      expect(found).toBeLessThanOrEqual(before);
      expect(await thinks()).toBe(found);
    },
  );

  it("between the keeping and the end of a run: of a guest that ran on and broke down no memory is kept", async () => {
    await take("one", true);
    host.both(2);
    let ranOn = false;
    world.fault = (call) => {
      if (call !== "kill") return;
      world.fault = () => {};
      ranOn = true;
      host.startAgent();
      throw new Error("its agent is dead");
    };
    const forget = world.subscribe("a", (id) => {
      if (!ranOn || world.machines.get(id)?.state !== "running") return;
      ranOn = false;
      host.both(3);
      world.crash(id);
    });
    await rollback("back", "one");
    forget();
    expect((await snapshot("back-before")).status).toMatchObject({
      taken: { consistent: "Crash" },
      message: "the state before rollback back; without its memory, because its guest did not run any more",
    });
    await free();
    await rollback("forth", "back-before", false);
    expect([await read(), await thinks()]).toEqual([3, undefined]);
  });

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
