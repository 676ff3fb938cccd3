/** In what order machines are placed that come together. Pure. */

/**
 * One of each kind first, then the second of each, and so on: those that are called alike but for a number (web-1, web-2) mostly do the same at the same time, and
 * one after the other they would all come to the same host, since each is placed where it costs least then. What has the same rank stays in its order.
 */
export function inBatchOrder<T>(machines: readonly T[], nameOf: (machine: T) => string): T[] {
  const seen = new Map<string, number>();
  const ranked = machines.map((machine) => {
    const kind = nameOf(machine).replace(/[-.]?\d+$/, "");
    const rank = seen.get(kind) ?? 0;
    seen.set(kind, rank + 1);
    return { machine, rank };
  });
  return ranked.sort((a, b) => a.rank - b.rank).map(({ machine }) => machine);
}
