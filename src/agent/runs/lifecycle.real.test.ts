/** Guests that stand still, break down and end, on a real QEMU: pause and its move, reset, panic and watchdog with a dump, a full storage, too little memory. */
import { execFileSync } from "node:child_process";
import { chownSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hardwareOf } from "../../compute/hardware/kinds.ts";
import { makeDisk } from "../disks/make-disk.ts";
import type { MachineConfig, MachineId } from "../hypervisor.ts";
import type { QemuHypervisor } from "../qemu/qemu-hypervisor.ts";
import { ended, inState, moveLive, newId, RealMachines, USER, until } from "../testing/real-machines.ts";
import { Dumps } from "./dumps.ts";

const machines = new RealMachines();
let host: QemuHypervisor;
beforeEach(() => {
  host = machines.hypervisor("a");
});

const journal = (id: MachineId, of = "a") => machines.read(of, id, "journal");
const stands = (id: MachineId, by: string, of = host) =>
  until(async () => {
    const state = await of.get(id);
    return state?.state === "paused" && state.pausedBy === by ? state : undefined;
  });
/** What it has said on its console; it says nothing while it stands still. */
const said = (id: MachineId, of = "a") => machines.serial(of, id).length;
const goesOn = async (id: MachineId, of = "a") => {
  const before = said(id, of);
  await until(() => (said(id, of) > before ? true : undefined));
};
const watchdog = (action: "Reset" | "PowerOff" | "Pause" | "Dump"): Partial<MachineConfig> => ({
  hardware: hardwareOf({ watchdog: action }),
});

describe("a paused machine", () => {
  it("stands still for every agent until it is told to go on", async () => {
    const config = machines.machine("busy");
    await machines.start(host, config);
    await goesOn(config.id);
    await host.setPaused(config.id, true);
    await host.setPaused(config.id, true);
    expect(await stands(config.id, "user")).toMatchObject({ paused: true });
    host.close();
    const next = machines.hypervisor("a");
    await next.list(); // from here on somebody hears what its guest says
    await next.resume(config.id); // takes its disks, does not run
    expect(await next.get(config.id)).toMatchObject({ state: "paused", pausedBy: "user" });
    await next.setPaused(config.id, false);
    await inState(next, config.id, "running");
    await goesOn(config.id);
  });

  it("starts without running, and moves, twice, without running an instruction", async () => {
    const [base] = machines.machine("writer").disks;
    const path = join(machines.folder, "root.qcow2");
    execFileSync("qemu-img", ["convert", "-q", "-O", "qcow2", base?.path ?? "", path]);
    chownSync(path, USER.uid, USER.gid);
    const first = machines.machine("writer", {
      disks: [{ path, format: "qcow2", readOnly: false }],
      paused: true,
    });
    expect(await machines.start(host, first)).toMatchObject({ state: "paused", pausedBy: "user" });
    await host.start(first, "run");
    await stands(first.id, "user");
    await host.setPaused(first.id, false);
    await until(async () => ((await host.usage(first.id))?.disks[0]?.writes ?? 0) > 3 || undefined);
    await host.setPaused(first.id, true);
    let [from, id] = [host, first.id];
    for (const name of ["b", "c"]) {
      const to = machines.hypervisor(name);
      const target = { ...first, id: newId() };
      await machines.start(to, target, "incoming");
      await moveLive(from, id, to, target.id);
      expect(await stands(target.id, "user", to)).toMatchObject({ paused: true });
      expect(journal(target.id, name)).not.toContain("RESUME");
      await from.kill(id);
      // The disks are open for writing: qemu-img may not.
      expect(() => execFileSync("qemu-img", ["resize", "-q", path, "+1M"], { stdio: "pipe" })).toThrow(
        /lock/,
      );
      [from, id] = [to, target.id];
    }
    await from.setPaused(id, false);
    await until(async () => ((await from.usage(id))?.disks[0]?.writes ?? 0) > 3 || undefined);
  });

  it("that was not taken over stays paused where it is", async () => {
    const config = machines.machine("busy");
    await machines.start(host, config);
    await host.setPaused(config.id, true);
    const to = machines.hypervisor("b");
    const target = { ...config, id: newId() };
    await machines.start(to, target, "incoming");
    await host.migrate(config.id, await to.listen(target.id, "127.0.0.1"));
    await until(async () => (await host.migration(config.id)).phase === "pre-switchover" || undefined);
    await host.switchover(config.id);
    await to.kill(target.id);
    await host.resume(config.id);
    await stands(config.id, "user");
    await host.setPaused(config.id, false);
    await inState(host, config.id, "running");
  });
});

describe("reset", () => {
  it("is done once for each request, by whichever agent, in the same process", async () => {
    const config = machines.machine("busy");
    const { pid } = await machines.start(host, config);
    // SeaBIOS does not take a reset in its middle.
    await goesOn(config.id);
    const resets = () => journal(config.id).split("host-qmp-system-reset").length - 1;
    await host.reset(config.id, "one");
    await host.reset(config.id, "one");
    host.close();
    const next = machines.hypervisor("a");
    await next.list(); // from here on somebody hears what its guest says
    await next.reset(config.id, "one");
    expect(resets()).toBe(1);
    await goesOn(config.id);
    await next.setPaused(config.id, true);
    await next.reset(config.id, "two");
    expect(await stands(config.id, "user", next)).toMatchObject({ pid });
    await next.setPaused(config.id, false);
    await goesOn(config.id);
    expect(resets()).toBe(2);
  });

  it("is a way on for a guest that has panicked", async () => {
    const config = machines.machine("panic", { onPanic: "pause" });
    await machines.start(host, config);
    const first = await stands(config.id, "guest-panicked");
    await host.reset(config.id, "one");
    await until(async () => {
      const again = await host.get(config.id);
      return again?.pausedBy === "guest-panicked" && again.brokeDownMs !== first.brokeDownMs
        ? true
        : undefined;
    });
  });
});

describe("a guest that panics", () => {
  it("is dumped into a file of root's, from which its memory can be read; the newest are kept", async () => {
    const config = machines.machine("panic", { onPanic: "pause", folders: [machines.folder] });
    await machines.start(host, config);
    const { brokeDownMs = 0 } = await stands(config.id, "guest-panicked");
    const dumps = new Dumps(join(machines.folder, "dumps"), USER);
    const facts = { reason: "GuestPanic", host: "a" } as const;
    const path = dumps.path({ ...facts, time: new Date(brokeDownMs).toISOString() });
    const part = await dumps.begin(path, config.memory);
    const done = await until(async () => {
      const dumped = await host.dumpMemory(config.id, part);
      return dumped.state === "done" ? dumped : undefined;
    });
    await dumps.finish(path, 2);
    expect(done.sizeBytes).toBeGreaterThan(config.memory);
    expect(statSync(path)).toMatchObject({ uid: 0, mode: 0o100600, size: done.sizeBytes });
    const dump = readFileSync(path);
    expect(dump.subarray(0, 4).toString("latin1")).toBe("\x7fELF");
    // The code of its boot sector is there, where the BIOS put it.
    const code = readFileSync(config.disks[0]?.path ?? "").subarray(0, 96);
    expect(dump.includes(code)).toBe(true);
    for (const time of [1, 2])
      writeFileSync(dumps.path({ ...facts, time: new Date(time).toISOString() }), "");
    await dumps.finish(path, 2);
    expect((await dumps.list()).map(({ file }) => file)).toEqual([
      dumps.path({ ...facts, time: new Date(2).toISOString() }),
      path,
    ]);
    await expect(dumps.begin(`${path}2`, (2 ** 60) as typeof config.memory)).rejects.toThrow(/are free$/);
  });

  it("ends or stands still as was said last", async () => {
    const config = machines.machine("panic", { onPanic: "pause" });
    await machines.start(host, config);
    await stands(config.id, "guest-panicked");
    await host.setOnPanic(config.id, "end");
    await host.reset(config.id, "one");
    expect(await ended(host, config.id)).toMatchObject({ reason: "GuestPanic" });
  });
});

describe("a watchdog that is not fed", () => {
  it("resets, pauses or ends the machine, and that is told", async () => {
    const reset = machines.machine("watchdog", watchdog("Reset"));
    const pause = machines.machine("watchdog", watchdog("Dump"));
    const off = machines.machine("watchdog", watchdog("PowerOff"));
    const { pid } = await machines.start(host, reset);
    await machines.start(host, pause);
    await machines.start(host, off);
    expect(await ended(host, off.id)).toEqual({
      reason: "Watchdog",
      message: "the guest did not feed its watchdog: it was switched off",
    });
    const { brokeDownMs } = await stands(pause.id, "watchdog");
    expect(brokeDownMs).toBeGreaterThan(Date.now() - 60_000);
    const end = { reason: "Watchdog", message: "and dumped" } as const;
    await host.kill(pause.id, end);
    expect(await ended(host, pause.id)).toEqual(end);
    const again = await until(async () => {
      const state = await host.get(reset.id);
      return state?.brokeDownMs ? state : undefined;
    });
    expect(again).toMatchObject({ state: "running", pid });
  });
});

describe("a storage that is full", () => {
  const pool = () => join(machines.folder, "pool");
  beforeEach(() => {
    mkdirSync(pool());
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", pool()]);
  });
  afterEach(async () => {
    execFileSync("umount", ["-l", pool()]);
  });

  it("has the guest stand still, and go on when there is room", async () => {
    const [base] = machines.machine("writer").disks;
    const path = join(pool(), "root.qcow2");
    await makeDisk(path, { path: base?.path ?? "", format: "raw" }, undefined, USER);
    const filler = join(pool(), "filler");
    const config = machines.machine("writer", { disks: [{ path, format: "qcow2", readOnly: false }] });
    await machines.start(host, config);
    writeFileSync(filler, "");
    execFileSync("sh", ["-c", `dd if=/dev/zero of=${filler} bs=4k 2>/dev/null || true`]);
    await stands(config.id, "storage-full");
    await host.resume(config.id);
    await stands(config.id, "storage-full");
    execFileSync("mount", ["-o", "remount,size=64m", pool()]);
    await host.resume(config.id);
    const before = (await host.usage(config.id))?.disks[0]?.writes ?? 0;
    await until(
      async () => ((await host.usage(config.id))?.disks[0]?.writes ?? 0) > before + 100 || undefined,
    );
    await host.kill(config.id);
    rmSync(filler);
  });
});

it("an end that the host's own brought is told as that", async () => {
  const config = machines.machine("busy");
  const { pid } = await machines.start(host, config);
  const record = machines.path("a", config.id, "record.json");
  const text = readFileSync(record, "utf8");
  process.kill(pid, "SIGKILL");
  expect(await ended(host, config.id)).toMatchObject({ reason: "Killed" });
  // As of another start of the host.
  writeFileSync(record, text.replace(/"bootId": "[^"]+"/, '"bootId": "another"'));
  expect(await ended(host, config.id)).toMatchObject({ reason: "HostRebooted" });
});

describe("too little memory", () => {
  it("is told as that, not as a kill", async () => {
    // It takes more once it runs.
    const config = machines.machine("hungry", { paused: true });
    await machines.start(host, config);
    const group = join("/sys/fs/cgroup/memory/vireo", config.id.replaceAll("-", "").slice(0, 12));
    const stat = readFileSync(join(group, "memory.stat"), "utf8");
    // The rest is cache of files, which the kernel takes away first.
    const used = ["rss", "shmem"].map((name) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(stat)?.[1]));
    // The least that it can be: the kernel refuses what it cannot get down to.
    const limit = (bytes: number): void => {
      try {
        writeFileSync(join(group, "memory.limit_in_bytes"), String(bytes));
      } catch {
        limit(bytes + 2 ** 16);
      }
    };
    limit(used.reduce((sum, each) => sum + each, 0));
    await host.setPaused(config.id, false).catch(() => undefined);
    const { reason, message } = await ended(host, config.id);
    expect({ reason, message }).toEqual({
      reason: "OutOfMemory",
      message: expect.stringMatching(/memory.*killed/),
    });
  });
});
