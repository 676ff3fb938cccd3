/** What comes and goes under a real QEMU, whose guest (a boot sector) notices nothing of it: what comes is there, moves along, and stays until a guest lets go. */
import { chownSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { TODAY } from "../../qemu/board.ts";
import { run } from "../../system/run.ts";
import type { Adjustable, DiskConfig, MachineConfig } from "../hypervisor.ts";
import { inState, moveLive, newId, RealMachines, USER } from "../testing/real-machines.ts";

const machines = new RealMachines();
const MiB = 2 ** 20;
const megabytes = (count: number) => (count * MiB) as MachineConfig["memory"];

/** Of the machine alone, which its QEMU sees. */
const folder = () => join(machines.folder, "disks");

async function dataDisk(): Promise<DiskConfig> {
  const path = join(folder(), "data.qcow2");
  await run("qemu-img", ["create", "-q", "-f", "qcow2", path, "1M"]);
  chownSync(path, USER.uid, USER.gid);
  return { name: "data", path, format: "qcow2", readOnly: false, port: 3 };
}

it("disks, CPUs and memory come, grow, are limited, and move along; they go only when the guest lets go", async () => {
  const [source, target] = [machines.hypervisor("a"), machines.hypervisor("b")];
  mkdirSync(folder(), { mode: 0o711 });
  const room = { maxCpus: 3, maxMemory: 512 * MiB };
  const config = machines.machine("busy", {
    memory: megabytes(64),
    ports: 8,
    folders: [folder()],
    more: { ...room, cpus: 1, modules: [] },
  });
  const { machineType } = await machines.start(source, config);
  const data = await dataDisk();
  const wanted: Adjustable = {
    disks: [...config.disks, data],
    nics: [{ mac: "52:54:00:00:00:09", mtu: 1450, backend: { user: true }, port: 1 }],
    cpus: 2,
    memory: megabytes(192),
  };
  // Of what its host has not the memory for nothing comes; the rest does.
  const short = await source.adjust(config.id, {
    ...wanted,
    disks: config.disks,
    lacking: { memory: "short", memoryTarget: "short" },
  });
  expect(short).toMatchObject({ cpus: 2, modules: [], refused: [{ of: "memory", why: "short" }] });
  const fixed = { disks: [], nics: [] };
  const has = { disks: ["data"], nics: ["525400000009"], fixed, cpus: 2, modules: [128 * MiB] };
  expect(await source.adjust(config.id, wanted)).toEqual({ ...has, refused: [] });
  const limits = { iops: 100, bytes: MiB, burst: { iops: 200, seconds: 2 } };
  const grown = { ...wanted, disks: [...config.disks, { ...data, sizeBytes: 2 * MiB, limits }] };
  // Again, and with more of it: nothing comes twice.
  expect(await source.adjust(config.id, grown)).toEqual({ ...has, refused: [] });
  expect(await source.present(config.id)).toEqual(has);
  expect(JSON.parse(await run("qemu-img", ["info", "-U", "--output=json", data.path]))["virtual-size"]).toBe(
    2 * MiB,
  );

  const there: MachineConfig = {
    ...config,
    id: newId(),
    machineType,
    disks: grown.disks,
    nics: grown.nics,
    more: { ...room, cpus: 2, modules: [128 * MiB] },
  };
  await machines.start(target, there, "incoming");
  await moveLive(source, config.id, target, there.id);
  expect(await target.present(there.id)).toEqual(has);

  const less = { ...wanted, disks: config.disks, nics: [], cpus: 1, memory: megabytes(64) };
  const left = await target.adjust(there.id, less);
  expect(left).toMatchObject(has);
  const why = (of: object) => expect.objectContaining(of);
  expect(left.refused).toEqual([
    why({ disk: "data", why: expect.stringContaining("has not let go of it yet") }),
    why({ nic: "525400000009" }),
    why({ of: "cpus", why: expect.stringContaining("under TCG CPUs cannot go") }),
    why({ of: "memory", why: expect.stringContaining("has not let go of a memory module") }),
  ]);
  await inState(target, there.id, "running");
}, 120_000);

it("CPUs and memory come on the board pc, too, and move along", async () => {
  const [source, target] = [machines.hypervisor("a"), machines.hypervisor("b")];
  const room = { maxCpus: 2, maxMemory: 256 * MiB };
  const hardware = { ...TODAY, board: "pc", firmware: "bios", secureBoot: false, tpm: false } as const;
  const config = machines.machine("busy", {
    memory: megabytes(64),
    hardware,
    more: { ...room, cpus: 1, modules: [] },
  });
  const { machineType } = await machines.start(source, config);
  const wanted: Adjustable = { disks: config.disks, nics: [], cpus: 2, memory: megabytes(192) };
  const has = { disks: [], nics: [], fixed: { disks: [], nics: [] }, cpus: 2, modules: [128 * MiB] };
  expect(await source.adjust(config.id, wanted)).toEqual({ ...has, refused: [] });
  const more = { ...room, cpus: 2, modules: [128 * MiB] };
  const there: MachineConfig = { ...config, id: newId(), machineType, more };
  await machines.start(target, there, "incoming");
  await moveLive(source, config.id, target, there.id);
  expect(await target.present(there.id)).toEqual(has);
  await inState(target, there.id, "running");
}, 60_000);

it("disks and networks at places of the board are told in the order that QEMU has them in, whatever is asked for since", async () => {
  const hypervisor = machines.hypervisor("a");
  mkdirSync(folder(), { mode: 0o711 });
  const { port: _, ...data } = await dataDisk();
  const logs = { ...data, name: "logs", path: data.path.replace("data", "logs") };
  await run("qemu-img", ["create", "-q", "-f", "qcow2", logs.path, "1M"]);
  chownSync(logs.path, USER.uid, USER.gid);
  const bios = { firmware: "bios", secureBoot: false, tpm: false } as const;
  const hardware = { ...TODAY, ...bios, disks: "sata", nics: "rtl8139" } as const;
  const nics = [1, 2].map((n) => ({
    mac: `52:54:00:00:00:0${n}`,
    mtu: 1450,
    backend: { user: true } as const,
  }));
  const machine = machines.machine("busy", { hardware, nics, folders: [folder()] });
  const config = { ...machine, disks: [...machine.disks, data, logs] };
  await machines.start(hypervisor, config);
  const fixed = { disks: ["data", "logs"], nics: ["525400000001", "525400000002"] };
  expect(await hypervisor.present(config.id)).toMatchObject({ nics: [], fixed });
  const turned = { disks: [...machine.disks, logs, data], nics: nics.toReversed() };
  const { cpus, memory } = config;
  expect(await hypervisor.adjust(config.id, { ...turned, cpus, memory })).toMatchObject({
    fixed,
    refused: [],
  });
}, 60_000);
