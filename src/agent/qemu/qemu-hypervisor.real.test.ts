/** The real hypervisor on a real QEMU with guests of one boot sector: ends, adoption after crashes, isolation, writers. */

import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { probeAccelerator } from "../../qemu/accelerator.ts";
import { readCapabilities } from "../../qemu/capabilities.ts";
import { isFields } from "../../resource/fields.ts";
import { identify, isSame } from "../../system/process.ts";
import { makeDisk } from "../disks/make-disk.ts";

import { type MachineConfig, type MachineEnd, type MachineId, NoAnswerError } from "../hypervisor.ts";
import { ended, inState, newId, RealMachines, USER, until } from "../testing/real-machines.ts";
import type { QemuHypervisor } from "./qemu-hypervisor.ts";
import { endProcess } from "./qemu-stop.ts";

const machines = new RealMachines();
let host: QemuHypervisor;
beforeEach(() => {
  host = machines.hypervisor("a");
});

const recordOf = (id: MachineId): Record<string, unknown> => {
  const value: unknown = JSON.parse(machines.read("a", id, "record.json"));
  return isFields(value) ? value : {};
};

/** Runs code in an agent of its own, which kills itself with SIGKILL; `h` is its hypervisor, `config` the machine. */
async function inAgentThatDies(config: MachineConfig, code: string): Promise<void> {
  machines.willRun(host, config.id);
  const at = (file: string) => JSON.stringify(join(import.meta.dirname, file));
  const child = spawn(process.execPath, [
    "--input-type=module-typescript",
    "-e",
    `import fs from "node:fs";
     import { syncBuiltinESMExports } from "node:module";
     import { QemuHypervisor } from ${at("qemu-hypervisor.ts")};
     import { silentLogger } from ${at("../../reconcile/log.ts")};
     const h = new QemuHypervisor({ runDirectory: ${JSON.stringify(join(machines.folder, "a"))}, log: silentLogger });
     const config = ${JSON.stringify(config)};
     const die = () => process.kill(process.pid, "SIGKILL");
     ${code}`,
  ]);
  let stderr = "";
  child.stderr.on("data", (text) => {
    stderr += text;
  });
  const signal = await new Promise((resolve) => child.on("exit", (_, by) => resolve(by)));
  expect(signal, stderr).toBe("SIGKILL");
}

/** Once the record says which process it is, before anything else is done. */
const DIES_AT_SPAWN = `
  const { renameSync, readFileSync } = fs;
  fs.renameSync = (from, to) => {
    renameSync(from, to);
    if (readFileSync(to, "utf8").includes("startTime")) die();
  };
  syncBuiltinESMExports();
`;

describe("the end of a machine", () => {
  const guests = [
    ["shutdown", "GuestShutdown"],
    ["panic", "GuestPanic"],
  ] as const;
  it.each(guests)("guest's %s is %s", async (guest, reason) => {
    const config = machines.machine(guest);
    await machines.start(host, config);
    expect(await ended(host, config.id)).toMatchObject({ reason });
  });

  const signals: [NodeJS.Signals, MachineEnd["reason"], RegExp][] = [
    ["SIGTERM", "HostSignal", /terminating on signal 15 from pid \d+/],
    ["SIGINT", "HostSignal", /terminating on signal 2/],
    ["SIGHUP", "HostSignal", /terminating on signal 1/],
    ["SIGKILL", "Killed", /^QEMU was killed \(SIGKILL\)$/],
    ["SIGABRT", "Crashed", /SIGABRT/],
    ["SIGSEGV", "Crashed", /SIGSEGV/],
  ];
  it.each(signals)("%s is %s", async (signal, reason, message) => {
    const config = machines.machine("busy");
    const { pid } = await machines.start(host, config);
    process.kill(pid, signal);
    expect(await ended(host, config.id)).toEqual({ reason, message: expect.stringMatching(message) });
  });

  it("a guest's reset is no end", async () => {
    const config = machines.machine("reset");
    const { pid } = await machines.start(host, config);
    await until(() => machines.read("a", config.id, "journal").includes("guest-reset") || undefined);
    expect(await host.get(config.id)).toMatchObject({ state: "running", pid });
  });

  it("a stop is Requested, whatever step of the ladder ended it; then it can be forgotten", async () => {
    const config = machines.machine("busy"); // knows no power button
    await machines.start(host, config);
    await expect(host.forget(config.id)).rejects.toThrow(/still runs/);
    await host.stop(config.id, 100);
    expect(await host.get(config.id)).toMatchObject({ state: "ended", end: { reason: "Requested" } });
    await host.stop(config.id, 100);
    await host.forget(config.id);
    await host.forget(config.id);
    expect(await host.get(config.id)).toBeUndefined();
  });

  it("comes by SIGTERM when somebody else holds the monitor, by SIGKILL when QEMU hangs", async () => {
    const [held, hung] = [machines.machine("busy"), machines.machine("busy")];
    await machines.start(host, held);
    const { pid } = await machines.start(host, hung);
    host.close();
    const other = connect(machines.path("a", held.id, "s/qmp"));
    await until(() => (other.bytesRead > 0 ? true : undefined));
    process.kill(pid, "SIGSTOP");
    await Promise.all([host.stop(held.id, 0), host.kill(hung.id)]);
    other.destroy();
    expect(machines.read("a", held.id, "journal")).toContain("host-signal");
    expect(await host.get(held.id)).toMatchObject({ state: "ended", end: { reason: "Requested" } });
    expect(await host.get(hung.id)).toMatchObject({ state: "ended", end: { reason: "Requested" } });
  });

  it("is never told of one whose record cannot be read, or is gone, while its process runs", async () => {
    const config = machines.machine("busy");
    const { pid } = await machines.start(host, config);
    const record = machines.path("a", config.id, "record.json");
    const text = readFileSync(record, "utf8");
    writeFileSync(record, text.slice(0, 50));
    await expect(host.get(config.id)).rejects.toThrow(`its record is not whole, but its process ${pid} runs`);
    expect(await host.list()).toEqual([]);
    rmSync(record);
    await expect(host.get(config.id)).rejects.toThrow(`its record is gone, but its process ${pid} runs`);
    await expect(host.start(config, "run")).rejects.toThrow("its record is gone");
    writeFileSync(record, text);
    expect(await host.get(config.id)).toMatchObject({ state: "running", pid });
  });

  it("wakes whoever listens, once the process is gone", async () => {
    const config = machines.machine("busy");
    const { pid } = await machines.start(host, config);
    const seen: unknown[] = [];
    host.onChange(async (id) => seen.push((await host.get(id))?.state));
    process.kill(pid, "SIGKILL");
    await until(() => seen.includes("ended") || undefined);
  });
});

describe("an agent that is killed", () => {
  it("after the start: the end that nobody saw is known", async () => {
    const config = machines.machine("shutdown");
    await inAgentThatDies(config, `await h.start(config, "run"); die();`);
    expect(await ended(host, config.id)).toMatchObject({ reason: "GuestShutdown" });
  });

  it("just after the spawn: the machine is found, and the start is finished", async () => {
    const config = machines.machine("busy");
    await inAgentThatDies(config, `${DIES_AT_SPAWN} void h.start(config, "run");`);
    // As if it had died one line earlier, before it wrote down the process.
    const { process: started, ...rest } = recordOf(config.id);
    writeFileSync(machines.path("a", config.id, "record.json"), JSON.stringify(rest));
    await inState(host, config.id, "paused");
    const { pid, state } = await host.start(config, "run");
    expect({ pid, state }).toEqual({ pid: isFields(started) ? started.pid : 0, state: "running" });
  });

  it("during a start that fails: StartFailed, with QEMU's words", async () => {
    const config = machines.machine("busy", {
      disks: [{ path: join(machines.folder, "absent.raw"), format: "raw", readOnly: false }],
    });
    await inAgentThatDies(config, `${DIES_AT_SPAWN} h.start(config, "run").catch(() => {});`);
    expect(await ended(host, config.id)).toEqual({
      reason: "StartFailed",
      message: expect.stringMatching(/No such file or directory/),
    });
  });

  it("before the spawn: nothing ran, and the start begins anew", async () => {
    const config = machines.machine("busy");
    await machines.start(host, config);
    await host.kill(config.id);
    const { process: _, ...rest } = recordOf(config.id);
    writeFileSync(machines.path("a", config.id, "record.json"), JSON.stringify(rest));
    expect(await host.list()).toEqual([]);
    expect(await host.start(config, "run")).toMatchObject({ state: "running" });
  });

  it("leaves machines that another adopts and does not start twice", async () => {
    const config = machines.machine("busy");
    const [{ pid }, second] = await Promise.all([
      machines.start(host, config),
      machines.start(host, config), // joins the first
    ]);
    expect(second.pid).toBe(pid);
    host.close();
    const next = machines.hypervisor("a");
    expect(await next.list()).toMatchObject([{ id: config.id, pid, state: "running" }]);
    expect(await next.start(config, "run")).toMatchObject({ pid });
  });

  it("is not confused by another process that has the id of a dead one", async () => {
    const config = machines.machine("busy");
    await machines.start(host, config);
    await host.kill(config.id);
    const stat = readFileSync("/proc/self/stat", "utf8");
    const startTime = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    const record = recordOf(config.id);
    const others = [
      { process: { pid: process.pid, startTime: "1" } },
      // After the host was started again it may have the start time, too.
      { process: { pid: process.pid, startTime }, bootId: "another" },
    ];
    for (const other of others) {
      writeFileSync(machines.path("a", config.id, "record.json"), JSON.stringify({ ...record, ...other }));
      expect(await host.list()).toMatchObject([{ id: config.id, state: "ended" }]);
    }
  });
});

describe("a machine that runs", () => {
  it("is unprivileged and in the whole sandbox, and only root reaches its monitor", async () => {
    const config = machines.machine("busy");
    const { pid } = await machines.start(host, config);
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    expect(status).toMatch(/^Uid:\s+200001\s+200001\s+200001\s+200001$/m);
    expect(status).toMatch(/^Gid:\s+200000\s+200000\s+200000\s+200000$/m);
    expect(status).toMatch(/^Groups:\s*$/m);
    expect(status).toMatch(/^NoNewPrivs:\s+1$/m);
    expect(status).toMatch(/^Seccomp:\s+2$/m);
    expect(status).toMatch(/^CapEff:\s+0+$/m);
    const sockets = statSync(machines.path("a", config.id, "s"));
    expect({ uid: sockets.uid, mode: sockets.mode & 0o777 }).toEqual({ uid: 0, mode: 0o700 });
    expect(statSync(machines.path("a", config.id, "record.json")).mode & 0o777).toBe(0o600);
  });

  it("has an overlay, a seed, several processors and the user network; odd folder names do not matter", async () => {
    const odd = machines.hypervisor("a,b=c d");
    const config = machines.machine("busy");
    const [base] = config.disks;
    const overlay = join(machines.folder, "over,lay.qcow2");
    await makeDisk(overlay, { path: base?.path ?? "", format: "raw" }, undefined, USER);
    await machines.start(odd, {
      ...config,
      cpus: 2,
      disks: [
        { path: overlay, format: "qcow2", readOnly: false },
        { path: machines.machine("shutdown").disks[0]?.path ?? "", format: "raw", readOnly: true },
      ],
      nics: [{ mac: "52:54:00:12:34:56", backend: { user: true }, mtu: 1450 }],
    });
    await until(() => machines.serial("a,b=c d", config.id).includes(".") || undefined);
    odd.close();
    expect(await machines.hypervisor("a,b=c d").list()).toMatchObject([{ id: config.id, state: "running" }]);
  });

  it("writes its console to a file", async () => {
    const config = machines.machine("busy");
    await machines.start(host, config);
    await until(() => machines.serial("a", config.id).includes(".") || undefined);
  });

  it("is not ended by odd events, long logs or a silent guest agent", async () => {
    const config = machines.machine("busy");
    const { pid } = await machines.start(host, config);
    const journal = machines.path("a", config.id, "journal");
    writeFileSync(journal, `${'{"event":"RESET"}\n'.repeat(300_000)}cut off`, { flag: "a" });
    expect(await host.list()).toMatchObject([{ pid, state: "running" }]);
    await until(() => statSync(journal).size <= 2 ** 20 || undefined);
    expect(await host.guestAgent(config.id, "guest-info", 100)).toBeUndefined();
    process.kill(pid, "SIGTERM");
    expect(await ended(host, config.id)).toMatchObject({ reason: "HostSignal" });
  });
});

it("a machine has the CPU and the uuid that it was given, and this host tells which it can give", async () => {
  const { machineTypes, guestCpus } = await readCapabilities("qemu-system-x86_64", "tcg");
  expect(machineTypes).toContain("pc-q35-7.2");
  expect(guestCpus).toEqual(expect.arrayContaining(["Nehalem", "qemu64"]));
  expect(guestCpus).not.toContain("Haswell");
  const uuid = newId();
  const config = machines.machine("busy", { guestCpu: "Nehalem", uuid });
  const { pid } = await machines.start(host, config);
  const args = readFileSync(`/proc/${pid}/cmdline`, "utf8");
  expect(args).toContain(`-uuid\0${uuid}\0`);
  expect(args).toContain("-cpu\0Nehalem,enforce\0");
  expect(await host.get(config.id)).toMatchObject({ machineType: "pc-q35-7.2", guestCpu: "Nehalem" });
});

it("a machine takes no more of the processors than it may, and gets its group taken away in the end", async () => {
  const config = machines.machine("busy");
  await machines.start(host, config);
  const used = async () => (await host.usage(config.id))?.cpuSeconds ?? 0;
  const over = async (ms: number) => {
    const [before, began] = [await used(), performance.now()];
    await new Promise((resolve) => setTimeout(resolve, ms));
    return (((await used()) - before) * 1000) / (performance.now() - began);
  };
  expect(await host.share(config.id, { cpuLimit: 0.2, cpuWeight: 50 })).toBeUndefined();
  const group = readFileSync(`/proc/${(await host.get(config.id))?.pid}/cgroup`, "utf8");
  expect(group).toContain(`/vireo/${config.id.replaceAll("-", "").slice(0, 12)}`);
  // What it took is known at once; how much that is, over a second.
  expect(await over(1000)).toBeLessThan(0.35);
  expect(await host.share(config.id, {})).toBeUndefined();
  await host.kill(config.id);
  expect(groupsOf(config.id)).toEqual([]);
});

it("what a machine uses is read of it: processor, memory, what it writes", async () => {
  const config = machines.machine("writer");
  await machines.start(host, config);
  const usage = await until(async () => {
    const now = await host.usage(config.id);
    return now && (now.disks[0]?.writes ?? 0) > 10 && now.cpuSeconds > 0 ? now : undefined;
  });
  expect(usage.residentBytes).toBeGreaterThan(8 * 2 ** 20);
  expect(usage.disks).toMatchObject([{ disk: "disk0", writeSeconds: expect.any(Number) }]);
  expect(usage.disks[0]?.writtenBytes).toBeGreaterThan(5000);
  // A boot sector has no balloon driver.
  expect(usage.guestUsedBytes).toBeUndefined();
});

it("what is written down while QEMU is asked something else stays written down", async () => {
  const config = machines.machine("busy");
  await machines.start(host, config);
  const told = host.setOnPanic(config.id, "pause");
  const path = machines.path("a", config.id, "record.json");
  writeFileSync(path, JSON.stringify({ ...recordOf(config.id), held: "snapshot" }));
  await told;
  expect(recordOf(config.id)).toMatchObject({ held: "snapshot", onPanic: "pause" });
});

it("silence is told as silence, and changes nothing that QEMU says afterwards", async () => {
  const config = machines.machine("busy");
  const { pid } = await machines.start(host, config);
  host.close(); // a new connection gives up sooner
  process.kill(pid, "SIGSTOP");
  try {
    await expect(machines.hypervisor("a").activeLayers(config.id)).rejects.toBeInstanceOf(NoAnswerError);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  expect(await machines.hypervisor("a").activeLayers(config.id)).toEqual([config.disks[0]?.path]);
});

// A process of cgroup v1's freezer waits in the kernel, as one does whose storage hangs: no signal ends it there.
const FREEZER = "/sys/fs/cgroup/freezer";
it.skipIf(!existsSync(join(FREEZER, "cgroup.procs")))(
  "one that cannot be killed is not told as gone",
  async () => {
    const child = spawn("sleep", ["1000"], { stdio: "ignore" });
    const { pid = 0 } = child;
    const identity = identify(pid) ?? { pid, startTime: "" };
    const group = join(FREEZER, `vireo-test-${pid}`);
    mkdirSync(group);
    try {
      writeFileSync(join(group, "cgroup.procs"), String(pid));
      writeFileSync(join(group, "freezer.state"), "FROZEN");
      await expect(endProcess(identity, "web", 100)).rejects.toThrow(/cannot be killed; is its storage hung/);
    } finally {
      writeFileSync(join(group, "freezer.state"), "THAWED");
      await endProcess(identity, "web", 10_000);
      rmdirSync(group);
    }
    expect(isSame(identity)).toBe(false);
  },
);

/** Its control groups. */
const groupsOf = (id: MachineId) =>
  readdirSync("/sys/fs/cgroup", { recursive: true, encoding: "utf8" }).filter((path) =>
    path.includes(id.replaceAll("-", "").slice(0, 12)),
  );

describe("a start that fails", () => {
  const failures: [string, Partial<MachineConfig>, RegExp][] = [
    [
      "no such disk",
      { disks: [{ path: "/nowhere/x.raw", format: "raw", readOnly: false }] },
      /nowhere.*No such file/,
    ],
    ["unknown machine type", { machineType: "pc-q35-99.9" }, /unsupported machine type/],
    ["a CPU that this host cannot give whole", { guestCpu: "Haswell" }, /Haswell|requested features/],
    ["too much memory", { memory: (2 ** 52) as MachineConfig["memory"] }, /memory/],
  ];
  it.each(failures)("%s: says why and leaves nothing behind", async (_, more, message) => {
    const config = machines.machine("busy", more);
    await expect(machines.start(host, config)).rejects.toThrow(message);
    expect(await host.list()).toEqual([]);
    expect(readdirSync(join(machines.folder, "a"))).toEqual([]);
    expect(groupsOf(config.id)).toEqual([]);
  });

  it("says when there is no QEMU", async () => {
    const bare = machines.hypervisor("a", { binary: "/nowhere/qemu-system-x86_64" });
    await expect(bare.start(machines.machine("busy"), "run")).rejects.toThrow(/is QEMU installed/);
    const typed = machines.machine("busy", { machineType: "pc-q35-7.2" });
    await expect(bare.start(typed, "run")).rejects.toThrow(/No such file/);
  });

  it("keeps a second writer from a disk", async () => {
    const config = machines.machine("writer");
    await machines.start(host, config);
    await expect(machines.start(host, { ...config, id: newId() })).rejects.toThrow(/"write" lock/);
    expect(await host.list()).toMatchObject([{ id: config.id, state: "running" }]);
  });

  it("refuses a run folder whose sockets would have too long names", () => {
    expect(() => machines.hypervisor("x".repeat(100))).toThrow(/shorter state folder/);
  });
});

describe("the accelerator", () => {
  it("is told by running a guest, with the reason, within 4 s", async () => {
    const verdict = await probeAccelerator();
    expect(["kvm", "tcg"]).toContain(verdict.accelerator);
    expect(verdict.reason).toMatch(/kvm/i);
    expect(verdict.ms).toBeLessThan(4000);
  });
});
