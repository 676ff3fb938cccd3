/** A storage pool that others fill while a guest's memory is written into it: the guest runs on, nothing of the memory is left there, and it can be kept later. */
import { appendFileSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { run } from "../../system/run.ts";
import type { MachineId } from "../hypervisor.ts";
import { inState, RealMachines, until } from "../testing/real-machines.ts";
import { memoryOf } from "./memory-files.ts";
import type { QemuHypervisor } from "./qemu-hypervisor.ts";

const machines = new RealMachines();
let host: QemuHypervisor;
let id: MachineId;
let pool = "";
const file = () => join(pool, "memory");
const others = () => join(pool, "others");

beforeEach(async () => {
  pool = join(machines.folder, "pool");
  mkdirSync(pool);
  await run("mount", ["-t", "tmpfs", "-o", "size=72m", "tmpfs", pool]);
  writeFileSync(join(pool, "before"), Buffer.alloc(32 * 2 ** 20));
  host = machines.hypervisor("a");
  const config = machines.machine("hungry", { folders: [pool] });
  id = config.id;
  const { pid } = await machines.start(host, config);
  await until(() => {
    const memory = memoryOf(pid, config.memory);
    return memory && statSync(memory).blocks * 512 > 32 * 2 ** 20 ? true : undefined;
  });
});
afterEach(() => run("umount", ["-l", pool]));

/** Fills the pool as soon as so much of the memory is there. @returns whether it did */
function fillMeanwhile(): () => boolean {
  let [filled, over] = [false, false];
  const look = () => {
    if (over) return;
    const written = readdirSync(pool)
      .filter((name) => name !== "before")
      .reduce((sum, name) => sum + statSync(join(pool, name)).blocks * 512, 0);
    if (written < 2 ** 20) return void setImmediate(look);
    filled = true;
    const chunk = Buffer.alloc(2 ** 18);
    try {
      for (;;) appendFileSync(others(), chunk);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
    }
  };
  look();
  return () => {
    over = true;
    return filled;
  };
}

const NO_ROOM =
  /there is no room for its memory in its storage pool|could not be copied: .*No space left on device/;

it.each([
  { what: "live", keep: () => host.saveMemory(id, [], file()) },
  { what: "of one that stands still until it is written", keep: () => host.suspend(id, file()) },
  { what: "apart from the devices' state", keep: () => host.saveMemory(id, [], file(), { apart: true }) },
  { what: "apart, of one that is suspended", keep: () => host.suspend(id, file(), { apart: true }) },
])("$what", async ({ keep }) => {
  const hasFilled = fillMeanwhile();
  await expect(keep().finally(() => expect(hasFilled()).toBe(true))).rejects.toThrow(NO_ROOM);
  await inState(host, id, "running");
  expect(await host.get(id)).not.toHaveProperty("pausedBy");
  await until(() => (readdirSync(pool).join() === "before,others" ? true : undefined));
  for (const name of readdirSync(pool)) rmSync(join(pool, name));
  expect((await keep()).sizeBytes).toBeGreaterThan(32 * 2 ** 20);
});
