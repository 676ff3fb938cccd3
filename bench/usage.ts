/**
 * What sampling the usage of 10 machines costs: processor time of the agent a sample, and its share of one core
 * at a sample each 5 s, with how fast each guest writes to its memory, measured each 5 minutes (the most there is). Ends with 1 above 0.3 %.
 */

import { randomUUID } from "node:crypto";
import { chmodSync, chownSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { MachineId } from "../src/agent/hypervisor.ts";
import { QemuHypervisor } from "../src/agent/qemu/qemu-hypervisor.ts";
import { MEASURED_AFTER_MS } from "../src/qemu/dirty-rate.ts";
import { writeBootDisk } from "../src/qemu/testing/boot-sectors.ts";
import { silentLogger } from "../src/reconcile/log.ts";
import { parseBytes } from "../src/resource/quantity.ts";
import { within } from "./measure.ts";

const MACHINES = 10;
const SAMPLES = 30;
const EVERY_S = 5;
const DIRTY_EVERY_S = 300;
const BAR_PERCENT = 0.3;
const user = { uid: 200_001, gid: 200_000 };

const folder = mkdtempSync(join(tmpdir(), "vireo-bench-"));
chmodSync(folder, 0o755);
const hypervisor = new QemuHypervisor({ runDirectory: join(folder, "run"), log: silentLogger });
const ids: MachineId[] = [];
try {
  for (let i = 0; i < MACHINES; i++) {
    // Safe: any uuid may name a machine.
    const id = randomUUID() as string as MachineId;
    const path = join(folder, `${id}.raw`);
    writeBootDisk(path, "old");
    chownSync(path, user.uid, user.gid);
    ids.push(id);
    const disks = [{ path, format: "raw" as const, readOnly: false }];
    const config = { id, name: `m${i}`, cpus: 1, memory: parseBytes("32Mi"), disks, nics: [], user };
    await hypervisor.start({ ...config, accelerator: "tcg" }, "run");
  }
  const sample = async () => {
    for (const id of ids) if (!(await hypervisor.usage(id))) throw new Error(`${id}: its usage is not known`);
  };
  for (let i = 0; i < 5; i++) await sample();
  const begin = process.cpuUsage();
  for (let i = 0; i < SAMPLES; i++) await sample();
  const { user: inUser, system } = process.cpuUsage(begin);
  const ms = (inUser + system) / 1000 / SAMPLES;
  console.log(`a sample of ${MACHINES} machines: ${ms.toFixed(1)} ms of processor time`);
  const dirtyBegin = process.cpuUsage();
  for (const id of ids) if (!(await hypervisor.startDirtyRate(id))) throw new Error(`${id}: not measured`);
  const started = process.cpuUsage(dirtyBegin);
  await sleep(MEASURED_AFTER_MS);
  const readBegin = process.cpuUsage();
  for (const id of ids)
    if ((await hypervisor.dirtyRate(id)) === undefined) throw new Error(`${id}: its measurement did not end`);
  const read = process.cpuUsage(readBegin);
  const dirtyMs = (started.user + started.system + read.user + read.system) / 1000;
  console.log(`how fast they write to their memory: ${dirtyMs.toFixed(1)} ms`);
  const percent = (ms / (EVERY_S * 1000) + dirtyMs / (DIRTY_EVERY_S * 1000)) * 100;
  console.log(
    `each ${EVERY_S} s and ${DIRTY_EVERY_S} s: ${percent.toFixed(2)} % of a core (bar: ${BAR_PERCENT} %)`,
  );
  if (!within([percent], BAR_PERCENT)) process.exitCode = 1;
} finally {
  for (const id of ids) await hypervisor.kill(id);
  hypervisor.close();
  rmSync(folder, { recursive: true, force: true });
}
