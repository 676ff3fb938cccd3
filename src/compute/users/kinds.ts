/** The user of a machine's QEMU, on whichever host: a number, not an account of anybody (book.ts gives them). */
import { Type } from "typebox";

export const FIRST_USER = 200_001;
export const FIRST_SPACE = 65_536;

export const MachineUser = Type.Integer({
  minimum: FIRST_USER,
  maximum: 2 ** 31 - 1,
  description:
    "Numeric user that its QEMU runs as on whichever host, no other machine's; kept for life. Absent: from the machine's uid.",
});

/** Of a machine that has been given none: those of before there was more than one choice. Two of them may meet, until one is started anew. */
export function firstChoice(vmUid: string): number {
  return FIRST_USER + (Number.parseInt(vmUid.replaceAll("-", "").slice(0, 4), 16) % FIRST_SPACE);
}
