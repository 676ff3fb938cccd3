/**
 * How a machine's memory gets to another host, and how much is to be sent for it. Pure.
 *
 * QEMU sends all of the memory, then what the guest has written to meanwhile, and so on, until the rest goes in the moment for which the guest may stand still. Of a guest that writes at a share r of the rate
 * at which is sent, that is 1 + r + r² + … = 1 / (1 - r) times the memory; nearer to that rate than NEAR it comes to no end by itself. Under TCG, and with post-copy, all is sent once, and what was
 * written meanwhile once more: 1 + r. Under TCG the guest stands still for that.
 */
import { type Transfer, transferOf } from "../../compute/migrations/kinds.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { HostView, MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";

/** Of hosts that do not tell. */
const USUAL_MBPS = 1000;
/** Of the rate at which is sent. */
const NEAR = 0.8;
const BYTES_A_MBIT = 125_000;

export interface Way {
  /** What may be used of the slower link of both hosts, megabits per second. */
  mbps: number;
  /** In passes until little is left, in one (under TCG), or after the guest has gone on at the target. */
  how: "passes" | "once" | "postCopy";
}

/** In megabits per second. */
export const linkOf = (from: HostView | undefined, to: HostView | undefined): number =>
  Math.min(from?.linkMbps || USUAL_MBPS, to?.linkMbps || USUAL_MBPS);

/** What is said of how a machine is sent. @param policies the machine's, as policiesOf has them @param own what the Migration says itself */
export const transferBy = (policies: readonly Policy[], own?: Transfer): Transfer =>
  transferOf([own, ...policies.map(({ spec }) => spec.transfer)]);

export function wayOf(
  { platform }: Pick<MachineView, "platform">,
  { bandwidth, postCopy }: Pick<Transfer, "bandwidth" | "postCopy">,
  from: HostView | undefined,
  to: HostView | undefined,
): Way {
  const how = (platform ?? from)?.accelerator === "tcg" ? "once" : "passes";
  const link = linkOf(from, to);
  const most = bandwidth === undefined ? link : Math.round(parseBytes(bandwidth) / BYTES_A_MBIT);
  return { mbps: Math.max(1, Math.min(link, most)), how: postCopy ? "postCopy" : how };
}

type Written = Pick<MachineView, "dirtyBytesPerSecond">;

/** How fast it writes to its memory, as a share of the rate at which is sent; 0 where nobody has measured it. */
const shareOf = ({ dirtyBytesPerSecond = 0 }: Written, { mbps }: Way) =>
  dirtyBytesPerSecond / (mbps * BYTES_A_MBIT);

/** Whether the guest writes slowly enough for the move to come to an end by itself. */
export const converges = (machine: Written, way: Way): boolean =>
  way.how !== "passes" || shareOf(machine, way) < NEAR;

/** Bytes of its memory, with what is sent more than once. */
export function memoryToSend(machine: Written & Pick<MachineView, "memoryBytes">, way: Way): number {
  const share = shareOf(machine, way);
  const times = way.how === "passes" ? 1 / (1 - Math.min(NEAR, share)) : 1 + Math.min(1, share);
  return Math.round(machine.memoryBytes * times);
}

/** For how long the guest stands still at the least, ms, by what it writes; 0 where it goes on until little is left. */
export const restMs = (machine: Written & Pick<MachineView, "memoryBytes">, way: Way): number =>
  way.how === "once"
    ? ((memoryToSend(machine, way) - machine.memoryBytes) * 1000) / (way.mbps * BYTES_A_MBIT)
    : 0;
