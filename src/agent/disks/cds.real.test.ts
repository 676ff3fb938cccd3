/** CD drives of a real QEMU: what its firmware starts, what comes into them and goes while the guest runs, a guest that does not let go, and a move. */
import { chmodSync, readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import type { Hardware } from "../../compute/hardware/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { inspectImage } from "../../images/inspect.ts";
import type { Image } from "../../images/kinds.ts";
import { type Fields, Qmp } from "../../qemu/qmp.ts";
import { writeBootCd, writeBootDisk } from "../../qemu/testing/boot-sectors.ts";
import type { MachineConfig, MachineId, NicConfig } from "../hypervisor.ts";
import type { QemuHypervisor } from "../qemu/qemu-hypervisor.ts";
import { HardwarePool } from "../testing/hardware.ts";
import { moveLive, RealMachines, until } from "../testing/real-machines.ts";
import { cdsOf, inBootOrder } from "./cds.ts";

const machines = new RealMachines();
let host: QemuHypervisor;
let pool: HardwarePool;
const onDisk = (guest: Parameters<typeof writeBootDisk>[1]) =>
  new HardwarePool(machines, (path) => writeBootDisk(path, guest));
beforeEach(() => {
  host = machines.hypervisor("a");
  pool = onDisk("busy");
  for (const name of ["one", "two"]) {
    writeBootCd(fileOf(name), "old");
    chmodSync(fileOf(name), 0o644);
  }
});

const fileOf = (name: string) => join(machines.folder, `pool/images/${name}.iso`);
const imageNamed = async (name: string): Promise<Image | undefined> =>
  ["one", "two"].includes(name)
    ? {
        ...pool.image,
        metadata: { name },
        status: { phase: "Ready", file: `${name}.iso`, format: "raw" },
      }
    : undefined;
const library = { imageNamed, poolOf: async () => pool.pool };

/** What the agent would start. */
async function configOf(instance: Instance, nics: NicConfig[] = []): Promise<MachineConfig> {
  const cds = await cdsOf(instance, library);
  return inBootOrder({ ...(await pool.config(instance)), cds, nics }, instance.spec);
}
const said = (id: MachineId, what: RegExp) => until(() => what.exec(machines.serial("a", id))?.[0], 60_000);

/** Names of the CDs that a machine's QEMU has open. */
async function inside(id: MachineId, hypervisor = host): Promise<string[]> {
  const { pid = 0 } = (await hypervisor.get(id)) ?? {};
  const open = readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return /(\w+)\.iso$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1] ?? [];
    } catch {
      return [];
    }
  });
  return [...new Set(open)].sort();
}
const put = async (config: MachineConfig, cdDrives: Instance["spec"]["cdDrives"], hypervisor = host) => {
  const instance = pool.instance({}, cdDrives ? { cdDrives } : {});
  const { disks, nics, cpus, memory } = config;
  const cds = await cdsOf(instance, library);
  return (await hypervisor.adjust(config.id, { disks, nics, cpus, memory, cds })).refused;
};

describe("the firmware", () => {
  const cdDrives = [{ name: "cd", image: "one" }, { name: "more" }];
  const boards: Hardware[] = [{}, { disks: "sata" }, { board: "pc" }, { board: "pc", disks: "ide" }];
  it.each(boards)("of %j starts what the boot order says, and nothing else", async (hardware) => {
    const started = async (bootOrder?: string[]) => {
      const more = { cdDrives, ...(bootOrder ? { bootOrder } : {}) };
      const config = await configOf(pool.instance(hardware, more));
      await machines.start(host, config);
      const first = await said(config.id, /vireo|\./);
      await host.kill(config.id);
      return first === "." ? "disk" : "cd";
    };
    expect(await started()).toBe("disk");
    expect(await started(["cd/cd", "disk"])).toBe("cd");
    expect(await started(["cd/more", "disk", "cd/cd"])).toBe("disk");
  });

  it("starts from a network, too: its program for that is there when it is asked for", async () => {
    const nic: NicConfig = { mac: "52:54:00:00:00:01", mtu: 1450, backend: { user: true } };
    const network = { network: "lan", mac: nic.mac, address: "10.0.0.3" };
    for (const nics of ["e1000e", "virtio"] as const) {
      const instance = pool.instance({ nics }, { bootOrder: ["network/lan", "disk"], interfaces: [network] });
      const config = await configOf(instance, [nic]);
      await machines.start(host, config);
      // It gives up soon: nobody offers anything to start.
      if (nics === "virtio") await said(config.id, /\./);
      await host.kill(config.id);
    }
  }, 60_000);
});

it("CDs come, change and go while the guest runs, on each board with drives; nothing else is open in between", async () => {
  for (const hardware of [{}, { board: "isapc" }, { board: "pc" }, { architecture: "aarch64" }] as const) {
    const config = await configOf(pool.instance(hardware, { cdDrives: [{ name: "cd" }, { name: "more" }] }));
    await machines.start(host, config);
    expect(await inside(config.id)).toEqual([]);
    expect(await put(config, [{ name: "cd", image: "one" }])).toEqual([]);
    expect(await inside(config.id)).toEqual(["one"]);
    // Again, and with the other one beside it.
    const two = { name: "more", image: "two" };
    expect(await put(config, [{ name: "cd", image: "one" }, two])).toEqual([]);
    expect(await inside(config.id)).toEqual(["one", "two"]);
    expect(await put(config, [{ name: "cd", image: "two" }, two])).toEqual([]);
    expect(await inside(config.id)).toEqual(["two"]);
    const gone = [{ name: "cd", image: "nowhere" }, { name: "more" }];
    expect(await put(config, gone)).toEqual([{ cd: "cd", why: "there is no Image nowhere" }]);
    expect(await inside(config.id)).toEqual(["two"]);
    expect(await put(config, [{ name: "cd" }])).toEqual([]);
    expect(await inside(config.id)).toEqual([]);
    await host.kill(config.id);
  }
}, 120_000);

it("a change that was cut short at any step is finished by the next agent", async () => {
  const config = await configOf(pool.instance({}, { cdDrives: [{ name: "cd", image: "one" }] }));
  await machines.start(host, config);
  const steps: [string, Fields][] = [
    ["blockdev-open-tray", { id: "cd-cd", force: false }],
    ["blockdev-remove-medium", { id: "cd-cd" }],
  ];
  for (const count of [1, 2]) {
    // The agent is gone: QEMU talks to one at a time.
    host.close();
    const qmp = await until(() => Qmp.connect(machines.path("a", config.id, "s/qmp")).catch(() => undefined));
    for (const [command, args] of steps.slice(0, count)) await qmp.execute(command, args);
    qmp.close();
    host = machines.hypervisor("a");
    for (const image of ["one", "two"]) {
      expect(await put(config, [{ name: "cd", image }])).toEqual([]);
      expect(await inside(config.id)).toEqual([image]);
    }
    expect(await put(config, [{ name: "cd", image: "one" }])).toEqual([]);
  }
}, 60_000);

it("a drive that its guest has locked keeps what is in it, until it is taken out by force; it moves along", async () => {
  const target = machines.hypervisor("b");
  pool = onDisk("lock");
  const instance = pool.instance({ board: "pc" }, { cdDrives: [{ name: "cd", image: "one" }] });
  const config = await configOf(instance);
  const { machineType } = await machines.start(host, config);
  await said(config.id, /locked/);
  const locked = [{ cd: "cd", why: expect.stringContaining("the guest has locked the drive") }];
  expect(await put(config, [{ name: "cd" }])).toEqual(locked);
  expect(await inside(config.id)).toEqual(["one"]);

  const there = { ...(await configOf(instance)), machineType };
  await machines.start(target, there, "incoming");
  await moveLive(host, config.id, target, there.id);
  expect(await inside(there.id, target)).toEqual(["one"]);
  expect(await put(there, [{ name: "cd", image: "two" }], target)).toEqual(locked);
  expect(await put(there, [{ name: "cd", image: "two", force: true }], target)).toEqual([]);
  expect(await inside(there.id, target)).toEqual(["two"]);
}, 60_000);

it("an ISO is an image, also one without a boot sector at its beginning", async () => {
  expect(await inspectImage(join(machines.folder, "pool/images"), "one.iso")).toMatchObject({
    format: "raw",
  });
});
