import fc from "fast-check";
import { expect, it } from "vitest";
import { descend, type Shift } from "./descend.ts";

/** Each item covers some of 12 points; it gains those that none before it covered. */
const anyItems = fc.array(fc.uniqueArray(fc.nat(11)), { minLength: 1, maxLength: 12 });

it("makes the shifts that gain most, whether their gains are told exactly or too high", () => {
  fc.assert(
    fc.property(
      anyItems,
      fc.array(fc.nat(5), { minLength: 12, maxLength: 12 }),
      fc.nat(12),
      (items, more, most) => {
        const made = (first: (item: number, gain: number) => number) => {
          const covered = new Set<number>();
          const order: number[] = [];
          const shiftOf = (item: number): Shift | undefined => {
            const gain = items[item]?.filter((point) => !covered.has(point)).length ?? 0;
            return gain === 0 ? undefined : { item, gain, to: 0 };
          };
          const shifts = items.flatMap((_, item) => {
            const shift = shiftOf(item);
            const gain = first(item, shift?.gain ?? 0);
            return gain > 0 ? { item, gain, to: 0 } : [];
          });
          const make = ({ item }: Shift) => {
            for (const point of items[item] ?? []) covered.add(point);
            order.push(item);
            return true;
          };
          const found = descend(shifts, shiftOf, make, () => order.length >= most);
          expect(found).toBe(order.length > 0);
          return order;
        };
        expect(made((item, gain) => gain + (more[item] ?? 0))).toEqual(made((_, gain) => gain));
      },
    ),
  );
});
