/**
 * How disks and networks are told to QEMU, the same on the command line and over QMP. Pure. Those at a *port* of their own (a root port of PCI
 * Express) can come and go while the guest runs; others have a slot of the board.
 */
import type { Hardware } from "./board.ts";
import { type Ram, ramObject } from "./ram.ts";
import { type Limits, throttleLimits } from "./throttle.ts";

export interface Disk {
  /** Of a data disk; the guest sees it as the serial number. */
  name?: string;
  path: string;
  format: "qcow2" | "raw";
  readOnly: boolean;
  /** The root port that it is at. */
  port?: number;
  /** When the firmware tries it; disks in their order when nothing is said of any device. */
  bootindex?: number;
  limits?: Limits;
  /** Opened without what is below it; openBelow (below.ts) puts it on that. */
  apart?: boolean;
}

export interface Nic {
  mac: string;
  backend: { tap: string } | { user: true };
  mtu: number;
  port?: number;
  /** When the firmware tries it; not at all when absent. */
  bootindex?: number;
}

export const IO_THREAD = "io0";

/** What tells a disk's parts apart from those of others: the number of a system disk, the name of a data disk. */
export const keyOf = ({ name }: Pick<Disk, "name">, index: number) =>
  name === undefined ? `${index}` : `-${name}`;
export const macKey = (mac: string) => mac.replaceAll(":", "");

/** One at a port is known by its address, whichever others there are. */
export const nicKey = ({ mac, port }: Pick<Nic, "mac" | "port">, index: number) =>
  port === undefined ? `${index}` : macKey(mac);

/** The bus behind a root port, which has one place. */
export const portBus = (port: number) => ({ bus: `port${port}`, addr: "0x0" });

export const throttleGroup = (key: string, limits: Limits | undefined) => ({
  "qom-type": "throttle-group",
  id: `throttle${key}`,
  ...(limits ? { limits: throttleLimits(limits) } : {}),
});

type Opened = Pick<Disk, "path" | "format" | "readOnly" | "apart">;

const openedAs = ({ readOnly }: Pick<Disk, "readOnly">) => ({ "read-only": readOnly, discard: "unmap" });

/** Format over file; each layer says what it is. */
export const diskFormat = (disk: Opened, key: string) => ({
  driver: disk.format,
  "node-name": `format${key}`,
  ...openedAs(disk),
  ...(disk.apart ? { backing: null } : {}),
  file: {
    driver: "file",
    "node-name": `file${key}`,
    filename: disk.path,
    aio: "threads",
    locking: "on",
    ...openedAs(disk),
  },
});

/** Over a format (a stable name for the device, and a place for limits and filters). @param drive its name @param file that of the format */
export const diskDrive = (disk: Pick<Disk, "readOnly">, drive: string, file: string) => ({
  driver: "throttle",
  "node-name": drive,
  "throttle-group": `throttle${drive.slice("drive".length)}`,
  ...openedAs(disk),
  file,
});

/**
 * What opens a disk, one after the other. Two, not one within the other: QEMU would reopen the file with the drive (sameDrive), and put another descriptor in its
 * place at the next change of the graph, under what the guest has just written (7.2: "Bad file descriptor", seen once in a few merges of layers on a busy host).
 */
export const blockdevs = (disk: Opened, key: string) =>
  [diskFormat(disk, key), diskDrive(disk, `drive${key}`, `format${key}`)] as const;

/** What reopens the drive of a disk that can be written, just as it is. */
export const sameDrive = (drive: string, file: string) => diskDrive({ readOnly: false }, drive, file);

/** What all sorts of disks have in common. The serial number is a data disk's name. */
export const drive = (key: string, serial: string, readOnly: boolean) => ({
  id: `disk${key}`,
  drive: `drive${key}`,
  serial,
  // A guest whose disk cannot be written stands still until it can: its own error handling would lose what it has.
  ...(readOnly ? {} : { werror: "stop" }),
});

export const virtioDisk = (hardware: Hardware, key: string, serial: string, readOnly: boolean) => ({
  driver: "virtio-blk-pci",
  ...drive(key, serial, readOnly),
  ...(hardware.ioThread ? { iothread: IO_THREAD } : {}),
});

export const netdev = ({ backend }: Nic, key: string) =>
  "tap" in backend
    ? { type: "tap", id: `net${key}`, ifname: backend.tap, script: "no", downscript: "no" }
    : { type: "user", id: `net${key}` };

/** A card on PCI; `ne2k` has an ISA one, too. */
export function pciNic({ nics }: Pick<Hardware, "nics">, { mac, mtu, bootindex }: Nic, key: string) {
  const nic = { id: `nic${key}`, netdev: `net${key}`, mac };
  // The program by which the firmware starts from a network is there only when it is to.
  const start = bootindex === undefined ? { romfile: "" } : { bootindex };
  if (nics === "virtio")
    return { driver: "virtio-net-pci", ...nic, host_mtu: mtu, rx_queue_size: 1024, ...start };
  return { driver: nics === "ne2k" ? "ne2k_pci" : nics, ...nic, ...start };
}

/** A CPU besides those of the start; all are cores of one socket. */
export const cpuDevice = (driver: string, core: number) => ({
  driver,
  id: `cpu${core}`,
  "socket-id": 0,
  "core-id": core,
  "thread-id": 0,
});

/** The memory of a module, and the module that the guest finds. */
export const moduleObject = (index: number, bytes: number, ram: Ram | undefined) =>
  ramObject(`memory${index}`, bytes, ram);
export const memoryModule = (index: number) => ({
  driver: "pc-dimm",
  id: `dimm${index}`,
  memdev: `memory${index}`,
  slot: index,
});
/** Places for modules. */
export const MODULES = 16;

/** Root ports take the last slots, eight a slot, from the end of the bus: what comes before may become more. */
const LAST_PORT_SLOT = 0x1e;
const PORTS_A_SLOT = 8;

export function rootPort(bus: string, port: number) {
  const [slot, unit] = [LAST_PORT_SLOT - Math.floor(port / PORTS_A_SLOT), port % PORTS_A_SLOT];
  return {
    driver: "pcie-root-port",
    id: `port${port}`,
    chassis: port + 1,
    port,
    // Devices of PCI Express do without I/O ports; a window for each root port would not fit.
    "io-reserve": 0,
    ...(unit === 0 ? { multifunction: true } : {}),
    bus,
    addr: `0x${slot.toString(16)}.${unit}`,
  };
}
