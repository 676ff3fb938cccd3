/**
 * What a move will take, from what earlier moves took. Pure.
 *
 * Without experience: the memory, as often as it is sent by how fast the guest writes to it (way.ts), and disks that go along, over the slower link of both hosts. What was measured corrects this by two
 * factors, sent per byte of that and seconds per second of the link's time, each a mean in which a move counts less the longer ago it was. A machine's own moves
 * say most about it (how much of its memory and disks is used): when there are any, only they count. Of others' moves what their memory took says something, what their disks did does not.
 */
import { memoryToSend, restMs, type Way } from "../../compute/migrations/kinds.ts";
import type { MachineView } from "../estate/estate.ts";
import type { Effect } from "./kinds.ts";

/** Of what is new in the mean. */
const NEWEST = 0.3;
/** To begin and to end a move, whatever its size. */
const FIXED_SECONDS = 2;

/** What one move that succeeded took. */
export interface Experience {
  /** "namespace/name" of the machine */
  key: string;
  /** Of its memory, as it was reckoned (way.ts). */
  toSendBytes: number;
  linkMbps: number;
  /** Memory and disks. */
  bytes: number;
  diskBytes: number;
  seconds: number;
  downtimeMs?: number;
  /** By how much both hosts took more for it: as it was expected when it ended, and as it was measured minutes later. */
  watts?: { expected: number; measured: number };
}

/** Less is lost in what others do on the hosts. */
const LEAST_WATTS = 5;
/** Of the newest in what comes true of watts: what machines use goes up and down for other reasons, too. */
const NEWEST_WATTS = 0.1;
const MOST_KEPT = 1.5;

const linkSeconds = (bytes: number, mbps: number) => FIXED_SECONDS + (bytes * 8) / (mbps * 1e6);

/** The newest, last, counts most. Undefined of nothing. */
const mean = (values: readonly number[]): number | undefined =>
  values.length === 0 ? undefined : values.reduce((sum, value) => sum + NEWEST * (value - sum));

type Moved = Pick<MachineView, "key" | "memoryBytes" | "localDiskBytes" | "dirtyBytesPerSecond">;
export type Takes = Required<Pick<Effect, "seconds" | "bytes">> & Pick<Effect, "downtimeMs">;

/** What moves of such machines took, as the mean of them. */
interface Means {
  /** Bytes sent per byte of memory that was to be sent: in a machine's own moves all, in others' what their memory took. */
  sent: number;
  slow: number;
  downtimeMs?: number;
}

export class Forecaster {
  readonly #own: ReadonlyMap<string, Means>;
  readonly #others: Means;
  /** Of the watts that moves are expected to save or cost, what is measured of them minutes later, as a share; 1 until that is known. */
  readonly wattsKept: number;

  /** @param experience the newest last */
  constructor(experience: readonly Experience[]) {
    this.#others = meansOf(
      experience,
      ({ bytes, diskBytes, toSendBytes }) => (bytes - diskBytes) / toSendBytes,
    );
    this.wattsKept = experience
      .flatMap(({ watts }) => (watts && Math.abs(watts.expected) >= LEAST_WATTS ? watts : []))
      .map(({ expected, measured }) => Math.min(MOST_KEPT, Math.max(0, measured / expected)))
      .reduce((kept, share) => kept + NEWEST_WATTS * (share - kept), 1);
    this.#own = new Map(
      [...Map.groupBy(experience, ({ key }) => key)].map(
        ([key, own]) => [key, meansOf(own, ({ bytes, toSendBytes }) => bytes / toSendBytes)] as const,
      ),
    );
  }

  /** How long it will take. */
  secondsOf(machine: Moved, way: Way): number {
    const { slow } = this.#own.get(machine.key) ?? this.#others;
    return slow * linkSeconds(this.#bytesOf(machine, way), way.mbps);
  }

  /** How long its guest will stand still, ms: as in its own moves, else as in others' or for what it writes; undefined: nobody has measured any of these. */
  stillMsOf(machine: Moved, way: Way): number | undefined {
    const own = this.#own.get(machine.key)?.downtimeMs;
    const rest = restMs(machine, way);
    return own ?? (rest > 0 ? Math.max(rest, this.#others.downtimeMs ?? 0) : this.#others.downtimeMs);
  }

  /** What a move of the machine will take. */
  of(machine: Moved, way: Way): Takes {
    const downtimeMs = this.stillMsOf(machine, way);
    return {
      seconds: round(this.secondsOf(machine, way), 1),
      bytes: Math.round(this.#bytesOf(machine, way)),
      ...(downtimeMs === undefined ? {} : { downtimeMs: Math.round(downtimeMs) }),
    };
  }

  #bytesOf(machine: Moved, way: Way): number {
    const { key, localDiskBytes = 0 } = machine;
    const own = this.#own.get(key);
    const memory = memoryToSend(machine, way);
    return own ? own.sent * memory : this.#others.sent * memory + localDiskBytes;
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
