/**
 * Migrations that take the disks along, between two real hypervisors without a file in common, and everything that can go wrong on the way. QEMU's
 * locks help nobody here: each end has files of its own.
 */
import { chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { hardwareOf } from "../../compute/hardware/kinds.ts";
import { isFields, Qmp } from "../../qemu/qmp.ts";
import { writeBootDisk } from "../../qemu/testing/boot-sectors.ts";
import { migrationsDnsName } from "../../resource/host-name.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { run } from "../../system/run.ts";
import type { DiskConfig, DiskTarget, MachineConfig, MachineId } from "../hypervisor.ts";
import type { QemuHypervisor, QemuHypervisorOptions } from "../qemu/qemu-hypervisor.ts";
import { credentialsOf, type Holder, writeCredentials } from "../testing/credentials.ts";
import { ended, inState, newId, RealMachines, USER, until } from "../testing/real-machines.ts";
import { makeDisk } from "./make-disk.ts";

const MiB = 2 ** 20;
const machines = new RealMachines();
let source: QemuHypervisor;
let target: QemuHypervisor;
/** The machine at the source, and the one that waits for it at the target. */
let here: MachineId;
let there: MachineId;
let machine: MachineConfig;
let address: string;
let to: DiskTarget;

type End = "a" | "b";
const folderOf = (end: End) => join(machines.folder, `disks-${end}`);
const at = (end: End, file: string) => join(folderOf(end), file);
function own(path: string): string {
  chownSync(path, USER.uid, USER.gid);
  return path;
}

const writable = (path: string, format: DiskConfig["format"], name?: string): DiskConfig => ({
  ...(name ? { name } : {}),
  path,
  format,
  readOnly: false,
});

/** Whether its system disk is a layer on a frozen one. */
let layers = false;

/** What a machine has: a system disk that its guest counts on, a seed, data disks of both formats, one of them detached. */
function disksOf(end: End): { disks: DiskConfig[]; besides: DiskConfig[]; folders: string[] } {
  const isApart = layers && end === "b" ? { apart: true } : {};
  return {
    disks: [
      { ...writable(at(end, "root.qcow2"), "qcow2"), ...isApart },
      { path: at(end, "seed.img"), format: "raw", readOnly: true },
      writable(at(end, "raw.img"), "raw", "raw"),
      { path: at(end, "cd.data.qcow2"), format: "qcow2", readOnly: true, name: "cd" },
    ],
    besides: [
      writable(at(end, "old.data.qcow2"), "qcow2", "a-name-of-20-letters"),
      ...(layers ? [writable(at(end, "root-frozen.qcow2"), "qcow2", "frozen.0")] : []),
    ],
    folders: [folderOf(end)],
  };
}
const FILES = ["root.qcow2", "seed.img", "raw.img", "cd.data.qcow2", "old.data.qcow2"];
const formatOf = (file: string) => (file.endsWith(".qcow2") ? "qcow2" : "raw");

/** The target's have the same sizes and nothing in them. */
async function makeDisks(): Promise<void> {
  const boot = join(machines.folder, "boot.raw");
  writeBootDisk(boot, "writer");
  const data = Buffer.alloc(3 * MiB);
  for (let i = 0; i < data.length; i += 4096) data.writeUInt32LE(i + 1, i);
  const filled = join(machines.folder, "filled.raw");
  writeFileSync(filled, data);
  for (const end of ["a", "b"] as const) mkdirSync(folderOf(end), { mode: 0o711 });
  for (const [i, file] of FILES.entries()) {
    const content = i === 0 ? boot : filled;
    await run("qemu-img", ["convert", "-f", "raw", "-O", formatOf(file), content, at("a", file)]);
    const size = i === 0 ? "16M" : "3M";
    await run("qemu-img", ["create", "-q", "-f", formatOf(file), at("b", file), size]);
    for (const end of ["a", "b"] as const) own(at(end, file));
  }
}

interface Options {
  source?: Partial<QemuHypervisorOptions>;
  target?: Partial<QemuHypervisorOptions>;
  both?: Partial<MachineConfig>;
  differs?: Partial<MachineConfig>;
}

async function pair(options: Options = {}): Promise<void> {
  source = machines.hypervisor("a", options.source);
  target = machines.hypervisor("b", options.target);
  const { besides, ...own } = disksOf("a");
  machine = machines.machine("writer", { ...own, ...options.both });
  here = machine.id;
  const { machineType } = await machines.start(source, machine);
  machine = { ...machine, machineType };
  await waitAtTarget(options.differs);
  to = { ...to, besides };
}

async function waitAtTarget(differs: Partial<MachineConfig> = {}): Promise<void> {
  const { besides, ...own } = disksOf("b");
  there = newId();
  await machines.start(target, { ...machine, ...own, id: there, ...differs }, "incoming");
  address = await target.listen(there, "127.0.0.1");
  const disks = await target.listenForDisks(there, "127.0.0.1", besides);
  expect(await target.listenForDisks(there, "127.0.0.1", besides)).toBe(disks);
  expect(disks).not.toBe(address);
  to = { address: disks, besides: disksOf("a").besides, linked: [] };
}

async function copied(wanted: "ready" | "failed"): Promise<string> {
  const progress = await until(async () => {
    const now = await source.diskCopies(here);
    return [wanted, "failed"].includes(now.phase) ? now : undefined;
  });
  expect(progress.phase, progress.error).toBe(wanted);
  return progress.error ?? "";
}

async function phase(wanted: string): Promise<void> {
  const progress = await until(async () => {
    const now = await source.migration(here);
    return ["failed", "cancelled", wanted].includes(now.phase) ? now : undefined;
  });
  expect(progress.phase, progress.error).toBe(wanted);
}

async function toTheSwitchover(): Promise<void> {
  await source.copyDisks(here, to);
  await copied("ready");
  await source.migrate(here, address);
  await phase("pre-switchover");
}

async function moves(): Promise<void> {
  await toTheSwitchover();
  await source.finishDiskCopies(here);
  expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
  await inState(target, there, "paused");
}

/** As the guest reads it. */
async function content(path: string): Promise<Buffer> {
  const raw = join(machines.folder, "content.raw");
  await run("qemu-img", ["convert", "-U", "-f", formatOf(path), "-O", "raw", path, raw]);
  return readFileSync(raw);
}

async function expectSameDisks(files = FILES): Promise<void> {
  for (const file of files)
    expect((await content(at("a", file))).equals(await content(at("b", file))), file).toBe(true);
}

/** What the guest has counted to on a disk. */
async function counted(end: End): Promise<number> {
  const disk = await content(at(end, "root.qcow2"));
  return Math.max(...Array.from({ length: 0x4000 }, (_, i) => disk.readUInt32LE((2048 + i) * 512)));
}
async function countsOn(end: End): Promise<void> {
  const before = await counted(end);
  await until(async () => ((await counted(end)) > before ? true : undefined));
}

/** The machine is what it was: it runs, writes, and nothing of the migration is left in its QEMU. */
async function runsAtTheSource(): Promise<void> {
  await source.abandonDiskCopies(here);
  await inState(source, here, "running");
  expect(machines.read("a", here, "journal")).not.toContain("SHUTDOWN");
  expect(await source.diskCopies(here)).toMatchObject({ phase: "none" });
  await countsOn("a");
}

/** And it can be moved again. */
async function movesAfterAll(): Promise<void> {
  await target.kill(there);
  await target.forget(there);
  for (const file of FILES) {
    await run("qemu-img", [
      "create",
      "-q",
      "-f",
      formatOf(at("b", file)),
      at("b", file),
      file === "root.qcow2" ? "16M" : "3M",
    ]);
    own(at("b", file));
  }
  await waitAtTarget();
  await moves();
  await expectSameDisks();
}

/** Asks its QEMU; the hypervisor there is closed then. */
async function monitor<T>(end: End, id: MachineId, work: (qmp: Qmp) => Promise<T>): Promise<T> {
  (end === "a" ? source : target).close(); // a monitor serves one client
  const qmp = await until(() => Qmp.connect(machines.path(end, id, "s/qmp"), 2000).catch(() => undefined));
  return work(qmp).finally(() => qmp.close());
}

beforeEach(makeDisks);

describe("a migration without shared storage", () => {
  it.each<[string, Partial<MachineConfig>]>([
    ["virtio", {}],
    ["virtio with a thread of its own", { hardware: hardwareOf({ ioThread: true }) }],
    ["SATA", { hardware: hardwareOf({ disks: "sata" }) }],
  ])(
    "takes all disks along while the guest writes, by %s; they are the same at the switchover",
    async (_, both) => {
      await pair({ both });
      await source.copyDisks(here, to);
      await source.copyDisks(here, to);
      await copied("ready");
      expect(await source.diskCopies(here)).toMatchObject({ transferredBytes: expect.any(Number) });
      await source.migrate(here, address);
      await phase("pre-switchover");
      await source.finishDiskCopies(here);
      await source.finishDiskCopies(here);
      expect(await source.diskCopies(here)).toMatchObject({ phase: "finished", remainingBytes: 0 });
      expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
      await inState(target, there, "paused");
      await expectSameDisks();
      await target.resume(there);
      await countsOn("b");
      expect(await source.get(here)).toMatchObject({ state: "postmigrate" });
    },
  );

  it("sends only what the machine has written where its image is below the disk at both ends", async () => {
    const image = join(machines.folder, "boot.raw");
    for (const end of ["a", "b"] as const) {
      await rm(at(end, "root.qcow2"));
      await makeDisk(at(end, "root.qcow2"), { path: image, format: "raw" }, undefined, USER);
    }
    await pair();
    to = { ...to, linked: ["disk0"] };
    await moves();
    await expectSameDisks();
    const info: unknown = JSON.parse(
      await run("qemu-img", ["info", "-U", "--output=json", at("b", "root.qcow2")]),
    );
    expect(info).toMatchObject({ "backing-filename": image });
    // The boot sector is the image's.
    const map = await run("qemu-img", ["map", "-U", "--output=json", at("b", "root.qcow2")]);
    expect(JSON.parse(map)).toContainEqual(expect.objectContaining({ start: 0, depth: 1 }));
  });

  it("takes a layer that a snapshot froze along as it is, and puts the disk on it before its guest runs", async () => {
    const frozen = (end: End) => at(end, "root-frozen.qcow2");
    for (const end of ["a", "b"] as const) {
      await run("mv", [at(end, "root.qcow2"), frozen(end)]);
      await makeDisk(at(end, "root.qcow2"), { path: frozen(end), format: "qcow2" }, undefined, USER);
    }
    layers = true;
    try {
      await pair();
      to = { ...to, linked: ["disk0"] };
      await moves();
      await expectSameDisks([...FILES, "root-frozen.qcow2"]);
      await target.resume(there);
      await countsOn("b");
      // It is open below the disk: only so can it be merged into that while the guest runs.
      expect(await target.absorbLayer(there, at("b", "root.qcow2"), frozen("b"))).toBe(true);
      const info = await run("qemu-img", ["info", "-U", at("b", "root.qcow2")]);
      expect(info).not.toContain("backing file");
    } finally {
      layers = false;
    }
  });

  it("takes the variables of its firmware along", async () => {
    for (const end of ["a", "b"] as const) {
      const vars = at(end, "vars.qcow2");
      if (end === "a")
        await run("qemu-img", [
          "convert",
          "-f",
          "raw",
          "-O",
          "qcow2",
          "/usr/share/OVMF/OVMF_VARS_4M.fd",
          vars,
        ]);
      else await run("qemu-img", ["create", "-q", "-f", "qcow2", vars, "540672"]);
      own(vars);
    }
    const firmware = (end: End) => ({
      code: "/usr/share/OVMF/OVMF_CODE_4M.fd",
      variables: writable(at(end, "vars.qcow2"), "qcow2"),
      secure: false,
    });
    await pair({
      both: { firmware: firmware("a"), memory: parseBytes("128Mi") },
      differs: { firmware: firmware("b") },
    });
    await moves();
    await expectSameDisks([...FILES, "vars.qcow2"]);
  });

  it("uses no more of the link for the disks than it may, until the guest stands still", async () => {
    await pair();
    to = { ...to, bytesPerSecond: 20 * MiB };
    const begun = performance.now();
    await source.copyDisks(here, to);
    const jobs = await monitor("a", here, (qmp) => qmp.execute("query-block-jobs"));
    expect(jobs).toEqual(FILES.map(() => expect.objectContaining({ speed: 4 * MiB })));
    source = machines.hypervisor("a");
    await copied("ready");
    // The largest has 16 MiB, and a fifth of the link.
    expect(performance.now() - begun).toBeGreaterThan(2000);
    await moves();
    await expectSameDisks();
  });

  it("keeps dirty bitmaps: they arrive recording and persistent", async () => {
    await pair();
    const bitmapsOf = async (qmp: Qmp) => {
      const nodes = await qmp.execute("query-named-block-nodes", { flat: true });
      return (Array.isArray(nodes) ? nodes : [])
        .filter(isFields)
        .flatMap((node) => (Array.isArray(node["dirty-bitmaps"]) ? node["dirty-bitmaps"] : []))
        .filter(isFields)
        .filter(({ name }) => name === "backup");
    };
    await monitor("a", here, async (qmp) => {
      await qmp.execute("block-dirty-bitmap-add", { node: "format0", name: "backup", persistent: true });
    });
    source = machines.hypervisor("a");
    await countsOn("a");
    await moves();
    await target.resume(there);
    await countsOn("b");
    const [bitmap, ...more] = await monitor("b", there, bitmapsOf);
    // On for the move alone.
    expect(await monitor("b", there, (qmp) => qmp.execute("query-migrate-capabilities"))).toContainEqual({
      capability: "dirty-bitmaps",
      state: false,
    });
    expect(more).toEqual([]);
    expect(bitmap).toMatchObject({ persistent: true, recording: true });
    expect(bitmap).not.toHaveProperty("inconsistent");
    expect(bitmap?.count).toBeGreaterThan(0);
    target = machines.hypervisor("b");
    await target.stop(there, 1);
    const info: unknown = JSON.parse(await run("qemu-img", ["info", "--output=json", at("b", "root.qcow2")]));
    expect(JSON.stringify(info)).toContain('"name":"backup"');
    expect(JSON.stringify(info)).not.toContain("in-use");
  });

  it("goes on under an agent that was killed in the middle, at either end", async () => {
    await pair();
    await source.copyDisks(here, to);
    source.close();
    source = machines.hypervisor("a");
    await copied("ready");
    await source.migrate(here, address);
    await phase("pre-switchover");
    source.close();
    target.close();
    [source, target] = [machines.hypervisor("a"), machines.hypervisor("b")];
    await source.finishDiskCopies(here);
    source.close();
    source = machines.hypervisor("a");
    // What had been done before can be seen: it is not done for another target.
    expect(await source.diskCopies(here)).toMatchObject({ phase: "finished" });
    await source.finishDiskCopies(here);
    expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
    await inState(target, there, "paused");
    await expectSameDisks();
    await target.resume(there);
    await countsOn("b");
  });
});

const killTarget = async () => process.kill((await target.get(there))?.pid ?? 0, "SIGKILL");

describe("what goes wrong before the hand-over leaves the machine running at the source with its disks, and it can be moved again:", () => {
  it("nobody takes its disks", async () => {
    await pair();
    await killTarget();
    await ended(target, there);
    await expect(source.copyDisks(here, to)).rejects.toThrow(/[Cc]onnect/);
    await runsAtTheSource();
    await movesAfterAll();
  });

  it("the target has another disk", async () => {
    await pair();
    await target.kill(there);
    await target.forget(there);
    writeFileSync(at("b", "raw.img"), Buffer.alloc(MiB));
    await waitAtTarget();
    await source.copyDisks(here, to);
    await copied("failed");
    await runsAtTheSource();
  });

  it("the target is killed while it takes the disks", async () => {
    await pair();
    await source.copyDisks(here, to);
    await killTarget();
    expect(await copied("failed")).toMatch(/Input\/output error|Connection|closed/);
    await runsAtTheSource();
    await movesAfterAll();
  });

  it("the connection for the disks breaks when all was ready", async () => {
    await pair();
    await source.copyDisks(here, to);
    await copied("ready");
    target.close();
    const qmp = await until(() =>
      Qmp.connect(machines.path("b", there, "s/qmp"), 2000).catch(() => undefined),
    );
    await qmp.execute("nbd-server-stop");
    qmp.close();
    target = machines.hypervisor("b");
    await copied("failed");
    await runsAtTheSource();
    await movesAfterAll();
  });

  it("the target rejects the memory; its end says why", async () => {
    await pair({ differs: { memory: parseBytes("128Mi") } });
    await source.copyDisks(here, to);
    await copied("ready");
    await source.migrate(here, address).catch(() => undefined);
    await phase("failed");
    expect((await ended(target, there)).message).toMatch(/Size mismatch: pc\.ram/);
    await runsAtTheSource();
  });

  it("the target is killed while it takes the memory", async () => {
    await pair({ source: { migrationBandwidth: 50_000 } });
    await source.copyDisks(here, to);
    await copied("ready");
    await source.migrate(here, address);
    await phase("active");
    await killTarget();
    await phase("failed");
    await runsAtTheSource();
  });

  it("the target is killed before the switchover: the copies cannot be finished", async () => {
    await pair();
    await toTheSwitchover();
    await killTarget();
    await ended(target, there);
    // The guest stands still: QEMU notices only when there is something to be sent.
    await source.finishDiskCopies(here).catch((error: unknown) => expect(String(error)).toMatch(/./));
    const { phase: last } = await source.switchover(here);
    expect(last).toBe("failed");
    await runsAtTheSource();
    await movesAfterAll();
  });

  it("it is called off before the switchover, with all copied", async () => {
    await pair();
    await toTheSwitchover();
    await source.finishDiskCopies(here);
    await source.cancelMigration(here);
    await runsAtTheSource();
    expect(await ended(target, there)).toMatchObject({ reason: "MigrationFailed" });
    await movesAfterAll();
  });

  it("it is called off while the disks are copied", async () => {
    await pair();
    await source.copyDisks(here, to);
    await source.abandonDiskCopies(here);
    await source.abandonDiskCopies(here);
    await runsAtTheSource();
    // It has got no memory, and waits on.
    expect(await target.get(there)).toMatchObject({ state: "incoming" });
    await movesAfterAll();
  });

  it("the target dies with all that was sent, before it runs: nothing but the hand-over stands against the source", async () => {
    await pair();
    await moves();
    await killTarget();
    await ended(target, there);
    await source.resume(here);
    await runsAtTheSource();
    await movesAfterAll();
  });
});

describe("the target never runs by itself when the source is killed", () => {
  it("while the disks are copied", async () => {
    await pair();
    await source.copyDisks(here, to);
    await source.kill(here);
    expect(await target.get(there)).toMatchObject({ state: "incoming" });
    await expect(target.resume(there)).rejects.toThrow(/not all arrived/);
  });

  it("before the switchover", async () => {
    await pair();
    await toTheSwitchover();
    await source.kill(here);
    expect(await ended(target, there)).toMatchObject({ reason: "MigrationFailed" });
  });
});

it("a source that has sent all and hears nothing any more stays as it is, whoever looks at it, and is not woken by its end", async () => {
  await pair();
  await moves();
  await target.resume(there);
  source.close();
  source = machines.hypervisor("a");
  for (let i = 0; i < 3; i++) {
    expect((await source.list()).map(({ state }) => state)).toEqual(["postmigrate"]);
    expect(await source.migration(here)).toMatchObject({ phase: "completed" });
  }
  const resumed = () => machines.read("a", here, "journal").match(/"RESUME"/g)?.length;
  const before = resumed();
  await source.stop(here, 500);
  expect(resumed()).toBe(before);
  expect(await target.get(there)).toMatchObject({ state: "running" });
  await countsOn("b");
});

describe("disks are sent encrypted", () => {
  const as = (holder: Holder) => credentialsOf(machines.folder, holder);
  beforeEach(() => writeCredentials(machines.folder));

  it("between two hosts that prove who they are", async () => {
    await pair({ source: as("a"), target: as("b"), differs: { sender: "a" } });
    to = { ...to, tlsHostname: migrationsDnsName("b") };
    await source.copyDisks(here, to);
    await copied("ready");
    await source.migrate(here, address, { tlsHostname: migrationsDnsName("b") });
    await phase("pre-switchover");
    await source.finishDiskCopies(here);
    expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
    await inState(target, there, "paused");
    await expectSameDisks();
    // The keys were lent for the moment only.
    for (const [end, id] of [["a", here] as const, ["b", there] as const])
      expect(existsSync(machines.path(end, id, "tls"))).toBe(false);
  });

  it.each<[string, Holder | undefined, string | undefined, string?]>([
    ["from another host than the machine's own", "a", migrationsDnsName("b"), "c"],
    ["to a host of another name", "a", migrationsDnsName("c")],
    ["from a host of another CA", "foreign", migrationsDnsName("b")],
    ["from whoever shows what a host's agent logs in by", "login", migrationsDnsName("b")],
    ["from somebody who is no host, whatever his name", "user", migrationsDnsName("b")],
    ["from somebody without credentials", undefined, undefined],
  ])("and refused %s", async (_, holder, tlsHostname, sender = "a") => {
    const differs = { sender };
    await pair({ ...(holder ? { source: as(holder) } : {}), target: as("b"), differs });
    const before = await content(at("b", "raw.img"));
    await expect(
      source.copyDisks(here, { ...to, ...(tlsHostname ? { tlsHostname } : {}) }),
    ).rejects.toThrow();
    await runsAtTheSource();
    expect((await content(at("b", "raw.img"))).equals(before)).toBe(true);
  });
});
