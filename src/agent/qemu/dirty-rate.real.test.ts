/** How fast a guest writes to its memory, measured on the real QEMU. */
import { beforeEach, expect, it } from "vitest";
import { inState, moveLive, RealMachines, until } from "../testing/real-machines.ts";
import type { QemuHypervisor } from "./qemu-hypervisor.ts";

const MiB = 2 ** 20;
const machines = new RealMachines();
let host: QemuHypervisor;
beforeEach(() => {
  host = machines.hypervisor("a");
});

const measured = async (id: Parameters<QemuHypervisor["usage"]>[0], at = host) => {
  expect(await at.startDirtyRate(id)).toBe(true);
  return until(() => at.dirtyRate(id));
};
it("a guest that takes 32 MiB again and again is told from one that does nothing", async () => {
  const [hungry, idle] = [
    machines.machine("hungry"),
    machines.machine("console", { memory: (2 ** 29) as never }),
  ];
  await machines.start(host, hungry);
  await machines.start(host, idle);
  await until(() => machines.serial("a", hungry.id).includes(".") || undefined);
  // Of 64 MiB eight pages are looked at: once in hundreds of times none of them is among those.
  const rate = await until(async () => (await measured(hungry.id)) || undefined);
  expect(rate).toBeGreaterThanOrEqual(4 * MiB);
  expect(rate).toBeLessThanOrEqual(32 * MiB);
  expect(await measured(idle.id)).toBe(0);
});

it("not while one is measured, nor of a guest that stands still, and again when it runs", async () => {
  const config = machines.machine("busy");
  await machines.start(host, config);
  expect(await host.startDirtyRate(config.id)).toBe(true);
  expect(await until(async () => ((await host.startDirtyRate(config.id)) ? undefined : true))).toBe(true);
  await until(() => host.dirtyRate(config.id));
  await host.setPaused(config.id, true);
  await inState(host, config.id, "paused");
  expect(await host.startDirtyRate(config.id)).toBe(false);
  await host.setPaused(config.id, false);
  await inState(host, config.id, "running");
  expect(await measured(config.id)).toBeGreaterThanOrEqual(0);
});

it("goes on beside a move, and begins anew where the machine has come to", async () => {
  const target = machines.hypervisor("b");
  const config = machines.machine("busy");
  const there = { ...config, id: machines.machine("busy").id };
  await machines.start(host, config);
  await machines.start(target, there, "incoming");
  expect(await target.startDirtyRate(there.id)).toBe(false);
  expect(await host.startDirtyRate(config.id)).toBe(true);
  await moveLive(host, config.id, target, there.id);
  expect(await host.startDirtyRate(config.id)).toBe(false);
  expect(await measured(there.id, target)).toBeGreaterThanOrEqual(0);
});
