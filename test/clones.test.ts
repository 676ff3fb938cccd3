/** Clones through the real API, reconcilers and agent, over pretended guests whose disks tell what was written last; with kill -9 of both. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { VirtualMachine } from "../src/compute/kinds.ts";
import { Snapshot } from "../src/compute/snapshots/kinds.ts";
import { until, untilGone, untilObject } from "../src/compute/testing/control-plane.ts";
import { type Estate, NS } from "../src/compute/testing/estate.ts";
import { Event } from "../src/reconcile/kinds.ts";
import { isApiError } from "../src/resource/errors.ts";
import { getCondition } from "../src/resource/object.ts";
import { PretendHost } from "./support/pretend-host.ts";

let host: PretendHost;
let estate: Estate;
type Source = NonNullable<VirtualMachine["spec"]["source"]>;

const at = (name: string) => ({ name, namespace: NS });
const running = (name: string) => estate.vm(name, (vm) => vm.status?.phase === "Running", "Running");
const clone = (name: string, source: Partial<Source>, more: Partial<VirtualMachine["spec"]> = {}) =>
  estate.createMachine(name, { readiness: {}, source: { mode: "Linked", ...source }, ...more });
const cloned = async (name: string, source: Partial<Source>) => {
  await clone(name, source);
  return running(name);
};
const take = async (name: string, more: Partial<Snapshot["spec"]> = {}) => {
  await estate.client.create(Snapshot, { metadata: at(name), spec: { vm: "web", quiesce: true, ...more } });
  const is = ({ status }: Snapshot) => status?.phase === "Ready";
  return untilObject(estate.client, Snapshot, at(name), "Ready", is);
};
const remove = <K extends typeof VirtualMachine | typeof Snapshot>(kind: K, name: string) =>
  estate.client.delete(kind as typeof Snapshot, at(name)).then(
    () => "deleted",
    (error: unknown) => (isApiError(error, "Forbidden") ? error.message : String(error)),
  );
const hasCloned = (conditions: Parameters<typeof getCondition>[0], status: string) =>
  getCondition(conditions, "Cloned")?.status === status;
const message = (name: string, part: string) =>
  estate.vm(name, (vm) => vm.status?.source?.message.includes(part) ?? false, part);

beforeEach(async () => {
  host = await PretendHost.open();
  ({ estate } = host);
  await estate.createMachine("web", { readiness: {} });
  await running("web");
  await host.write(1);
});
afterEach(async () => {
  await host.close();
  expect(host.world.violations).toEqual([]);
});

describe("a clone", () => {
  it("of a running machine has its disk as it was then, and writes to its own; its template goes with it", async () => {
    const { status } = await cloned("copy", { vm: "web" });
    expect(status?.source).toMatchObject({ mode: "Linked", vm: "web", snapshot: "copy-source", ready: true });
    await host.write(2);
    expect(await host.read("copy")).toBe(1);
    await host.write(3, "copy");
    expect(await host.read()).toBe(2);

    const refused = "used by default/copy: their disks are linked to it (spec.source); delete them first";
    expect(await remove(VirtualMachine, "web")).toContain(refused);
    expect(await remove(Snapshot, "copy-source")).toContain(refused);
    expect(await remove(VirtualMachine, "copy")).toBe("deleted");
    await untilGone(estate.client, VirtualMachine, at("copy"));
    await untilGone(estate.client, Snapshot, at("copy-source"));
    expect(await host.read()).toBe(2);
    expect(await remove(VirtualMachine, "web")).toBe("deleted");
    await untilGone(estate.client, VirtualMachine, at("web"));
  });

  it("of a snapshot makes that a template: nothing is merged into what clones read", async () => {
    await take("old");
    await host.write(2);
    await take("golden");
    await host.write(3);
    await cloned("copy", { snapshot: "golden" });
    expect((await estate.client.get(Snapshot, at("golden")))?.spec.template).toBe(true);
    const below = (await host.runs("copy")).config.disks[0]?.path ?? "";
    // "old" was between the image and what the clone reads.
    expect(await remove(Snapshot, "old")).toBe("deleted");
    await untilGone(estate.client, Snapshot, at("old"));
    expect(await host.read("copy")).toBe(2);
    expect(below).not.toBe("");
    expect(await remove(VirtualMachine, "copy")).toBe("deleted");
    await untilGone(estate.client, VirtualMachine, at("copy"));
    // Not made for a clone: it stays.
    expect(await remove(Snapshot, "golden")).toBe("deleted");
    await untilGone(estate.client, Snapshot, at("golden"));
    expect(await host.read()).toBe(3);
  });

  it("in full needs nothing of its source once it has been copied", async () => {
    await cloned("copy", { vm: "web", mode: "Full" });
    await untilGone(estate.client, Snapshot, at("copy-source"));
    expect((await estate.vm("copy")).status?.source).toMatchObject({ mode: "Full", independent: true });
    expect(await remove(VirtualMachine, "web")).toBe("deleted");
    await untilGone(estate.client, VirtualMachine, at("web"));
    expect(await host.read("copy")).toBe(1);
  });

  it("of a clone, and again", async () => {
    await cloned("one", { vm: "web" });
    await host.write(2, "one");
    await cloned("two", { vm: "one" });
    expect(await host.read("two")).toBe(2);
    expect(await remove(VirtualMachine, "one")).toContain("used by default/two");
  });

  it("instant goes on with the memory of its source, as somebody else; so do others of the same template", async () => {
    await host.think(11);
    const one = await cloned("one", { vm: "web", mode: "Instant" });
    expect([await host.read("one"), await host.thinks("one")]).toEqual([1, 11]);
    // Its kernel is told that it is another one.
    const generation = async (name: string) => (await host.runs(name)).config.generationId;
    expect([await generation("one"), await generation("web")]).toEqual([
      one.metadata.uid,
      (await estate.vm("web")).metadata.uid,
    ]);
    expect(getCondition(one.status?.conditions, "Cloned")).toMatchObject({
      status: "True",
      reason: "Resumed",
    });
    await host.think(22);
    await cloned("two", { snapshot: "one-source", mode: "Instant" });
    expect([await host.read("two"), await host.thinks("two")]).toEqual([1, 11]);
    // Once: the next run boots.
    const [id] = [...host.world.machines].find(([, m]) => m.config.name === "two-1") ?? [];
    if (id) host.world.crash(id);
    await estate.vm("two", (vm) => vm.status?.phase === "Running" && vm.status.restarts === 1, "restarted");
    expect([await host.read("two"), await host.thinks("two")]).toEqual([1, undefined]);
    // The template stays for the other.
    await estate.client.delete(VirtualMachine, at("one"));
    await untilGone(estate.client, VirtualMachine, at("one"));
    expect(await remove(Snapshot, "one-source")).toContain("used by default/two");
    await estate.client.delete(VirtualMachine, at("two"));
    await untilGone(estate.client, Snapshot, at("one-source"));
  });

  it("that cannot be instant is linked, and says why", async () => {
    await take("cold");
    const one = await cloned("one", { snapshot: "cold", mode: "Instant" });
    expect(one.status?.source).toMatchObject({ mode: "Linked" });
    expect(one.status?.source?.message).toContain("linked, not instant: snapshot cold has no memory");
    await take("warm", { memory: true });
    await clone("two", { snapshot: "warm", mode: "Instant" }, { memory: "128Mi" });
    expect((await running("two")).status?.source?.message).toContain(
      "the memory is of a machine with 64Mi of memory (spec.memory is 128Mi)",
    );
  });

  it("whose template's memory cannot be loaded boots at once, linked, and says why", async () => {
    await host.think(11);
    const { metadata } = await take("warm", { memory: true });
    for (const file of [...host.world.memories.keys()])
      if (file.endsWith(`${metadata.uid}.memory`)) host.world.memories.delete(file);
    const one = await cloned("one", { snapshot: "warm", mode: "Instant" });
    expect([await host.read("one"), await host.thinks("one")]).toEqual([1, undefined]);
    expect(one.status?.restarts).toBe(0);
    expect(getCondition(one.status?.conditions, "Cloned")).toMatchObject({
      status: "False",
      reason: "Linked",
      message: expect.stringMatching(
        /it boots: it could not go on with the memory of its template: .*no memory/,
      ),
    });
    // What it has become, not what was asked for.
    const { spec, status } = await estate.vm("one", (vm) => vm.status?.source?.mode === "Linked", "linked");
    expect(spec.source?.mode).toBe("Instant");
    expect(status?.source).toMatchObject({
      snapshot: "warm",
      ready: true,
      message: expect.stringMatching(/^of web as in snapshot warm; linked, not instant: it could not go on/),
    });
  });

  it("that is cut short just before its guest runs is instant all the same, and says so", async () => {
    await host.think(11);
    let faults = 0;
    host.world.fault = (call, when) => {
      if (call === "resume" && when === "before" && faults++ === 0) throw new Error("QEMU does not answer");
    };
    await cloned("one", { vm: "web", mode: "Instant" });
    expect(faults).toBeGreaterThan(1);
    expect([await host.read("one"), await host.thinks("one")]).toEqual([1, 11]);
    const told = await estate.vm("one", ({ status }) => hasCloned(status?.conditions, "True"), "Cloned");
    expect(told.status?.source).toMatchObject({
      mode: "Instant",
      message: "of web as in snapshot one-source",
    });
    const { items } = await estate.client.list(Event, { namespace: NS });
    expect(items.filter(({ spec }) => spec.reason === "NotInstant")).toEqual([]);
  });

  it("instant is asked again to become somebody else where its guest could not: two attempts may have met in a slow one", async () => {
    await host.think(11);
    host.world.refusals = 2;
    const one = await cloned("one", { vm: "web", mode: "Instant" });
    expect(await host.thinks("one")).toBe(11);
    expect(one.status?.source?.mode).toBe("Instant");
    // Not for ever: one that cannot boots.
    host.world.refusals = 100;
    const two = await cloned("two", { snapshot: "one-source", mode: "Instant" });
    expect(await host.thinks("two")).toBeUndefined();
    expect(getCondition(two.status?.conditions, "Cloned")).toMatchObject({
      status: "False",
      message: expect.stringContaining("could not be given its own identity: RTNETLINK answers: File exists"),
    });
  });

  it("instant finds nothing in its memory that its source's guest was still to answer", async () => {
    const { machines, saving, whileSaving } = host.world;
    let finish = () => {};
    const done = new Promise<void>((resolve) => {
      finish = resolve;
    });
    host.world.copying = { now: { transferredBytes: 0, remainingBytes: 9 }, done };
    const one = cloned("one", { vm: "web", mode: "Instant" });
    await until("some looks at it", async () => {
      for (const id of machines.keys()) if (saving.has(id)) host.world.set(id, {});
      return whileSaving.looks >= 5;
    });
    finish();
    host.world.copying = undefined;
    await one;
    expect(whileSaving.asked).toEqual([]);
  });

  it("says what it waits for, and goes on when it is there", async () => {
    await clone("early", { snapshot: "later" });
    await message("early", "waits for snapshot later (spec.source.snapshot), which does not exist");
    await take("later");
    await running("early");
    await clone("lost", { vm: "nobody" });
    await message("lost", "waits for machine nobody (spec.source.vm), which does not exist");
    await estate.createMachine("never", { running: false });
    await clone("empty", { vm: "never" });
    await message("empty", "never has no disks yet: it has never run");
  });

  it("is refused when it cannot be: two sources, itself, another image, a change", async () => {
    const why = (name: string, source: Partial<Source>, more: Partial<VirtualMachine["spec"]> = {}) =>
      clone(name, source, more).then(
        () => "made",
        (error: unknown) => (error instanceof Error ? error.message : ""),
      );
    expect(await why("x", { vm: "web", snapshot: "s" })).toContain("spec.source.snapshot");
    expect(await why("x", { vm: "x" })).toContain("a machine cannot be a clone of itself");
    expect(await why("x", { mode: "Instant" })).toContain("it has no memory; say Full");
    expect(await why("x", { vm: "web" }, { image: "db" })).toContain(
      "spec.image: Forbidden: the disks of web are made from image web; say so here, too",
    );
    await cloned("y", { vm: "web" });
    const changed = estate.client.patch(VirtualMachine, at("y"), { spec: { source: { mode: "Full" } } });
    await expect(changed).rejects.toThrow(/cannot be changed/);
  });
});

describe("kill -9", () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    "of agent and control plane at any step: clones come to be, as themselves, and go without a trace (%i)",
    async (seed) => {
      await host.think(11);
      await host.amid(cloned("linked", { vm: "web" }), seed);
      await host.amid(cloned("instant", { vm: "web", mode: "Instant" }), seed + 1);
      await host.amid(cloned("full", { snapshot: "linked-source", mode: "Full" }), seed + 2);
      await host.write(2);
      for (const name of ["linked", "instant", "full"]) expect(await host.read(name)).toBe(1);
      // An agent that died between loading and running may have to boot it.
      expect([11, undefined]).toContain(await host.thinks("instant"));
      const gone = async () => {
        for (const name of ["linked", "instant"]) {
          await estate.client.delete(VirtualMachine, at(name));
          await untilGone(estate.client, VirtualMachine, at(name));
          await untilGone(estate.client, Snapshot, at(`${name}-source`));
        }
      };
      await host.amid(gone(), seed + 3);
      expect([await host.read(), await host.read("full")]).toEqual([2, 1]);
    },
  );
});
