/** The map's layout: nothing overlaps, everything is inside of what it belongs to, and pieces are as large as their memory. */
import { describe, expect, it } from "vitest";
import { layOut, type MapHost, type Rect, shapeOf } from "./layout.ts";

const GiB = 2 ** 30;
const host = (name: string, site: string, rack: string, sizes: readonly number[]): MapHost => ({
  name,
  site,
  rack,
  memoryBytes: 64 * GiB,
  machines: sizes.map((size, i) => ({ key: `default/${name}-${i}`, memoryBytes: size * GiB })),
});
const overlap = (a: Rect, b: Rect) =>
  a.x < b.x + b.w - 1e-6 && b.x < a.x + a.w - 1e-6 && a.y < b.y + b.h - 1e-6 && b.y < a.y + a.h - 1e-6;
const within = (a: Rect, b: Rect) =>
  a.x >= b.x - 1e-6 && a.y >= b.y - 1e-6 && a.x + a.w <= b.x + b.w + 1e-6 && a.y + a.h <= b.y + b.h + 1e-6;

const ESTATE = Array.from({ length: 60 }, (_, i) =>
  host(`h${i}`, `s${i % 3}`, `r${i % 7}`, [4, 8, 1, 2, 16, 1].slice(0, i % 7)),
);

describe("the map", () => {
  it.each([0.5, 1, 2])("puts nothing over anything else, at a ratio of %d", (ratio) => {
    const { tiles, groups, pieces, width, height } = layOut(ESTATE, ratio);
    expect(tiles).toHaveLength(60);
    const all = [
      tiles,
      groups.filter(({ level }) => level === "site"),
      groups.filter(({ level }) => level === "rack"),
    ];
    for (const rects of [...all, [...pieces.values()]])
      for (const [i, a] of rects.entries())
        for (const b of rects.slice(i + 1)) expect(overlap(a, b), JSON.stringify([a, b])).toBe(false);
    for (const rect of [...tiles, ...groups])
      expect(within(rect, { x: 0, y: 0, w: width, h: height })).toBe(true);
    for (const piece of pieces.values())
      expect(tiles.some((tile) => tile.host === piece.host && within(piece, tile))).toBe(true);
  });

  it("gives each machine the area that its memory is of the host's", () => {
    const { pieces } = layOut([host("a", "", "", [8, 16, 32])], 1);
    const area = (i: number) => {
      const { w = 0, h = 0 } = pieces.get(`default/a-${i}`) ?? {};
      return w * h;
    };
    expect(area(1) / area(0)).toBeCloseTo(2);
    expect(area(2) / area(0)).toBeCloseTo(4);
  });

  it("names no site or rack where there is none, and is the same each time", () => {
    const plain = [host("b", "", "", [1]), host("a", "", "", [1])];
    expect(layOut(plain, 1).groups).toEqual([]);
    expect(layOut(plain, 1)).toEqual(layOut(plain.toReversed(), 1));
    expect(layOut([], 1)).toMatchObject({ tiles: [], width: 0 });
  });

  it("is the same when it is made of what it was before", () => {
    const mixed = (hosts: readonly MapHost[]) => {
      const [from, to] = [hosts[5], hosts[6]];
      if (!from || !to) throw new Error("too few hosts");
      const [moved, ...rest] = from.machines;
      if (!moved) throw new Error("nothing to move");
      const changed = [
        { ...from, machines: rest },
        { ...to, machines: [...to.machines, moved] },
      ];
      return hosts.map((each) => changed.find(({ name }) => name === each.name) ?? each);
    };
    /** With another one in place of a host. */
    const changed = (i: number, change: (host: MapHost) => Partial<MapHost>) =>
      ESTATE.map((each, at) => (at === i ? { ...each, ...change(each) } : each));
    const grown = changed(5, ({ machines: [first, ...rest] }) => ({
      machines: [{ key: first?.key ?? "", memoryBytes: 48 * GiB }, ...rest],
    }));
    // Two hosts of as many machines.
    const swapped = ESTATE.map((each, i) =>
      i === 5 || i === 12 ? { ...each, machines: ESTATE[17 - i]?.machines ?? [] } : each,
    );
    const larger = changed(5, () => ({ memoryBytes: 128 * GiB }));
    const before = layOut(ESTATE, 1);
    for (const [next, ratio] of [
      [ESTATE, 1],
      [mixed(ESTATE), 1],
      [ESTATE.slice(3), 1],
      [[...ESTATE, host("new", "s0", "r0", [4])], 1],
      [grown, 1],
      [swapped, 1],
      [larger, 1],
      [ESTATE, 2],
    ] as const) {
      const after = layOut(next, ratio, before);
      expect(after).toEqual(layOut(next, ratio));
      expect(new Set(after.pieces.keys())).toEqual(
        new Set(next.flatMap(({ machines }) => machines.map(({ key }) => key))),
      );
    }
    const kept = new Set(before.tiles);
    expect(layOut(mixed(ESTATE), 1, before).tiles.filter((tile) => !kept.has(tile))).toHaveLength(2);
    expect(before).toEqual(layOut(ESTATE, 1));
  });

  it("is laid out for the shape of its place, not for each pixel of it", () => {
    expect(shapeOf(900, 500)).toBeCloseTo(1.8, 0);
    expect(shapeOf(905, 500)).toBe(shapeOf(900, 500));
    expect(shapeOf(390, 600)).toBeLessThan(0.7);
    expect(shapeOf(0, 500)).toBeUndefined();
  });

  it("holds the largest estate", () => {
    const large = Array.from({ length: 2500 }, (_, i) =>
      host(`h${i}`, `s${i % 4}`, `r${i % 80}`, Array(16).fill(4)),
    );
    expect(layOut(large, 1.8).pieces.size).toBe(40_000);
  });
});
