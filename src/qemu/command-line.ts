/**
 * From a machine's description to QEMU's arguments: pure, golden-tested. Nothing is left to QEMU's defaults or guesses: no default
 * devices, explicit formats and PCI addresses (a migration target must have the same), JSON where QEMU takes it, the
 * whole seccomp sandbox.
 */

import { BOARDS, type Hardware, HYPERV, ideDisk, isaNic, Slots, TODAY } from "./board.ts";
import { isKept, type Ram, ramObject } from "./ram.ts";

export interface Disk {
  /** Of a data disk; the guest sees it as the serial number. */
  name?: string;
  path: string;
  format: "qcow2" | "raw";
  readOnly: boolean;
}

export interface Nic {
  mac: string;
  backend: { tap: string } | { user: true };
  mtu: number;
}

export interface Firmware {
  /** Raw, never written. */
  code: string;
  /** The machine's own store of variables. */
  variables: Disk;
  /** Only code in System Management Mode writes the variables: what Secure Boot needs. */
  secure: boolean;
}

export interface Machine {
  uuid: string;
  name: string;
  cpus: number;
  memoryMiB: number;
  /** Where its memory comes from, when that matters. */
  ram?: Ram;
  disks: readonly Disk[];
  nics: readonly Nic[];
  boot?: { kernel: string; initrd: string; commandLine: string };
  /** UEFI; the BIOS when absent. */
  firmware?: Firmware;
  /** That of today when absent. */
  hardware?: Hardware;
  /** The socket of a swtpm that waits there. */
  tpm?: string;
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
  serialLog: string;
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
    `${machine.machineType},usb=off,dump-guest-core=off,memory-backend=${board.ram}${board.options}${flash(machine.firmware)}`,
    "-accel",
    machine.accelerator,
    "-cpu",
    cpu(machine),
    "-m",
    `${machine.memoryMiB}M`,
    "-object",
    json(ramObject(board.ram, machine.memoryMiB * 2 ** 20, machine.ram)),
    "-smp",
    `${machine.cpus},sockets=1,cores=${machine.cpus},threads=1`,
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
    `socket,id=serial,path=${doubleCommas(files.serialSocket)},server=on,wait=off,logfile=${doubleCommas(files.serialLog)},logappend=on`,
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
    args.push(
      "-netdev",
      json(
        "tap" in nic.backend
          ? { type: "tap", id: `net${i}`, ifname: nic.backend.tap, script: "no", downscript: "no" }
          : { type: "user", id: `net${i}` },
      ),
    );
    attachNic(hardware, slots, nic, i);
  }
  if (hardware.video !== "none") attachVideo(hardware, slots);
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
  for (const device of slots.devices) args.push("-device", json(device));
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

const IO_THREAD = "io0";

function attachDisk({ boot }: Machine, hardware: Hardware, slots: Slots, disk: Disk, i: number): string[] {
  const key = disk.name === undefined ? `${i}` : `-${disk.name}`;
  // A guest whose disk cannot be written stands still until it can: its own error handling would lose what it has.
  const stands = disk.readOnly ? {} : { werror: "stop" };
  const drive = { id: `disk${key}`, drive: `drive${key}`, serial: disk.name ?? `disk${i}`, ...stands };
  const order = boot ? {} : { bootindex: i };
  const blocks = [
    "-object",
    json({ "qom-type": "throttle-group", id: `throttle${key}` }),
    "-blockdev",
    json(blockdev(disk, key)),
  ];
  const thread = hardware.ioThread ? { iothread: IO_THREAD } : {};
  if (hardware.disks === "virtio") slots.addPci({ driver: "virtio-blk-pci", ...drive, ...thread, ...order });
  else if (!disk.readOnly) slots.add({ driver: "ide-hd", ...drive, ...order, ...ideDisk(hardware.board, i) });
  // An IDE disk cannot be read-only. What is told to the guest comes on a stick; guests of before USB do not know it anyway.
  else if (hardware.disks === "sata") {
    slots.ensurePci({ driver: "qemu-xhci", id: "xhci" });
    slots.add({ driver: "usb-storage", ...drive, bus: "xhci.0", removable: true });
  } else return [];
  return blocks;
}

function attachNic({ nics, board }: Hardware, slots: Slots, { mac, mtu }: Nic, i: number): void {
  const nic = { id: `nic${i}`, netdev: `net${i}`, mac };
  if (nics === "virtio")
    slots.addPci({ driver: "virtio-net-pci", ...nic, host_mtu: mtu, rx_queue_size: 1024, romfile: "" });
  else if (nics !== "ne2k") slots.addPci({ driver: nics, ...nic, romfile: "" });
  else if (board === "isapc") slots.add({ driver: "ne2k_isa", ...nic, ...isaNic(i) });
  else slots.addPci({ driver: "ne2k_pci", ...nic, romfile: "" });
}

function attachVideo({ video, board }: Hardware, slots: Slots): void {
  if (board === "isapc")
    slots.add({ driver: video === "cirrus" ? "isa-cirrus-vga" : "isa-vga", id: "video" });
  else slots.addPci({ driver: video === "cirrus" ? "cirrus-vga" : "VGA", id: "video" });
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
    json({ "qom-type": "throttle-group", id: "throttle-vars" }),
    "-blockdev",
    json(blockdev(variables, "-vars")),
    ...(secure ? ["-global", "driver=cfi.pflash01,property=secure,value=on"] : []),
  ];
}

/** throttle (a stable name for the device, and a place for limits and filters) over format over file; each layer says what it is. */
function blockdev(disk: Disk, index: string): unknown {
  const common = { "read-only": disk.readOnly, discard: "unmap" };
  return {
    driver: "throttle",
    "node-name": `drive${index}`,
    "throttle-group": `throttle${index}`,
    ...common,
    file: {
      driver: disk.format,
      "node-name": `format${index}`,
      ...common,
      file: {
        driver: "file",
        "node-name": `file${index}`,
        filename: disk.path,
        aio: "threads",
        locking: "on",
        ...common,
      },
    },
  };
}
