/** Guests with hardware of other times and other architectures, on a real QEMU: each says on its serial port what it finds. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { writeBootDisk } from "../../qemu/testing/boot-sectors.ts";
import { writeArmDisk, writeUefiDisk } from "../../qemu/testing/uefi-disk.ts";
import { layersOf } from "../disks/volume-places.ts";
import type { MachineConfig, MachineId, NicConfig } from "../hypervisor.ts";
import { HardwarePool } from "../testing/hardware.ts";
import { inState, moveLive, RealMachines, until } from "../testing/real-machines.ts";
import type { QemuHypervisor } from "./qemu-hypervisor.ts";

const machines = new RealMachines();
let host: QemuHypervisor;
beforeEach(() => {
  host = machines.hypervisor("a");
});

const said = (id: MachineId, what: RegExp, hypervisor = "a") =>
  until(() => what.exec(machines.serial(hypervisor, id))?.[0], 60_000);
const nic: NicConfig = { mac: "52:54:00:00:00:01", mtu: 1450, backend: { user: true } };
const oldDisk = (path: string) => writeBootDisk(path, "old");

describe("an old guest", () => {
  const boards = [
    [{ board: "isapc", video: "cirrus" }, "vireo: isa disk ne2k cirrus end"],
    [{ board: "isapc" }, "vireo: isa disk ne2k end"],
    [{ board: "pc", disks: "ide", nics: "ne2k", video: "cirrus" }, "vireo: pci disk cirrus end"],
    [
      { board: "q35", disks: "sata", nics: "e1000e", video: "vga", clock: "localtime" },
      "vireo: pci disk end",
    ],
    [{ board: "pc", nics: "rtl8139", hyperv: true }, "vireo: pci disk end"],
  ] as const;
  it.each(boards)("of %j finds its disk, card and display", async (hardware, finds) => {
    const pool = new HardwarePool(machines, oldDisk);
    const config = { ...(await pool.config(pool.instance(hardware))), nics: [nic] };
    await machines.start(host, config);
    expect(await said(config.id, /vireo:.* end/)).toBe(finds);
  });

  it("on the board isapc moves live", async () => {
    const target = machines.hypervisor("b");
    const pool = new HardwarePool(machines, oldDisk);
    const instance = pool.instance({ board: "isapc" });
    const config = await pool.config(instance);
    const { machineType, guestCpu = "" } = await machines.start(host, config);
    expect(machineType).toBe("isapc");
    await said(config.id, /end/);
    await move(config, { ...(await pool.config(instance)), machineType, guestCpu }, target);
  });
});

it("disks served by a thread of their own are snapshotted, merged and moved as any others", async () => {
  const target = machines.hypervisor("b");
  const pool = new HardwarePool(machines, (path) => writeBootDisk(path, "writer"));
  const instance = pool.instance({ ioThread: true });
  const layers = layersOf(pool.pool, instance);
  const config = await pool.config(instance);
  const { machineType } = await machines.start(host, config);
  const { pid } = (await host.get(config.id)) ?? { pid: 0 };
  const threads = readdirSync(`/proc/${pid}/task`).map((id) =>
    readFileSync(`/proc/${pid}/task/${id}/comm`, "utf8"),
  );
  expect(threads.join("")).toContain("IO io0");
  const writes = async () => (await host.usage(config.id))?.disks[0]?.writes ?? 0;
  const writesOn = async () => {
    const before = await writes();
    await until(async () => (await writes()) > before + 20 || undefined);
  };
  await writesOn();
  const uid = "00000001-0000-4000-8000-000000000000";
  const facts = { takenTime: "2026-11-24T00:00:00Z", pauseMs: 0, consistent: "Crash" } as const;
  await host.switchLayers(config.id, await layers.begin(uid));
  await layers.finish(uid, facts);
  await writesOn();
  const memory = "00000002-0000-4000-8000-000000000000";
  await host.saveMemory(config.id, await layers.begin(memory), layers.memories.file(memory));
  await layers.finish(memory, facts);
  await writesOn();
  await layers.remove(uid, (into, from) => host.absorbLayer(config.id, into, from));
  await writesOn();
  await move(config, { ...(await pool.config(instance)), machineType }, target);
}, 90_000);

/** Live, from host to target; the guest runs there. */
async function move(config: MachineConfig, there: MachineConfig, target: QemuHypervisor): Promise<void> {
  await machines.start(target, there, "incoming");
  await moveLive(host, config.id, target, there.id);
  await inState(target, there.id, "running");
}

it("an aarch64 guest boots by its own UEFI", async () => {
  const pool = new HardwarePool(machines, writeArmDisk);
  const config = { ...(await pool.config(pool.instance({ architecture: "aarch64" }))), nics: [nic] };
  const state = await machines.start(host, config);
  expect(state).toMatchObject({ machineType: "virt-7.2", guestCpu: "cortex-a72", accelerator: "tcg" });
  expect(await said(config.id, /vireo: aarch64/)).toBe("vireo: aarch64");
}, 90_000);

describe("a TPM", () => {
  const swtpms = (socket: string) =>
    readdirSync("/proc").filter((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, "utf8");
        return args.startsWith("swtpm") && args.includes(socket);
      } catch {
        return false;
      }
    });

  it("keeps its state with the machine, moves live, and ends with its QEMU", async () => {
    const target = machines.hypervisor("b");
    const pool = new HardwarePool(machines, writeUefiDisk);
    const instance = pool.instance({ firmware: "uefi", tpm: true });
    const config = await pool.config(instance);
    const { machineType } = await machines.start(host, config);
    await said(config.id, /vireo: starts 1/);
    const state = join(config.tpm ?? "", "tpm2-00.permall");
    expect(existsSync(state)).toBe(true);
    const socket = machines.path("a", config.id, "s/tpm");
    expect(swtpms(socket)).toHaveLength(1);
    const there = { ...(await pool.config(instance)), machineType };
    await move(config, there, target);
    await host.kill(config.id);
    await until(() => swtpms(socket).length === 0 || undefined);
    await target.kill(there.id);
    await until(() => swtpms(machines.path("b", there.id, "s/tpm")).length === 0 || undefined);
    // The next run has the same one.
    const again = await pool.config(instance);
    await machines.start(host, again);
    expect(await said(again.id, /vireo: starts 2/)).toBe("vireo: starts 2");
    // Each of two boots of its UEFI may take what `said` waits.
  }, 180_000);

  it("is not left behind by a QEMU that does not start", async () => {
    const pool = new HardwarePool(machines, oldDisk);
    const config = { ...(await pool.config(pool.instance({ tpm: true }))), machineType: "pc-q35-99.9" };
    await expect(machines.start(host, config)).rejects.toThrow(/unsupported machine type/);
    await until(() => swtpms(machines.path("a", config.id, "s/tpm")).length === 0 || undefined);
  });
});
