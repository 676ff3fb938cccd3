/** A guest's memory kept together with its disks, on a real QEMU whose guest counts on its disk for ever: it goes on exactly there. */
import {
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, expect, it } from "vitest";
import { Qmp } from "../../qemu/qmp.ts";
import { writeBootDisk } from "../../qemu/testing/boot-sectors.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { run } from "../../system/run.ts";
import { writeBase } from "../disks/bases.ts";
import type { LayerSwitch, MachineConfig } from "../hypervisor.ts";
import { inState, moveLive, newId, RealMachines, send, USER, until } from "../testing/real-machines.ts";
import type { QemuHypervisor } from "./qemu-hypervisor.ts";
import { MachineFolder } from "./qemu-record.ts";

const machines = new RealMachines();
let host: QemuHypervisor;
let folder: string;
const disk = (name: string) => join(folder, `${name}.qcow2`);
const memory = () => join(folder, "memory");

beforeEach(async () => {
  host = machines.hypervisor("a");
  folder = join(machines.folder, "disks");
  mkdirSync(folder, { mode: 0o711 });
  writeBootDisk(join(machines.folder, "image.raw"), "writer");
  await overlay("root", join(machines.folder, "image.raw"), "raw");
});

async function overlay(name: string, backing: string, format = "qcow2"): Promise<string> {
  await run("qemu-img", [
    "create",
    "-q",
    "-u",
    "-f",
    "qcow2",
    "-b",
    backing,
    "-F",
    format,
    disk(name),
    "64M",
  ]);
  chownSync(disk(name), USER.uid, USER.gid);
  await writeBase(disk(name), { path: backing, format });
  return disk(name);
}

const config = (path: string, more: Partial<MachineConfig> = {}): MachineConfig =>
  machines.machine("writer", {
    disks: [{ path, format: "qcow2", readOnly: false }],
    folders: [folder],
    ...more,
  });

const FIRST = 2048;
const WINDOW = 0x4000;

/** What the guest has counted to. */
async function last(name: string): Promise<number> {
  const raw = join(machines.folder, "look.raw");
  await run("qemu-img", ["convert", "-U", "-q", "-f", "qcow2", "-O", "raw", disk(name), raw]);
  const bytes = readFileSync(raw);
  rmSync(raw);
  let max = 0;
  for (let i = 1; i < WINDOW; i++) max = Math.max(max, bytes.readUInt32LE((FIRST + i) * 512));
  return max;
}
/** The first byte that this layer itself holds. */
async function firstByte(name: string): Promise<number> {
  const map: unknown = JSON.parse(await run("qemu-img", ["map", "-U", "--output=json", disk(name)]));
  const own = Array.isArray(map) ? map.filter(({ depth, data }) => depth === 0 && data) : [];
  return Number(own[0]?.start ?? -1);
}
const counts = (name: string, above: number) =>
  until(async () => ((await last(name)) > above ? true : undefined), 30_000);
/** More than the guest writes into one cluster. */
const ENOUGH = 400;

async function save(id: MachineConfig["id"], name: string) {
  const switches: LayerSwitch[] = [{ from: disk("root"), to: await overlay(name, disk("root")) }];
  return host.saveMemory(id, switches, memory());
}

it("tells how far it is while a memory is written, and nothing before and after", async () => {
  const { id } = config(disk("root"), { memory: parseBytes("512Mi") });
  await machines.start(host, config(disk("root"), { id, memory: parseBytes("512Mi") }));
  expect(await host.copying(id)).toBeUndefined();
  const saving = save(id, "next");
  const told = await until(() => host.copying(id), 10_000);
  expect(told.transferredBytes + told.remainingBytes).toBeGreaterThan(0);
  await saving;
  expect(await host.copying(id)).toBeUndefined();
});

it("the guest runs on, and goes on from that instant in another QEMU", async () => {
  const first = config(disk("root"));
  const { machineType } = await machines.start(host, first);
  await counts("root", ENOUGH);
  const saved = await save(first.id, "next");
  expect(saved.sizeBytes).toBe(statSync(memory()).size);
  await inState(host, first.id, "running");
  const at = await last("root");
  await counts("next", at);
  expect(await last("root")).toBe(at);
  await host.kill(first.id);

  // From the frozen disk and the memory of then: the next number, none before it.
  const again = config(await overlay("again", disk("root")), { id: newId(), machineType });
  await machines.start(host, again, "incoming");
  await host.loadMemory(again.id, memory());
  await host.loadMemory(again.id, memory());
  await inState(host, again.id, "paused");
  expect(await firstByte("again")).toBe(-1);
  await host.resume(again.id);
  await counts("again", at);
  expect(await firstByte("again")).toBeGreaterThanOrEqual(Math.floor(((FIRST + at) * 512) / 65536) * 65536);
});

it("can be done again and again, and a machine that was resumed moves and is saved as any other", async () => {
  const first = config(disk("root"));
  const { machineType } = await machines.start(host, first);
  await counts("root", ENOUGH);
  await save(first.id, "one");
  rmSync(memory());
  // What a migration that came to nothing has left switched on is not in the way.
  await host.migrate(first.id, "tcp:127.0.0.1:1").catch(() => undefined);
  await host.saveMemory(first.id, [{ from: disk("one"), to: await overlay("two", disk("one")) }], memory());
  await counts("two", await last("one"));
  const target = machines.hypervisor("b");
  const there = config(disk("two"), { id: newId(), machineType });
  await machines.start(target, there, "incoming");
  await moveLive(host, first.id, target, there.id);
  await host.kill(first.id);
  rmSync(memory());
  await target.saveMemory(
    there.id,
    [{ from: disk("two"), to: await overlay("three", disk("two")) }],
    memory(),
  );
  await counts("three", await last("two"));
});

it("a file that is no memory ends the new QEMU and nothing else; one that is not written whole is none", async () => {
  const first = config(disk("root"));
  const { machineType } = await machines.start(host, first);
  await counts("root", 10);
  writeFileSync(memory(), "nonsense");
  const again = config(await overlay("again", disk("root")), { id: newId(), machineType });
  await machines.start(host, again, "incoming");
  await expect(host.loadMemory(again.id, memory())).rejects.toThrow(/: .*Not a migration stream/);
  await inState(host, again.id, "ended");
  // Nobody can write there.
  rmSync(memory());
  mkdirSync(`${memory()}.part`);
  await expect(save(first.id, "next")).rejects.toThrow();
  expect(existsSync(memory())).toBe(false);
  await inState(host, first.id, "running");
});

it("an agent that died in the middle leaves a guest that another lets go on", async () => {
  const first = config(disk("root"));
  await machines.start(host, first);
  await counts("root", ENOUGH);
  const saving = save(first.id, "next").catch(() => undefined);
  await until(() => (existsSync(`${memory()}.part`) ? true : undefined));
  host.close();
  await saving;
  const other = machines.hypervisor("a");
  await other.abandonMemory(first.id);
  await inState(other, first.id, "running");
});

it("suspended, it is on another host where it was; one that cannot be saved runs on", async () => {
  const first = config(disk("root"));
  const { machineType } = await machines.start(host, first);
  await counts("root", ENOUGH);
  mkdirSync(`${memory()}.part`); // nobody can write there
  await expect(host.suspend(first.id, memory())).rejects.toThrow();
  await inState(host, first.id, "running");
  rmSync(`${memory()}.part`, { recursive: true });

  const saved = await host.suspend(first.id, memory());
  expect(saved).toMatchObject({ live: false, sizeBytes: statSync(memory()).size });
  expect(await host.get(first.id)).toMatchObject({ state: "postmigrate", pausedBy: "suspend" });
  // An agent that died before it was written down lets it go on.
  host.close();
  const next = machines.hypervisor("a");
  await next.abandonMemory(first.id);
  await inState(next, first.id, "running");
  await counts("root", await last("root"));
  rmSync(memory());
  await next.suspend(first.id, memory());
  await next.kill(first.id);
  expect(await next.get(first.id)).toMatchObject({ state: "ended", pausedBy: "suspend" });
  const at = await last("root");

  const there = machines.hypervisor("b");
  const again = config(disk("root"), { id: newId(), machineType, paused: true });
  await machines.start(there, again, "incoming");
  await there.loadMemory(again.id, memory());
  await there.resume(again.id);
  expect(await there.get(again.id)).toMatchObject({ state: "paused", pausedBy: "user" });
  expect(await last("root")).toBe(at);
  await there.setPaused(again.id, false);
  await counts("root", at);
});

it("is not kept where it would take what disks need: the guest does not stand still, and runs on", async () => {
  const first = config(disk("root"));
  await machines.start(host, first);
  await counts("root", 10);
  const full = join(machines.folder, "full");
  mkdirSync(full);
  await run("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", full]);
  const stops = () => machines.read("a", first.id, "journal").split('"STOP"').length;
  const before = stops();
  try {
    const refused =
      /there is no room for its memory in its storage pool: it takes up to \d+ MiB, and there is room for 0 MiB; make some/;
    const file = join(full, "memory");
    await expect(host.suspend(first.id, file)).rejects.toThrow(refused);
    await expect(host.saveMemory(first.id, [], file)).rejects.toThrow(refused);
    await expect(host.saveMemory(first.id, [], file, { apart: true })).rejects.toThrow(refused);
    expect(readdirSync(full)).toEqual([]);
  } finally {
    await run("umount", ["-l", full]);
  }
  expect(stops()).toBe(before);
  await inState(host, first.id, "running");
  await counts("root", await last("root"));
});

it("paused, its memory is kept with its disks, and it stays paused", async () => {
  const first = config(disk("root"));
  await machines.start(host, first);
  await counts("root", ENOUGH);
  await host.setPaused(first.id, true);
  expect((await save(first.id, "next")).live).toBe(false);
  expect(await host.get(first.id)).toMatchObject({ state: "paused", pausedBy: "user" });
  await host.setPaused(first.id, false);
  await counts("next", await last("root"));
});

/** Keeps the memory of a guest apart, and its disk in `root`. @returns what goes on with both is like */
async function template() {
  const first = config(disk("root"));
  const { machineType } = await machines.start(host, first);
  await counts("root", ENOUGH);
  const switches = [{ from: disk("root"), to: await overlay("next", disk("root")) }];
  const saved = await host.saveMemory(first.id, switches, memory(), { apart: true });
  const at = await last("root");
  await counts("next", at);
  await host.kill(first.id);
  return { machineType, saved, at };
}

async function goOn(machine: MachineConfig, on = host): Promise<number> {
  const { pid } = await machines.start(on, machine, "incoming");
  await on.loadMemory(machine.id, memory());
  await on.disconnect(machine.id);
  await on.resume(machine.id);
  return pid;
}

it("apart from the devices' state, it is copied into a QEMU that goes on with it, which knows that it has no link yet", async () => {
  const { machineType, saved, at } = await template();
  expect(saved.live).toBe(false);
  expect(statSync(memory()).size).toBeLessThan(2 ** 20);
  expect(saved.sizeBytes).toBeGreaterThan(statSync(memory()).size);
  const one = config(await overlay("one", disk("root")), { id: newId(), machineType });
  await goOn(one);
  await counts("one", at);
  expect((await host.get(one.id))?.disconnected).toBe(true);
  await host.connect(one.id);
  expect((await host.get(one.id))?.disconnected).toBeUndefined();
});

it("apart from it, it is kept of a guest that stands still from then on, and goes on when it is let", async () => {
  const first = config(disk("root"));
  const { machineType } = await machines.start(host, first);
  await counts("root", ENOUGH);
  await host.suspend(first.id, memory(), { apart: true });
  await host.abandonMemory(first.id);
  await counts("root", await last("root"));
  await host.suspend(first.id, memory(), { apart: true });
  const at = await last("root");
  await host.kill(first.id);
  await goOn(config(disk("root"), { id: newId(), machineType }));
  await counts("root", at);
});

it("of a template is shared by all that go on with it, and nobody can change it", async () => {
  const { machineType, at } = await template();
  const more = { machineType, template: memory() };
  const clone = async (name: string) => config(await overlay(name, disk("root")), { id: newId(), ...more });
  const shared = (pid: number) => `/proc/${pid}/fd/3`;
  const [one, two, three] = [await clone("one"), await clone("two"), await clone("three")];
  const pids = [await goOn(one), await goOn(two)];
  for (const name of ["one", "two"]) await counts(name, at);
  const what = (pid: number) => readlinkSync(shared(pid)) + statSync(shared(pid)).ino;
  expect(what(pids[0] ?? 0)).toContain("/memfd:vireo-template");
  // Another agent finds it in those that have it.
  const other = machines.hypervisor("a");
  const last3 = await goOn(three, other);
  await counts("three", at);
  expect(new Set([...pids, last3].map(what)).size).toBe(1);
  await other.kill(three.id);
  const punch = ["--punch-hole", "--offset", "0", "--length", "4096", shared(pids[0] ?? 0)];
  await expect(run("fallocate", punch)).rejects.toThrow("not permitted");
  expect(await host.adjust(one.id, { ...one, memoryTarget: parseBytes("32Mi") })).toMatchObject({
    refused: [{ of: "memoryTarget", why: expect.stringContaining("memory of its template") }],
  });

  // What it has become is its own: it is kept while it runs, and moves.
  rmSync(memory());
  const saved = await host.saveMemory(
    one.id,
    [{ from: disk("one"), to: await overlay("four", disk("one")) }],
    memory(),
  );
  expect(saved.live).toBe(true);
  await counts("four", await last("one"));
  await host.kill(one.id);
  const target = machines.hypervisor("b");
  const there = config(disk("two"), { id: newId(), machineType });
  await machines.start(target, there, "incoming");
  await send(host, two.id, target, there.id);
  const before = await last("two");
  await target.resume(there.id);
  await counts("two", before);
});

it("of a template that an agent died while it was filled is made anew", async () => {
  const { machineType, at } = await template();
  const path = await overlay("one", disk("root"));
  const one = config(path, { id: newId(), machineType, template: memory() });
  const { pid } = await machines.start(host, one, "incoming");
  const other = machines.hypervisor("a");
  expect(await goOn(one, other)).not.toBe(pid);
  await counts("one", at);
});

it("of a template that was whole when an agent died stays for others to share", async () => {
  const { machineType, at } = await template();
  const more = { machineType, template: memory() };
  const clone = async (name: string) => config(await overlay(name, disk("root")), { id: newId(), ...more });
  const [one, two, three] = [await clone("one"), await clone("two"), await clone("three")];
  const shared = (pid: number) => statSync(`/proc/${pid}/fd/3`).ino;
  const first = await goOn(one);
  const { pid } = await machines.start(host, two, "incoming");
  // Dead between writing down that it is whole and giving QEMU the rest.
  const of = (id: MachineConfig["id"]) => MachineFolder.at(machines.path("a", id, "."));
  const whole = of(one.id).read()?.shared ?? "filling";
  of(two.id).update((now) => ({ ...now, shared: whole }));
  host.close();
  host = machines.hypervisor("a");
  expect(await goOn(two)).toBe(pid);
  await counts("two", at);
  expect(shared(pid)).toBe(shared(first));
  await host.kill(one.id);
  host.close();
  host = machines.hypervisor("a");
  expect(shared(await goOn(three))).toBe(shared(pid));
});

it("the guest is told the VM generation id of its run, another one with the memory of then, the same where it moves to", async () => {
  const ids = [newId(), newId()] as const;
  /** As QEMU says; whoever asks takes the monitor from the agent. */
  const told = async (name: string, id: MachineConfig["id"]) => {
    host.close();
    const qmp = await until(() => Qmp.connect(machines.path(name, id, "s/qmp")).catch(() => undefined));
    const answer = await qmp.execute("query-vm-generation-id");
    qmp.close();
    host = machines.hypervisor(name);
    return answer;
  };
  const first = config(disk("root"), { generationId: ids[0] });
  const { machineType } = await machines.start(host, first);
  await counts("root", ENOUGH);
  expect(await told("a", first.id)).toEqual({ guid: ids[0] });
  await save(first.id, "next");
  await host.kill(first.id);
  const again = config(await overlay("again", disk("root")), {
    id: newId(),
    machineType,
    generationId: ids[1],
  });
  await machines.start(host, again, "incoming");
  await host.loadMemory(again.id, memory());
  await inState(host, again.id, "paused");
  await host.resume(again.id);
  await counts("again", ENOUGH);
  expect(await told("a", again.id)).toEqual({ guid: ids[1] });

  const target = machines.hypervisor("b");
  const there = { ...again, id: newId() };
  await machines.start(target, there, "incoming");
  await moveLive(host, again.id, target, there.id);
  target.close();
  host = target;
  expect(await told("b", there.id)).toEqual({ guid: ids[1] });
}, 60_000);
