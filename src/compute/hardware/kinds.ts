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

/** With everything said. */
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

/** What only some hosts have, and the Debian package that brings it. */
export const OFFERS = {
  uefi: { what: "firmware for UEFI guests", package: "ovmf" },
  secureBoot: { what: "firmware for UEFI guests with Secure Boot", package: "ovmf" },
} as const;
export type Offer = keyof typeof OFFERS;
export const OFFER_NAMES = Object.keys(OFFERS) as [Offer, ...Offer[]];

export function needsOf(hardware: Hardware | undefined): Offer[] {
  const { firmware, secureBoot } = hardwareOf(hardware);
  return [
    ...(firmware === "uefi" ? (["uefi"] as const) : []),
    ...(secureBoot ? (["secureBoot"] as const) : []),
  ];
}

/** Why a host cannot run such a machine; undefined when it can. A host that tells nothing, of an older agent, has nothing of it. */
export function lackOf(needs: readonly Offer[], offers: readonly string[] | undefined): string | undefined {
  const lacks = needs.find((need) => !offers?.includes(need));
  return lacks && `${lackingText(lacks)} there and start its agent anew`;
}

/** "has no firmware for UEFI guests; apt-get install ovmf" */
export const lackingText = (offer: Offer) =>
  `has no ${OFFERS[offer].what}; apt-get install ${OFFERS[offer].package}`;
