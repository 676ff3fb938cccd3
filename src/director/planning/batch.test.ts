/** The order of a batch. */
import { expect, it } from "vitest";
import { inBatchOrder } from "./batch.ts";

const ordered = (names: readonly string[]) => inBatchOrder(names, (name) => name);

it("has of each kind its share among any few in a row, also of neighbours by name, whatever order they are given in", () => {
  const kinds = ["a-cache", "a-db", "a-web", "b-cache", "b-db", "b-web", "c-db", "c-web"];
  const names = kinds.flatMap((kind) => Array.from({ length: 10 }, (_, i) => `${kind}-${i + 1}`));
  const order = ordered(names);
  expect(ordered(names.toReversed())).toEqual(order);
  expect(order.toSorted()).toEqual(names.toSorted());
  const most = (size: number, kindOf: (name: string) => string) =>
    Math.max(
      ...order.slice(size - 1).map((_, from) => {
        const few = Map.groupBy(order.slice(from, from + size), kindOf);
        return Math.max(...[...few.values()].map((own) => own.length));
      }),
    );
  expect(most(8, (name) => name.replace(/-\d+$/, ""))).toBe(2);
  expect(most(8, (name) => name.slice(0, 1))).toBeLessThanOrEqual(4);
});

it("has small kinds, and machines alone, in their place among the large ones", () => {
  const names = [...Array.from({ length: 98 }, (_, i) => `web-${i}`), "solo", "zebra"];
  const order = ordered(names);
  expect(Math.abs(order.indexOf("solo") - order.indexOf("zebra"))).toBeGreaterThan(10);
  expect(ordered(["one"])).toEqual(["one"]);
  expect(ordered([])).toEqual([]);
});
