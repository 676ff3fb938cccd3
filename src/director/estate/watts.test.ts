/** Watts over utilisation: measured curves, straight lines, and what is none. */
import { expect, it } from "vitest";
import { addedByLevel, curveFault, curveOf, levelOf, shareAt, wattsAt, wattsBetween } from "./watts.ts";

/** IBM x3550 M3, two Xeon X5670 (SPECpower_ssj2008). */
const X3550 = [66, 107, 120, 131, 143, 156, 173, 191, 211, 229, 247];

it("is straight between measured points, and at its ends beyond them", () => {
  expect(wattsAt(X3550, 0)).toBe(66);
  expect(wattsAt(X3550, 0.05)).toBeCloseTo(86.5);
  expect(wattsAt(X3550, 0.5)).toBe(156);
  expect(wattsAt(X3550, 0.99)).toBeCloseTo(245.2);
  expect(wattsAt(X3550, 1)).toBe(247);
  expect(wattsAt(X3550, 1.7)).toBe(247);
  expect(wattsAt(X3550, -1)).toBe(66);
});

it("is a straight line of a host that tells only its ends, and none of one that tells less", () => {
  const curve = curveOf({ idleWatts: 50, maxWatts: 150 }) ?? [];
  expect(wattsAt(curve, 0.33)).toBeCloseTo(83);
  expect(curveOf({ idleWatts: 50, maxWatts: 150, wattsCurve: X3550 })).toBe(X3550);
  expect(curveOf({ maxWatts: 150 })).toBeUndefined();
});

it("says why figures are no curve", () => {
  expect(curveFault(X3550)).toBeUndefined();
  expect(curveFault([1, 2])).toMatch("a curve has 11 points (watts at 0, 10 … 100 %), this one has 2");
  expect(curveFault(X3550.with(4, 100))).toMatch("point 4 (100 W) is less than the one before");
  expect(curveFault(X3550.with(10, Number.NaN))).toMatch("point 10");
});

it("tells what so much more costs, by what is done already", () => {
  expect(wattsBetween(X3550, 0, 0.1)).toBeCloseTo(41);
  expect(wattsBetween(X3550, 0.35, 0.1)).toBeCloseTo(12.5);
  expect(wattsBetween(X3550, 0.95, 0.1)).toBeCloseTo(18.05);
  // More than it can do: as on average.
  expect(wattsBetween(X3550, 1.5, 0.1)).toBeCloseTo(18.1);
  const byLevel = addedByLevel(X3550, 0.1);
  expect(byLevel[levelOf(0.35)]).toBeCloseTo(wattsBetween(X3550, shareAt(levelOf(0.35)), 0.1));
  expect([levelOf(0), levelOf(0.999), levelOf(1), levelOf(3)]).toEqual([0, 9, 10, 10]);
});
