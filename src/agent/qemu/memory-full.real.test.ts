/** What goes wrong while a guest's memory is written: a storage pool that others fill, an agent that dies. The guest runs on, and its memory can be kept later. */
import { appendFileSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { parseBytes } from "../../resource/quantity.ts";
import { run } from "../../system/run.ts";
import type { MachineId } from "../hypervisor.ts";
import { ended, inState, RealMachines, until } from "../testing/real-machines.ts";
import { openMemory } from "./memory-files.ts";
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
    const memory = openMemory(pid, config.memory);
    const blocks = memory ? statSync(memory.path).blocks : 0;
    memory?.close();
    return blocks * 512 > 32 * 2 ** 20 ? true : undefined;
  });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await run("umount", ["-l", pool]);
});

/** Does that as soon as some of the memory is there. @returns whether it did */
function meanwhile(work: () => void): () => boolean {
  let [done, over] = [false, false];
  const look = () => {
    if (over) return;
    const written = readdirSync(pool)
      .filter((name) => name !== "before")
      .reduce((sum, name) => sum + statSync(join(pool, name)).blocks * 512, 0);
    if (written < 2 ** 20) return void setImmediate(look);
    done = true;
    work();
  };
  look();
  return () => {
    over = true;
    return done;
  };
}

function fill(): void {
  const chunk = Buffer.alloc(2 ** 18);
  try {
    for (;;) appendFileSync(others(), chunk);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  }
}

const NO_ROOM =
  /there is no room for its memory in its storage pool|could not be copied: .*No space left on device/;

it.each([
  { what: "live", keep: () => host.saveMemory(id, [], file()) },
  { what: "of one that stands still until it is written", keep: () => host.suspend(id, file()) },
  { what: "apart from the devices' state", keep: () => host.saveMemory(id, [], file(), { apart: true }) },
  { what: "apart, of one that is suspended", keep: () => host.suspend(id, file(), { apart: true }) },
])("$what", async ({ keep }) => {
  const hasFilled = meanwhile(fill);
  await expect(keep().finally(() => expect(hasFilled()).toBe(true))).rejects.toThrow(NO_ROOM);
  await inState(host, id, "running");
  expect(await host.get(id)).not.toHaveProperty("pausedBy");
  await until(() => (readdirSync(pool).join() === "before,others" ? true : undefined));
  for (const name of readdirSync(pool)) rmSync(join(pool, name));
  expect((await keep()).sizeBytes).toBeGreaterThan(32 * 2 ** 20);
});

it("an agent dies while the memory of a guest that runs is written: the next one lets that end, and the guest is not frozen", async () => {
  const hasDied = meanwhile(() => host.close());
  await host.saveMemory(id, [], file()).catch(() => undefined);
  expect(hasDied()).toBe(true);
  host.close(); // it has tried to go on
  host = machines.hypervisor("a");
  await host.abandonMemory(id);
  await inState(host, id, "running");
  // Its virtual CPUs can be stopped, and go on.
  await host.setPaused(id, true);
  await inState(host, id, "paused");
  await host.setPaused(id, false);
  await inState(host, id, "running");
});

it("a guest that runs while its memory is written is asked to shut down at once, and ends, however slow its storage is", async () => {
  const config = machines.machine("button", { memory: parseBytes("256Mi") });
  await machines.start(host, config);
  await until(() => (machines.serial("a", config.id).includes("r") ? true : undefined));
  // Until the folder of the test is gone, at the latest. It is not fast enough for what the memory takes, and is for the pages that the guest waits for.
  const [programs, slow] = [join(machines.folder, "programs"), join(machines.folder, "slow")];
  mkdirSync(programs);
  writeFileSync(slow, "");
  const slowly = `while [ -e ${slow} ]; do /bin/dd bs=16k count=1 status=none; sleep 0.3; done`;
  const script = `#!/bin/sh\ncase "$*" in *conv=fsync*) ${slowly};; esac\nexec /bin/dd "$@"\n`;
  writeFileSync(join(programs, "dd"), script, { mode: 0o755 });
  vi.stubEnv("PATH", `${programs}:${process.env.PATH}`);
  const journal = () => machines.read("a", config.id, "journal");
  const resumes = () => journal().split('"RESUME"').length;
  const before = resumes();
  const saving = host.saveMemory(config.id, [], join(machines.folder, "memory")).catch(() => undefined);
  await until(() => (resumes() > before ? true : undefined));
  expect(await host.powerDown(config.id)).toBe(true);
  expect(journal()).not.toContain('"completed"');
  expect((await ended(host, config.id)).reason).toBe("Requested");
  expect(journal()).toContain("guest-shutdown");
  rmSync(slow);
  await saving;
}, 60_000);
