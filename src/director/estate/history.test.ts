/** What is expected of machines from what was seen of them. */
import { expect, it } from "vitest";
import { UseHistory } from "./history.ts";

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

it("an hour that was not seen whole counts as much less", () => {
  const history = new UseHistory();
  history.observe("a", 0, 1);
  // The second week is known from the last quarter of its first hour on only.
  const other = new UseHistory();
  for (const each of history.remember(["a"], 165 * HOUR)) other.recall(each, 168.75 * HOUR);
  other.observe("a", 168.75 * HOUR, 9);
  const [known] = other.remember(["a"], 169 * HOUR);
  expect(known?.hours?.[0]).toBeCloseTo(2);
});

it("goes on as it was while nothing is told, however long", () => {
  const history = new UseHistory();
  history.observe("a", 0, 1.5);
  expect(history.useOf("a", 1000 * 168 * HOUR)).toEqual({ cpus: 1.5, expected: 1.5, deviation: 0 });
});
