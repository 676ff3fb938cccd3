/** What machines use, from two samples; and how seldom it is written. */
import { describe, expect, it } from "vitest";
import type { Instance } from "../../compute/kinds.ts";
import { parseBlockStats, usedOf } from "../../qemu/usage.ts";
import type { Hypervisor, MachineUsage } from "../hypervisor.ts";
import { differs, rates, UsageSampler } from "./usage.ts";

const MiB = 2 ** 20;
const disk = {
  disk: "disk0",
  readBytes: 0,
  writtenBytes: 0,
  reads: 0,
  writes: 0,
  readSeconds: 0,
  writeSeconds: 0,
};
const first: MachineUsage = {
  cpuSeconds: 10,
  stealSeconds: 1,
  residentBytes: 100 * MiB,
  disks: [disk],
  nics: [{ receivedBytes: 0, sentBytes: 1000 }],
};
const second: MachineUsage = {
  ...first,
  cpuSeconds: 15,
  stealSeconds: 1.5,
  guestUsedBytes: 50 * MiB,
  disks: [{ ...disk, reads: 10, writes: 10, readBytes: 4096, readSeconds: 0.01, writeSeconds: 0.09 }],
  nics: [{ receivedBytes: 500, sentBytes: 2000 }],
};
const time = new Date("2026-11-24T00:00:00Z");

describe("usage", () => {
  it("is what counters rose by", () => {
    expect(rates(first, second, 10, time)).toEqual({
      time: "2026-11-24T00:00:00.000Z",
      cpus: 0.5,
      stolenCpus: 0.05,
      hostMemoryBytes: 100 * MiB,
      guestMemoryBytes: 50 * MiB,
      disk: { readBytesPerSecond: 410, writtenBytesPerSecond: 0, operationsPerSecond: 2, latencyMs: 5 },
      network: { receivedBytesPerSecond: 50, sentBytesPerSecond: 100 },
    });
  });

  it("of another process is unknown until its second sample", () => {
    expect(rates(second, first, 10, time)).toBeUndefined();
  });

  it("is written again when people would want to know", () => {
    const told = rates(first, second, 10, time);
    if (!told) throw new Error("no usage");
    expect(differs(told, { ...told, time: "later", cpus: 0.52, hostMemoryBytes: 110 * MiB })).toBe(false);
    expect(differs(told, { ...told, cpus: 0.9 })).toBe(true);
    expect(differs(told, { ...told, disk: { ...told.disk, writtenBytesPerSecond: 5 * MiB } })).toBe(true);
    expect(differs(told, { ...told, disk: { ...told.disk, latencyMs: 9 } })).toBe(false);
    expect(differs(told, { ...told, disk: { ...told.disk, latencyMs: 500 } })).toBe(true);
    expect(differs(told, { ...told, dirtyBytesPerSecond: 0 })).toBe(true);
    const dirty = { ...told, dirtyBytesPerSecond: 90 * MiB };
    expect(differs(dirty, { ...told, dirtyBytesPerSecond: 80 * MiB })).toBe(false);
    expect(differs(dirty, { ...told, dirtyBytesPerSecond: 40 * MiB })).toBe(true);
  });
});

it("is told as the mean since it was last asked for, whatever the samples between", async () => {
  let [cpuSeconds, now] = [10, time.getTime()];
  const sampler = new UsageSampler(
    { usage: async () => ({ ...first, cpuSeconds }) } as unknown as Hypervisor,
    { now: () => new Date(now), elapsed: () => now, sleep: async () => {} },
  );
  const instance = {
    metadata: { name: "a-0", namespace: "default", uid: "u" },
    spec: { vm: "a" },
    status: { phase: "Running" },
  } as unknown as Instance;
  const sample = async (seconds: number, used: number) => {
    now += 1000 * seconds;
    cpuSeconds += used;
    await sampler.sample([instance]);
  };
  await sample(0, 0);
  expect(sampler.news(instance)).toBeUndefined();
  for (const used of [5, 0, 0, 0, 0, 1]) await sample(5, used);
  expect(sampler.news(instance)).toMatchObject({ cpus: 0.2, time: new Date(now).toISOString() });
  expect(sampler.news(instance)).toBeUndefined();
  await sample(5, 5);
  expect(sampler.news(instance)).toMatchObject({ cpus: 1 });
  await sample(5, -10);
  expect(sampler.news(instance)).toBeUndefined();
  await sample(5, 2.5);
  expect(sampler.news(instance)).toMatchObject({ cpus: 0.5 });
});

it("has how fast the guest writes to its memory, also what an agent before has measured", async () => {
  let now = time.getTime();
  const used = rates(first, second, 10, time);
  const hypervisor: Partial<Hypervisor> = {
    usage: async () => ({ ...first, cpuSeconds: now / 2000 }),
    startDirtyRate: async () => true,
    dirtyRate: async () => 40 * MiB,
  };
  const clock = { now: () => new Date(now), elapsed: () => now, sleep: async () => {} };
  const sampler = new UsageSampler(hypervisor as Hypervisor, clock);
  const instance = {
    metadata: { name: "a-0", namespace: "default", uid: "u" },
    spec: { vm: "a" },
    status: { phase: "Running", usage: { ...used, cpus: 9, dirtyBytesPerSecond: 90 * MiB } },
  } as unknown as Instance;
  const sample = async (times: number) => {
    for (let i = 0; i < times; i++, now += 5000) await sampler.sample([instance]);
    return sampler.news(instance)?.dirtyBytesPerSecond;
  };
  await sample(1);
  expect(await sample(2)).toBe(90 * MiB);
  expect(await sample(20)).toBe(40 * MiB);
});

it("of disks is told by device, others are left out", () => {
  const stats = { rd_bytes: 512, wr_bytes: 1024, rd_operations: 1, wr_operations: 2, wr_total_time_ns: 3e9 };
  const answer = [
    { qdev: "/machine/peripheral/disk0/virtio-backend", stats },
    { qdev: "/machine/system.flash1", stats },
    { qdev: "cd-disk1", stats },
  ];
  expect(parseBlockStats(answer)).toEqual([
    {
      disk: "disk0",
      readBytes: 512,
      writtenBytes: 1024,
      reads: 1,
      writes: 2,
      readSeconds: 0,
      writeSeconds: 3,
    },
  ]);
  expect(parseBlockStats("odd")).toEqual([]);
});

it("of memory is what the guest says, when it says something that makes sense", () => {
  const told = (stats: unknown) => usedOf({ stats, "last-update": 1 });
  expect(told({ "stat-total-memory": 100, "stat-available-memory": 60, "stat-free-memory": 10 })).toBe(40);
  expect(told({ "stat-total-memory": 100, "stat-available-memory": 2 ** 64, "stat-free-memory": 10 })).toBe(
    90,
  );
  expect(told({ "stat-total-memory": 2 ** 64, "stat-available-memory": 2 ** 64 })).toBeUndefined();
  expect(told({ "stat-total-memory": 10, "stat-available-memory": 60 })).toBe(0);
  expect(told(undefined)).toBeUndefined();
});
