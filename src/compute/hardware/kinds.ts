/**
 * What a guest finds in its machine: board, firmware, and how disks and networks look to it. Guests of today need none of it; it is for
 * UEFI and Secure Boot, and for guests that have no virtio drivers.
 *
 * `hardwareOf` fills in what is not said; hosts publish what they can offer (facts.qemu.offers), and `lackOf` is why one cannot run it.
 */
import { type Static, Type } from "typebox";
import { type Cause, invalidValue } from "../../resource/errors.ts";
import { Words } from "../../resource/kind.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { MAX_DISKS } from "../disks/kinds.ts";

export const Hardware = Type.Object(
  {
    architecture: Type.Optional(
      Words(["x86_64", "aarch64"], {
        description: "Of the guest; x86_64 by default. Another one than the host's is emulated, slowly.",
      }),
    ),
    board: Type.Optional(
      Words(["q35", "pc", "isapc", "virt"], {
        description:
          "q35 (PCI Express and SATA, the default), pc (PCI and IDE), isapc (neither PCI nor ACPI, for guests of before 1995); virt for aarch64.",
      }),
    ),
    firmware: Type.Optional(
      Words(["bios", "uefi"], {
        description:
          "What starts the guest: bios by default. uefi keeps its variables with the machine's disks.",
      }),
    ),
    machineType: Type.Optional(
      Type.String({
        pattern: "^(pc-q35|pc-i440fx|virt)-\\d+\\.\\d+$",
        description:
          "QEMU's versioned machine type. By default the newest of the host where the machine first starts, and from then on that one.",
      }),
    ),
    cpu: Type.Optional(
      Type.String({
        pattern: "^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        maxLength: 64,
        description:
          "QEMU's CPU model. By default the best that all hosts have which the machine's policies allow, chosen at its first start, and from then on that one. host: that of its host, whatever it is; such a machine moves between equal hosts only.",
      }),
    ),
    secureBoot: Type.Optional(
      Type.Boolean({
        description:
          "With uefi: only loaders signed by Microsoft's keys start (Windows, shim of Linux distributions).",
      }),
    ),
    disks: Type.Optional(
      Words(["virtio", "sata", "ide"], {
        description:
          "How disks look to the guest: virtio by default; sata (q35) and ide (pc, isapc) for guests without its drivers. With ide the guest is told nothing at its first boot.",
      }),
    ),
    ioThread: Type.Optional(
      Type.Boolean({
        description:
          "A thread of their own serves its virtio disks: more requests a second, and the guest's other devices do not wait for them. False by default.",
      }),
    ),
    nics: Type.Optional(
      Words(["virtio", "e1000e", "e1000", "rtl8139", "ne2k"], {
        description: "How networks look to the guest; virtio by default.",
      }),
    ),
    video: Type.Optional(
      Words(["none", "vga", "cirrus"], {
        description: "The display adapter; none by default: serial console.",
      }),
    ),
    tpm: Type.Optional(
      Type.Boolean({ description: "A TPM 2.0 of its own. Its state is kept with the machine's disks." }),
    ),
    hyperv: Type.Optional(
      Type.Boolean({ description: "Under KVM, what Windows asks of Hyper-V to run faster." }),
    ),
    watchdog: Type.Optional(
      Words(["none", "Reset", "PowerOff", "Pause", "Dump"], {
        description:
          "An i6300esb (q35, pc), and what happens when the guest has begun to feed it and stops: Reset; PowerOff (spec.restart decides then); Pause: it stands still until it is reset or stopped; Dump: its memory is kept as spec.onPanic.dump does, then as PowerOff. none by default.",
      }),
    ),
    clock: Type.Optional(
      Words(["utc", "localtime"], {
        description: "What the machine's clock shows; utc by default. Windows and DOS expect localtime.",
      }),
    ),
  },
  { description: "What the guest finds in its machine; may be left out for guests of today." },
);
export type Hardware = Static<typeof Hardware>;

/** With everything said that decides how the machine looks; what it is pinned to is apart (Pins). */
export type WholeHardware = Required<Omit<Hardware, "machineType" | "cpu">>;

/** Boards and what each can have: first what it has by default. */
const BOARDS = {
  q35: {
    architecture: "x86_64",
    disks: ["virtio", "sata"],
    nics: ["virtio", "e1000e", "e1000", "rtl8139", "ne2k"],
  },
  pc: { architecture: "x86_64", disks: ["virtio", "ide"], nics: ["virtio", "e1000", "rtl8139", "ne2k"] },
  isapc: { architecture: "x86_64", disks: ["ide"], nics: ["ne2k"] },
  virt: { architecture: "aarch64", disks: ["virtio"], nics: ["virtio"] },
} as const;

/** Their firmware is told nothing about what to start first. */
export const BOARDS_WITHOUT_ORDER: readonly WholeHardware["board"][] = ["isapc"];

export function hardwareOf(said: Hardware = {}): WholeHardware {
  const { architecture = said.board === "virt" ? "aarch64" : "x86_64" } = said;
  const { board = architecture === "aarch64" ? "virt" : "q35" } = said;
  return {
    architecture,
    board,
    firmware: said.firmware ?? (board === "virt" ? "uefi" : "bios"),
    secureBoot: said.secureBoot ?? false,
    disks: said.disks ?? BOARDS[board].disks[0],
    ioThread: said.ioThread ?? false,
    nics: said.nics ?? BOARDS[board].nics[0],
    video: said.video ?? "none",
    tpm: said.tpm ?? false,
    hyperv: said.hyperv ?? false,
    clock: said.clock ?? "utc",
    watchdog: said.watchdog ?? "none",
  };
}

/** Boards that can tell a guest its VM generation id; by ACPI, as QEMU has it for PCs. */
export const tellsGeneration = (hardware: Hardware | undefined): boolean =>
  ["q35", "pc"].includes(hardwareOf(hardware).board);

/** What its guest is told: another id when its state goes on from an earlier one, or is that of a clone. */
export const GenerationId = Type.Optional(
  Type.String({
    pattern: "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
    description:
      "The VM generation id that its guest sees (boards q35, pc): another one after a rollback and in a clone, and else the same, wherever and however often it starts.",
  }),
);

/** What can come and go while the guest runs: what is on PCI Express. Cards of before that need I/O ports, which a root port has none of. */
export function hotPlugOf(hardware: Hardware | undefined): { disks: boolean; nics: boolean } {
  const { board, disks, nics } = hardwareOf(hardware);
  return {
    disks: board === "q35" && disks === "virtio",
    nics: board === "q35" && (nics === "virtio" || nics === "e1000e"),
  };
}

/** The beginning of a board's versioned machine types. */
export const PREFIX = { q35: "pc-q35-", pc: "pc-i440fx-", isapc: "isapc", virt: "virt-" } as const;

/** The accelerator of a machine on a host: what is not the host's architecture is emulated. */
export const acceleratorOf = (hardware: Hardware | undefined, ofHost: "kvm" | "tcg"): "kvm" | "tcg" =>
  hardwareOf(hardware).architecture === "x86_64" ? ofHost : "tcg";

/** What goes not together, by field. */
export function checkHardware({
  hardware,
  cpus,
  networks,
  disks: more = [],
  cdDrives = [],
  ...spec
}: MachineSpec): Cause[] {
  const whole = hardwareOf(hardware);
  const { board, architecture, firmware, secureBoot, disks, nics, tpm, video, ioThread, watchdog } = whole;
  const can = BOARDS[board];
  const causes: Cause[] = [];
  const refuse = (field: string, value: unknown, why: string) =>
    causes.push(invalidValue(`spec.${field}`, value, why));
  const { maxCpus, maxMemory, memoryTarget, memory, onPanic, resources = {} } = spec;
  if (maxCpus !== undefined && maxCpus < cpus) refuse("maxCpus", maxCpus, `has to be at least cpus, ${cpus}`);
  if (maxMemory !== undefined && parseBytes(maxMemory) < parseBytes(memory))
    refuse("maxMemory", maxMemory, `has to be at least memory, ${memory}`);
  if (memoryTarget !== undefined && parseBytes(memoryTarget) > parseBytes(memory))
    refuse("memoryTarget", memoryTarget, `has to be at most memory, ${memory}`);
  for (const [field, value] of Object.entries({ maxCpus, maxMemory }))
    if (value !== undefined && board !== "q35" && board !== "pc")
      refuse(field, value, `the board ${board} takes none while it runs`);
  if (maxCpus !== undefined && resources.dedicatedCpus)
    refuse(
      "maxCpus",
      maxCpus,
      "its CPUs are its own (spec.resources.dedicatedCpus), and are given at its start",
    );
  if ((maxMemory ?? memoryTarget) !== undefined && (resources.hugepages || resources.singleNumaNode))
    refuse(
      maxMemory ? "maxMemory" : "memoryTarget",
      maxMemory ?? memoryTarget,
      "its memory is set aside for it at its start (spec.resources: hugepages, singleNumaNode)",
    );
  const one = (words: readonly string[]) => words.join(", ");
  if (can.architecture !== architecture)
    refuse("hardware.board", board, `is a board of ${can.architecture}; ${architecture} has another`);
  if (!can.disks.some((word) => word === disks))
    refuse("hardware.disks", disks, `the board ${board} has ${one(can.disks)}`);
  if (!can.nics.some((word) => word === nics))
    refuse("hardware.nics", nics, `the board ${board} has ${one(can.nics)}`);
  if (ioThread && disks !== "virtio")
    refuse("hardware.ioThread", ioThread, `is for disks of virtio; these are ${disks}`);
  if (board === "virt" && firmware !== "uefi") refuse("hardware.firmware", firmware, "aarch64 has uefi");
  if (board === "isapc" && firmware !== "bios") refuse("hardware.firmware", firmware, "isapc has bios");
  if (board === "isapc" && tpm) refuse("hardware.tpm", tpm, "isapc can have none");
  if (board === "isapc" && onPanic)
    refuse(
      "onPanic",
      onPanic,
      "on the board isapc no guest can tell that it panicked (pvpanic); take it away",
    );
  if (board === "isapc" && memoryTarget !== undefined)
    refuse("memoryTarget", memoryTarget, "the board isapc has no balloon; take it away");
  if (board === "isapc" && cpus > 1) refuse("cpus", cpus, "the board isapc has one CPU");
  if (board === "isapc" && networks.length > 2)
    refuse("networks", networks, "the board isapc has room for two network cards");
  const room = roomForDisks(whole, networks.length, cdDrives.length);
  if (more.length > room)
    refuse(
      "disks",
      more.length,
      `the board ${board} has room for ${room} of them beside the system disk${cdDrives.length > 1 ? " and its CD drives" : ""}`,
    );
  if (board === "virt" && video !== "none")
    refuse("hardware.video", video, "aarch64 has none; use the serial console");
  if (watchdog !== "none" && board !== "q35" && board !== "pc")
    refuse("hardware.watchdog", watchdog, `the board ${board} has none; q35 and pc do`);
  if (secureBoot && (firmware !== "uefi" || board !== "q35"))
    refuse(
      "hardware.secureBoot",
      secureBoot,
      "is a feature of UEFI on the board q35; set spec.hardware.firmware to uefi, too",
    );
  if (hardware?.machineType && !hardware.machineType.startsWith(PREFIX[board]))
    refuse("hardware.machineType", hardware.machineType, `is none of the board ${board}`);
  return causes;
}

/** How many data disks there is room for: channels of its controller, or slots of PCI that nothing else takes. One CD drive has a channel that no disk takes. */
function roomForDisks({ disks, board }: WholeHardware, nics: number, cdDrives: number): number {
  const channels = Math.max(0, cdDrives - 1);
  if (disks === "sata") return 4 - channels;
  if (disks === "ide") return 2 - channels;
  return board === "q35" ? MAX_DISKS : Math.min(MAX_DISKS, 22 - nics);
}

interface MachineSpec {
  memory: string;
  maxCpus?: number;
  maxMemory?: string;
  memoryTarget?: string;
  onPanic?: object;
  resources?: { dedicatedCpus?: boolean; hugepages?: string; singleNumaNode?: boolean };
  disks?: readonly unknown[];
  cdDrives?: readonly unknown[];
  hardware?: Hardware;
  cpus: number;
  networks: readonly string[];
}

/** What a machine keeps from its first start on, so that it can go on at any time on any host that has it. */
export const pins = {
  machineType: Type.Optional(Type.String({ description: "QEMU's machine type: pc-q35-7.2." })),
  guestCpu: Type.Optional(
    Type.String({
      description: "The CPU model that the guest sees; host: that of its host, whatever that is.",
    }),
  ),
};
export interface Pins {
  machineType?: string;
  guestCpu?: string;
}

/** What the next run of a machine has to be: what is asked for, else what it was from the first time on. */
export function pinsOf(hardware: Hardware | undefined, was: Pins | undefined): Pins {
  const { board } = hardwareOf(hardware);
  // With another board it is another machine.
  const isOther = ([name, prefix]: [string, string]) =>
    name !== board && was?.machineType?.startsWith(prefix);
  const before = Object.entries(PREFIX).some(isOther) ? undefined : was;
  const { machineType = before?.machineType, cpu: guestCpu = before?.guestCpu } = hardware ?? {};
  return { ...(machineType ? { machineType } : {}), ...(guestCpu ? { guestCpu } : {}) };
}

/** Only those of it, and only what there is. */
export const pinsIn = ({ machineType, guestCpu }: Pins = {}): Pins => ({
  ...(machineType ? { machineType } : {}),
  ...(guestCpu ? { guestCpu } : {}),
});

/** A CPU that is not the same everywhere is none to keep. */
export const isNamed = (guestCpu: string | undefined): guestCpu is string =>
  guestCpu !== undefined && guestCpu !== "host" && guestCpu !== "max";

/** Of a host, facts.qemu: what its QEMU has; absent when its agent is too old to tell. */
export interface Has {
  offers?: readonly string[];
  machineTypes?: readonly string[];
  guestCpus?: readonly string[];
}

export interface Needs extends Pins {
  offers: readonly Offer[];
}

/** What only some hosts have, and the Debian package that brings it. */
export const OFFERS = {
  uefi: { what: "firmware for UEFI guests", package: "ovmf" },
  secureBoot: { what: "firmware for UEFI guests with Secure Boot", package: "ovmf" },
  tpm: { what: "TPM for guests", package: "swtpm" },
  aarch64: { what: "QEMU and firmware for aarch64 guests", package: "qemu-system-arm qemu-efi-aarch64" },
} as const;
export type Offer = keyof typeof OFFERS;
export const OFFER_NAMES = Object.keys(OFFERS) as [Offer, ...Offer[]];

export function needsOf(spec: Pins & { hardware?: Hardware }): Needs {
  const { firmware, secureBoot, architecture, tpm } = hardwareOf(spec.hardware);
  const foreign = architecture === "aarch64";
  const offers: [Offer, boolean][] = [
    ["aarch64", foreign],
    ["uefi", firmware === "uefi" && !foreign],
    ["secureBoot", secureBoot],
    ["tpm", tpm],
  ];
  return {
    ...pinsOf(spec.hardware, spec),
    offers: offers.flatMap(([offer, needed]) => (needed ? [offer] : [])),
  };
}

/** Why a host cannot run such a machine; undefined when it can. Of packages, a host that tells nothing has none. */
export function lackOf({ offers, machineType, guestCpu }: Needs, host: Has): string | undefined {
  const lacks = offers.find((need) => !host.offers?.includes(need));
  if (lacks) return `${lackingText(lacks)} there and start its agent anew`;
  if (machineType && host.machineTypes && !host.machineTypes.includes(machineType))
    return `its QEMU has no machine type ${machineType}, which this machine has kept since its first start (spec.hardware.machineType sets another)`;
  if (isNamed(guestCpu) && host.guestCpus && !host.guestCpus.includes(guestCpu))
    return `cannot give guests the CPU ${guestCpu}, which this machine has kept since its first start (spec.hardware.cpu sets another)`;
  return undefined;
}

/** "has no firmware for UEFI guests; apt-get install ovmf" */
export const lackingText = (offer: Offer) =>
  `has no ${OFFERS[offer].what}; apt-get install ${OFFERS[offer].package}`;

/**
 * The CPUs to choose from, the best first: levels that many processors of both makers reach, by QEMU's names. TCG has one that is the same everywhere and
 * boots fastest.
 */
const LEVELS = {
  kvm: [
    "Icelake-Server-noTSX",
    "Cascadelake-Server-noTSX",
    "Skylake-Server-noTSX-IBRS",
    "EPYC-Milan",
    "EPYC-Rome",
    "EPYC",
    "Haswell-noTSX-IBRS",
    "Haswell-noTSX",
    "IvyBridge",
    "SandyBridge",
    "Westmere",
    "Nehalem",
    "qemu64",
  ],
  tcg: ["qemu64"],
};

/** The best CPU that all of these hosts can give; undefined when they have none in common, or do not tell. */
export function baseline(accelerator: "kvm" | "tcg", hosts: readonly Has[]): string | undefined {
  if (hosts.length === 0) return undefined;
  return LEVELS[accelerator].find((level) => hosts.every(({ guestCpus }) => guestCpus?.includes(level)));
}
