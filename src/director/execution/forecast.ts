/**
 * What a move will take, from what earlier moves took. Pure.
 *
 * Without experience: all memory once, and disks that go along, over the slower link of both hosts. What was measured corrects this by two factors, sent per byte of
 * that and seconds per second of the link's time, each a mean in which a move counts less the longer ago it was. A machine's own moves
 * say most about it (how fast it writes, how much of its disks is used): when there are any, only they count. Of others' moves what their memory took says something, what their disks did does not.
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
  /** Memory and disks. */
  bytes: number;
  diskBytes: number;
  seconds: number;
  downtimeMs?: number;
}

/** Of all plans that are kept, the oldest first. */
export function experienceOf(plans: readonly Plan[]): Experience[] {
  return [...plans].sort(byAge).flatMap(({ spec, status }) =>
    spec.moves.flatMap(({ namespace, vm }, i): Experience[] => {
      const { phase, actual, memoryBytes, linkMbps } = status?.moves?.[i] ?? {};
      if (phase !== "Succeeded" || !memoryBytes || !linkMbps) return [];
      const { bytes, diskBytes = 0, seconds, downtimeMs } = actual ?? {};
      if (!bytes || !seconds) return [];
      const measured = { memoryBytes, linkMbps, bytes, diskBytes, seconds };
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

type Moved = Pick<MachineView, "key" | "memoryBytes" | "localDiskBytes">;
export type Takes = Required<Pick<Effect, "seconds" | "bytes">> & Pick<Effect, "downtimeMs">;

/** What moves of such machines took, as the mean of them. */
interface Means {
  /** Bytes sent per byte of memory: in a machine's own moves all, in others' what their memory took. */
  sent: number;
  slow: number;
  downtimeMs?: number;
}

export class Forecaster {
  readonly #own: ReadonlyMap<string, Means>;
  readonly #others: Means;

  /** @param experience the newest last */
  constructor(experience: readonly Experience[]) {
    this.#others = meansOf(
      experience,
      ({ bytes, diskBytes, memoryBytes }) => (bytes - diskBytes) / memoryBytes,
    );
    this.#own = new Map(
      [...Map.groupBy(experience, ({ key }) => key)].map(
        ([key, own]) => [key, meansOf(own, ({ bytes, memoryBytes }) => bytes / memoryBytes)] as const,
      ),
    );
  }

  /** How long it will take. */
  secondsOf(machine: Moved, linkMbps: number): number {
    const { slow } = this.#own.get(machine.key) ?? this.#others;
    return slow * linkSeconds(this.#bytesOf(machine), linkMbps);
  }

  /** How long its guest will stand still, ms; undefined: nobody has measured any. */
  stillMsOf({ key }: Pick<Moved, "key">): number | undefined {
    return (this.#own.get(key) ?? this.#others).downtimeMs;
  }

  /** What a move of the machine over such a link will take. */
  of(machine: Moved, linkMbps: number): Takes {
    const downtimeMs = this.stillMsOf(machine);
    return {
      seconds: round(this.secondsOf(machine, linkMbps), 1),
      bytes: Math.round(this.#bytesOf(machine)),
      ...(downtimeMs === undefined ? {} : { downtimeMs: Math.round(downtimeMs) }),
    };
  }

  #bytesOf({ key, memoryBytes, localDiskBytes = 0 }: Moved): number {
    const own = this.#own.get(key);
    return own ? own.sent * memoryBytes : this.#others.sent * memoryBytes + localDiskBytes;
  }
}

function meansOf(known: readonly Experience[], sentPerByte: (each: Experience) => number): Means {
  const downtimeMs = mean(known.flatMap((each) => each.downtimeMs ?? []));
  return {
    sent: mean(known.map(sentPerByte)) ?? 1,
    slow: mean(known.map((each) => each.seconds / linkSeconds(each.bytes, each.linkMbps))) ?? 1,
    ...(downtimeMs === undefined ? {} : { downtimeMs }),
  };
}

export function round(value: number, digits: number): number {
  // Never -0.
  return Number(value.toFixed(digits)) + 0;
}
