/** Guests that UEFI starts, on a real QEMU and Debian's firmware: its variables are of the machine, like its disks. */
import { beforeEach, describe, expect, it } from "vitest";
import { writeUefiDisk } from "../../qemu/testing/uefi-disk.ts";
import { layersOf } from "../disks/volume-places.ts";
import type { MachineId } from "../hypervisor.ts";
import { HardwarePool } from "../testing/hardware.ts";
import { inState, moveLive, newId, RealMachines, until } from "../testing/real-machines.ts";
import type { QemuHypervisor } from "./qemu-hypervisor.ts";

const UEFI = { firmware: "uefi" } as const;
const SECURE = { ...UEFI, secureBoot: true } as const;
/** Debian's, signed by Microsoft's key; package shim-signed. */
const SHIM = "/usr/lib/shim/shimx64.efi.signed";
const BOOT_MS = 60_000;

const machines = new RealMachines();
let host: QemuHypervisor;
beforeEach(() => {
  host = machines.hypervisor("a");
});

const said = (id: MachineId, what: RegExp, hypervisor = "a") =>
  until(() => what.exec(machines.serial(hypervisor, id))?.[0], BOOT_MS);

describe("a guest that UEFI starts", () => {
  it("finds what it wrote into the firmware's variables after the next start, and in a snapshot", async () => {
    const pool = new HardwarePool(machines, writeUefiDisk);
    const instance = pool.instance(UEFI);
    const layers = layersOf(pool.pool, instance);
    const start = async () => {
      const config = await pool.config(instance);
      await machines.start(host, config);
      return { id: config.id, starts: await said(config.id, /vireo: starts \d/) };
    };
    const first = await start();
    expect(first.starts).toBe("vireo: starts 1");
    // Of the running machine: both of its disks, at one instant.
    const switches = await layers.begin("00000000-0000-4000-8000-000000000001");
    expect(switches.map(({ from }) => from.split("/").at(-1))).toEqual(["root.qcow2", "vars.qcow2"]);
    await host.switchLayers(first.id, switches);
    const facts = { takenTime: "2026-11-24T00:00:00Z", pauseMs: 0, consistent: "Crash" } as const;
    await layers.finish("00000000-0000-4000-8000-000000000001", facts);
    await host.kill(first.id);
    const second = await start();
    expect(second.starts).toBe("vireo: starts 2");
    await host.kill(second.id);
    await layers.revert(
      "00000000-0000-4000-8000-000000000002",
      "00000000-0000-4000-8000-000000000001",
      undefined,
      facts,
    );
    expect((await start()).starts).toBe("vireo: starts 2");
  }, 120_000);

  it("moves live, and its variables with it", async () => {
    const target = machines.hypervisor("b");
    const pool = new HardwarePool(machines, writeUefiDisk);
    const instance = pool.instance(UEFI);
    const config = await pool.config(instance);
    const { machineType } = await machines.start(host, config);
    await said(config.id, /vireo: starts 1/);
    const there = {
      ...(await pool.config({ ...instance, spec: { ...instance.spec, incoming: true } })),
      machineType,
    };
    await machines.start(target, there, "incoming");
    await moveLive(host, config.id, target, there.id);
    await inState(target, there.id, "running");
    await host.kill(config.id);
    await target.kill(there.id);
    const again = await pool.config(instance);
    await machines.start(host, again);
    expect(await said(again.id, /vireo: starts \d/)).toBe("vireo: starts 2");
  }, 120_000);
});

describe("Secure Boot", () => {
  it("refuses a loader that nobody signed", async () => {
    const pool = new HardwarePool(machines, writeUefiDisk);
    const config = await pool.config(pool.instance(SECURE));
    await machines.start(host, config);
    expect(await said(config.id, /Access Denied|Security Violation|vireo: starts/)).toMatch(
      /Denied|Violation/,
    );
  }, 120_000);

  it("starts one that Microsoft's key signed", async () => {
    const pool = new HardwarePool(machines, (path) => writeUefiDisk(path, SHIM));
    const config = await pool.config(pool.instance(SECURE));
    await machines.start(host, config);
    // There is nothing behind it on the disk, and it says so.
    expect(await said(config.id, /Access Denied|Security Violation|grubx64\.efi/)).toBe("grubx64.efi");
  }, 120_000);

  it("is refused to a kernel that no boot loader starts: nothing would check it", async () => {
    const boot = { kernel: "vmlinuz", initrd: "initrd", commandLine: "" };
    const pool = new HardwarePool(machines, writeUefiDisk, boot);
    await expect(pool.config(pool.instance(SECURE))).rejects.toThrow(/which Secure Boot does not check/);
    await expect(pool.config(pool.instance(UEFI))).resolves.toMatchObject({ firmware: { secure: false } });
  });
});

it("a machine that has moved never gets new variables for lost ones", async () => {
  const pool = new HardwarePool(machines, writeUefiDisk);
  const incoming = pool.instance(UEFI, { incoming: true });
  await expect(pool.config(incoming, newId())).rejects.toThrow(/really shared/);
});
