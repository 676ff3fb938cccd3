/**
 * CD drives, and in which order a machine's firmware looks for something to start.
 *
 * Drives are there from a run's start to its end; what is in them comes and goes while it runs (agent/disks/cds.ts). A medium is an Image whose file is a plain one
 * (an ISO), read by as many machines as want it, and written by none.
 */

import { type Static, Type } from "typebox";
import { ImageReference } from "../../images/versions/kinds.ts";
import { type Cause, invalidValue } from "../../resource/errors.ts";
import { keyedBy } from "../../resource/kind.ts";
import { BOARDS_WITHOUT_ORDER, type Hardware, hardwareOf } from "../hardware/kinds.ts";

/** So that the name of what is in it has room in QEMU's names. */
const DRIVE_NAME = "^[a-z]([-a-z0-9]{0,10}[a-z0-9])?$";
const MAX_CD_DRIVES = 2;

const cdDrive = {
  name: Type.String({ pattern: DRIVE_NAME, description: "Its name: cd." }),
  image: Type.Optional(
    ImageReference(
      "The Image that is in it, a plain file (ISO); empty without. Changed while the machine runs.",
    ),
  ),
};

/** Of a machine. */
const CdDrive = Type.Object({
  ...cdDrive,
  force: Type.Optional(
    Type.Boolean({
      description:
        "What is in it is taken out although the guest has locked the drive, as with a paper clip: false by default.",
    }),
  ),
});
export type CdDrive = Static<typeof CdDrive>;

/** Of a run: what is in it now. */
export const FilledDrive = Type.Object(cdDrive);
export type FilledDrive = Static<typeof FilledDrive>;

const ENTRY = /^(disk|cd|network)(?:\/(.+))?$/;

/** What a VirtualMachine and each run of it have of it. */
export const boot = {
  cdDrives: Type.Optional(
    Type.Array(CdDrive, {
      maxItems: MAX_CD_DRIVES,
      ...keyedBy("name"),
      description:
        "CD drives. What is in them may be changed while it runs; drives come and go at its next start.",
    }),
  ),
  bootOrder: Type.Optional(
    Type.Array(
      Type.String({
        pattern: "^(disk(/[a-z]([-a-z0-9]*[a-z0-9])?)?|(cd|network)/[a-z0-9]([-a-z0-9]*[a-z0-9])?)$",
        maxLength: 80,
      }),
      {
        minItems: 1,
        maxItems: 16,
        uniqueItems: true,
        "x-kubernetes-list-type": "atomic",
        description:
          "What its firmware tries to start, and nothing else: disk (the system disk), disk/NAME, cd/NAME, network/NAME. By default its disks, then its CD drives. From its next start on.",
      },
    ),
  ),
};

interface Spec {
  hardware?: Hardware;
  disks?: readonly { name: string }[];
  networks: readonly string[];
  cdDrives?: readonly CdDrive[];
  bootOrder?: readonly string[];
}

/** What goes not together, by field. */
export function checkBoot({ hardware, disks = [], networks, cdDrives = [], bootOrder = [] }: Spec): Cause[] {
  const { board } = hardwareOf(hardware);
  const causes: Cause[] = [];
  const refuse = (field: string, value: unknown, why: string) =>
    causes.push(invalidValue(`spec.${field}`, value, why));
  if (bootOrder.length > 0 && BOARDS_WITHOUT_ORDER.includes(board))
    refuse(
      "bootOrder",
      bootOrder,
      `the firmware of the board ${board} knows no order: it starts its first disk`,
    );
  const there: Record<string, readonly string[]> = {
    disk: disks.map(({ name }) => name),
    cd: cdDrives.map(({ name }) => name),
    network: networks,
  };
  const field: Record<string, string> = { disk: "disks", cd: "cdDrives", network: "networks" };
  for (const [i, entry] of bootOrder.entries()) {
    const [, what = "", name] = ENTRY.exec(entry) ?? [];
    if (name !== undefined && !there[what]?.includes(name))
      refuse(`bootOrder[${i}]`, entry, `spec.${field[what]} has no ${name}`);
  }
  return causes;
}

/** When the firmware tries it, from 0 on; undefined: not at all. */
export function bootIndex(bootOrder: readonly string[], what: "disk" | "cd" | "network", name?: string) {
  const at = bootOrder.indexOf(name === undefined ? what : `${what}/${name}`);
  return at < 0 ? undefined : at;
}

/** The image of a machine that has a kernel of its own is started with that when its disk is what comes first. */
export const startsFromDisk = (bootOrder: readonly string[] | undefined) =>
  bootOrder === undefined || bootOrder[0] === "disk";
