/** Pause, reset, restart, suspend and stop through the real API, reconcilers and agents, over pretended guests; with kill -9 of all of them. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, type MockInstance, vi } from "vitest";
import { HypervisorError } from "../src/agent/hypervisor.ts";
import { PretendHypervisor } from "../src/agent/testing/pretend-hypervisor.ts";
import { Instance, VirtualMachine } from "../src/compute/kinds.ts";
import { Migration } from "../src/compute/migrations/kinds.ts";
import { StoragePool } from "../src/compute/storage/kinds.ts";
import { until, untilGone, untilObject } from "../src/compute/testing/control-plane.ts";
import { NS } from "../src/compute/testing/estate.ts";
import { Event } from "../src/reconcile/kinds.ts";
import { getCondition } from "../src/resource/object.ts";
import { PretendEstate } from "./support/pretend-estate.ts";

let here: PretendEstate;
const at = (name: string) => ({ name, namespace: NS });
const patch = (spec: unknown) => here.estate.client.patch(VirtualMachine, at("web"), { spec });
const phase = (wanted: string) => here.estate.vm("web", (vm) => vm.status?.phase === wanted, wanted);
const ready = (vm: VirtualMachine) => getCondition(vm.status?.conditions, "Ready");
const events = async () => (await here.estate.client.list(Event)).items.map(({ spec }) => spec.reason);

beforeEach(async () => {
  here = await PretendEstate.open(["a", "b"]);
  await here.estate.createMachine("web", { readiness: {} });
  await phase("Running");
});
afterEach(async () => {
  await here.close();
  expect(here.world.violations).toEqual([]);
});

async function move(name: string, to: string): Promise<Migration> {
  await here.estate.client.create(Migration, { metadata: at(name), spec: { vm: "web", to } });
  return untilObject(here.estate.client, Migration, at(name), "over", ({ status }) =>
    ["Succeeded", "Failed"].includes(status?.phase ?? ""),
  );
}

describe("a paused machine", () => {
  it("stands still until it is resumed, whatever happens to its agent", async () => {
    await patch({ paused: true });
    expect(ready(await phase("Paused"))).toMatchObject({ reason: "Paused", status: "False" });
    await here.guest("paused");
    here.startAgent("a");
    await here.startReconcilers();
    await here.estate.hostReady("a", "True");
    expect((await phase("Paused")).status?.instance).toBe("web-1");
    await patch({ paused: null });
    await phase("Running");
    await here.guest();
    expect(await events()).toEqual(expect.arrayContaining(["Paused", "Resumed"]));
  });

  it("moves, and arrives paused; one that is resumed meanwhile runs there", async () => {
    await here.write(7);
    await patch({ paused: true });
    await phase("Paused");
    expect((await move("m1", "b")).status?.phase).toBe("Succeeded");
    expect((await phase("Paused")).status?.host).toBe("b");
    expect((await here.guest("paused")).host).toBe("b");
    const moving = move("m2", "a");
    await patch({ paused: null });
    expect((await moving).status?.phase).toBe("Succeeded");
    expect((await phase("Running")).status?.host).toBe("a");
    await here.guest();
  });

  it("is told as that also while its memory is kept", async () => {
    await patch({ paused: true });
    await phase("Paused");
    const { id } = await here.guest("paused");
    const { world } = here;
    world.saving.add(id);
    world.set(id, { pausedBy: "snapshot" });
    await until("some looks at it", async () => {
      world.set(id, {});
      return world.whileSaving.looks >= 5;
    });
    expect((await here.estate.vm("web")).status?.phase).toBe("Paused");
    expect(await events()).not.toContain("Resumed");
    world.saving.delete(id);
    world.set(id, { pausedBy: "user" });
    await patch({ paused: null });
    await phase("Running");
  });

  it("is stopped by the power button, for which it runs; and starts paused while spec says so", async () => {
    await patch({ paused: true });
    await phase("Paused");
    await patch({ running: false });
    expect((await phase("Stopped")).status?.lastEnd).toMatchObject({ reason: "Requested" });
    await patch({ running: true });
    await phase("Paused");
    await here.guest("paused");
  });

  it.each([1, 2, 3, 4])("is one after kill -9 at any step, also while it moves (%i)", async (seed) => {
    await here.amid(
      patch({ paused: true }).then(() => phase("Paused")),
      seed,
    );
    await here.guest("paused");
    const moved = await here.amid(move("m1", "b"), seed, ["a", "b"]);
    await phase("Paused");
    const guest = await here.guest("paused");
    if (moved.status?.phase === "Succeeded") expect(guest.host).toBe("b");
    await here.amid(
      patch({ paused: null }).then(() => phase("Running")),
      seed,
      ["a", "b"],
    );
    await here.guest();
  });
});

describe("a reset", () => {
  it("is done once for each request, in the same run", async () => {
    await patch({ requests: { reset: "one" } });
    await here.estate.vm("web", (vm) => vm.status?.requests?.reset === "one", "reset");
    expect((await phase("Running")).status?.instance).toBe("web-1");
    await patch({ requests: { reset: "two" } });
    await here.estate.vm("web", (vm) => vm.status?.requests?.reset === "two", "reset");
    expect((await here.guest()).resets).toEqual(["one", "two"]);
    expect(await events()).toContain("Reset");
  });

  it("of a machine that is down is none", async () => {
    await patch({ running: false });
    await phase("Stopped");
    await patch({ requests: { reset: "one" } });
    await here.estate.vm("web", (vm) => vm.status?.requests?.reset === "one", "told");
    await patch({ running: true });
    await phase("Running");
    expect((await here.guest()).resets).toEqual([]);
  });

  it.each([1, 2, 3, 4, 5, 6])(
    "is done exactly once with kill -9 at any step, and not again where it moves (%i)",
    async (seed) => {
      const done = here.estate.vm("web", (vm) => vm.status?.requests?.reset === "one", "reset");
      await here.amid(
        patch({ requests: { reset: "one" } }).then(() => done),
        seed,
      );
      await phase("Running");
      await here.amid(move("m1", "b"), seed, ["a", "b"]);
      await phase("Running");
      const resets = here.world.trace.filter((line) => line.includes("reset one"));
      expect(resets).toHaveLength(1);
    },
  );
});

describe("a restart", () => {
  it("stops the machine and starts it again, once", async () => {
    await patch({ requests: { restart: "one" } });
    const vm = await here.estate.vm(
      "web",
      ({ status }) => status?.instance === "web-2" && status.phase === "Running",
      "again",
    );
    expect(vm.status).toMatchObject({
      requests: { restart: "one" },
      restarts: 0,
      lastEnd: { reason: "Requested" },
    });
  });

  it("starts one whose guest shut itself down; of one that is not to run it is none", async () => {
    const { id } = await here.guest();
    here.world.set(id, {
      state: "ended",
      end: { reason: "GuestShutdown", message: "the guest shut itself down" },
    });
    expect(ready(await phase("Stopped"))?.message).toContain("vireo start vm/web");
    await patch({ requests: { restart: "one" } });
    expect((await phase("Running")).status?.instance).toBe("web-2");
    await patch({ running: false });
    await phase("Stopped");
    await patch({ requests: { restart: "two" } });
    await here.estate.vm("web", (vm) => vm.status?.requests?.restart === "two", "told");
    expect((await phase("Stopped")).status?.sequence).toBe(2);
  });

  it.each([1, 2, 3, 4])("is one with kill -9 at any step (%i)", async (seed) => {
    const again = here.estate.vm("web", (vm) => vm.status?.requests?.restart === "one", "restarted");
    await here.amid(
      patch({ requests: { restart: "one" } }).then(() => again),
      seed,
    );
    const vm = await phase("Running");
    expect(vm.status?.restarts).toBe(0);
    const starts = here.world.trace
      .filter((line) => /^web-\d+@a running/.test(line))
      .map((line) => line.split("@")[0]);
    expect(new Set(starts).size).toBe(2);
  });
});

describe("while the disks of a machine are copied to another host", () => {
  const copying = { phase: "copying", transferredBytes: 1, remainingBytes: 1000 } as const;
  let copies: MockInstance<PretendHypervisor["diskCopies"]>;
  beforeEach(async () => {
    copies = vi.spyOn(PretendHypervisor.prototype, "diskCopies").mockResolvedValue(copying);
    const { client } = here.estate;
    await client.create(StoragePool, {
      metadata: { name: "local" },
      spec: { directory: { path: "/local", shared: false } },
    });
    await here.estate.createMachine("db", { readiness: { none: true }, storagePool: "local" });
    await db("Running");
    await client.create(Migration, { metadata: at("m"), spec: { vm: "db", to: "b" } });
    await told("goes", ({ status }) => status?.stage === "Disks");
  });
  afterEach(() => copies.mockRestore());

  const db = (wanted: string) => here.estate.vm("db", (vm) => vm.status?.phase === wanted, wanted);
  const dbIs = (reason: string) => here.estate.vm("db", (vm) => ready(vm)?.reason === reason, reason);
  const told = (what: string, is: (m: Migration) => boolean) =>
    untilObject(here.estate.client, Migration, at("m"), what, is);
  const guest = () => {
    const [found] = [...here.world.machines].filter(([, { config }]) => config.name === "db-1");
    if (!found) throw new Error("no guest");
    return { id: found[0], machine: found[1] };
  };

  it("a guest that has no room for what it writes is told of, tried again, and moved once it runs", async () => {
    here.world.fault = (call) => {
      if (call === "resume") throw new HypervisorError("still no room");
    };
    const { id, machine } = guest();
    here.world.set(id, { state: "paused", pausedBy: "storage-full" });
    expect((await dbIs("StorageFull")).status?.phase).toBe("Migrating");
    here.world.fault = () => {};
    await vi.waitFor(() => expect(machine.state).toBe("running"), 20_000);
    await dbIs("Migrating");
    copies.mockRestore();
    expect((await told("over", ({ status }) => status?.finishedTime !== undefined)).status?.phase).toBe(
      "Succeeded",
    );
    expect(await events()).toEqual(expect.arrayContaining(["StorageFull", "Resumed"]));
  });

  it("one that panics is not moved: it is dumped and started again, as asked", async () => {
    await here.estate.client.patch(VirtualMachine, at("db"), { spec: { onPanic: { dump: true } } });
    await here.estate.instance("db-1", ({ spec }) => spec.onPanic?.dump === true);
    here.world.set(guest().id, { state: "paused", pausedBy: "guest-panicked", brokeDownMs: Date.now() });
    expect((await told("over", ({ status }) => status?.finishedTime !== undefined)).status).toMatchObject({
      phase: "Failed",
      message: expect.stringContaining("GuestPanic"),
    });
    const again = await here.estate.vm("db", ({ status }) => status?.restarts === 1, "started again");
    expect(again.status).toMatchObject({ lastEnd: { reason: "GuestPanic" }, dumps: [{ host: "a" }] });
    expect((await db("Running")).status?.host).toBe("a");
  });
});

describe("a guest that panics", () => {
  const panic = async () => {
    const { id } = await here.guest();
    here.world.set(id, { state: "paused", pausedBy: "guest-panicked", brokeDownMs: Date.now() });
  };

  it("is dumped and started again; stays, or stays down, as spec.onPanic says", async () => {
    await patch({ onPanic: { dump: true } });
    await here.estate.instance("web-1", ({ spec }) => spec.onPanic?.dump === true);
    await panic();
    const vm = await here.estate.vm(
      "web",
      ({ status }) => status?.restarts === 1 && status.phase === "Running",
      "again",
    );
    expect(vm.status).toMatchObject({
      lastEnd: { reason: "GuestPanic" },
      dumps: [{ reason: "GuestPanic", host: "a", sizeBytes: 9 }],
    });
    await patch({ onPanic: { action: "Pause" } });
    await here.estate.instance("web-2", ({ spec }) => spec.onPanic?.action === "Pause");
    await panic();
    expect(ready(await phase("Paused"))?.reason).toBe("GuestPanic");
    await patch({ requests: { reset: "one" } });
    await phase("Running");
    await patch({ onPanic: { action: "Stop" } });
    await here.estate.instance("web-2", ({ spec }) => spec.onPanic?.action === "Stop");
    await panic();
    expect(ready(await phase("Failed"))?.message).toContain("spec.onPanic.action is Stop");
    expect(await events()).toEqual(expect.arrayContaining(["GuestPanic", "Dumped"]));
  });

  it("whose QEMU ends in the middle of a dump leaves nothing of it", async () => {
    const half = async () => {
      const { id, config } = await here.guest();
      const folder = join(dirname(config.disks[0]?.path ?? ""), "dumps");
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "GuestPanic-1-a.elf"), "whole");
      writeFileSync(join(folder, "GuestPanic-2-a.elf.part"), "half");
      return { id, left: () => readdirSync(folder) };
    };
    const { id, left } = await half();
    here.world.crash(id);
    await here.estate.vm("web", ({ status }) => status?.restarts === 1 && status.phase === "Running");
    expect(left()).toEqual(["GuestPanic-1-a.elf"]);
    await half();
    await patch({ running: false });
    await phase("Stopped");
    expect(left()).toEqual(["GuestPanic-1-a.elf"]);
  });

  it.each([1, 2, 3, 4])("is dumped once and told as that, with kill -9 at any step (%i)", async (seed) => {
    await patch({ onPanic: { dump: true }, restart: "Never" });
    await here.estate.instance("web-1", ({ spec }) => spec.onPanic?.dump === true);
    await panic();
    const vm = await here.amid(phase("Failed"), seed);
    expect(vm.status?.lastEnd?.reason).toBe("GuestPanic");
    expect(vm.status?.dumps).toHaveLength(1);
    expect(existsSync(vm.status?.dumps?.[0]?.file ?? "")).toBe(true);
  });
});

it("a machine whose memory was lost in the middle of a move says so, and starts anew", async () => {
  const { id } = await here.guest();
  here.world.set(id, { state: "paused", pausedBy: "lost" });
  const vm = await here.estate.vm(
    "web",
    ({ status }) => status?.restarts === 1 && status.phase === "Running",
    "again",
  );
  expect(vm.status?.lastEnd).toMatchObject({ reason: "MemoryLost" });
});

describe("a machine that ends again and again", () => {
  it("says when it is started next, until that goes well", async () => {
    for (const restarts of [1, 2, 3]) {
      here.world.crash((await here.guest()).id);
      await here.estate.vm(
        "web",
        ({ status }) => status?.restarts === restarts && status.phase === "Running",
        `${restarts}`,
      );
    }
    const vm = await phase("Running");
    expect(getCondition(vm.status?.conditions, "CrashLoop")).toMatchObject({
      status: "True",
      reason: "Killed",
      message: expect.stringMatching(
        /^it was started again 3 times without running for 10 minutes; it ended last with Killed/,
      ),
    });
    expect(vm.status?.nextStartTime).toBeUndefined();
    here.world.crash((await here.guest()).id);
    const waits = await here.estate.vm("web", ({ status }) => status?.nextStartTime !== undefined, "waiting");
    expect(ready(waits)).toMatchObject({
      reason: "BackOff",
      message: `restart 4 at ${waits.status?.nextStartTime}, after Killed: killed by the test`,
    });
  });
});

describe("a stop", () => {
  it("waits for the guest as long as spec.stop says, and not longer once it is forced", async () => {
    here.world.deaf = true;
    await patch({ stop: { graceSeconds: 600 } });
    await patch({ running: false });
    await phase("Stopping");
    await until("the power button", async () =>
      here.world.trace.some((line) => line.includes("power button")),
    );
    expect((await here.guest()).state).toBe("running");
    await patch({ stop: { graceSeconds: 600, force: true } });
    expect((await phase("Stopped")).status?.lastEnd?.message).toBe("stopped on request");
    await patch({ running: true, stop: { graceSeconds: 600, force: null } });
    await phase("Running");
    await patch({ requests: { restart: "1", force: "1" } });
    const again = await until("the restart", async () => {
      const now = await here.estate.vm("web");
      return now.status?.phase === "Running" && now.status.requests?.force === "1" ? now : undefined;
    });
    expect(again.status?.requests).toEqual({ restart: "1", force: "1" });
    // For one stop alone.
    here.world.trace.length = 0;
    await patch({ running: false });
    await until("the power button", async () =>
      here.world.trace.some((line) => line.includes("power button")),
    );
    await patch({ requests: { force: "2" } });
    expect((await phase("Stopped")).status?.requests).toMatchObject({ force: "2" });
    await patch({ running: true, stop: null });
    await phase("Running");
    // Where nothing is to stop it is done, and does not wait for the next stop.
    await patch({ requests: { force: "3" } });
    await until("force told as done", async () =>
      (await here.estate.vm("web")).status?.requests?.force === "3" ? true : undefined,
    );
    await patch({ running: false });
    expect((await phase("Stopped")).status?.lastEnd?.message).toBe(
      "the guest did not shut down within 0.2 s, and was switched off",
    );
  });
});

describe("a suspended machine", () => {
  const suspendedFile = () => `${here.folder}/${vmUid}/suspended.memory`;
  let vmUid: string;
  beforeEach(async () => {
    vmUid = (await here.estate.vm("web")).metadata.uid ?? "";
  });

  it("goes on where it was, on another host, once; its memory is nobody's then", async () => {
    await here.write(5);
    await patch({ suspended: true });
    const vm = await phase("Suspended");
    expect(vm.status).toMatchObject({
      lastEnd: { reason: "Suspended" },
      suspended: { host: "a", sizeBytes: 9 },
    });
    expect(vm.status?.host).toBeUndefined();
    expect(existsSync(suspendedFile())).toBe(true);
    here.bindTo = "b";
    await patch({ suspended: null });
    const again = await phase("Running");
    expect(again.status).toMatchObject({ host: "b", restarts: 0 });
    expect(again.status?.suspended).toBeUndefined();
    expect(await here.read()).toEqual([5, 5]);
    expect(existsSync(suspendedFile())).toBe(false);
    // What it went on with is not there any more: after an end it boots.
    await here.write(6);
    const { id } = await here.guest();
    here.world.crash(id);
    await here.estate.vm("web", (o) => o.status?.restarts === 1 && o.status.phase === "Running", "restarted");
    expect(await here.read()).toEqual([6, undefined]);
  });

  it("goes on as what it was, whatever spec says by now: that comes to it once it runs, or waits for the next start", async () => {
    await here.write(5);
    // Also what waits already when it is suspended.
    await patch({ bootOrder: ["disk"], cpus: 2 });
    await patch({ suspended: true });
    await phase("Suspended");
    await patch({ memory: "128Mi", disks: [{ name: "more", size: "1Gi" }] });
    await patch({ suspended: null });
    const vm = await here.estate.vm(
      "web",
      ({ status }) => status?.phase === "Running" && status.disks?.[0]?.made === true,
      "going on",
    );
    const { spec } = await here.estate.instance("web-2");
    expect(spec).toMatchObject({ cpus: 1, memory: "64Mi", disks: [{ name: "more" }] });
    expect(spec.bootOrder).toBeUndefined();
    expect(vm.status?.pendingChanges?.map(({ field }) => field)).toEqual(["cpus", "memory", "bootOrder"]);
    expect(await here.read()).toEqual([5, 5]);
  });

  it("boots when its memory is to be discarded; that cannot be said while it is kept", async () => {
    await here.write(5);
    await patch({ suspended: true });
    await phase("Suspended");
    await expect(patch({ discardMemory: true })).rejects.toThrow("may not be true while suspended is");
    await patch({ suspended: null, discardMemory: true });
    await phase("Running");
    expect(await here.read()).toEqual([5, undefined]);
    expect(existsSync(suspendedFile())).toBe(false);
  });

  it("that cannot go on says so and keeps its memory, until it can or boots", async () => {
    await here.write(5);
    await patch({ suspended: true });
    await phase("Suspended");
    const memory = here.world.memories.get(suspendedFile());
    here.world.memories.delete(suspendedFile());
    await patch({ suspended: null });
    const failed = await phase("Failed");
    expect(ready(failed)).toMatchObject({
      reason: "ResumeFailed",
      message: expect.stringContaining("its memory is kept: `vireo start vm/web` tries again"),
    });
    expect(failed.status?.suspended).toBeDefined();
    expect(existsSync(suspendedFile())).toBe(true);
    if (memory) here.world.memories.set(suspendedFile(), memory);
    await patch({ requests: { restart: "again" } });
    await phase("Running");
    expect(await here.read()).toEqual([5, 5]);
  });

  it("that was paused is paused when it goes on; a stop keeps its memory for the next start", async () => {
    await here.write(5);
    await patch({ paused: true });
    await phase("Paused");
    await patch({ suspended: true });
    await phase("Suspended");
    await patch({ running: false, suspended: null });
    await phase("Suspended");
    await patch({ running: true });
    await phase("Paused");
    expect((await here.guest("paused")).memory).toBe(5);
    await patch({ paused: null });
    await phase("Running");
    expect(await here.read()).toEqual([5, 5]);
  });

  it("that could not be saved runs on, and says why", async () => {
    await here.write(5);
    here.world.full = true;
    await patch({ suspended: true });
    const vm = await here.estate.vm("web", (o) => ready(o)?.reason === "SuspendFailed", "told");
    expect(vm.status?.phase).toBe("Suspending");
    expect(ready(vm)?.message).toContain("runs on: pretended: no room");
    expect(await here.read()).toEqual([5, 5]);
    await patch({ suspended: null });
    expect((await phase("Running")).status?.instance).toBe("web-1");
    expect(await events()).toContain("SuspendFailed");
  });

  it("is deleted with its memory", async () => {
    await patch({ suspended: true });
    await phase("Suspended");
    await here.estate.client.delete(VirtualMachine, at("web"));
    await untilGone(here.estate.client, VirtualMachine, at("web"));
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "with kill -9 at any step goes on exactly once, with the disks of that very instant (%i)",
    async (seed) => {
      await here.write(seed);
      await here.amid(
        patch({ suspended: true }).then(() => phase("Suspended")),
        seed,
      );
      expect([...here.world.machines.values()].filter(({ state }) => state !== "ended")).toEqual([]);
      here.bindTo = seed % 2 ? "b" : "a";
      await here.amid(
        patch({ suspended: null }).then(() => phase("Running")),
        seed + 1,
        ["a", "b"],
      );
      expect(await here.read()).toEqual([seed, seed]);
      await here.write(100);
      await here.amid(
        patch({ requests: { restart: "x" } }).then(() => phase("Running")),
        seed + 2,
        ["a", "b"],
      );
    },
  );

  it.each([1, 2, 3, 4])("taken back at any step runs on or goes on: nothing is lost (%i)", async (seed) => {
    await here.write(seed);
    await patch({ suspended: true });
    await new Promise((resolve) => setTimeout(resolve, 4 * seed));
    here.startAgent("a");
    await patch({ suspended: null });
    await here.estate.vm(
      "web",
      (vm) => vm.status?.phase === "Running" && vm.status.observedGeneration === vm.metadata.generation,
      "Running",
    );
    const { items } = await here.estate.client.list(Instance);
    expect(items.length).toBeGreaterThan(0);
    expect(await here.read()).toEqual([seed, seed]);
  });
});
