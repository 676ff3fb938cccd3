import { expect, it } from "vitest";
import { type Model, makeTallies, type TallySpec } from "./model.ts";
import { State } from "./state.ts";

/** Three hosts in two racks, without any resources. */
function stateOf(at: number[], specs: TallySpec[]): State {
  const levels = [Int32Array.of(0, 1, 2), Int32Array.of(0, 0, 1)];
  const none = new Float64Array(0);
  const model: Model = {
    resources: 0,
    terms: 0,
    hosts: 3,
    items: at.length,
    transient: 0,
    capacity: none,
    price: none,
    demand: none,
    base: none,
    increment: none,
    home: Int32Array.from(at),
    moveCost: new Float64Array(at.length),
    distanceWeight: 0,
    services: 0,
    serviceWeight: 0,
    tallies: makeTallies(at.length, levels, specs),
  };
  return new State(model);
}

it("tells which one item keeps another from a host", () => {
  const apart = { level: 0, members: [0, 1, 2], most: 1 };
  const { counts } = stateOf([0, 1, 2, 1], [apart]);
  expect(counts.blocker(0, 1)).toBe(1);
  expect(counts.blocker(0, 2)).toBe(2);
  // Where it is itself, and one that is in no group.
  expect([counts.blocker(0, 0), counts.blocker(3, 0)]).toEqual([-1, -1]);
  // Two groups are full there, one of them by another.
  const twice = stateOf([0, 1, 1], [apart, { level: 0, members: [0, 2], most: 1 }]);
  expect(twice.counts.blocker(0, 1)).toBe(-1);
  // What is full is the rack, by one on its other host.
  const racks = stateOf([2, 0], [{ level: 1, members: [0, 1], most: 1 }]);
  expect([racks.counts.blocker(0, 0), racks.counts.blocker(0, 1)]).toEqual([1, -1]);
});
