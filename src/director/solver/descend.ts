/**
 * The best single shifts, the one that gains most first, each on what those before it left. All items are looked at once for many shifts: a gain that has become less since waits for its turn
 * (lazy greedy), as does one that was told too high to begin with; one that has become more is found by the next look. The search's first step on an estate of any size, where a few shifts are sought among a hundred thousand items.
 */
import { Heap } from "./heap.ts";

export interface Shift {
  item: number;
  gain: number;
  to: number;
}

/**
 * @param first each item's best shift as things are, if it is worth it; where that would take long, as much as it gains at most
 * @param again the same of one item on what is there by then
 * @param make makes it; false: after all it cannot be
 * @param enough whether no more may be made
 * @returns whether one was made
 */
export function descend<S extends Shift>(
  first: Iterable<S>,
  again: (item: number) => S | undefined,
  make: (shift: S) => boolean,
  enough: () => boolean,
): boolean {
  const order = (a: S, b: S) => b.gain - a.gain || a.item - b.item;
  const queue = new Heap<S>(order);
  for (const shift of first) queue.push(shift);
  let found = false;
  for (let next = queue.pop(); next && !enough(); next = queue.pop()) {
    const shift = again(next.item);
    if (!shift) continue;
    if (queue.first && order(queue.first, shift) < 0) queue.push(shift);
    else if (make(shift)) found = true;
  }
  return found;
}
