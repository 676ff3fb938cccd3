/**
 * From a machine's description to QEMU's arguments: pure, golden-tested. Nothing is left to QEMU's defaults or guesses: no default
 * devices, explicit formats and PCI addresses (a migration target must have the same), JSON where QEMU takes it, the
 * whole seccomp sandbox.
 */

export interface Disk {
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
  disks: readonly Disk[];
  nics: readonly Nic[];
  boot?: { kernel: string; initrd: string; commandLine: string };
  /** UEFI; the BIOS when absent. */
  firmware?: Firmware;
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

/** q35's slots 0 and 31 are the chipset's; ours begin at 2. */
const FIRST_SLOT = 2;
const LAST_SLOT = 30;

function slot(index: number): string {
  if (FIRST_SLOT + index > LAST_SLOT)
    throw new RangeError(
      `a machine has room for ${LAST_SLOT - FIRST_SLOT + 1} devices; give it fewer disks or networks`,
    );
  return `0x${(FIRST_SLOT + index).toString(16)}`;
}

/** TCG has no host model; qemu64 is the same on every host and boots fastest. KVM's `host` moves only between equal CPUs. */
export const DEFAULT_CPU = { kvm: "host", tcg: "qemu64" } as const;

/** One that a host cannot give whole is refused, rather than to become another one there. */
function cpu({ accelerator, guestCpu = DEFAULT_CPU[accelerator] }: Machine): string {
  return ["host", "max", DEFAULT_CPU.tcg].includes(guestCpu) ? guestCpu : `${guestCpu},enforce`;
}

/**
 * The arguments after the program's name. `incoming`: wait for `migrate-incoming`. The guest never starts by itself (-S).
 * @throws RangeError when there are more devices than slots
 */
export function commandLine(machine: Machine, files: RunFiles, how: "run" | "incoming"): string[] {
  const devices: unknown[] = [];
  const pci = () => ({ bus: "pcie.0", addr: slot(devices.length) });
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
    `${machine.machineType},usb=off,dump-guest-core=off,memory-backend=pc.ram${flash(machine.firmware)}`,
    "-accel",
    machine.accelerator,
    "-cpu",
    cpu(machine),
    "-m",
    `${machine.memoryMiB}M`,
    "-object",
    json({
      "qom-type": "memory-backend-memfd",
      id: "pc.ram",
      size: machine.memoryMiB * 2 ** 20,
      share: true,
    }),
    "-smp",
    `${machine.cpus},sockets=1,cores=${machine.cpus},threads=1`,
    "-overcommit",
    "mem-lock=off",
    "-rtc",
    "base=utc",
    "-boot",
    "strict=on",
    "-msg",
    "timestamp=on",
    "-global",
    "ICH9-LPC.disable_s3=1",
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
    "-device",
    json({ driver: "isa-serial", chardev: "serial" }),
    // A guest's reset stays a reset; after a panic the machine ends, and whoever owns it decides on a restart.
    "-action",
    "reboot=reset,shutdown=poweroff,panic=shutdown",
  ];

  devices.push({ driver: "pvpanic-pci", id: "pvpanic", ...pci() });
  devices.push({ driver: "virtio-serial-pci", id: "vserial", ...pci() });
  args.push("-chardev", `socket,id=qga,path=${doubleCommas(files.guestAgent)},server=on,wait=off`);
  devices.push({
    driver: "virtio-rng-pci",
    id: "rng0",
    rng: "urandom",
    "max-bytes": 1024,
    period: 1000,
    ...pci(),
  });
  args.push("-object", json({ "qom-type": "rng-random", id: "urandom", filename: "/dev/urandom" }));

  if (machine.firmware) args.push(...firmwareBlocks(machine.firmware));
  for (const [i, disk] of machine.disks.entries()) {
    args.push("-object", json({ "qom-type": "throttle-group", id: `throttle${i}` }));
    args.push("-blockdev", json(blockdev(disk, `${i}`)));
    devices.push({
      driver: "virtio-blk-pci",
      id: `disk${i}`,
      drive: `drive${i}`,
      serial: `disk${i}`,
      ...(machine.boot ? {} : { bootindex: i }),
      ...pci(),
    });
  }
  for (const [i, nic] of machine.nics.entries()) {
    args.push(
      "-netdev",
      json(
        "tap" in nic.backend
          ? { type: "tap", id: `net${i}`, ifname: nic.backend.tap, script: "no", downscript: "no" }
          : { type: "user", id: `net${i}` },
      ),
    );
    devices.push({
      driver: "virtio-net-pci",
      id: `nic${i}`,
      netdev: `net${i}`,
      mac: nic.mac,
      host_mtu: nic.mtu,
      rx_queue_size: 1024,
      romfile: "",
      ...pci(),
    });
  }
  for (const device of devices) args.push("-device", json(device));
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
