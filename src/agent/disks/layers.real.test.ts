/** Layers of disks under a real QEMU whose guest counts on its disk for ever: what a snapshot holds is one instant, and stays. */
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { writeBootDisk } from "../../qemu/testing/boot-sectors.ts";
import { run } from "../../system/run.ts";
import type { MachineConfig } from "../hypervisor.ts";
import type { QemuHypervisor } from "../qemu/qemu-hypervisor.ts";
import { moveLive, newId, RealMachines, USER, until } from "../testing/real-machines.ts";
import type { Absorb } from "./layer-merging.ts";
import type { Facts } from "./layer-records.ts";
import { Layers } from "./layers.ts";
import { makeDisk } from "./make-disk.ts";

const machines = new RealMachines();
let host: QemuHypervisor;
let folder: string;
let layers: Layers;
const FACTS: Facts = { takenTime: "2026-01-01T00:00:00Z", pauseMs: 0, consistent: "Crash" };
const DISKS = ["root", "data"];
const [A, B, C] = ["aaaaaaaa", "bbbbbbbb", "cccccccc"].map((s) => `${s}-0000-4000-8000-000000000000`) as [
  string,
  string,
  string,
];

beforeEach(async () => {
  host = machines.hypervisor("a");
  folder = join(machines.folder, "disks");
  mkdirSync(folder, { mode: 0o711 });
  writeBootDisk(join(machines.folder, "image.raw"), "writer");
  const backing = join(machines.folder, "image.raw");
  for (const disk of DISKS) {
    const path = join(folder, `${disk}.qcow2`);
    await makeDisk(path, { path: backing, format: "raw" }, undefined, USER);
  }
  layers = new Layers(folder, DISKS, USER);
});

async function config(more: Partial<MachineConfig> = {}): Promise<MachineConfig> {
  const disks = (await layers.active()).map((path) => ({ path, format: "qcow2", readOnly: false }) as const);
  return machines.machine("writer", { disks, folders: [folder], ...more });
}

/** A machine that has begun to count on its disk. */
async function start(): Promise<MachineConfig> {
  const made = await config();
  await machines.start(host, made);
  const [root = ""] = await layers.active();
  const before = await soFar(root);
  // It counts from the beginning again.
  await beyond(made.id, root, before, before + 1);
  return made;
}

async function take(id: MachineConfig["id"], uid: string): Promise<void> {
  const pauseMs = await host.switchLayers(id, await layers.begin(uid));
  await layers.finish(uid, { ...FACTS, pauseMs });
}

const FIRST = 2048;
const WINDOW = 0x4000;

/** What the guest has counted to. @throws when the disk is not of one instant: a count is there, and one before it is not */
async function last(layer: string): Promise<number> {
  const raw = join(machines.folder, "look.raw");
  await run("qemu-img", ["convert", "-U", "-q", "-f", "qcow2", "-O", "raw", layer, raw]);
  const disk = readFileSync(raw);
  rmSync(raw);
  const counts: number[] = [];
  for (let i = 1; i < WINDOW; i++) counts.push(disk.readUInt32LE((FIRST + i) * 512));
  const max = Math.max(...counts);
  for (let i = 1; i <= Math.min(max, WINDOW - 1); i++)
    if (counts[i - 1] === 0) throw new Error(`${layer}: counted to ${max}, and ${i} is not there`);
  return max;
}

/** A killed QEMU may leave clusters that nothing points to, which cost space; nothing else may be wrong. */
async function soundAfterKill(layer: string): Promise<void> {
  await run("qemu-img", ["check", "-q", "-r", "leaks", layer]);
  expect(await run("qemu-img", ["check", layer])).toContain("No errors");
}

const frozen = (file: string) => join(folder, file);
const files = () =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".qcow2"))
    .sort();
const more = async (id: MachineConfig["id"]) => {
  const [root = ""] = await host.activeLayers(id);
  const [before, writes] = [await soFar(root), await writesOf(id)];
  await beyond(id, root, before, writes + 1);
};
const writesOf = async (id: MachineConfig["id"]) =>
  (await host.usage(id))?.disks.reduce((sum, { writes }) => sum + writes, 0) ?? 0;

/** Its disk is read only once QEMU has seen so many writes: to read it again and again takes the time that the guest would need. */
async function beyond(id: MachineConfig["id"], root: string, count: number, writes: number): Promise<void> {
  await until(async () => ((await writesOf(id)) > writes ? true : undefined));
  await until(async () => ((await soFar(root)) > count ? true : undefined));
}
/**
 * Of a layer that is written to meanwhile. Who reads beside QEMU may find a cluster that it is just making, with its first sector empty: in one of 25 reads, at the first
 * write to a cluster of an overlay, killed before or not; the next read has it. What stays away is lost.
 */
async function soFar(layer: string, reads = 3): Promise<number> {
  return last(layer).catch((error: unknown) => {
    if (reads === 1) throw error;
    return soFar(layer, reads - 1);
  });
}

it("a snapshot that was undone after its layers had been switched is not begun again: it would freeze what is written to", async () => {
  await layers.begin(A);
  await layers.finish(A, FACTS);
  await layers.remove(A, async () => false);
  await expect(layers.begin(A)).rejects.toThrow("take another one");
  expect(await layers.tree()).toEqual({ tree: [] });
  expect((await layers.begin(B)).map(({ from }) => from)).toEqual(await layers.active());
});

describe("what another host needs to know to have the same layers", () => {
  const [D] = ["dddddddd-0000-4000-8000-000000000000"];
  const told = () => layers.describe(DISKS);
  const kept = async (uid: string) => {
    await layers.begin(uid);
    await layers.finish(uid, FACTS);
  };

  it("each layer comes after the one below it, also those of other branches", async () => {
    await kept(A);
    await kept(B);
    await layers.revert(C, A, D, FACTS);
    const { active, frozen, snapshots } = await told();
    const root = frozen.filter(({ file }) => file.startsWith("root"));
    expect(root).toEqual([
      { file: "root.qcow2", over: undefined },
      { file: "root-aaaaaaaa0000.qcow2", over: "root.qcow2" },
      { file: "root-bbbbbbbb0000.qcow2", over: "root-aaaaaaaa0000.qcow2" },
    ]);
    expect(active[0]).toEqual({ file: "root-cccccccc0000.qcow2", over: "root.qcow2" });
    expect(snapshots.map(({ uid, state }) => [uid, state])).toEqual([
      [A, "taken"],
      [B, "taken"],
      [D, "taken"],
    ]);
  });

  it("a snapshot that was cut short, has memory, or was lent stays, and keeps the machine there", async () => {
    await layers.begin(A);
    await expect(told()).rejects.toThrow(/cut short/);
    await layers.finish(A, FACTS);
    writeFileSync(layers.memories.file(A), "");
    await expect(told()).rejects.toThrow(/has memory, which does not go along/);
    rmSync(layers.memories.file(A));
    await layers.lend(A);
    await expect(told()).rejects.toThrow(/cloned from it/);
  });
});

describe("of a machine that is stopped, what holds less is copied", () => {
  const path = (file: string) => join(folder, file);
  const write = (file: string, at: number, mib: number, byte: number) =>
    run("qemu-io", ["-f", "qcow2", "-c", `write -q -P ${byte} ${at}M ${mib}M`, path(file)]);
  const inode = (file: string) => statSync(path(file)).ino;
  const active = async () => join(folder, basename((await layers.active())[0] ?? ""));
  const holds = async (where: number, mib: number, byte: number) =>
    run("qemu-io", ["-f", "qcow2", "-r", "-c", `read -q -P ${byte} ${where}M ${mib}M`, await active()]);
  const overlay = "root-aaaaaaaa0000.qcow2";

  /** What the disk holds under snapshot A, and above it. */
  async function hold(below: number, above: number): Promise<void> {
    await write("root.qcow2", 2, below, 1);
    await layers.begin(A);
    await layers.finish(A, FACTS);
    await write(overlay, 2, above, 2);
  }

  it.each([
    { below: 8, above: 1, stays: "root.qcow2" },
    { below: 1, above: 8, stays: overlay },
  ])("$below MiB below, $above MiB above: the file that was $stays is the disk", async (of) => {
    await hold(of.below, of.above);
    chmodSync(path("root.qcow2"), 0o640);
    const [wanted, size] = [inode(of.stays), statSync(path(of.stays)).blocks];
    await layers.remove(A, async () => false);
    expect(files().filter((name) => name.startsWith("root"))).toEqual([overlay]);
    expect(inode(overlay)).toBe(wanted);
    expect(statSync(path(overlay)).blocks - size).toBeLessThan((2 * 2 ** 20) / 512);
    expect(statSync(path(overlay))).toMatchObject({ uid: USER.uid, gid: USER.gid });
    expect(statSync(path(overlay)).mode & 0o777).toBe(0o600);
    await holds(2, of.above, 2);
    if (of.below > of.above) await holds(2 + of.above, of.below - of.above, 1);
    expect(await run("qemu-img", ["info", await active()])).toContain(join(machines.folder, "image.raw"));
  });

  it("whoever is killed when all has come down, or part of it: the disk holds what it held, and it goes on", async () => {
    await hold(8, 2);
    // All of it, but for the name.
    await run("qemu-img", ["commit", "-q", "-d", "-b", path("root.qcow2"), path(overlay)]);
    await write(overlay, 3, 1, 3);
    await holds(3, 1, 3);
    await layers.remove(A, async () => false);
    await holds(2, 1, 2);
    await holds(3, 1, 3);
    await holds(4, 6, 1);
  });

  it("dirty bitmaps stay with what holds them: then all is copied up", async () => {
    await hold(8, 1);
    await run("qemu-img", ["bitmap", "--add", path(overlay), "backup"]);
    const wanted = inode(overlay);
    await layers.remove(A, async () => false);
    expect(inode(overlay)).toBe(wanted);
    expect(await run("qemu-img", ["info", path(overlay)])).toContain("backup");
    await holds(2, 1, 2);
    await holds(3, 7, 1);
  });
});

describe("layers under a guest that writes", () => {
  it("all disks are frozen at one instant, and a frozen layer never changes", async () => {
    const { id } = await start();
    await take(id, A);
    const atA = await last(frozen("root.qcow2"));
    expect(atA).toBeGreaterThan(0);
    await more(id);
    await take(id, B);
    await take(id, C);
    expect(await last(frozen("root.qcow2"))).toBe(atA);
    expect(await last(frozen("root-aaaaaaaa0000.qcow2"))).toBeGreaterThan(atA);
    expect(await layers.tree()).toEqual({
      tree: [{ snapshot: A }, { snapshot: B, parent: A }, { snapshot: C, parent: B }],
      current: C,
    });
  });

  it("any layer is merged away while the guest writes on; also one that QEMU opened by itself, after a new start", async () => {
    const { id } = await start();
    await take(id, A);
    await more(id);
    await take(id, B);
    const atB = await last(frozen("root-aaaaaaaa0000.qcow2"));
    await take(id, C);
    await host.kill(id);
    // While layers are merged it counts up to where it was, and on.
    const next = await config();
    await machines.start(host, next);
    await until(async () => ((await writesOf(next.id)) > 0 ? true : undefined));
    const absorb = (into: string, from: string) => host.absorbLayer(next.id, into, from);
    await layers.remove(A, absorb);
    expect(files()).not.toContain("root.qcow2");
    expect(await last(frozen("root-aaaaaaaa0000.qcow2"))).toBe(atB);
    await layers.remove(C, absorb);
    await layers.remove(B, absorb);
    await layers.remove(B, absorb);
    expect(files()).toEqual(["data-cccccccc0000.qcow2", "root-cccccccc0000.qcow2"]);
    await more(next.id);
    await host.kill(next.id);
    expect(machines.read("a", next.id, "journal")).not.toContain("BLOCK_IO_ERROR");
    const [root = ""] = await layers.active();
    await soundAfterKill(root);
    expect(await last(root)).toBeGreaterThan(atB);
    expect(await layers.tree()).toEqual({ tree: [] });
  });

  it("what holds less goes down while the guest writes on, also to what goes down: nothing of it is lost", async () => {
    for (const disk of DISKS)
      await run("qemu-io", ["-f", "qcow2", "-c", "write -q 10M 4M", frozen(`${disk}.qcow2`)]);
    const { id } = await start();
    const absorb: Absorb = (into, from, down) => host.absorbLayer(id, into, from, down);
    await take(id, A);
    await more(id);
    await take(id, B);
    const atB = await last(frozen("root-aaaaaaaa0000.qcow2"));
    await more(id);
    await layers.remove(A, absorb);
    expect(files()).toEqual([
      "data-bbbbbbbb0000.qcow2",
      "data.qcow2",
      "root-bbbbbbbb0000.qcow2",
      "root.qcow2",
    ]);
    expect(await last(frozen("root.qcow2"))).toBe(atB);
    await more(id);
    await layers.remove(B, absorb);
    expect(files()).toEqual(DISKS.map((disk) => `${disk}.qcow2`).sort());
    await more(id);
    // And it goes on as any other.
    await take(id, C);
    await more(id);
    await host.kill(id);
    expect(machines.read("a", id, "journal")).not.toContain("BLOCK_IO_ERROR");
    const [root = ""] = await layers.active();
    await soundAfterKill(root);
    expect(await last(root)).toBeGreaterThan(await last(frozen("root.qcow2")));
  });

  it("back to any snapshot and forth again; branches keep what they share", async () => {
    const { id } = await start();
    await take(id, A);
    const atA = await last(frozen("root.qcow2"));
    await more(id);
    await host.kill(id);
    const [root = ""] = await layers.active();
    const atEnd = await last(root);
    await layers.revert(B, A, C, FACTS);
    await layers.revert(B, A, C, FACTS);
    const [back = ""] = await layers.active();
    expect(await last(back)).toBe(atA);
    expect(await layers.tree()).toEqual({
      tree: [{ snapshot: A }, { snapshot: C, parent: A }],
      current: A,
    });
    await layers.remove(A, async () => false);
    expect(files()).toContain("root.qcow2"); // two branches need it
    const next = await start();
    await layers.remove(C, (into, from) => host.absorbLayer(next.id, into, from));
    expect(files()).toEqual(["data-bbbbbbbb0000.qcow2", "root-bbbbbbbb0000.qcow2"]);
    await more(next.id);
    expect(atEnd).toBeGreaterThan(atA);
  });

  it("layers of a branch that is not in use are merged without QEMU", async () => {
    const { id } = await start();
    await take(id, A);
    await more(id);
    await take(id, B);
    await host.kill(id);
    const [root = ""] = await layers.active();
    const atEnd = await last(root);
    await layers.revert(C, A, undefined, FACTS);
    await layers.collect(async () => false);
    await layers.remove(A, async () => false);
    // root.qcow2 carries the branch of B and the active layer; it goes with the branch.
    await layers.remove(B, async () => false);
    expect(files()).toEqual(["data-cccccccc0000.qcow2", "root-cccccccc0000.qcow2"]);
    const [back = ""] = await layers.active();
    expect(await last(back)).toBeLessThan(atEnd);
    await soundAfterKill(back);
  });

  it("nothing is lost when QEMU is killed between the switch and the note of it", async () => {
    const { id } = await start();
    await host.switchLayers(id, await layers.begin(A));
    await more(id);
    const [root = ""] = await host.activeLayers(id);
    await host.kill(id);
    const written = await last(root);
    const after = new Layers(folder, DISKS, USER);
    await after.settle();
    expect((await after.active())[0]).toBe(root);
    expect(await last((await after.active())[0] ?? "")).toBe(written);
    await after.finish(A, FACTS);
    expect((await after.tree()).current).toBe(A);
  });

  it("a switch that QEMU refuses changes nothing", async () => {
    const { id } = await start();
    const [before, switches] = [await layers.active(), await layers.begin(A)];
    chownSync(switches[1]?.to ?? "", 0, 0);
    await expect(host.switchLayers(id, switches)).rejects.toThrow(/Permission denied/);
    expect(await host.activeLayers(id)).toEqual(before);
    await layers.abandon(A);
    expect(files()).toEqual(["data.qcow2", "root.qcow2"]);
    await take(id, A);
  });

  it("a machine with snapshots moves on shared storage, and they are its own there", async () => {
    const { id } = await start();
    await take(id, A);
    const target = machines.hypervisor("b");
    const { machineType } = (await host.get(id)) ?? { machineType: "" };
    const there = await config({ id: newId(), machineType });
    await machines.start(target, there, "incoming");
    await moveLive(host, id, target, there.id);
    await host.kill(id);
    await layers.begin(B).then((switches) => target.switchLayers(there.id, switches));
    await layers.finish(B, FACTS);
    await layers.remove(A, (into, from) => target.absorbLayer(there.id, into, from));
    const [root = ""] = await target.activeLayers(there.id);
    const before = await last(root);
    await until(async () => ((await last(root)) > before ? true : undefined));
    expect(await layers.tree()).toEqual({ tree: [{ snapshot: B }], current: B });
  });

  it("are not merged in a pool without room for what they hold, running or stopped: the guest writes on, and then they are", async () => {
    const pool = join(machines.folder, "pool");
    mkdirSync(pool);
    await run("mount", ["-t", "tmpfs", "-o", "size=100m,mode=0755", "tmpfs", pool]);
    try {
      await run("cp", ["-a", folder, pool]);
      folder = join(pool, "disks");
      layers = new Layers(folder, DISKS, USER);
      const data = frozen("data.qcow2");
      await run("qemu-img", ["resize", "-q", data, "64M"]);
      await run("qemu-io", ["-f", "qcow2", "-c", "write 8M 40M", data]);
      const { id } = await start();
      await take(id, A);
      writeFileSync(join(pool, "others"), Buffer.alloc(30 * 2 ** 20));
      const absorb = (into: string, from: string) => host.absorbLayer(id, into, from);
      const refused = /copies up to 4\d MiB, and its storage pool has room for [12]\d MiB; make some/;
      await expect(layers.remove(A, absorb)).rejects.toThrow(refused);
      expect(files()).toContain("data.qcow2");
      await more(id);
      // Another snapshot's deletion, with the machine stopped, meets the same, where the little above must not go down.
      await host.kill(id);
      const above = frozen("data-aaaaaaaa0000.qcow2");
      await run("qemu-img", ["bitmap", "--add", above, "backup"]);
      await expect(layers.collect(async () => false)).rejects.toThrow(refused);
      await run("qemu-img", ["bitmap", "--remove", above, "backup"]);
      const { id: next } = await start();
      rmSync(join(pool, "others"));
      await layers.collect((into, from) => host.absorbLayer(next, into, from));
      expect(files()).toEqual(["data-aaaaaaaa0000.qcow2", "root-aaaaaaaa0000.qcow2"]);
      await more(next);
      await host.kill(next);
    } finally {
      await run("umount", ["-l", pool]);
    }
  });
});
