/**
 * What a move will take, from what earlier moves took. Pure.
 *
 * Without experience: all memory once, over the slower link of both hosts. What was measured corrects this by two factors, sent per byte of
 * memory and seconds per second of the link's time, each a mean in which a move counts less the longer ago it was. A machine's own moves
 * say most about it (how fast it writes, whether its disks go along): when there are any, only they count.
 */
import type { HostView, MachineView } from "../estate/estate.ts";
import type { Effect, Plan } from "../kinds.ts";
import { byAge } from "./kept.ts";

/** Of what is new in the mean. */
const NEWEST = 0.3;
/** To begin and to end a move, whatever its size. */
const FIXED_SECONDS = 2;
/** Of hosts that do not tell. */
const USUAL_MBPS = 1000;

/** What one move that succeeded took. */
export interface Experience {
  /** "namespace/name" of the machine */
  key: string;
  memoryBytes: number;
  linkMbps: number;
  bytes: number;
  seconds: number;
  downtimeMs?: number;
}

/** Of all plans that are kept, the oldest first. */
export function experienceOf(plans: readonly Plan[]): Experience[] {
  return [...plans].sort(byAge).flatMap(({ spec, status }) =>
    spec.moves.flatMap(({ namespace, vm }, i): Experience[] => {
      const { phase, actual, memoryBytes, linkMbps } = status?.moves?.[i] ?? {};
      if (phase !== "Succeeded" || !memoryBytes || !linkMbps) return [];
      const { bytes, seconds, downtimeMs } = actual ?? {};
      if (!bytes || !seconds) return [];
      const measured = { memoryBytes, linkMbps, bytes, seconds };
      return [
        { key: `${namespace}/${vm}`, ...measured, ...(downtimeMs === undefined ? {} : { downtimeMs }) },
      ];
    }),
  );
}

/** In megabits per second. */
export const linkOf = (from: HostView | undefined, to: HostView | undefined): number =>
  Math.min(from?.linkMbps || USUAL_MBPS, to?.linkMbps || USUAL_MBPS);

const linkSeconds = (bytes: number, mbps: number) => FIXED_SECONDS + (bytes * 8) / (mbps * 1e6);

/** The newest, last, counts most. Undefined of nothing. */
const mean = (values: readonly number[]): number | undefined =>
  values.length === 0 ? undefined : values.reduce((sum, value) => sum + NEWEST * (value - sum));

/** What a move of the machine over such a link will take. */
export function forecast(
  experience: readonly Experience[],
  machine: Pick<MachineView, "key" | "memoryBytes">,
  linkMbps: number,
): Required<Pick<Effect, "seconds" | "bytes">> & Pick<Effect, "downtimeMs"> {
  const own = experience.filter(({ key }) => key === machine.key);
  const known = own.length > 0 ? own : experience;
  const sent = mean(known.map((each) => each.bytes / each.memoryBytes)) ?? 1;
  const slow = mean(known.map((each) => each.seconds / linkSeconds(each.bytes, each.linkMbps))) ?? 1;
  const downtimeMs = mean(known.flatMap((each) => each.downtimeMs ?? []));
  const bytes = Math.round(sent * machine.memoryBytes);
  return {
    seconds: round(slow * linkSeconds(bytes, linkMbps), 1),
    bytes,
    ...(downtimeMs === undefined ? {} : { downtimeMs: Math.round(downtimeMs) }),
  };
}

export function round(value: number, digits: number): number {
  // Never -0.
  return Number(value.toFixed(digits)) + 0;
}
