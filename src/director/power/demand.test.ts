/** The shape of the day: learned, kept over restarts, and hosts are on before they are needed. */
import { describe, expect, it } from "vitest";
import { xorshift } from "../solver/random.ts";
import { DemandShape, SLOTS } from "./demand.ts";

const HOUR = 3_600_000;
const MINUTE = 60_000;
/** CPUs (of 1,600) that the machines of GCD_VMs use at most in each hour of a day; from Google's cluster data of 2011. */
const DAY = [
  365.3, 364.2, 359.3, 353.7, 343.3, 328.2, 315.5, 310.6, 315.3, 314.5, 318.6, 320.9, 332.8, 350.7, 369.4,
  377.6, 381.7, 383.7, 384.1, 382, 385.4, 385.7, 378.9, 372.9,
];
const PER_HOST = 8;
const BOOT_MS = 10 * MINUTE;
const STEP_MS = 5 * MINUTE;

/** What is given out at a time: the day, again and again, never quite the same. */
function demand(at: number, seed: number): number {
  const hour = Math.floor(at / HOUR);
  const noise = (h: number) => 1 + ((xorshift(seed + h)() % 1000) / 1000 - 0.5) * 0.02;
  const of = (h: number) => (DAY[h % DAY.length] ?? 0) * noise(h);
  const share = (at % HOUR) / HOUR;
  return of(hour) * (1 - share) + of(hour + 1) * share;
}

/** Minutes in which too few hosts were on, and host-hours that were on, over the last of so many days. */
function run(seed: number, foresees: boolean, days: number) {
  const shape = new DemandShape();
  let on = 60;
  const coming: number[] = [];
  let [lacking, hostHours] = [0, 0];
  for (let at = 0; at < days * 24 * HOUR; at += STEP_MS) {
    while ((coming[0] ?? Number.POSITIVE_INFINITY) <= at) {
      coming.shift();
      on++;
    }
    const now = demand(at, seed);
    shape.observe(at, { cpus: now, memoryMiB: now * 1024 });
    const soon = foresees ? (shape.peak(at, BOOT_MS + STEP_MS)?.cpus ?? 0) : 0;
    const later = foresees ? (shape.peak(at, BOOT_MS + 60 * MINUTE)?.cpus ?? 0) : 0;
    while ((on + coming.length) * PER_HOST < Math.max(now, soon)) coming.push(at + BOOT_MS);
    while ((on - 1) * PER_HOST >= Math.max(now, later) && coming.length === 0) on--;
    if (at < (days - 1) * 24 * HOUR) continue;
    if (on * PER_HOST < now) lacking += STEP_MS / MINUTE;
    hostHours += (on * STEP_MS) / HOUR;
  }
  return { lacking, hostHours };
}

describe("the shape of the day", () => {
  it("has hosts on before they are needed", () => {
    for (const seed of [1, 22, 333]) {
      const [blind, seeing] = [run(seed, false, 9), run(seed, true, 9)];
      expect(blind.lacking).toBeGreaterThan(60);
      // What is left is what this day has more than the days before.
      expect(seeing.lacking).toBeLessThanOrEqual(blind.lacking / 3);
      // Not by leaving all on: the peak takes 49 hosts.
      expect(seeing.hostHours).toBeLessThan(24 * 48.3);
    }
  });

  it("knows the newest day until it has seen the week, and tells how far off it was", () => {
    const shape = new DemandShape();
    for (let at = 0; at <= 26 * HOUR; at += STEP_MS)
      shape.observe(at, { cpus: at % (24 * HOUR) >= 8 * HOUR ? 10 : 2, memoryMiB: 1024 });
    // On the second day at 3, five hours ahead.
    const now = 27 * HOUR;
    expect(shape.peak(now, 4 * HOUR)).toMatchObject({ cpus: 2 });
    expect(shape.peak(now, 5 * HOUR)).toMatchObject({ cpus: 10, by: 32 * HOUR });
    expect(shape.stored().errorPercent).toBe(0);
    expect(new DemandShape().peak(now, HOUR)).toBeUndefined();
  });

  it("takes the rest of an hour in which another control plane came to lead for no less than the hour", () => {
    const shape = new DemandShape();
    // The morning is busy, and each hour of it at its beginning.
    const given = (at: number) => ({ cpus: at % HOUR < 30 * MINUTE ? 100 : 20, memoryMiB: 1024 });
    for (let at = 0; at < 3 * HOUR; at += STEP_MS) shape.observe(at, given(at));
    const next = new DemandShape(shape.stored());
    // A week later, the second hour.
    const begin = 168 * HOUR + HOUR;
    for (let at = begin + 40 * MINUTE; at <= begin + HOUR; at += STEP_MS) next.observe(at, given(at));
    expect(next.stored().cpus.slice(0, 2)).toEqual([100, 100]);
    expect(next.stored().errorPercent).toBe(shape.stored().errorPercent);
    // What is more counts at once.
    const more = new DemandShape(shape.stored());
    for (let at = begin + 40 * MINUTE; at <= begin + HOUR; at += STEP_MS)
      more.observe(at, { cpus: 150, memoryMiB: 1024 });
    expect(more.stored().cpus[1]).toBe(150);
  });

  it("is what was stored, and nothing of what makes no sense", () => {
    const shape = new DemandShape();
    for (let at = 0; at <= 30 * HOUR; at += HOUR) shape.observe(at, { cpus: at / HOUR, memoryMiB: 1 });
    const again = new DemandShape(JSON.parse(JSON.stringify(shape.stored())));
    expect(again.stored()).toEqual(shape.stored());
    expect(again.peak(5 * HOUR, 0)).toEqual(shape.peak(5 * HOUR, 0));
    expect(new DemandShape({ cpus: [1], memoryMiB: [], hour: 3 }).stored().cpus).toHaveLength(SLOTS);
  });
});

it("goes by what clocks show where the hosts are, also in the week after they were changed", () => {
  const at = (time: string) => Date.parse(time);
  const clock = new Intl.DateTimeFormat("en-US", {
    timeZone: "Europe/Berlin",
    weekday: "short",
    hour: "2-digit",
    hourCycle: "h23",
  });
  const given = (now: number) => {
    const parts = new Map(clock.formatToParts(now).map(({ type, value }) => [type, value]));
    const hour = Number(parts.get("hour"));
    const works = !["Sat", "Sun"].includes(parts.get("weekday") ?? "") && hour >= 8 && hour < 18;
    return works ? 100 : 10;
  };
  const learned = (shape: DemandShape, from: string, to: string) => {
    for (let now = at(from); now < at(to); now += STEP_MS)
      shape.observe(now, { cpus: given(now), memoryMiB: given(now) * 1024 });
    return shape;
  };
  // Summer time began on Sunday, 29 March, and ends on Sunday, 25 October.
  const spring = learned(
    new DemandShape(undefined, "Europe/Berlin"),
    "2026-03-01T00:00Z",
    "2026-03-30T05:45Z",
  );
  expect(spring.peak(at("2026-03-30T05:45Z"), 17 * MINUTE)?.cpus).toBe(100);
  expect(spring.peak(at("2026-03-30T05:30Z"), 17 * MINUTE)?.cpus).toBe(10);
  const autumn = learned(
    new DemandShape(undefined, "Europe/Berlin"),
    "2026-10-01T00:00Z",
    "2026-10-26T06:15Z",
  );
  expect(autumn.peak(at("2026-10-26T06:15Z"), 17 * MINUTE)?.cpus).toBe(10);
  expect(autumn.peak(at("2026-10-26T06:45Z"), 17 * MINUTE)?.cpus).toBe(100);
  // What was learned in another time zone is not lost.
  const before = learned(new DemandShape(), "2026-03-01T00:00Z", "2026-03-20T12:00Z");
  const after = new DemandShape(before.stored(), "Europe/Berlin");
  for (const time of ["2026-03-23T06:45Z", "2026-03-23T06:30Z", "2026-03-22T10:00Z"])
    expect(after.peak(at(time), 17 * MINUTE)?.cpus).toBe(before.peak(at(time), 17 * MINUTE)?.cpus);
  expect(new DemandShape(after.stored()).timeZone).toBe("Europe/Berlin");
});
