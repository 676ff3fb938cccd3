import { afterEach, describe, expect, it } from "vitest";
import { Image } from "../images/kinds.ts";
import { Event } from "../reconcile/kinds.ts";
import { getCondition } from "../resource/object.ts";
import { Host } from "./hosts/kinds.ts";
import { Instance, VirtualMachine, VOLUMES_FINALIZER } from "./kinds.ts";
import { StoragePool } from "./storage/kinds.ts";
import { until, untilGone } from "./testing/control-plane.ts";
import { createImage, type Estate, imageStatus, NS, openEstate } from "./testing/estate.ts";

let estate: Estate;
afterEach(() => estate.close());

const ready = (vm: VirtualMachine) => getCondition(vm.status?.conditions, "Ready");
const phase = (wanted: string) => (vm: VirtualMachine) => vm.status?.phase === wanted;
const at = (name: string) => ({ name, namespace: NS });

describe("VirtualMachine reconciler", () => {
  it("waits for image and network, says so, then makes instance 1 with addresses", async () => {
    estate = await openEstate({ image: false });
    await estate.createMachine("web", { networks: ["default", "more"] });
    const missing = await estate.vm("web", (vm) => ready(vm)?.reason === "ImageMissing");
    expect(missing.status?.phase).toBe("Pending");
    expect(ready(missing)?.message).toContain("image web (spec.image) does not exist");
    await estate.client.create(Image, { metadata: { name: "web" }, spec: { file: "web.qcow2" } });
    await imageStatus(estate.client, { phase: "Building", progress: "packages" });
    const building = await estate.vm("web", (vm) => ready(vm)?.message.includes("Building") ?? false);
    expect(ready(building)?.message).toBe("image web is not ready: Building");
    await imageStatus(estate.client, { phase: "Ready", file: "web.qcow2" });
    await estate.vm("web", (vm) => ready(vm)?.reason === "NetworkMissing");
    expect((await estate.client.list(Instance)).items).toEqual([]);
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    await estate.client.patch(VirtualMachine, at("web"), { spec: { networks: ["default"] } });
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: true } });
    const instance = await estate.instance("web-1");
    expect(instance.spec).toMatchObject({ vm: "web", cpus: 1, memory: "64Mi", image: "web", running: true });
    expect(instance.spec.predecessor).toBeUndefined();
    expect(instance.metadata.ownerReferences?.[0]).toMatchObject({ kind: "VirtualMachine", name: "web" });
    const vm = await estate.vm("web", (o) => o.status?.instance === "web-1");
    expect(vm.status).toMatchObject({ sequence: 1, phase: "Pending" });
    expect(vm.status?.interfaces?.[0]?.address).toBe("10.77.0.3");
    expect(vm.metadata.finalizers).toContain(VOLUMES_FINALIZER);
  });

  it("follows its instance: host, why, addresses; tells what the director says", async () => {
    estate = await openEstate();
    await estate.createMachine("web");
    await estate.instance("web-1");
    await estate.report("web-1", {
      conditions: [
        {
          type: "Scheduled",
          status: "False",
          reason: "Unschedulable",
          message: "needs 64Mi, no host has it",
          lastTransitionTime: new Date().toISOString(),
        },
      ],
    });
    await estate.vm("web", (vm) => ready(vm)?.message === "needs 64Mi, no host has it");
    await estate.bind("web-1", "a");
    await estate.report("web-1", { custody: "Held", phase: "Starting" });
    await estate.vm("web", phase("Starting"));
    await estate.report("web-1", { phase: "Running", addresses: ["10.77.0.3"] });
    const vm = await estate.vm("web", phase("Running"));
    expect(vm.status).toMatchObject({ host: "a", why: "a is best", addresses: ["10.77.0.3"] });
    expect(ready(vm)).toMatchObject({ status: "True", observedGeneration: vm.metadata.generation });
    await until("the event", async () =>
      (await estate.client.list(Event)).items.some(({ spec }) => spec.reason === "Running"),
    );
  });

  it("makes another run in place of one that cannot be made ready as it is, once spec is another", async () => {
    estate = await openEstate();
    await estate.createMachine("web", { bootOrder: ["network/default"] });
    await estate.instance("web-1");
    await estate.bind("web-1", "a");
    const refused = {
      type: "Ready",
      status: "False",
      reason: "PrepareFailed",
      message: "no such order",
    } as const;
    const lastTransitionTime = new Date().toISOString();
    await estate.report("web-1", {
      custody: "Held",
      phase: "Preparing",
      conditions: [{ ...refused, lastTransitionTime }],
    });
    await estate.vm("web", (vm) => ready(vm)?.reason === "PrepareFailed");
    await estate.client.patch(VirtualMachine, at("web"), { spec: { bootOrder: ["disk"] } });
    await estate.instance("web-1", (i) => !i.spec.running, "asked to stop");
    await estate.end("web-1", "Requested");
    expect((await estate.instance("web-2")).spec.bootOrder).toEqual(["disk"]);
    expect((await estate.vm("web")).status?.restarts).toBe(0);
  });

  it("gives a run the memory that its host has room for, although it has none for more CPUs", async () => {
    estate = await openEstate();
    await estate.runMachine("web", "a", { maxCpus: 8, maxMemory: "1Gi" });
    const { spec } = await estate.instance("web-1");
    await estate.report("web-1", {
      has: {
        ports: 8,
        disks: [],
        interfaces: spec.interfaces,
        cpus: { begun: 1, now: 1, most: 8 },
        memory: { begun: "64Mi", modules: [], most: "1Gi" },
      },
    });
    await estate.client.patch(VirtualMachine, at("web"), { spec: { cpus: 5, memory: "192Mi" } });
    const run = await estate.instance("web-1", (i) => i.spec.memory === "192Mi", "given memory");
    expect(run.spec.cpus).toBe(1);
    const told = await estate.vm("web", (vm) => vm.status?.pendingChanges?.length === 2, "telling both");
    expect(told.status?.pendingChanges?.map(({ field, reason }) => `${field}: ${reason}`)).toEqual([
      "cpus: host a has 4 of 4 CPUs free, the machine needs 5",
      "memory: is being tried",
    ]);
  });

  it("stops, starts again as instance 2 behind instance 1, and removes 1 once 2 has the disks", async () => {
    estate = await openEstate();
    await estate.runMachine("web", "a");
    await estate.report("web-1", { machineType: "pc-q35-7.2", guestCpu: "Westmere" });
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    await estate.instance("web-1", (i) => !i.spec.running);
    await estate.vm("web", phase("Stopping"));
    await estate.end("web-1", "Requested");
    const stopped = await estate.vm("web", phase("Stopped"));
    expect(stopped.status?.host).toBeUndefined();
    expect(stopped.status?.interfaces?.[0]?.address).toBe("10.77.0.3");
    await estate.restartReconcilers();
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: true } });
    const next = await estate.instance("web-2");
    // It stays the same machine, whatever the next host has newer.
    expect(next.spec).toMatchObject({
      predecessor: "web-1",
      machineType: "pc-q35-7.2",
      guestCpu: "Westmere",
    });
    await estate.bind("web-2", "b");
    await estate.report("web-2", { custody: "Held", phase: "Running" });
    await estate.finalize("web-1");
    await untilGone(estate.client, Instance, at("web-1"));
    expect((await estate.vm("web", phase("Running"))).status).toMatchObject({ host: "b", restarts: 0 });
  });

  it("restarts after a crash with back-off, but not after the guest's own shutdown", async () => {
    estate = await openEstate();
    await estate.runMachine("web", "a");
    await estate.end("web-1", "Crashed", "signal 11");
    await estate.vm("web", (vm) => ready(vm)?.reason === "BackOff");
    await estate.instance("web-2");
    const vm = await estate.vm("web", (o) => o.status?.instance === "web-2");
    expect(vm.status).toMatchObject({ restarts: 1, lastEnd: { reason: "Crashed", message: "signal 11" } });
    await estate.bind("web-2", "a");
    await estate.report("web-2", { custody: "Held", phase: "Running" });
    await estate.end("web-2", "GuestShutdown");
    const down = await estate.vm("web", phase("Stopped"));
    expect(ready(down)?.reason).toBe("GuestShutdown");
    // Only after somebody said stop and start.
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    await estate.instance("web-2", (i) => !i.spec.running);
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: true } });
    await estate.instance("web-3");
  });

  it("hands a changed share of the host to the run at once", async () => {
    estate = await openEstate();
    await estate.runMachine("web", "a");
    const patch = (resources: unknown) =>
      estate.client.patch(VirtualMachine, at("web"), { spec: { resources } });
    await patch({ cpuWeight: 50 });
    await estate.instance("web-1", ({ spec }) => spec.resources?.cpuWeight === 50);
    await patch(null);
    await estate.instance("web-1", ({ spec }) => spec.resources === undefined);
  });

  it("stays failed with restart: Never", async () => {
    estate = await openEstate();
    await estate.runMachine("web", "a", { restart: "Never" });
    await estate.end("web-1", "Killed", "out of memory");
    const vm = await estate.vm("web", phase("Failed"));
    expect(ready(vm)?.message).toContain("out of memory");
    expect((await estate.client.list(Instance)).items).toHaveLength(1);
  });

  it("calls a machine on a silent host Unknown, and never starts it elsewhere", async () => {
    estate = await openEstate();
    await estate.runMachine("web", "a");
    await estate.hostReady("a", "Unknown");
    const vm = await estate.vm("web", phase("Unknown"));
    expect(vm.status?.host).toBe("a");
    expect(ready(vm)).toMatchObject({ status: "Unknown", reason: "HostSilent" });
    await estate.restartReconcilers();
    await estate.hostReady("b", "Unknown");
    await estate.hostReady("a", "True");
    await estate.vm("web", phase("Running"));
    expect((await estate.client.list(Instance)).items).toHaveLength(1);
  });

  it("deletes: stops first, lets the last agent destroy the volumes, then goes", async () => {
    estate = await openEstate();
    await estate.runMachine("web", "a");
    await estate.client.delete(VirtualMachine, at("web"));
    const stopping = await estate.instance("web-1", (i) => !i.spec.running);
    expect(stopping.metadata.deletionTimestamp).toBeUndefined();
    expect(stopping.spec.destroyVolumes).toBeUndefined();
    await estate.end("web-1", "Requested");
    await estate.instance("web-1", (i) => i.spec.destroyVolumes === true, "destroyVolumes");
    await estate.restartReconcilers();
    await estate.finalize("web-1");
    await untilGone(estate.client, VirtualMachine, at("web"));
    // Its neighbours may take its address for its MAC still.
    await estate.createMachine("next");
    const next = await estate.vm("next", (o) => o.status?.interfaces !== undefined);
    expect(next.status?.interfaces?.[0]?.address).toBe("10.77.0.4");
  });

  describe("of a host that was taken out", () => {
    const stopOn = async (name: string, host: string, spec = {}) => {
      await estate.runMachine(name, host, spec);
      await estate.client.patch(VirtualMachine, at(name), { spec: { running: false } });
      await estate.instance(`${name}-1`, (i) => !i.spec.running, "asked to stop");
      await estate.end(`${name}-1`, "Requested");
      await estate.vm(name, phase("Stopped"));
    };
    const takeOut = async (host: string) => {
      await estate.hostReady(host, "Unknown");
      await estate.client.delete(Host, { name: host });
    };

    it("has another host destroy the disks in a shared pool when the machine is deleted, once one is heard", async () => {
      estate = await openEstate();
      await stopOn("web", "a");
      await takeOut("a");
      for (const name of ["b", "c"]) await estate.hostReady(name, "Unknown");
      await estate.client.delete(VirtualMachine, at("web"));
      const waiting = await estate.instance("web-1", (i) => i.metadata.deletionTimestamp !== undefined);
      expect(waiting.spec).toMatchObject({ host: "a", destroyVolumes: true });
      await estate.hostReady("c", "True");
      await estate.restartReconcilers();
      await estate.instance("web-1", (i) => i.spec.host === "c", "bound to c");
      await estate.finalize("web-1");
      await untilGone(estate.client, VirtualMachine, at("web"));
    });

    it("lets a machine go whose disks went with the host", async () => {
      estate = await openEstate();
      await estate.client.create(StoragePool, {
        metadata: { name: "local" },
        spec: { directory: { path: "/var/lib/local", shared: false } },
      });
      await stopOn("web", "a", { storagePool: "local" });
      await estate.client.delete(VirtualMachine, at("web"));
      await estate.instance("web-1", (i) => i.spec.destroyVolumes === true, "destroyVolumes");
      await takeOut("a");
      await untilGone(estate.client, VirtualMachine, at("web"));
    });

    it("lets a run go that a newer one elsewhere has taken the place of", async () => {
      estate = await openEstate();
      await stopOn("web", "a");
      await takeOut("a");
      await estate.client.patch(VirtualMachine, at("web"), { spec: { running: true } });
      await estate.instance("web-2");
      await estate.bind("web-2", "b");
      await estate.report("web-2", { custody: "Held", phase: "Running" });
      await untilGone(estate.client, Instance, at("web-1"));
      const moved = estate.client.patch(Instance, at("web-2"), { spec: { host: "c" } });
      await expect(moved).rejects.toThrow("field is immutable once set");
    });
  });

  it("keeps its volumes' finalizer while it has runs, whoever writes it away", async () => {
    estate = await openEstate();
    await estate.runMachine("web", "a");
    const keeps = (vm: VirtualMachine) => vm.metadata.finalizers?.includes(VOLUMES_FINALIZER) ?? false;
    await estate.client.patch(VirtualMachine, at("web"), { metadata: { finalizers: ["example.com/mine"] } });
    const kept = await estate.vm("web", keeps);
    expect(kept.metadata.finalizers).toEqual(["example.com/mine", VOLUMES_FINALIZER]);
    await estate.client.patch(VirtualMachine, at("web"), { metadata: { finalizers: null } });
    await estate.vm("web", keeps);
    await estate.client.delete(VirtualMachine, at("web"));
    await estate.end("web-1", "Requested");
    await estate.instance("web-1", (i) => i.spec.destroyVolumes === true, "destroyVolumes");
    await estate.finalize("web-1");
    await untilGone(estate.client, VirtualMachine, at("web"));
  });

  it("takes an instance away that has no host yet; it cannot be bound afterwards", async () => {
    estate = await openEstate();
    await estate.createMachine("web");
    await estate.instance("web-1");
    await estate.client.delete(VirtualMachine, at("web"));
    await untilGone(estate.client, Instance, at("web-1"));
    await untilGone(estate.client, VirtualMachine, at("web"));
    await createImage(estate.client).catch(() => undefined);
  });

  it("gives each of many machines its own address, whoever asks at once", async () => {
    estate = await openEstate();
    await Promise.all(Array.from({ length: 30 }, (_, i) => estate.createMachine(`m${i}`)));
    const addresses = await Promise.all(
      Array.from({ length: 30 }, async (_, i) => {
        const vm = await estate.vm(`m${i}`, (o) => o.status?.interfaces !== undefined);
        return vm.status?.interfaces?.[0]?.address;
      }),
    );
    expect(new Set(addresses).size).toBe(30);
  });
});
