/** What is expected of machines from what was seen of them. */
import { expect, it } from "vitest";
import { type Remembered, UseHistory } from "./history.ts";
import { historySpec, remembered } from "./usage-history.ts";
import { decoded, encoded, OFF } from "./week-codes.ts";

const HOUR = 3_600_000;
const MINUTE = 60_000;

it("says nothing of a machine that was seen for less than five minutes", () => {
  const history = new UseHistory();
  history.observe("a", 0, 2);
  expect(history.useOf("a", 4 * MINUTE)).toBeUndefined();
  expect(history.useOf("a", 5 * MINUTE)).toEqual({ cpus: 2, expected: 2, deviation: 0 });
  expect(history.useOf("b", 30 * MINUTE)).toBeUndefined();
  history.forget((key) => key !== "a");
  expect(history.useOf("a", 60 * MINUTE)).toBeUndefined();
});

it("knows how far it goes up and down", () => {
  const history = new UseHistory();
  for (let i = 0; i < 100; i++) history.observe("a", i * 5 * MINUTE, i % 2 === 0 ? 0 : 1);
  const { expected = 0, deviation = 0 } = history.useOf("a", 500 * MINUTE) ?? {};
  expect(expected).toBeCloseTo(0.5, 1);
  expect(deviation).toBeCloseTo(0.5, 1);
});

it("does not take a machine that was busy while it booted for a busy one", () => {
  const history = new UseHistory();
  history.observe("a", 0, 2);
  history.observe("a", MINUTE, 0.05);
  const { expected = 9 } = history.useOf("a", 20 * MINUTE) ?? {};
  expect(expected).toBeLessThan(0.7);
  expect(history.useOf("a", 120 * MINUTE)?.expected).toBeLessThan(0.3);
});

it("learns the hours of the week, and tells them an hour before", () => {
  const history = new UseHistory();
  // Two weeks of one busy hour, the tenth of each Tuesday.
  for (let hour = 0; hour < 2 * 168; hour++) history.observe("a", hour * HOUR, hour % 168 === 34 ? 3 : 0.1);
  const at = (hour: number) => history.useOf("a", (2 * 168 + hour) * HOUR)?.expected ?? 0;
  expect(at(30)).toBeLessThan(0.5);
  expect(at(33)).toBeGreaterThan(2.5);
  expect(at(34.5)).toBeGreaterThan(2.5);
  expect(at(60)).toBeLessThan(0.5);
  expect(history.useOf("a", (2 * 168 + 33.5) * HOUR)?.usualAt).toBe((2 * 168 + 34) * HOUR);
});

it("what is usual goes with the clocks of the site when summer time begins and ends, and stays as it is when the machine moves to another zone", () => {
  // In Berlin summer time begins on 29 March 2026 at 1:00 UTC, and ends on 25 October.
  const begin = Date.UTC(2026, 2, 9);
  const busyAt = (history: UseHistory, day: number, zone: string) =>
    Array.from({ length: 24 }, (_, hour) => day + hour * HOUR + 30 * MINUTE)
      .filter((at) => (history.useOf("a", at, zone)?.expected ?? 0) > 2)
      .map((at) => new Date(at).getUTCHours());
  /** At nine in the morning by these clocks, each day. */
  const learn = (history: UseHistory, from: number, days: number, utc: number) => {
    for (let hour = 0; hour < 24 * days; hour++)
      history.observe("a", from + hour * HOUR, hour % 24 === utc ? 3 : 0.1);
  };
  const history = new UseHistory();
  history.observe("a", begin, 0.1);
  history.useOf("a", begin + 6 * MINUTE, "Europe/Berlin");
  learn(history, begin, 20, 8);
  const [kept] = history.remember(["a"], Date.UTC(2026, 2, 29));
  expect(kept?.timeZone).toBe("Europe/Berlin");
  const copy = (machine: Remembered) => {
    const other = new UseHistory();
    const [told] = remembered({ spec: historySpec([machine], machine.at) });
    if (told) other.recall(told, machine.at);
    return other;
  };
  if (!kept) throw new Error("nothing kept");
  // An hour before it begins, and in it.
  expect(busyAt(copy(kept), Date.UTC(2026, 2, 28), "Europe/Berlin")).toEqual([7, 8]);
  expect(busyAt(copy(kept), Date.UTC(2026, 2, 31), "Europe/Berlin")).toEqual([6, 7]);
  // Nobody has said where it is now: it goes on as it was kept.
  expect(copy(kept).useOf("a", Date.UTC(2026, 2, 31, 6, 30))?.expected).toBeGreaterThan(2);
  // It moves in summer, and is busy as it was.
  const moved = copy(kept);
  learn(moved, Date.UTC(2026, 2, 29), 14, 7);
  expect(busyAt(moved, Date.UTC(2026, 3, 12), "Asia/Tokyo")).toEqual([6, 7]);
  expect(busyAt(moved, Date.UTC(2026, 3, 13), "Europe/Berlin")).toEqual([6, 7]);
});

it("an hour that was not seen whole counts as much less", () => {
  const history = new UseHistory();
  for (let hour = 0; hour < 165; hour++) history.observe("a", hour * HOUR, 1);
  // The second week is known from the last quarter of its first hour on only.
  const other = new UseHistory();
  for (const each of history.remember(["a"], 165 * HOUR)) other.recall(each, 168.75 * HOUR);
  other.observe("a", 168.75 * HOUR, 9);
  const [known] = other.remember(["a"], 169 * HOUR);
  expect(decoded(known?.of.cpus.hours?.[0] ?? 0, 1)).toBeCloseTo(2, 1);
});

it("goes on as it was while nothing is told, however long", () => {
  const history = new UseHistory();
  history.observe("a", 0, 1.5);
  expect(history.useOf("a", 1000 * 168 * HOUR)).toEqual({ cpus: 1.5, expected: 1.5, deviation: 0 });
});

it.each([
  ["eight days", 8 * 24],
  ["90 days", 90 * 24],
  ["a day", 24],
])(
  "a clock that was %s ahead for one look leaves the week as it was, and what comes then is seen",
  (_, ahead) => {
    const history = new UseHistory();
    const end = 2 * 168;
    for (let hour = 0; hour < end; hour++) history.observe("a", hour * HOUR, hour % 24 === 10 ? 8 : 0.1);
    history.useOf("a", (end + ahead) * HOUR);
    history.observe("b", (end + ahead) * HOUR, 1);
    const peaks = () =>
      Array.from({ length: 7 }, (_, day) => {
        const [known] = history.remember(["a"], end * HOUR);
        return decoded(known?.of.cpus.hours?.[day * 24 + 10] ?? 0, 1);
      });
    for (const peak of peaks()) expect(peak).toBeCloseTo(8, 0);
    // It is busy in the next three hours, which are seen as if nothing had been.
    for (let minute = 0; minute <= 180; minute += 10) {
      const at = end * HOUR + minute * MINUTE;
      history.observe("a", at, 5);
      history.observe("b", at, 2);
      history.useOf("a", at);
      history.useOf("b", at);
    }
    expect(history.useOf("a", (end + 3) * HOUR)?.expected).toBeGreaterThan(4.8);
    expect(history.useOf("b", (end + 3) * HOUR)?.expected).toBeGreaterThan(1.9);
    const [known] = history.remember(["a"], (end + 3) * HOUR);
    expect(decoded(known?.of.cpus.hours?.[1] ?? 0, 1)).toBeGreaterThan(2.5);
  },
);

it("a clock that goes back by less than a minute loses nothing of the hour", () => {
  const history = new UseHistory();
  history.observe("a", 0, 4);
  history.useOf("a", 30 * MINUTE);
  history.useOf("a", 29.5 * MINUTE);
  history.observe("a", 30 * MINUTE, 0);
  const [known] = history.remember(["a"], HOUR);
  expect(decoded(known?.of.cpus.hours?.[0] ?? 0, 1)).toBeCloseTo(2, 1);
});

const demand = (iops: number) => ({ iops, diskBytes: iops * 4096, networkBytes: 1e6, memoryBytes: 2 ** 31 });

it("knows what else a machine uses, and its nightly backup an hour before", () => {
  const history = new UseHistory();
  const nightly = (hour: number) => demand(hour % 24 === 2 ? 5000 : 40);
  for (let hour = 0; hour < 2 * 168; hour++) history.observe("a", hour * HOUR, 0.5, nightly(hour));
  const at = (hour: number) => history.useOf("a", (2 * 168 + hour) * HOUR)?.demand;
  for (const hour of [1, 2.5]) {
    expect(at(hour)?.iops).toBeGreaterThan(4800);
    expect(at(hour)?.diskBytes).toBeGreaterThan(4800 * 4096);
  }
  // Its processors were no busier then.
  expect(history.useOf("a", (2 * 168 + 2.5) * HOUR)?.usualAt).toBeUndefined();
  expect(at(12)?.iops).toBeCloseTo(40, -1);
  expect(at(12)?.memoryBytes).toBeCloseTo(2 ** 31, 0);
});

it("begins to tell what else it uses when that is told for the first time", () => {
  const history = new UseHistory();
  history.observe("a", 0, 1);
  expect(history.useOf("a", 10 * MINUTE)).not.toHaveProperty("demand");
  history.observe("a", 10 * MINUTE, 1, demand(100));
  expect(history.useOf("a", 20 * MINUTE)?.demand?.iops).toBe(100);
});

it("a code of a value is off by 2.4 % at most, from a 128th of the unit to 978 units", () => {
  for (let value = 1 / 124; value < 978; value *= 1.013)
    expect(Math.abs(decoded(encoded(value * 1024, 1024), 1024) / (value * 1024) - 1)).toBeLessThanOrEqual(
      OFF,
    );
  expect(OFF).toBeLessThan(0.024);
  expect([0, -1, Number.NaN, 1e-9].map((value) => decoded(encoded(value, 1), 1))).toEqual([0, 0, 0, 0]);
  expect(decoded(encoded(1e12, 1), 1)).toBeCloseTo(978, 0);
});
