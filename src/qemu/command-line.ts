/**
 * From a machine's description to QEMU's arguments: pure, golden-tested. Nothing is left to QEMU's defaults or guesses: no default
 * devices, explicit formats and PCI addresses (a migration target must have the same), JSON where QEMU takes it, the
 * whole seccomp sandbox.
 */

import { BOARDS, type Hardware, HYPERV, ideDisk, isaNic, Slots, TODAY } from "./board.ts";
import { attachCds, type Cd } from "./cd.ts";
import {
  blockdevs,
  cpuDevice,
  type Disk,
  drive,
  IO_THREAD,
  keyOf,
  MODULES,
  memoryModule,
  moduleObject,
  type Nic,
  netdev,
  nicKey,
  pciNic,
  portBus,
  rootPort,
  throttleGroup,
  virtioDisk,
} from "./devices.ts";
import { attachPointer, attachVideo } from "./display.ts";
import { isKept, type Ram, ramObject } from "./ram.ts";

export interface Firmware {
  /** Raw, never written. */
  code: string;
  /** The machine's own store of variables. */
  variables: Disk;
  /** Only code in System Management Mode writes the variables: what Secure Boot needs. */
  secure: boolean;
}

export interface More {
  /** In all, at most. */
  maxCpus: number;
  /** Bytes in all, at most. */
  maxMemory: number;
  /** How many there are now. */
  cpus: number;
  /** Bytes of each module that came, in this order. */
  modules: readonly number[];
}

export interface Machine {
  uuid: string;
  name: string;
  cpus: number;
  memoryMiB: number;
  /** Room for more CPUs and memory, and what has come of it; none when absent. */
  more?: More;
  /** Where its memory comes from, when that matters. */
  ram?: Ram;
  disks: readonly Disk[];
  cds?: readonly Cd[];
  nics: readonly Nic[];
  /** How many root ports there are for disks and networks that come and go; none when absent. */
  ports?: number;
  boot?: { kernel: string; initrd: string; commandLine: string };
  /** UEFI; the BIOS when absent. */
  firmware?: Firmware;
  /** That of today when absent. */
  hardware?: Hardware;
  /** The socket of a swtpm that waits there. */
  tpm?: string;
  /** The VM generation id that the guest is told by ACPI; not when absent. */
  generationId?: string;
  /** What becomes of it when its guest panics; `end` when absent. */
  onPanic?: "end" | "pause";
  accelerator: "kvm" | "tcg";
  /** QEMU's name; absent: that of the host under KVM, the same everywhere under TCG. */
  guestCpu?: string;
  /** Versioned machine type, "pc-q35-7.2". */
  machineType: string;
}

/** Files and sockets of one machine, in its run folder. */
export interface RunFiles {
  qmp: string;
  guestAgent: string;
  serialSocket: string;
  vnc: string;
}

const json = (value: unknown) => JSON.stringify(value);

/** Within QEMU's comma separated options a comma is written twice. */
const doubleCommas = (text: string) => text.replaceAll(",", ",,");

const CORTEX = "cortex-a72";
const SAME_EVERYWHERE = "qemu64";

/**
 * The CPU of a machine that was given none. TCG has no host model; qemu64 is the same on every host and boots fastest. KVM's `host` moves only between equal
 * CPUs.
 */
export function defaultCpu(accelerator: Machine["accelerator"], { architecture }: Hardware = TODAY): string {
  if (architecture === "aarch64") return CORTEX;
  return accelerator === "kvm" ? "host" : SAME_EVERYWHERE;
}

/** One that a host cannot give whole is refused, rather than to become another one there. */
function cpu({
  accelerator,
  hardware = TODAY,
  guestCpu = defaultCpu(accelerator, hardware),
}: Machine): string {
  const x86 = hardware.architecture === "x86_64";
  const enforce = x86 && !["host", "max", SAME_EVERYWHERE].includes(guestCpu) ? ["enforce"] : [];
  const hyperv = x86 && hardware.hyperv && accelerator === "kvm" ? HYPERV : [];
  return [guestCpu, ...enforce, ...hyperv].join(",");
}

/**
 * The arguments after the program's name. `incoming`: wait for `migrate-incoming`. The guest never starts by itself (-S).
 * @throws RangeError when there are more devices than slots
 */
export function commandLine(machine: Machine, files: RunFiles, how: "run" | "incoming"): string[] {
  const { hardware = TODAY } = machine;
  const board = BOARDS[hardware.board];
  const slots = new Slots(hardware.board);
  const args = [
    "-name",
    `guest=${doubleCommas(machine.name)},debug-threads=on`,
    "-uuid",
    machine.uuid,
    "-S",
    "-no-user-config",
    "-nodefaults",
    "-display",
    "none",
    "-machine",
    `${machine.machineType},usb=off,dump-guest-core=off,mem-merge=${machine.ram?.mergeable ? "on" : "off"},memory-backend=${board.ram}${board.options}${flash(machine.firmware)}`,
    "-accel",
    machine.accelerator,
    "-cpu",
    cpu(machine),
    "-m",
    `${machine.memoryMiB}M${roomForModules(machine)}`,
    "-object",
    json(ramObject(board.ram, machine.memoryMiB * 2 ** 20, machine.ram)),
    "-smp",
    smp(machine),
    "-overcommit",
    "mem-lock=off",
    "-rtc",
    `base=${hardware.clock}`,
    // The BIOS of an ISA board knows no order to boot in: strictly, it would boot nothing.
    ...(slots.hasPci ? ["-boot", "strict=on"] : []),
    "-msg",
    "timestamp=on",
    ...board.globals.flatMap((global) => ["-global", global]),
    "-sandbox",
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    // The event journal: a monitor on stdin and stdout (see process.ts).
    "-chardev",
    "stdio,id=journal,signal=off",
    "-mon",
    "chardev=journal,mode=control",
    "-chardev",
    `socket,id=qmp,path=${doubleCommas(files.qmp)},server=on,wait=off`,
    "-mon",
    "chardev=qmp,mode=control",
    "-chardev",
    `socket,id=serial,path=${doubleCommas(files.serialSocket)},server=on,wait=off`,
    ...board.serial,
    // A guest's reset stays a reset; after a panic the machine ends, and whoever owns it decides on a restart.
    "-action",
    `reboot=reset,shutdown=poweroff,panic=${PANIC[machine.onPanic ?? "end"]}${watchdogAction(hardware)}`,
  ];

  if (slots.hasPci) {
    slots.addPci({ driver: "pvpanic-pci", id: "pvpanic" });
    slots.addPci({ driver: "virtio-serial-pci", id: "vserial" });
    args.push("-chardev", `socket,id=qga,path=${doubleCommas(files.guestAgent)},server=on,wait=off`);
    slots.addPci({ driver: "virtio-rng-pci", id: "rng0", rng: "urandom", "max-bytes": 1024, period: 1000 });
    args.push("-object", json({ "qom-type": "rng-random", id: "urandom", filename: "/dev/urandom" }));
  }

  if (machine.firmware) args.push(...firmwareBlocks(machine.firmware));
  if (hardware.ioThread) args.push("-object", json({ "qom-type": "iothread", id: IO_THREAD }));
  for (const [i, disk] of machine.disks.entries())
    args.push(...attachDisk(machine, hardware, slots, disk, i));
  for (const [i, nic] of machine.nics.entries()) {
    const key = nicKey(nic, i);
    args.push("-netdev", json(netdev(nic, key)));
    attachNic(hardware, slots, nic, i, key);
  }
  if (hardware.video !== "none") {
    attachVideo(hardware, slots);
    args.push("-vnc", `unix:${doubleCommas(files.vnc)}`);
  }
  // Last, so that the others' places stay. Memory that the guest does not use goes back to the host, unless it is to be kept.
  if (slots.hasPci)
    slots.addPci({
      driver: "virtio-balloon-pci",
      id: "balloon",
      "deflate-on-oom": true,
      "free-page-reporting": !isKept(machine.ram),
    });
  if (hardware.watchdog !== "none") slots.addPci({ driver: "i6300esb", id: "watchdog" });
  if (machine.tpm) args.push(...attachTpm(hardware, slots, machine.tpm));
  attachPointer(hardware, slots);
  const { cds = [], generationId: guid } = machine;
  if (guid) slots.add({ driver: "vmgenid", id: "generation", guid });
  const cdOrder = (cd: Cd, i: number) => orderOf(machine, cd, machine.disks.length + i);
  args.push(...attachCds(hardware, slots, cds, cdOrder));
  const ports = Array.from({ length: machine.ports ?? 0 }, (_, port) => rootPort(board.pci ?? "", port));
  for (const port of ports) args.push("-device", json(port));
  for (const device of slots.devices) args.push("-device", json(device));
  args.push(...whatCame(machine));
  if (slots.hasPci)
    args.push(
      "-device",
      json({ driver: "virtserialport", bus: "vserial.0", chardev: "qga", name: "org.qemu.guest_agent.0" }),
    );
  if (machine.boot)
    args.push(
      "-kernel",
      machine.boot.kernel,
      "-initrd",
      machine.boot.initrd,
      "-append",
      machine.boot.commandLine,
    );
  if (how === "incoming") args.push("-incoming", "defer");
  return args;
}

/** QEMU's words, also for its set-action. */
export const PANIC = { end: "shutdown", pause: "pause" } as const;

/** A dump is made of a guest that stands still. */
function watchdogAction({ watchdog }: Hardware): string {
  if (watchdog === "none") return "";
  const words = { Reset: "reset", PowerOff: "poweroff", Pause: "pause", Dump: "pause" };
  return `,watchdog=${words[watchdog]}`;
}

const smp = ({ cpus, more }: Machine) => {
  const most = Math.max(cpus, more?.maxCpus ?? 0);
  return `${cpus}${most > cpus ? `,maxcpus=${most}` : ""},sockets=1,cores=${most},threads=1`;
};

const roomForModules = ({ memoryMiB, more }: Machine) =>
  more && more.maxMemory > memoryMiB * 2 ** 20
    ? `,slots=${MODULES},maxmem=${Math.floor(more.maxMemory / 2 ** 20)}M`
    : "";

/** CPUs and memory that came while it ran: as they would come again. */
function whatCame({ cpus, more, ram, ...machine }: Machine): string[] {
  if (!more) return [];
  const driver = `${machine.guestCpu ?? defaultCpu(machine.accelerator, machine.hardware)}-x86_64-cpu`;
  const args: string[] = [];
  for (let core = cpus; core < more.cpus; core++) args.push("-device", json(cpuDevice(driver, core)));
  for (const [i, bytes] of more.modules.entries())
    args.push("-object", json(moduleObject(i, bytes, ram)), "-device", json(memoryModule(i)));
  return args;
}

/** What is started when nothing is said of it: a kernel, or the first disk that has something to start. */
function orderOf(
  { boot, disks, nics, cds = [] }: Machine,
  { bootindex }: { bootindex?: number },
  otherwise: number,
): { bootindex?: number } {
  if (boot) return {};
  const all: { bootindex?: number }[] = [...disks, ...nics, ...cds];
  if (all.every((each) => each.bootindex === undefined)) return { bootindex: otherwise };
  return bootindex === undefined ? {} : { bootindex };
}

function attachDisk(machine: Machine, hardware: Hardware, slots: Slots, disk: Disk, i: number): string[] {
  const key = keyOf(disk, i);
  // By disk1 images know the disk of their first-boot data (images/seed.ts).
  const serial = disk.name ?? `disk${i}`;
  const order = orderOf(machine, disk, i);
  const blocks = ["-object", json(throttleGroup(key, disk.limits)), ...diskBlocks(disk, key)];
  const ide = drive(key, serial, disk.readOnly);
  if (disk.port !== undefined)
    slots.add({ ...virtioDisk(hardware, key, serial, disk.readOnly), ...order, ...portBus(disk.port) });
  else if (hardware.disks === "virtio")
    slots.addPci({ ...virtioDisk(hardware, key, serial, disk.readOnly), ...order });
  else if (!disk.readOnly) slots.add({ driver: "ide-hd", ...ide, ...order, ...ideDisk(hardware.board, i) });
  // An IDE disk cannot be read-only. What is told to the guest comes on a stick; guests of before USB do not know it anyway.
  else if (hardware.disks === "sata") {
    slots.ensurePci({ driver: "qemu-xhci", id: "xhci" });
    slots.add({ driver: "usb-storage", ...ide, bus: "xhci.0", removable: true });
  } else return [];
  return blocks;
}

const diskBlocks = (disk: Parameters<typeof blockdevs>[0], key: string) =>
  blockdevs(disk, key).flatMap((node) => ["-blockdev", json(node)]);

function attachNic(hardware: Hardware, slots: Slots, nic: Nic, i: number, key: string): void {
  const { nics, board } = hardware;
  if (nic.port !== undefined) slots.add({ ...pciNic(hardware, nic, key), ...portBus(nic.port) });
  else if (nics === "ne2k" && board === "isapc")
    slots.add({ driver: "ne2k_isa", id: `nic${key}`, netdev: `net${key}`, mac: nic.mac, ...isaNic(i) });
  else slots.addPci(pciNic(hardware, nic, key));
}

/** @param socket of swtpm */
function attachTpm({ architecture }: Hardware, slots: Slots, socket: string): string[] {
  slots.add({ driver: architecture === "aarch64" ? "tpm-tis-device" : "tpm-tis", id: "tpm0", tpmdev: "tpm" });
  return ["-chardev", `socket,id=tpm,path=${doubleCommas(socket)}`, "-tpmdev", "emulator,id=tpm,chardev=tpm"];
}

function flash(firmware: Firmware | undefined): string {
  if (!firmware) return "";
  return `,pflash0=firmware,pflash1=drive-vars${firmware.secure ? ",smm=on" : ""}`;
}

function firmwareBlocks({ code, variables, secure }: Firmware): string[] {
  const file = { driver: "file", filename: code, "read-only": true };
  return [
    "-blockdev",
    json({ driver: "raw", "node-name": "firmware", "read-only": true, file }),
    "-object",
    json(throttleGroup("-vars", undefined)),
    ...diskBlocks(variables, "-vars"),
    ...(secure ? ["-global", "driver=cfi.pflash01,property=secure,value=on"] : []),
  ];
}
