import fc from "fast-check";
import { expect, it } from "vitest";
import { type Model, makeTallies, type TallySpec } from "./model.ts";
import { State } from "./state.ts";

/** Hosts in racks (three in two), without any resources. */
function stateOf(at: number[], specs: TallySpec[], racks = [0, 0, 1], isOpen?: Uint8Array): State {
  const hosts = racks.length;
  const levels = [Int32Array.from(racks.keys()), Int32Array.from(racks)];
  const none = new Float64Array(0);
  const model: Model = {
    resources: 0,
    terms: 0,
    hosts,
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
    tallies: makeTallies(at.length, levels, specs, isOpen),
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

const HOSTS = 8;
const ITEMS = 12;
const maybe = (most: number) => fc.option(fc.integer({ min: 0, max: most }), { nil: undefined });
const aTally: fc.Arbitrary<TallySpec> = fc
  .record({
    level: fc.nat(1),
    members: fc.uniqueArray(fc.nat(ITEMS - 1), { minLength: 1 }),
    isOutside: fc.boolean(),
    most: maybe(3),
    maxDomains: maybe(3),
    even: fc.boolean(),
  })
  .map(({ isOutside, most, maxDomains, ...of }) => ({
    ...of,
    ...(isOutside ? { outside: [0, 1, 1, 2] } : {}),
    ...(most === undefined ? {} : { most }),
    ...(maxDomains === undefined ? {} : { maxDomains }),
  }));

it("finds all hosts at once where an item would break a tally as asking for each does", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: -1, max: HOSTS - 1 }), { minLength: ITEMS, maxLength: ITEMS }),
      fc.array(fc.nat(2), { minLength: HOSTS - 1, maxLength: HOSTS - 1 }),
      fc.array(aTally, { maxLength: 4 }),
      fc.array(fc.boolean(), { minLength: HOSTS, maxLength: HOSTS }),
      (at, racks, specs, open) => {
        const { counts } = stateOf(at, specs, [...racks, 2], Uint8Array.from(open, Number));
        for (let item = 0; item < ITEMS; item++) {
          const each = Array.from({ length: HOSTS }, (_, h) => (counts.breaks(item, h) < 0 ? 0 : 1));
          expect([...(counts.broken(item) ?? new Uint8Array(HOSTS))]).toEqual(each);
        }
      },
    ),
  );
});
