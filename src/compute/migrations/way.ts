/**
 * How a machine's memory gets to another host, and how much is to be sent for it. Pure.
 *
 * QEMU sends all of the memory, then what the guest has written to meanwhile, and so on, until the rest goes in the moment for which the guest may stand still. Of a guest that writes at a share r of the rate
 * at which is sent, that is 1 + r + r² + … = 1 / (1 - r) times the memory; nearer to that rate than NEAR it comes to no end by itself. Under TCG, and with post-copy, all is sent once, and what was
 * written meanwhile once more: 1 + r. Under TCG the guest stands still for that.
 */
import { parseBytes } from "../../resource/quantity.ts";

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

/** What its way takes of a host; 0: it does not tell. */
interface End {
  /** Of its fastest link. */
  linkMbps: number;
  /** What a move gets of the link that has the host's address; absent: an older agent, which does not tell which that is. */
  moveMbps?: number;
  accelerator?: string;
}

/** What QEMU runs its guest with; absent: it does not run. */
interface Guest {
  platform?: { accelerator: string };
}

/** As its agent tells them. */
interface Links {
  links: readonly { mbps: number }[];
  addressLink?: { mbps: number };
}

export const linksOf = ({ links, addressLink }: Links): Pick<End, "linkMbps" | "moveMbps"> => ({
  linkMbps: Math.max(0, ...links.map(({ mbps }) => mbps)),
  ...(addressLink ? { moveMbps: addressLink.mbps } : {}),
});

/** What a move gets of the host's links, megabits per second; 0: it is not known. */
export const moveMbpsOf = ({ linkMbps, moveMbps = linkMbps }: End): number => moveMbps;

/** In megabits per second. */
export const linkOf = (from: End | undefined, to: End | undefined): number =>
  Math.min(...[from, to].map((end) => (end && moveMbpsOf(end)) || USUAL_MBPS));

export function wayOf(
  { platform }: Guest,
  { bandwidth, postCopy }: { bandwidth?: string; postCopy?: boolean },
  from: End | undefined,
  to: End | undefined,
): Way {
  const how = (platform ?? from)?.accelerator === "tcg" ? "once" : "passes";
  const link = linkOf(from, to);
  const most = bandwidth === undefined ? link : Math.round(parseBytes(bandwidth) / BYTES_A_MBIT);
  return { mbps: Math.max(1, Math.min(link, most)), how: postCopy ? "postCopy" : how };
}

interface Written {
  /** By its guest, to its memory; absent: nobody has measured it. */
  dirtyBytesPerSecond?: number;
}
type Memory = Written & { memoryBytes: number };

/** How fast it writes to its memory, as a share of the rate at which is sent; 0 where nobody has measured it. */
const shareOf = ({ dirtyBytesPerSecond = 0 }: Written, { mbps }: Way) =>
  dirtyBytesPerSecond / (mbps * BYTES_A_MBIT);

/** Whether the guest writes slowly enough for the move to come to an end by itself. */
export const converges = (machine: Written, way: Way): boolean =>
  way.how !== "passes" || shareOf(machine, way) < NEAR;

/** Bytes of its memory, with what is sent more than once. */
export function memoryToSend(machine: Memory, way: Way): number {
  const share = shareOf(machine, way);
  const times = way.how === "passes" ? 1 / (1 - Math.min(NEAR, share)) : 1 + Math.min(1, share);
  return Math.round(machine.memoryBytes * times);
}

/** For how long the guest stands still at the least, ms, by what it writes; 0 where it goes on until little is left. */
export const restMs = (machine: Memory, way: Way): number =>
  way.how === "once"
    ? ((memoryToSend(machine, way) - machine.memoryBytes) * 1000) / (way.mbps * BYTES_A_MBIT)
    : 0;
