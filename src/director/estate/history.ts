/**
 * What machines were seen to use, and what is to be expected of it: the last while, and the shape of the week by the hour. In the memory of who plans, a few hundred bytes a
 * machine, and in the store for who leads next (history-keeper.ts). Pure.
 *
 * A value holds until the next one is told, because agents write only what changes (agent/qemu/usage.ts). Until a machine has been seen for a while nothing is said of it:
 * one that boots takes all it can get, and would look large.
 */
import type { MachineUse } from "./use.ts";

const HOUR_MS = 3_600_000;
export const WEEK_HOURS = 168;
/** Nothing is said of a machine before. */
const SEEN_MS = 5 * 60_000;
/** What was so long ago counts a third in the recent mean. */
const RECENT_MS = 45 * 60_000;
/** Of the newest week in the mean of an hour of the week. */
const NEWEST = 0.5;
/** So many hours ahead are looked at, with the one that goes on. */
const AHEAD = 2;
/** What was kept so long ago says nothing of the last while any more. */
const STALE_MS = 2 * HOUR_MS;

/** What was seen of one machine, as who leads next goes on from it. */
export interface Remembered {
  /** "namespace/name" */
  machine: string;
  /** Seen since then, and until then; ms since the epoch. */
  since: number;
  at: number;
  /** Processors: the newest value, and what the last while was like. */
  cpus: number;
  mean: number;
  deviation: number;
  /** By hour of the week, NaN: not seen yet. */
  hours?: Float32Array;
}

interface Known {
  since: number;
  at: number;
  cpus: number;
  mean: number;
  variance: number;
  /** By hour of the week, NaN: not seen yet. Made when the first hour is over. */
  hours: Float32Array | undefined;
  /** Of the hour that goes on: processor-milliseconds, and milliseconds. */
  sum: number;
  length: number;
}

const hourOf = (at: number) => Math.floor(at / HOUR_MS) % WEEK_HOURS;
const isRecent = (at: number, now: number) => now - at < STALE_MS;

export class UseHistory {
  readonly #machines = new Map<string, Known>();

  /** @param at ms since the epoch @param cpus processors that it uses from then on */
  observe(key: string, at: number, cpus: number): void {
    const known = this.#machines.get(key);
    if (known) {
      fold(known, at);
      known.cpus = cpus;
    } else {
      const none = { mean: cpus, variance: 0, hours: undefined, sum: 0, length: 0 };
      this.#machines.set(key, { since: at, at, cpus, ...none });
    }
  }

  /** Undefined: it has not been seen for long enough. */
  useOf(key: string, at: number): MachineUse | undefined {
    const known = this.#machines.get(key);
    if (!known || at - known.since < SEEN_MS) return undefined;
    fold(known, at);
    const use: MachineUse = { cpus: known.cpus, expected: known.mean, deviation: Math.sqrt(known.variance) };
    for (let ahead = 0; known.hours && ahead < AHEAD; ahead++) {
      const usual = known.hours[hourOf(at + ahead * HOUR_MS)] as number;
      if (usual <= use.expected || Number.isNaN(usual)) continue;
      use.expected = usual;
      use.usualAt = (Math.floor(at / HOUR_MS) + ahead) * HOUR_MS;
    }
    return use;
  }

  /** Keys. */
  get machines(): MapIterator<string> {
    return this.#machines.keys();
  }

  /** Until `at`. @param machines keys; those of which nothing is known are left out */
  remember(machines: readonly string[], at: number): Remembered[] {
    return machines.flatMap((machine) => {
      const known = this.#machines.get(machine);
      if (!known) return [];
      fold(known, at);
      const { since, cpus, mean, variance, hours } = known;
      const deviation = Math.sqrt(variance);
      return { machine, since, at, cpus, mean, deviation, ...(hours ? { hours: hours.slice() } : {}) };
    });
  }

  /** What another one saw: nothing that was seen here is lost, hours that were not are taken from it. @param now ms since the epoch */
  recall({ machine, since, at, cpus, mean, deviation, hours }: Remembered, now: number): void {
    const own = this.#machines.get(machine);
    const none = { sum: 0, length: 0 };
    if (own) {
      own.hours =
        own.hours && hours
          ? own.hours.map((hour, i) => (Number.isNaN(hour) ? (hours[i] ?? hour) : hour))
          : (own.hours ?? hours);
    } else if (isRecent(at, now) && at <= now) {
      this.#machines.set(machine, { since, at, cpus, mean, variance: deviation ** 2, hours, ...none });
    } else {
      this.#machines.set(machine, { since: now, at: now, cpus, mean: cpus, variance: 0, hours, ...none });
    }
  }

  /** Those that are no longer there. */
  forget(isThere: (key: string) => boolean): void {
    for (const key of this.#machines.keys()) if (!isThere(key)) this.#machines.delete(key);
  }
}

/** The value has held until then. */
function fold(known: Known, until: number): void {
  if (until <= known.at) return;
  // Of one that was not seen for long, all that was counts the same.
  const weight = Math.max(
    1 - Math.exp((known.at - until) / RECENT_MS),
    (until - known.at) / (until - known.since),
  );
  const off = known.cpus - known.mean;
  known.mean += weight * off;
  known.variance = (1 - weight) * (known.variance + weight * off * off);
  // Of more than a week each hour was the same.
  known.at = Math.max(known.at, until - WEEK_HOURS * HOUR_MS);
  while (known.at < until) {
    const end = Math.min(until, (Math.floor(known.at / HOUR_MS) + 1) * HOUR_MS);
    known.sum += known.cpus * (end - known.at);
    known.length += end - known.at;
    if (end % HOUR_MS === 0) endHour(known, hourOf(known.at));
    known.at = end;
  }
}

function endHour(known: Known, hour: number): void {
  known.hours ??= new Float32Array(WEEK_HOURS).fill(Number.NaN);
  const [mean, before] = [known.sum / known.length, known.hours[hour] as number];
  // Of an hour that was not seen whole, as after another one led, as much less.
  const weight = NEWEST * Math.min(1, known.length / HOUR_MS);
  known.hours[hour] = Number.isNaN(before) ? mean : before + weight * (mean - before);
  known.sum = 0;
  known.length = 0;
}
