/**
 * What a guest finds in its machine: board, firmware, and how disks and networks look to it. Guests of today need none of it; it is for
 * UEFI and Secure Boot, and for guests that have no virtio drivers.
 *
 * `hardwareOf` fills in what is not said; hosts publish what they can offer (facts.qemu.offers), and `lackOf` is why one cannot run it.
 */
import { type Static, Type } from "typebox";
import type { Cause } from "../../resource/errors.ts";
import { Words } from "../../resource/kind.ts";

export const Hardware = Type.Object(
  {
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
  },
  { description: "What the guest finds in its machine; may be left out for guests of today." },
);
export type Hardware = Static<typeof Hardware>;

/** With everything said that decides how the machine looks; what it is pinned to is apart (Pins). */
export interface WholeHardware {
  firmware: "bios" | "uefi";
  secureBoot: boolean;
}

export function hardwareOf({ firmware = "bios", secureBoot = false }: Hardware = {}): WholeHardware {
  return { firmware, secureBoot };
}

/** What goes not together, by field. */
export function checkHardware(hardware: Hardware | undefined): Cause[] {
  const { firmware, secureBoot } = hardwareOf(hardware);
  if (secureBoot && firmware !== "uefi")
    return [
      {
        field: "spec.hardware.secureBoot",
        reason: "FieldValueInvalid",
        message: "Invalid value: true: is a feature of UEFI; set spec.hardware.firmware to uefi, too",
      },
    ];
  return [];
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
  const machineType = hardware?.machineType ?? was?.machineType;
  const guestCpu = hardware?.cpu ?? was?.guestCpu;
  return { ...(machineType ? { machineType } : {}), ...(guestCpu ? { guestCpu } : {}) };
}

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
} as const;
export type Offer = keyof typeof OFFERS;
export const OFFER_NAMES = Object.keys(OFFERS) as [Offer, ...Offer[]];

export function needsOf(spec: Pins & { hardware?: Hardware }): Needs {
  const { firmware, secureBoot } = hardwareOf(spec.hardware);
  return {
    ...pinsOf(spec.hardware, spec),
    offers: [
      ...(firmware === "uefi" ? (["uefi"] as const) : []),
      ...(secureBoot ? (["secureBoot"] as const) : []),
    ],
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
