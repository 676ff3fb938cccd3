/**
 * The boards that a machine can have, and how devices are attached to each. Pure. Names are QEMU's; the order in which devices take slots must stay: a
 * migration target has to have the same.
 */

/** What the guest finds in its machine, with everything said. */
export interface Hardware {
  architecture: "x86_64" | "aarch64";
  /** q35: PCI Express and SATA (2009). pc: PCI and IDE (1996). isapc: neither PCI nor ACPI. virt: ARM. */
  board: "q35" | "pc" | "isapc" | "virt";
  disks: "virtio" | "sata" | "ide";
  /** One thread for all its virtio disks; QEMU's main thread when false. */
  ioThread: boolean;
  nics: "virtio" | "e1000e" | "e1000" | "rtl8139" | "ne2k";
  video: "none" | "vga" | "cirrus";
  clock: "utc" | "localtime";
  /** Hyper-V's enlightenments, under KVM. */
  hyperv: boolean;
  /** What an i6300esb does when it is not fed. */
  watchdog: "none" | "Reset" | "PowerOff" | "Pause" | "Dump";
}

export const TODAY: Hardware = {
  architecture: "x86_64",
  board: "q35",
  disks: "virtio",
  ioThread: false,
  nics: "virtio",
  video: "none",
  clock: "utc",
  hyperv: false,
  watchdog: "none",
};

interface Board {
  /** Where PCI devices are attached: none without PCI. */
  pci?: string;
  /** QEMU's name of the memory: it is in the stream of a migration. */
  ram: string;
  /** Whether it has channels of IDE or SATA. */
  hasIde: boolean;
  /** More of -machine. */
  options: string;
  globals: readonly string[];
  /** The first serial port. */
  serial: readonly string[];
  /** The alias of the newest versioned type. */
  newest: RegExp;
}

const ISA_SERIAL = ["-device", JSON.stringify({ driver: "isa-serial", chardev: "serial" })];

export const BOARDS: Record<Hardware["board"], Board> = {
  q35: {
    pci: "pcie.0",
    ram: "pc.ram",
    hasIde: true,
    options: "",
    globals: ["ICH9-LPC.disable_s3=1"],
    serial: ISA_SERIAL,
    newest: /alias of (pc-q35-[\d.]+)/,
  },
  pc: {
    pci: "pci.0",
    ram: "pc.ram",
    hasIde: true,
    options: "",
    globals: ["PIIX4_PM.disable_s3=1"],
    serial: ISA_SERIAL,
    newest: /alias of (pc-i440fx-[\d.]+)/,
  },
  // It has no versions.
  isapc: { ram: "pc.ram", hasIde: true, options: "", globals: [], serial: ISA_SERIAL, newest: /^(isapc) /m },
  virt: {
    pci: "pcie.0",
    ram: "mach-virt.ram",
    hasIde: false,
    options: ",gic-version=3",
    globals: [],
    serial: ["-serial", "chardev:serial"],
    newest: /alias of (virt-[\d.]+)/,
  },
};

/** q35's slots 0 and 31 are the chipset's, pc's 0 and 1; ours begin at 2. */
const FIRST_SLOT = 2;
const LAST_SLOT = 30;

/** Where and how devices are put into one machine. */
export class Slots {
  readonly devices: unknown[] = [];
  readonly #bus: string | undefined;
  readonly #ids = new Set<string>();
  #taken = 0;

  constructor(board: Hardware["board"]) {
    this.#bus = BOARDS[board].pci;
  }

  get hasPci(): boolean {
    return this.#bus !== undefined;
  }

  add(device: object): void {
    this.devices.push(device);
  }

  /** Only the first time. */
  ensurePci(device: { driver: string; id: string }): void {
    if (this.#ids.has(device.id)) return;
    this.#ids.add(device.id);
    this.addPci(device);
  }

  /** @throws RangeError when there are more devices than slots */
  addPci(device: object): void {
    if (FIRST_SLOT + this.#taken > LAST_SLOT)
      throw new RangeError(
        `a machine has room for ${LAST_SLOT - FIRST_SLOT + 1} devices; give it fewer disks or networks`,
      );
    this.add({ ...device, bus: this.#bus, addr: `0x${(FIRST_SLOT + this.#taken).toString(16)}` });
    this.#taken += 1;
  }
}

/** The n-th disk of an IDE or SATA controller, as the chipset has it: SATA has one on a channel, IDE two. */
export function ideDisk(board: Hardware["board"], index: number): { bus: string; unit: number } {
  const [bus, unit, most] = board === "q35" ? [index, 0, 6] : [index >> 1, index & 1, 4];
  if (index >= most) throw new RangeError(`this board has room for ${most} disks; give it fewer`);
  return { bus: `ide.${bus}`, unit };
}

/** ISA cards know no plug and play: the addresses that drivers look at first. */
const ISA_NICS = [
  { iobase: 0x300, irq: 9 },
  { iobase: 0x320, irq: 10 },
];

export function isaNic(index: number): { iobase: number; irq: number } {
  const at = ISA_NICS[index];
  if (!at) throw new RangeError(`this board has room for ${ISA_NICS.length} networks; give it fewer`);
  return at;
}

/** Not all that there are: those that Windows from Vista on knows and that can be migrated. */
export const HYPERV = [
  "hv-relaxed",
  "hv-vapic",
  "hv-spinlocks=0x1fff",
  "hv-vpindex",
  "hv-time",
  "hv-runtime",
  "hv-synic",
  "hv-stimer",
  "hv-reset",
  "hv-frequencies",
  "hv-tlbflush",
  "hv-ipi",
];
