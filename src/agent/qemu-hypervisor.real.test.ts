/** The real hypervisor on a real QEMU with guests of one boot sector: ends, adoption, writers, migration. */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { probeAccelerator } from "../qemu/accelerator.ts";
import { writeBootDisk } from "../qemu/testing/boot-sectors.ts";
import { silentLogger } from "../reconcile/log.ts";
import { parseBytes } from "../resource/quantity.ts";
import type { MachineConfig, MachineId, MachineState } from "./hypervisor.ts";
import { QemuHypervisor } from "./qemu-hypervisor.ts";

const USER = { uid: 200_001, gid: 200_000 };
let folder: string;
let host: QemuHypervisor;
const started: { hypervisor: QemuHypervisor; id: MachineId }[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vireo-qemu-"));
  chmodSync(folder, 0o755);
  host = hypervisor("a");
});
afterEach(async () => {
  for (const { hypervisor, id } of started.splice(0)) await hypervisor.kill(id);
  rmSync(folder, { recursive: true, force: true });
});

const hypervisor = (name: string) =>
  new QemuHypervisor({ runDirectory: join(folder, name), log: silentLogger });

function machine(
  guest: Parameters<typeof writeBootDisk>[1],
  more: Partial<MachineConfig> = {},
): MachineConfig {
  // Safe: any uuid may name a machine.
  const id = randomUUID() as string as MachineId;
  const path = join(folder, `${id}.raw`);
  writeBootDisk(path, guest);
  chownSync(path, USER.uid, USER.gid);
  return {
    id,
    name: guest,
    cpus: 1,
    memory: parseBytes("64Mi"),
    disks: [{ path, format: "raw", readOnly: false }],
    nics: [],
    accelerator: "tcg",
    user: USER,
    ...more,
  };
}

async function start(
  config: MachineConfig,
  how: "run" | "incoming" = "run",
  on = host,
): Promise<MachineState> {
  started.push({ hypervisor: on, id: config.id });
  return on.start(config, how);
}

async function until<T>(look: () => Promise<T | undefined>, ms = 20_000): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const ended = (id: MachineId, on = host) =>
  until(async () => {
    const state = await on.get(id);
    return state?.state === "ended" ? state.end : undefined;
  });

describe("the end of a machine", () => {
  it("guest shut down", async () => {
    const config = machine("shutdown");
    await start(config);
    expect(await ended(config.id)).toMatchObject({ reason: "GuestShutdown" });
  });

  it("guest panicked", async () => {
    const config = machine("panic");
    await start(config);
    expect(await ended(config.id)).toMatchObject({ reason: "GuestPanic" });
  });

  it("a guest's reset is no end", async () => {
    const config = machine("reset");
    const { pid } = await start(config);
    await until(async () =>
      readFileSync(join(folder, "a", config.id.replaceAll("-", "").slice(0, 12), "journal"), "utf8").includes(
        "guest-reset",
      )
        ? true
        : undefined,
    );
    expect(await host.get(config.id)).toMatchObject({ state: "running", pid });
  });

  it("SIGTERM from outside, SIGKILL, stopped by us", async () => {
    const [term, kill, stop] = [machine("busy"), machine("busy"), machine("busy")];
    process.kill((await start(term)).pid, "SIGTERM");
    expect(await ended(term.id)).toMatchObject({ reason: "HostSignal" });
    process.kill((await start(kill)).pid, "SIGKILL");
    expect(await ended(kill.id)).toMatchObject({ reason: "Killed" });
    await start(stop);
    await host.stop(stop.id, 100);
    expect(await ended(stop.id)).toMatchObject({ reason: "Requested" });
    await host.forget(stop.id);
    expect(await host.get(stop.id)).toBeUndefined();
  });

  it("is known although no agent was there", async () => {
    const config = machine("shutdown");
    // The agent starts the machine and dies at once.
    const child = spawn(process.execPath, [
      "--disable-warning=ExperimentalWarning",
      "--input-type=module-typescript",
      "-e",
      `import { QemuHypervisor } from ${JSON.stringify(join(import.meta.dirname, "qemu-hypervisor.ts"))};
       import { silentLogger } from ${JSON.stringify(join(import.meta.dirname, "../reconcile/log.ts"))};
       const h = new QemuHypervisor({ runDirectory: ${JSON.stringify(join(folder, "a"))}, log: silentLogger });
       await h.start(${JSON.stringify(config)}, "run"); process.kill(process.pid, "SIGKILL");`,
    ]);
    await new Promise((resolve) => child.on("exit", resolve));
    started.push({ hypervisor: host, id: config.id });
    expect(await ended(config.id)).toMatchObject({ reason: "GuestShutdown" });
  });
});

describe("a machine that runs", () => {
  it("is unprivileged and in the whole sandbox", async () => {
    const { pid } = await start(machine("busy"));
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    expect(status).toMatch(/^Uid:\s+200001\s+200001\s+200001/m);
    expect(status).toMatch(/^NoNewPrivs:\s+1/m);
    expect(status).toMatch(/^Seccomp:\s+2/m);
    expect(status).toMatch(/^CapEff:\s+0+$/m);
  });

  it("is adopted by another agent, and not started twice", async () => {
    const config = machine("busy");
    const { pid } = await start(config);
    host.close();
    const next = hypervisor("a");
    expect(await next.list()).toMatchObject([{ id: config.id, pid, state: "running" }]);
    expect(await next.start(config, "run")).toMatchObject({ pid });
  });

  it("keeps a second writer from its disk", async () => {
    const config = machine("writer");
    await start(config);
    const second = { ...machine("busy"), disks: config.disks };
    await expect(start(second)).rejects.toThrow(/lock/);
    expect(await host.get(second.id)).toBeUndefined();
  });
});

describe("live migration", () => {
  async function pair(guest: "busy" | "writer") {
    const target = hypervisor("b");
    const config = machine(guest);
    const { machineType } = await start(config);
    const there: MachineConfig = { ...config, id: randomUUID() as string as MachineId, machineType };
    await start(there, "incoming", target);
    return { config, there, target, address: await target.listen(there.id, "127.0.0.1") };
  }
  const phase = (id: MachineId, wanted: string) =>
    until(async () => ((await host.migration(id)).phase === wanted ? true : undefined));

  it("moves a machine that writes its disk, and the source never runs again", async () => {
    const { config, there, target, address } = await pair("writer");
    await host.migrate(config.id, address);
    await phase(config.id, "pre-switchover");
    expect(await host.switchover(config.id)).toMatchObject({ phase: "completed" });
    expect((await host.get(config.id))?.state).toBe("postmigrate");
    await until(async () => ((await target.get(there.id))?.state === "paused" ? true : undefined));
    await target.resume(there.id);
    expect((await target.get(there.id))?.state).toBe("running");
    await expect(host.resume(config.id)).rejects.toThrow(/lock/);
  });

  it("runs on at the source when it is called off before the switchover", async () => {
    const { config, address } = await pair("writer");
    await host.migrate(config.id, address);
    await phase(config.id, "pre-switchover");
    await host.cancelMigration(config.id);
    await until(async () => ((await host.get(config.id))?.state === "running" ? true : undefined));
  });

  it("runs on at the source when the target dies before the switchover", async () => {
    const { config, there, target, address } = await pair("writer");
    await host.migrate(config.id, address);
    await phase(config.id, "pre-switchover");
    await target.kill(there.id);
    expect(await host.switchover(config.id)).toMatchObject({ phase: "failed" });
    await until(async () => ((await host.get(config.id))?.state === "running" ? true : undefined));
  });
});

describe("the accelerator", () => {
  it("is told by running a guest, with the reason", async () => {
    const verdict = await probeAccelerator();
    expect(["kvm", "tcg"]).toContain(verdict.accelerator);
    expect(verdict.reason).toMatch(/kvm/i);
  });
});
