/** Packages that come along with others. Pure. */

/** What apt takes when nothing else is asked for: "a (>= 1) | b, c:any" -> a, c. */
export const firstChoices = (field: string) =>
  field
    .split(",")
    .map((part) => part.trim().replace(/[\s:(|].*$/, ""))
    .filter(Boolean);

/**
 * @param depends of each package, by name
 * @param alone come along with none
 * @returns package -> one of those that are left, that brings it directly or by others
 */
export function broughtAlong(
  depends: ReadonlyMap<string, readonly string[]>,
  alone: readonly string[],
): Map<string, string> {
  const kept = new Set(depends.keys());
  const below = (name: string, seen = new Set<string>()): Set<string> => {
    for (const other of depends.get(name) ?? [])
      if (depends.has(other) && !seen.has(other)) below(other, seen.add(other));
    return seen;
  };
  const brought = new Map([...kept].map((name) => [name, below(name)]));
  const gone: string[] = [];
  // Of two that bring each other the first goes.
  for (const name of depends.keys()) {
    if (alone.includes(name) || ![...kept].some((other) => other !== name && brought.get(other)?.has(name)))
      continue;
    kept.delete(name);
    gone.push(name);
  }
  return new Map(gone.map((name) => [name, [...kept].find((other) => brought.get(other)?.has(name)) ?? ""]));
}
