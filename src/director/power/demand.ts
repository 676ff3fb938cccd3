/**
 * The shape of the week: how much of the hosts of a PowerPolicy is given out at most in each hour, learned from what was, so that hosts are on before they are needed. A
 * slot of an hour follows its week at once upwards, and by half downwards. Of an hour of the week that was not seen yet, the same hour of the newest day
 * that was speaks. Hours are those that clocks show where the hosts are, also after these were changed to summer time. Pure; kept in status.demand of the PowerPolicy, so that a new leader need not learn it anew.
 */
import { offsetHours } from "../estate/local-time.ts";

const HOUR_MS = 3_600_000;
export const SLOTS = 168;
const DAY = 24;
/** Of a slot that was more than this week. */
const DOWN = 0.5;
/** How far the newest error moves the mean of all. */
const NEWEST = 0.05;

/** A host is woken so many times its boot time before it is needed, and a round of looking at it. */
const BOOT_MARGIN = 1.5;
const MINUTE_MS = 60_000;
const ROUND_MS = 2 * MINUTE_MS;

/** How long before it is needed it is woken. */
export const wakeMs = (bootSeconds: number): number => bootSeconds * 1000 * BOOT_MARGIN + ROUND_MS;

/** How long one that goes off is away at least. */
export const awayMs = (bootSeconds: number, { minOffMinutes }: { minOffMinutes: number }): number =>
  bootSeconds * 1000 * BOOT_MARGIN + minOffMinutes * MINUTE_MS;

export const inGib = (mib: number): string => `${(mib / 1024).toFixed(1)} GiB`;

export interface Given {
  cpus: number;
  memoryMiB: number;
}

/** As it is stored; -1: that hour of the week has not been seen. */
export interface Shape {
  cpus: number[];
  memoryMiB: number[];
  /** The hour that was ended last, hours since the epoch. */
  hour: number;
  /** By how much forecasts of memory were off, one hour ahead; in percent of what came, a mean in which newer hours count more. */
  errorPercent?: number;
  /** Whose hours of the week these are; absent: UTC. */
  timeZone?: string;
}

const slotOf = (hour: number) => ((hour % SLOTS) + SLOTS) % SLOTS;
const hourOf = (at: number) => Math.floor(at / HOUR_MS);

export class DemandShape {
  #shape: Shape;
  /** Of the hour that goes on: the most so far. */
  #hour: number | undefined;
  #most: Given = { cpus: 0, memoryMiB: 0 };
  /** It was looked at from its beginning. */
  #isWhole = false;

  /** @param timeZone where the hosts are; what is stored of another one goes on in this one */
  constructor(stored?: Shape, timeZone = stored?.timeZone ?? "UTC") {
    const none = () => new Array<number>(SLOTS).fill(-1);
    const whole = stored?.cpus.length === SLOTS && stored.memoryMiB.length === SLOTS;
    this.#shape = whole
      ? { ...stored, cpus: [...stored.cpus], memoryMiB: [...stored.memoryMiB] }
      : { cpus: none(), memoryMiB: none(), hour: -1 };
    this.#goTo(timeZone);
  }

  get timeZone(): string {
    return this.#shape.timeZone ?? "UTC";
  }

  #goTo(timeZone: string): void {
    const { timeZone: before = "UTC", hour, cpus, memoryMiB } = this.#shape;
    if (timeZone === before) return;
    const at = Math.max(0, hour) * HOUR_MS;
    const by = offsetHours(timeZone, at) - offsetHours(before, at);
    const turned = (of: readonly number[]) => of.map((_, slot) => of[slotOf(slot - by)] as number);
    this.#shape = { ...this.#shape, cpus: turned(cpus), memoryMiB: turned(memoryMiB), timeZone };
  }

  /** The slot of an hour since the epoch. */
  #slotAt(hour: number): number {
    return slotOf(hour + offsetHours(this.timeZone, hour * HOUR_MS));
  }

  /** @returns whether an hour has ended: then it is to be stored */
  observe(at: number, { cpus, memoryMiB }: Given): boolean {
    const hour = hourOf(at);
    const ended = this.#hour !== undefined && hour > this.#hour;
    if (ended) this.#end(this.#hour as number);
    // Another one may have led before.
    if (this.#hour === undefined) this.#isWhole = at - hour * HOUR_MS < ROUND_MS;
    else if (ended) this.#isWhole = true;
    if (this.#hour === undefined || ended) this.#most = { cpus, memoryMiB };
    this.#hour = hour;
    this.#most.cpus = Math.max(this.#most.cpus, cpus);
    this.#most.memoryMiB = Math.max(this.#most.memoryMiB, memoryMiB);
    return ended;
  }

  #end(hour: number): void {
    const shape = this.#shape;
    const expected = this.#slot(hour)?.memoryMiB;
    const came = this.#most.memoryMiB;
    if (expected !== undefined && came > 0 && this.#isWhole) {
      const error = (100 * Math.abs(expected - came)) / came;
      const before = shape.errorPercent;
      shape.errorPercent = before === undefined ? error : before + NEWEST * (error - before);
    }
    for (const key of ["cpus", "memoryMiB"] as const) {
      const slot = this.#slotAt(hour);
      const before = shape[key][slot] as number;
      const now = Math.ceil(this.#most[key]);
      // Of an hour that was not seen whole it is not known that it was less.
      const down = this.#isWhole ? DOWN : 0;
      shape[key][slot] = before < 0 || now >= before ? now : Math.round(before + down * (now - before));
    }
    shape.hour = hour;
  }

  /** What is expected in an hour; undefined: nothing like it was seen. */
  #slot(hour: number): Given | undefined {
    const { cpus, memoryMiB } = this.#shape;
    // The hour of the week itself, else of the newest day.
    for (let back = 0; back < SLOTS; back += DAY) {
      const slot = slotOf(this.#slotAt(hour) - back);
      const at = { cpus: cpus[slot] as number, memoryMiB: memoryMiB[slot] as number };
      if (at.memoryMiB >= 0) return at;
    }
    return undefined;
  }

  /** The most that is expected from now until so long ahead, and by when. */
  peak(now: number, aheadMs: number): (Given & { by: number }) | undefined {
    let most: (Given & { by: number }) | undefined;
    for (let hour = hourOf(now); hour <= hourOf(now + aheadMs); hour++) {
      const expected = this.#slot(hour);
      if (!expected) continue;
      const higher = !most || expected.memoryMiB > most.memoryMiB || expected.cpus > most.cpus;
      most = {
        cpus: Math.max(most?.cpus ?? 0, expected.cpus),
        memoryMiB: Math.max(most?.memoryMiB ?? 0, expected.memoryMiB),
        by: higher ? Math.max(now, hour * HOUR_MS) : (most?.by ?? now),
      };
    }
    return most;
  }

  stored(): Shape {
    return { ...this.#shape, cpus: [...this.#shape.cpus], memoryMiB: [...this.#shape.memoryMiB] };
  }
}
