/**
 * What machines were seen to use, and what is to be expected of it: the last while, and the shape of the week by the hour. In the memory of who plans, about a kilobyte a
 * machine, and in the store for who leads next (history-keeper.ts). Pure.
 *
 * A value holds until the next one is told, because agents write only what changes (agent/qemu/usage.ts). Until a machine has been seen for a while nothing is said of it:
 * one that boots takes all it can get, and would look large.
 *
 * Hours of the week are those of UTC, but that they go with summer time where the machine is, as those do who use it. Not all that clocks show there: a machine
 * that moves to a site in another time zone is busy when it was before.
 */

import { summerHours } from "./local-time.ts";
import type { Demand, MachineUse } from "./use.ts";
import { decoded, encoded, NOT_SEEN, OFF } from "./week-codes.ts";

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
/** Of a while that was not looked at for longer the week learns nothing: a clock that is days ahead for a moment would have it learn them all. */
const MOST_UNSEEN_MS = 3 * HOUR_MS;
/** A clock that goes back by more was ahead before. */
const BACK_MS = 60_000;
/** What was kept so long ago says nothing of the last while any more. */
const STALE_MS = 2 * HOUR_MS;

/** What is seen of each machine, processors first, and what a week's code of it counts in (week-codes.ts). */
export const SERIES = ["cpus", "iops", "diskBytes", "networkBytes", "memoryBytes"] as const;
export type Series = (typeof SERIES)[number];
export const UNITS: Record<Series, number> = {
  cpus: 1,
  iops: 1024,
  diskBytes: 2 ** 26,
  networkBytes: 2 ** 26,
  memoryBytes: 2 ** 32,
};

/** Of one series: the newest value, and what the last while was like. */
export interface Lately {
  now: number;
  mean: number;
  /** Codes by hour of the week. */
  hours?: Uint8Array;
}

/** What was seen of one machine, as who leads next goes on from it. */
export interface Remembered {
  /** "namespace/name" */
  machine: string;
  /** Seen since then, and until then; ms since the epoch. */
  since: number;
  at: number;
  /** With whose summer time the hours of its week go; absent: with none. */
  timeZone?: string | undefined;
  /** By how much its processors went up and down. */
  deviation: number;
  /** The processors are there in any case. */
  of: { cpus: Lately } & Partial<Record<Series, Lately>>;
}

interface Known {
  since: number;
  at: number;
  timeZone: string | undefined;
  /** Of the processors. */
  variance: number;
  /** By series (those that were told): the newest value, the recent mean, and of the hour that goes on value-milliseconds. */
  now: number[];
  mean: number[];
  sum: number[];
  /** By series and hour of the week. Made when the first hour is over. */
  hours: Uint8Array | undefined;
  /** Of the hour that goes on, ms. */
  length: number;
}

type Zoned = Pick<Known, "timeZone">;
const summerIn = ({ timeZone }: Zoned, at: number) =>
  timeZone === undefined ? 0 : summerHours(timeZone, at);
const weekHour = (hour: number) => ((hour % WEEK_HOURS) + WEEK_HOURS) % WEEK_HOURS;
const hourOf = (known: Zoned, at: number) => weekHour(Math.floor(at / HOUR_MS) + summerIn(known, at));
const isRecent = (at: number, now: number) => now - at < STALE_MS;
const unitOf = (s: number) => UNITS[SERIES[s] ?? "cpus"];
const newHours = () => new Uint8Array(SERIES.length * WEEK_HOURS).fill(NOT_SEEN);

export class UseHistory {
  readonly #machines = new Map<string, Known>();

  /** @param at ms since the epoch @param cpus processors that it uses from then on @param more what else, when that is known */
  observe(key: string, at: number, cpus: number, more?: Demand): void {
    const known = this.#machines.get(key);
    const now = more ? SERIES.map((name) => (name === "cpus" ? cpus : more[name])) : [cpus];
    if (!known) {
      this.#machines.set(key, begun(at, now));
      return;
    }
    fold(known, at);
    // What was not told before has been as it is from now on.
    for (const [s, value] of now.entries()) {
      known.now[s] = value;
      known.mean[s] ??= value;
      known.sum[s] ??= value * known.length;
    }
  }

  /** Undefined: it has not been seen for long enough. @param timeZone of the site where it is; absent: as it was */
  useOf(key: string, at: number, timeZone?: string): MachineUse | undefined {
    const known = this.#machines.get(key);
    if (!known) return undefined;
    goBack(known, at);
    if (at - known.since < SEEN_MS) return undefined;
    fold(known, at);
    if (timeZone !== undefined) goTo(known, timeZone, at);
    const hours = Array.from({ length: AHEAD }, (_, ahead) => hourOf(known, at + ahead * HOUR_MS));
    const { value: expected, usualAt } = expectedOf(known, 0, at, hours);
    const use: MachineUse = { cpus: known.now[0] ?? 0, expected, deviation: Math.sqrt(known.variance) };
    if (usualAt !== undefined) use.usualAt = usualAt;
    if (known.now.length > 1) {
      const of = (name: Series) => expectedOf(known, SERIES.indexOf(name), at, hours).value;
      use.demand = {
        iops: of("iops"),
        diskBytes: of("diskBytes"),
        networkBytes: of("networkBytes"),
        memoryBytes: of("memoryBytes"),
      };
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
      goBack(known, at);
      fold(known, at);
      const lately = (s: number): Lately => ({
        now: known.now[s] ?? 0,
        mean: known.mean[s] ?? 0,
        ...(known.hours ? { hours: known.hours.slice(s * WEEK_HOURS, (s + 1) * WEEK_HOURS) } : {}),
      });
      const of: Remembered["of"] = { cpus: lately(0) };
      for (let s = 1; s < known.now.length; s++) of[SERIES[s] ?? "cpus"] = lately(s);
      const { since, timeZone, variance } = known;
      return { machine, since, at, timeZone, deviation: Math.sqrt(variance), of };
    });
  }

  /** What another one saw: nothing that was seen here is lost, hours that were not are taken from it. @param now ms since the epoch */
  recall({ machine, since, at, timeZone, deviation, of }: Remembered, now: number): void {
    const own = this.#machines.get(machine);
    const goesOn = isRecent(at, now) && at <= now;
    const known = own ?? begun(goesOn ? at : now, []);
    if (!own) {
      const told = SERIES.flatMap((name) => of[name] ?? []);
      // All of them, or the processors alone.
      const kept = told.length === SERIES.length ? told : [of.cpus];
      known.now = kept.map((each) => each.now);
      known.mean = kept.map((each) => (goesOn ? each.mean : each.now));
      known.sum = kept.map(() => 0);
      known.timeZone = timeZone;
      if (goesOn) {
        known.since = since;
        known.variance = deviation ** 2;
      }
      this.#machines.set(machine, known);
    }
    const by = summerIn(known, now) - summerIn({ timeZone }, now);
    for (const [s, name] of SERIES.entries()) {
      const hours = of[name]?.hours;
      if (!hours) continue;
      known.hours ??= newHours();
      for (const [there, code] of hours.entries()) {
        const hour = weekHour(there + by);
        if (known.hours[s * WEEK_HOURS + hour] === NOT_SEEN) known.hours[s * WEEK_HOURS + hour] = code;
      }
    }
  }

  /** Those that are no longer there. */
  forget(isThere: (key: string) => boolean): void {
    for (const key of this.#machines.keys()) if (!isThere(key)) this.#machines.delete(key);
  }
}

const begun = (at: number, now: number[]): Known => ({
  since: at,
  at,
  timeZone: undefined,
  variance: 0,
  now,
  mean: [...now],
  sum: now.map(() => 0),
  hours: undefined,
  length: 0,
});

/** Of a series: what the last while was like, or more where that is usual in this hour of the week or the next, which begins at usualAt. @param next these hours of the week */
function expectedOf(
  { mean, hours }: Known,
  s: number,
  at: number,
  next: readonly number[],
): { value: number; usualAt?: number } {
  const found: { value: number; usualAt?: number } = { value: mean[s] ?? 0 };
  for (let ahead = 0; hours && ahead < next.length; ahead++) {
    const code = hours[s * WEEK_HOURS + (next[ahead] as number)] as number;
    const usual = decoded(code, unitOf(s));
    if (code === NOT_SEEN || usual <= found.value * (1 + OFF)) continue;
    found.value = usual;
    found.usualAt = (Math.floor(at / HOUR_MS) + ahead) * HOUR_MS;
  }
  return found;
}

const add = (to: number[], s: number, more: number) => {
  to[s] = (to[s] as number) + more;
};

/** What was seen lies ahead of now, as it does when a clock was put right: the hour begins anew. */
function goBack(known: Known, now: number): void {
  if (known.at - now > BACK_MS) beginHour(known, now);
  known.since = Math.min(known.since, known.at);
}

/** Goes with the summer time of that zone from now on; what is usual now stays so. */
function goTo(known: Known, timeZone: string, at: number): void {
  if (known.timeZone === timeZone) return;
  const by = summerHours(timeZone, at) - summerIn(known, at);
  known.timeZone = timeZone;
  const { hours } = known;
  if (!hours || by === 0) return;
  known.hours = hours.map((_, i) => {
    const begin = i - (i % WEEK_HOURS);
    return hours[begin + weekHour(i - begin - by)] as number;
  });
}

function beginHour(known: Known, at: number): void {
  known.at = at;
  known.sum.fill(0);
  known.length = 0;
}

/** The values have held until then. */
function fold(known: Known, until: number): void {
  if (until <= known.at) return;
  const { now, mean, sum } = known;
  // Of one that was not seen for long, all that was counts the same.
  const weight = Math.max(
    1 - Math.exp((known.at - until) / RECENT_MS),
    (until - known.at) / (until - known.since),
  );
  const off = (now[0] ?? 0) - (mean[0] ?? 0);
  known.variance = (1 - weight) * (known.variance + weight * off * off);
  for (let s = 0; s < now.length; s++) add(mean, s, weight * ((now[s] as number) - (mean[s] as number)));
  if (until - known.at > MOST_UNSEEN_MS) beginHour(known, until);
  while (known.at < until) {
    const end = Math.min(until, (Math.floor(known.at / HOUR_MS) + 1) * HOUR_MS);
    for (let s = 0; s < now.length; s++) add(sum, s, (now[s] as number) * (end - known.at));
    known.length += end - known.at;
    if (end % HOUR_MS === 0) endHour(known, hourOf(known, known.at));
    known.at = end;
  }
}

function endHour(known: Known, hour: number): void {
  known.hours ??= newHours();
  const { sum, hours, length } = known;
  // Of an hour that was not seen whole, as after another one led, as much less.
  const weight = NEWEST * Math.min(1, length / HOUR_MS);
  for (let s = 0; s < sum.length; s++) {
    const i = s * WEEK_HOURS + hour;
    const before = hours[i] as number;
    const is = (sum[s] as number) / length;
    const was = before === NOT_SEEN ? is : decoded(before, unitOf(s));
    hours[i] = encoded(was + weight * (is - was), unitOf(s));
    sum[s] = 0;
  }
  known.length = 0;
}
