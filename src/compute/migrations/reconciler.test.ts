import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { overriding } from "../../client/testing/overriding.ts";
import { Policy } from "../../director/kinds.ts";
import { Plan } from "../../director/planning/kinds.ts";
import { Host } from "../hosts/kinds.ts";
import { Instance, VirtualMachine } from "../kinds.ts";
import { until, untilGone, untilObject } from "../testing/control-plane.ts";
import { type Estate, NS, openEstate } from "../testing/estate.ts";
import { Migration } from "./kinds.ts";

let estate: Estate;
beforeEach(async () => {
  estate = await openEstate();
  await estate.runMachine("web", "a");
});
afterEach(() => estate.close());

const at = (name: string) => ({ name, namespace: NS });
const move = (name: string, to = "b") =>
  estate.client.create(Migration, {
    metadata: at(name),
    spec: { vm: "web", to, reason: "b is better" },
  });
const migration = (name: string, phase: string) =>
  untilObject(estate.client, Migration, at(name), phase, (m) => m.status?.phase === phase);

/** Plays both agents up to the flip. `between` runs before each write of an agent. */
async function play(between: () => Promise<void> = async () => undefined) {
  await move("m");
  const target = await estate.instance("web-2");
  expect(target.spec).toMatchObject({ incoming: true, predecessor: "web-1", host: "b" });
  await between();
  await estate.report("web-2", { phase: "Incoming", custody: "None", incomingAddress: "tcp:10.0.0.2:4444" });
  const source = await estate.instance("web-1", (i) => i.spec.migrateTo !== undefined, "told to migrate");
  expect(source.spec.migrateTo).toMatchObject({ instance: "web-2", address: "tcp:10.0.0.2:4444" });
  await between();
  await migration("m", "Running");
  await estate.vm("web", (vm) => vm.status?.phase === "Migrating", "Migrating");
  await between();
}

async function flip(between: () => Promise<void> = async () => undefined) {
  await estate.report("web-1", {
    phase: "HandedOver",
    custody: "Released",
    migration: { to: "web-2", phase: "Completed", downtimeMs: 42 },
  });
  await between();
  await estate.report("web-2", { custody: "Held", phase: "Running" });
}

describe("Migration reconciler", () => {
  it("gives what users asked for to its machine, keeps of what is over the newest ten, and nothing of an earlier machine", async () => {
    const { client } = estate;
    const names = async () =>
      (await client.list(Migration)).items.map(({ metadata }) => metadata.name).sort();
    const moves = [{ namespace: NS, vm: "web", from: "a", to: "b", reason: "played", expected: "" }];
    const plan = await client.create(Plan, {
      metadata: { name: "p" },
      spec: { trigger: "played", automation: "act", moves },
    });
    const plans = { apiVersion: "vireo.dev/v1", kind: "Plan", name: "p", uid: plan.metadata.uid ?? "" };
    const ended = async (i: number, more: { vm?: string; ownerReferences?: (typeof plans)[] } = {}) => {
      const { vm = "web", ownerReferences } = more;
      const name = `m${i}`;
      const metadata = { ...at(name), ...(ownerReferences ? { ownerReferences } : {}) };
      await client.create(Migration, { metadata, spec: { vm, to: "b" } });
      const finishedTime = new Date(1e12 + i * 1000).toISOString();
      await client.patch(
        Migration,
        at(name),
        { status: { phase: "Succeeded", finishedTime } },
        { subresource: "status" },
      );
    };
    await estate.stopReconcilers();
    await ended(10, { ownerReferences: [plans] });
    for (let i = 11; i < 23; i++) await ended(i);
    await ended(30, { vm: "later" });
    // Times of objects are in whole seconds.
    await until("the next second", async () => Date.now() % 1000 < 50);
    await estate.startReconcilers();
    await estate.createMachine("later");
    const kept = ["m10", ...Array.from({ length: 10 }, (_, i) => `m${i + 13}`)];
    await until(
      "the others going",
      async () => JSON.stringify(await names()) === JSON.stringify(kept),
      names,
    );
    const uid = (await estate.vm("web")).metadata.uid;
    const owned = (name: string) =>
      untilObject(client, Migration, at(name), "owned", (m) => m.metadata.ownerReferences?.length === 1);
    expect((await owned("m22")).metadata.ownerReferences?.[0]).toMatchObject({ kind: "VirtualMachine", uid });
    expect((await owned("m10")).metadata.ownerReferences).toEqual([plans]);
  });

  it("waits, and says so, while the disks of the machine are worked on", async () => {
    const claim = (disksBusy: unknown) =>
      estate.client.patch(VirtualMachine, at("web"), { status: { disksBusy } }, { subresource: "status" });
    await claim({ action: "Delete", name: "s1", uid: "8b0e5f8e-6f0c-4a1c-9a67-1c7a3f9f3c11" });
    await move("m");
    const told = "waits: its disks are being worked on (Delete of s1)";
    await untilObject(estate.client, Migration, at("m"), told, (m) => m.status?.message === told);
    expect((await estate.vm("web")).status?.phase).toBe("Running");
    // As if it had waited for long: that is no time in which the target could have prepared itself.
    const longAgo = { status: { startedTime: "2026-01-01T00:00:00Z" } };
    await estate.client.patch(Migration, at("m"), longAgo, { subresource: "status" });
    await claim(null);
    await estate.instance("web-2");
    await migration("m", "Preparing");
    await estate.report("web-2", { phase: "Incoming", custody: "None", incomingAddress: "tcp:10.0.0.2:1" });
    await estate.instance("web-1", (i) => i.spec.migrateTo !== undefined, "told to migrate");
  });

  for (const crashing of [false, true])
    it(`moves a machine${crashing ? ", killed and started again at every step" : ""}`, async () => {
      const between = crashing ? () => estate.restartReconcilers() : undefined;
      await play(between);
      await flip(between);
      const done = await migration("m", "Succeeded");
      expect(done.status).toMatchObject({ source: "web-1", target: "web-2", from: "a", downtimeMs: 42 });
      await estate.finalize("web-1");
      await untilGone(estate.client, Instance, at("web-1"));
      const vm = await estate.vm("web", (o) => o.status?.phase === "Running");
      expect(vm.status).toMatchObject({ host: "b", instance: "web-2", why: "b is better", sequence: 2 });
    });

  it("is sent as it says itself, and else as the policies of its machine say", async () => {
    const policy = (name: string, priority: number, labels: Record<string, string>, transfer: object) =>
      estate.client.create(Policy, {
        metadata: at(name),
        spec: { selector: { matchLabels: labels }, priority, transfer },
      });
    await policy("all", 0, {}, { bandwidth: "100Mi", downtimeMs: 500 });
    await policy("more", 1, {}, { bandwidth: "200Mi" });
    await policy("others", 2, { not: "this" }, { bandwidth: "1Mi" });
    const metadata = at("m");
    await estate.client.create(Migration, {
      metadata,
      spec: { vm: "web", to: "b", transfer: { downtimeMs: 20 } },
    });
    await estate.instance("web-2");
    const incomingAddress = "tcp:10.0.0.2:4444";
    await estate.report("web-2", { phase: "Incoming", custody: "None", incomingAddress });
    const source = await estate.instance("web-1", (i) => i.spec.migrateTo !== undefined, "told to migrate");
    expect(source.spec.migrateTo?.transfer).toEqual({ bandwidth: "200Mi", downtimeMs: 20, postCopy: false });
    // As it begins: what is to be sent of its memory, over what may be used of the link.
    const begun = await estate.client.get(Migration, metadata);
    expect(begun?.status).toMatchObject({ toSendBytes: 64 * 2 ** 20, linkMbps: 1000 });
    const sending = { to: "web-2", phase: "Active", stage: "Memory" } as const;
    await estate.report("web-1", {
      migration: { ...sending, transferredBytes: 30, remainingBytes: 20, secondsLeft: 2 },
    });
    await untilObject(estate.client, Migration, metadata, "told", (m) => m.status?.secondsLeft === 2);
    // When that is not known any more, the old figure does not stand there for ever.
    await estate.report("web-1", { migration: { ...sending, transferredBytes: 40, remainingBytes: 20 } });
    const told = await untilObject(
      estate.client,
      Migration,
      metadata,
      "told",
      (m) => m.status?.memory?.transferredBytes === 40,
    );
    expect(told.status).not.toHaveProperty("secondsLeft");
  });

  it("is called off before the flip: order taken back, target deleted, machine stays", async () => {
    await play();
    await estate.report("web-1", {
      migration: { to: "web-2", phase: "Active", stage: "Memory", secondsLeft: 2 },
    });
    await untilObject(estate.client, Migration, at("m"), "told", (m) => m.status?.secondsLeft === 2);
    await estate.client.patch(Migration, at("m"), { spec: { cancel: true } });
    const source = await estate.instance("web-1", (i) => i.spec.migrateTo === undefined, "order taken back");
    expect(source.status?.custody).toBe("Held");
    await estate.finalize("web-2");
    const { status } = await migration("m", "Cancelled");
    // Nothing is left of it.
    expect(status).not.toHaveProperty("secondsLeft");
    const vm = await estate.vm("web", (o) => o.status?.phase === "Running");
    expect(vm.status).toMatchObject({ host: "a", instance: "web-1" });
  });

  it("is not called off after the flip", async () => {
    await play();
    await estate.stopReconcilers();
    await flip();
    await estate.client.patch(Migration, at("m"), { spec: { cancel: true } });
    await estate.restartReconcilers();
    await migration("m", "Succeeded");
  });

  /** The source's word before it lets the guest go on there, the rest of its memory behind it. */
  const postCopyBegins = () =>
    estate.report("web-1", { migration: { to: "web-2", phase: "Active", stage: "PostCopy" } });

  it("is not called off once post-copy begins: part of the memory may be at either end", async () => {
    await play();
    await postCopyBegins();
    await estate.client.patch(Migration, at("m"), { spec: { cancel: true } });
    const told = "goes on at b: it is too late to call it off";
    await untilObject(estate.client, Migration, at("m"), told, (m) => m.status?.message === told);
    expect((await estate.instance("web-1")).spec.migrateTo?.instance).toBe("web-2");
    await flip();
    const { status } = await migration("m", "Succeeded");
    expect(status?.message).toBe("runs on b; it was too late to call it off");
  });

  it("of a machine that is stopped once post-copy begins goes on all the same: its guest shuts down over there", async () => {
    await play();
    await postCopyBegins();
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    await estate.instance("web-1", (i) => !i.spec.running, "told to stop");
    await estate.restartReconcilers();
    await flip();
    await migration("m", "Succeeded");
    expect((await estate.instance("web-2")).spec).toMatchObject({ running: false, host: "b" });
  });

  it("that is deleted once post-copy begins goes on all the same", async () => {
    await play();
    await postCopyBegins();
    await estate.client.delete(Migration, at("m"));
    await untilGone(estate.client, Migration, at("m"));
    await estate.restartReconcilers();
    await flip();
    await estate.finalize("web-1");
    const vm = await estate.vm("web", (o) => o.status?.phase === "Running");
    expect(vm.status).toMatchObject({ host: "b", instance: "web-2" });
  });

  it("fails when its target goes in the middle of post-copy", async () => {
    await play();
    await postCopyBegins();
    await estate.end("web-2", "MigrationFailed", "no route");
    expect((await migration("m", "Failed")).status?.message).toContain("no route");
  });

  it("fails with the reasons of both ends; a second one may follow when the target is gone", async () => {
    await play();
    await estate.report("web-1", { migration: { to: "web-2", phase: "Failed", error: "connection reset" } });
    const failed = await migration("m", "Failed");
    expect(failed.status?.message).toContain("connection reset");
    await move("m2", "c");
    const waiting = await untilObject(estate.client, Migration, at("m2"), "waiting", (m) =>
      Boolean(m.status?.message?.includes("web-2")),
    );
    expect(waiting.status?.phase).toBe("Pending");
    await estate.finalize("web-2");
    expect((await estate.instance("web-3")).spec).toMatchObject({ predecessor: "web-1", host: "c" });
  });

  it("waits for what the other end tells of the failure, whichever fails first", async () => {
    await play();
    await estate.end("web-2", "MigrationFailed", "Size mismatch: pc.ram");
    await estate.report("web-1", { migration: { to: "web-2", phase: "Failed", error: "Broken pipe" } });
    const { status } = await migration("m", "Failed");
    expect(status?.message).toBe("a could not send it: Broken pipe (MigrationFailed: Size mismatch: pc.ram)");
  });

  it("goes where the director says when no host was named, or ends with its reason", async () => {
    await estate.client.create(Migration, { metadata: at("m"), spec: { vm: "web" } });
    const waits = (m: Migration) => m.status?.message === "waits for the director to choose a host";
    await untilObject(estate.client, Migration, at("m"), "waiting", waits);
    await estate.client.patch(Migration, at("m"), { spec: { to: "b", reason: "b is best" } });
    expect((await estate.instance("web-2")).spec).toMatchObject({
      host: "b",
      placement: { reason: "b is best" },
    });
    await expect(estate.client.patch(Migration, at("m"), { spec: { to: "c" } })).rejects.toThrow(/immutable/);
    await expect(estate.client.patch(Migration, at("m"), { spec: { reason: "x" } })).rejects.toThrow(
      /immutable/,
    );
  });

  it("source crashes before the flip: target goes, the machine starts again cold", async () => {
    await play();
    await estate.end("web-1", "Crashed");
    await migration("m", "Failed");
    await estate.finalize("web-2");
    const cold = await estate.instance("web-3");
    expect(cold.spec.incoming).toBeUndefined();
    expect(cold.spec.predecessor).toBeDefined();
  });

  it("target dies after the flip: the machine starts again cold", async () => {
    await play();
    await estate.report("web-1", { phase: "HandedOver", custody: "Released" });
    await estate.end("web-2", "Crashed");
    await migration("m", "Failed");
    const cold = await estate.instance("web-3");
    expect(cold.spec.predecessor).toBe("web-2");
  });

  it("deleted midway, it is called off", async () => {
    await play();
    await estate.client.delete(Migration, at("m"));
    await estate.instance("web-1", (i) => i.spec.migrateTo === undefined, "order taken back");
    await estate.finalize("web-2");
    await estate.vm("web", (o) => o.status?.phase === "Running" && o.status.host === "a");
  });

  it("stopping the machine ends it", async () => {
    await play();
    await estate.client.patch(VirtualMachine, at("web"), { spec: { running: false } });
    expect((await migration("m", "Failed")).status?.message).toContain("stopped");
    await estate.finalize("web-2");
    await estate.end("web-1", "Requested");
    await estate.vm("web", (o) => o.status?.phase === "Stopped");
  });

  it.each([
    ["a", "runs on a already"],
    ["c", "host c is not ready: played"],
  ])("to %s: %s", async (to, message) => {
    await estate.hostReady("c", "Unknown");
    await move("m", to);
    expect((await migration("m", "Failed")).status?.message).toContain(message);
    expect((await estate.client.list(Instance)).items).toHaveLength(1);
  });

  it("to a host that there is not is refused at once, and fails where it went meanwhile", async () => {
    await expect(move("m", "nowhere")).rejects.toThrow(
      'spec.to: Invalid value: "nowhere": there is no such host; kubectl get hosts lists those that there are',
    );
    await estate.stopReconcilers();
    await move("m", "c");
    await estate.client.delete(Host, { name: "c" });
    await estate.startReconcilers();
    expect((await migration("m", "Failed")).status?.message).toBe("host c (spec.to) does not exist");
  });

  it("refuses a host without the memory", async () => {
    await estate.runMachine("big", "b", { memory: "1000Mi" });
    await move("m");
    expect((await migration("m", "Failed")).status?.message).toBe(
      "host b has 24Mi of 1Gi memory free, the machine needs 64Mi",
    );
  });

  it("counts CPUs, and what the machine runs with rather than what it is asked to be by now", async () => {
    await estate.runMachine("big", "b", { cpus: 4 });
    await estate.client.patch(VirtualMachine, at("big"), { spec: { cpus: 1 } });
    await move("m");
    expect((await migration("m", "Failed")).status?.message).toBe(
      "host b has 0 of 4 CPUs free, the machine needs 1",
    );
  });

  it("loses a race for the room with its reason, and the machine runs on", async () => {
    const { client } = estate;
    await estate.stopReconcilers();
    // What it reads of the host here is from before the room was taken.
    const behind = overriding(client, {
      list: async (kind, options = {}) => {
        const list = await client.list(kind, options);
        return options.fieldSelector === "spec.host=b" ? { ...list, items: [] } : list;
      },
    });
    await estate.startReconcilers();
    await estate.runMachine("big", "b", { cpus: 4 });
    await estate.stopReconcilers();
    await estate.startReconcilers(behind);
    await move("m");
    expect((await migration("m", "Failed")).status?.message).toBe(
      "host b has 0 of 4 CPUs free, the machine needs 1",
    );
    expect((await estate.vm("web", (vm) => vm.status?.phase === "Running")).status?.host).toBe("a");
  });

  it.each([
    ["tcg", "Xeon", "it runs its machines under tcg, this one began under kvm"],
    ["kvm", "EPYC", "its CPU is EPYC, this machine's guest has seen Xeon (kvm)"],
  ] as const)(
    "refuses a host where the guest cannot go on: %s on %s",
    async (accelerator, model, message) => {
      await estate.report("web-1", { accelerator: "kvm", cpuModel: "Xeon" });
      const facts = {
        source: "measured",
        cpu: { model, sockets: 1, cores: 4, threads: 4, mhz: 2000 },
        memory: { totalBytes: 2 ** 30, modules: [] },
        disks: [],
        links: [],
        qemu: { version: "7.2", accelerator, reason: "played" },
        kernel: "6.1",
        bootId: "b",
      };
      await estate.client.patch(Host, { name: "b" }, { status: { facts } }, { subresource: "status" });
      await move("m");
      expect((await migration("m", "Failed")).status?.message).toContain(
        `host b cannot take it over: ${message}`,
      );
    },
  );
});
