/** A guest whose kernel panics just before it has stopped for the switchover of a live move: it is a panicked one, at one end, with its disks, and runs at none. */
import { join } from "node:path";
import { expect, it } from "vitest";
import { continueSwitchover, runState, startOutgoing } from "../../qemu/migration.ts";
import { Qmp } from "../../qemu/qmp.ts";
import { outcomeOf } from "../../system/run.ts";
import type { MachineId, MachineState } from "../hypervisor.ts";
import { newId, RealMachines, until } from "../testing/real-machines.ts";
import type { QemuHypervisor } from "./qemu-hypervisor.ts";

const machines = new RealMachines();
let source: QemuHypervisor;
let target: QemuHypervisor;
let here: MachineId;
let there: MachineId;

const isPanicked = ({ state, pausedBy }: MachineState) => state === "paused" && pausedBy === "guest-panicked";
const panicked = (host: QemuHypervisor, id: MachineId) =>
  until(async () => {
    const now = await host.get(id);
    return now && isPanicked(now) ? now : undefined;
  });
const resumes = (host: string, id: MachineId) =>
  machines.read(host, id, "journal").match(/"RESUME"/g)?.length ?? 0;
/** Whether a QEMU has its disk open for writing. */
const hasDisk = async () => {
  const path = join(machines.folder, `${here}.raw`);
  const { said } = await outcomeOf("qemu-io", ["-f", "raw", "-c", "read 0 512", path]);
  return /lock/.test(said);
};

/** It has panicked, and is sent all the same, as when that happens after the last look at it. */
async function sent(): Promise<Qmp> {
  source = machines.hypervisor("a");
  target = machines.hypervisor("b");
  const config = machines.machine("panic", { onPanic: "pause" });
  here = config.id;
  there = newId();
  const { machineType } = await machines.start(source, config);
  await machines.start(target, { ...config, id: there, machineType }, "incoming");
  const uri = await target.listen(there, "127.0.0.1");
  await panicked(source, here);
  source.close();
  const qmp = await Qmp.connect(machines.path("a", here, "s/qmp"));
  await startOutgoing(qmp, { uri });
  await until(async () => {
    const answer = await qmp.execute("query-migrate");
    return JSON.stringify(answer).includes('"pre-switchover"') ? true : undefined;
  });
  return qmp;
}

it("does not move: it stays one that panicked, with its disks, and can be reset", async () => {
  (await sent()).close();
  source = machines.hypervisor("a");
  expect(await source.switchover(here)).toMatchObject({
    phase: "failed",
    error: "its guest's kernel has panicked",
  });
  const { brokeDownMs } = await panicked(source, here);
  expect(brokeDownMs).toBeGreaterThan(Date.now() - 60_000);
  expect(await hasDisk()).toBe(true);
  await target.kill(there);
  // Nothing lets it go on by mistake.
  const before = resumes("a", here);
  await source.resume(here);
  await source.setPaused(here, true);
  await source.setPaused(here, false);
  expect(resumes("a", here)).toBe(before);
  expect(await source.migration(here)).toMatchObject({ phase: "none" });
  await source.reset(here, "one");
  await until(async () => ((await source.get(here))?.brokeDownMs !== brokeDownMs ? true : undefined));
  await panicked(source, here);
});

it("is told and kept also where the move is called off, or an agent dies meanwhile", async () => {
  (await sent()).close();
  source = machines.hypervisor("a");
  await source.cancelMigration(here);
  await panicked(source, here);
  expect(await hasDisk()).toBe(true);
  source.close();
  source = machines.hypervisor("a");
  await source.resume(here);
  await panicked(source, here);
});

it("stands still, and can be reset, also where an agent died while it took its disks back", async () => {
  (await sent()).close();
  source = machines.hypervisor("a");
  await source.cancelMigration(here);
  const { brokeDownMs } = await panicked(source, here);
  const looks = {
    get: () => source.get(here),
    resume: () => source.resume(here),
    "setPaused: true": () => source.setPaused(here, true),
    "setPaused: false": () => source.setPaused(here, false),
  };
  for (const [name, look] of Object.entries(looks)) {
    source.close();
    // It had said `cont`, and not yet `stop`.
    const qmp = await Qmp.connect(machines.path("a", here, "s/qmp"));
    await qmp.execute("cont");
    qmp.close();
    source = machines.hypervisor("a");
    await look();
    source.close();
    const after = await Qmp.connect(machines.path("a", here, "s/qmp"));
    expect(await runState(after), name).toBe("paused");
    after.close();
    source = machines.hypervisor("a");
    expect((await panicked(source, here)).brokeDownMs).toBe(brokeDownMs);
  }
  await source.reset(here, "one");
  await until(async () => ((await source.get(here))?.brokeDownMs !== brokeDownMs ? true : undefined));
});

it("that has been handed over is one that panicked there, and does not run on", async () => {
  const qmp = await sent();
  const { pid = 0 } = (await machines.hypervisor("a").list()).find(({ id }) => id === here) ?? {};
  expect(await continueSwitchover(qmp, pid)).toMatchObject({ status: "completed" });
  qmp.close();
  await panicked(target, there);
  expect(await hasDisk()).toBe(false);
  await target.resume(there);
  expect(await hasDisk()).toBe(true);
  expect(isPanicked(await panicked(target, there))).toBe(true);
  expect(resumes("b", there)).toBe(0);
  await target.reset(there, "one");
  await until(() => (resumes("b", there) > 0 ? true : undefined));
});
