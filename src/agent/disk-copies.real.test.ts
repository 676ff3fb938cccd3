/** Migrations that take the disks along, between two real hypervisors without a file in common, and what can go wrong with the disks on the way. */
import { chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { writeBootDisk } from "../qemu/testing/boot-sectors.ts";
import { run } from "../system/run.ts";
import type { DiskConfig, MachineId } from "./hypervisor.ts";
import type { QemuHypervisor, QemuHypervisorOptions } from "./qemu-hypervisor.ts";
import { inState, newId, RealMachines, USER, until } from "./testing/real-machines.ts";

const machines = new RealMachines();
let source: QemuHypervisor;
let target: QemuHypervisor;
let here: MachineId;
let there: MachineId;
let memory: string;
let disks: string;
/** Of each host: its disks. */
let folders: { a: string; b: string };

const MiB = 2 ** 20;

beforeEach(() => {
  folders = { a: join(machines.folder, "disks-a"), b: join(machines.folder, "disks-b") };
  for (const folder of Object.values(folders)) mkdirSync(folder, { mode: 0o711 });
});

function own(path: string): string {
  chownSync(path, USER.uid, USER.gid);
  return path;
}

/** Makes what a guest writes to (qcow2, and a raw one), and what it only reads; the target's are empty, of the same sizes. */
async function makeDisks(): Promise<{ a: DiskConfig[]; b: DiskConfig[] }> {
  const boot = join(machines.folder, "boot.raw");
  writeBootDisk(boot, "writer");
  const root = join(folders.a, "root.qcow2");
  await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", boot, root]);
  await run("qemu-img", ["create", "-q", "-f", "qcow2", join(folders.b, "root.qcow2"), "16M"]);
  const data = Buffer.alloc(3 * MiB);
  for (let at = 0; at < data.length; at += 4096) data.writeUInt32LE(at + 1, at);
  writeFileSync(join(folders.a, "data.raw"), data);
  writeFileSync(join(folders.b, "data.raw"), Buffer.alloc(data.length));
  writeFileSync(join(folders.a, "seed.img"), Buffer.alloc(512 * 1024, "seed"));
  writeFileSync(join(folders.b, "seed.img"), Buffer.alloc(512 * 1024));
  const of = (folder: string): DiskConfig[] => [
    { path: own(join(folder, "root.qcow2")), format: "qcow2", readOnly: false },
    { path: own(join(folder, "seed.img")), format: "raw", readOnly: true },
    { path: own(join(folder, "data.raw")), format: "raw", readOnly: false },
  ];
  return { a: of(folders.a), b: of(folders.b) };
}

async function pair(
  options: { source?: Partial<QemuHypervisorOptions>; target?: Partial<QemuHypervisorOptions> } = {},
): Promise<void> {
  source = machines.hypervisor("a", options.source);
  target = machines.hypervisor("b", options.target);
  const made = await makeDisks();
  const config = machines.machine("writer", { disks: made.a, folders: [folders.a] });
  here = config.id;
  there = newId();
  const { machineType } = await machines.start(source, config);
  await machines.start(
    target,
    { ...config, id: there, machineType, disks: made.b, folders: [folders.b] },
    "incoming",
  );
  memory = await target.listen(there, "127.0.0.1");
  disks = await target.listenForDisks(there, "127.0.0.1", []);
  expect(await target.listenForDisks(there, "127.0.0.1", [])).toBe(disks);
  expect(disks).not.toBe(memory);
}

async function copied(wanted: string): Promise<void> {
  const progress = await until(async () => {
    const now = await source.diskCopies(here);
    return [wanted, "failed"].includes(now.phase) ? now : undefined;
  });
  expect(progress.phase, progress.error).toBe(wanted);
}

async function memoryIs(wanted: string): Promise<void> {
  const progress = await until(async () => {
    const now = await source.migration(here);
    return ["failed", "cancelled", wanted].includes(now.phase) ? now : undefined;
  });
  expect(progress.phase, progress.error).toBe(wanted);
}

/** What a disk holds, as the guest would read it. */
async function content(path: string, format: string): Promise<Buffer> {
  const raw = join(machines.folder, "content.raw");
  await run("qemu-img", ["convert", "-U", "-f", format, "-O", "raw", path, raw]);
  return readFileSync(raw);
}

async function expectSameDisks(): Promise<void> {
  for (const [file, format] of [
    ["root.qcow2", "qcow2"],
    ["data.raw", "raw"],
    ["seed.img", "raw"],
  ] as const) {
    const [a, b] = [
      await content(join(folders.a, file), format),
      await content(join(folders.b, file), format),
    ];
    expect(a.equals(b), file).toBe(true);
  }
}

describe("a migration without shared storage", () => {
  it("takes all disks along while the guest writes; they are the same at the switchover", async () => {
    await pair();
    await source.copyDisks(here, { address: disks, detached: [], linked: [] });
    await source.copyDisks(here, { address: disks, detached: [], linked: [] });
    await copied("ready");
    await source.migrate(here, memory);
    await memoryIs("pre-switchover");
    await source.finishDiskCopies(here);
    await source.finishDiskCopies(here);
    expect(await source.diskCopies(here)).toMatchObject({ phase: "finished", remainingBytes: 0 });
    expect(await source.switchover(here)).toMatchObject({ phase: "completed" });
    await inState(target, there, "paused");
    await expectSameDisks();
    await target.resume(there);
    await inState(target, there, "running");
  });
});
