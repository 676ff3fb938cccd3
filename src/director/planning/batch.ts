/** In what order machines are placed that come together. Pure. */

/** The step by which few in a row lie as evenly as many (a sequence of Kronecker). */
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * So that any few in a row are a fair sample of all by their names: those that are called alike but for a number (web-1, web-2) mostly do the same at the same time, those whose names
 * only begin alike often do, and one after the other they would all come to the same host, since each is placed where it costs least then. Rejected: one of each kind
 * first, then the second of each, by which neighbours among the kinds come together, and the last hosts get those of large kinds alone. The order in which they are given does not count.
 */
export function inBatchOrder<T>(machines: readonly T[], nameOf: (machine: T) => string): T[] {
  const named = machines.map((machine) => {
    const [, kind = "", number = ""] = /^(.*?)[-.]?(\d*)$/s.exec(nameOf(machine)) ?? [];
    return { machine, kind, number };
  });
  named.sort(
    (a, b) => compare(a.kind, b.kind) || a.number.length - b.number.length || compare(a.number, b.number),
  );
  return named
    .map(({ machine }, i) => ({ machine, at: (i * GOLDEN) % 1 }))
    .sort((a, b) => a.at - b.at)
    .map(({ machine }) => machine);
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
