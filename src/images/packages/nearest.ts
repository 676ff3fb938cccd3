/** Names of packages near a wrong one. Pure. */

/** Up to three names within two edits, or that the wrong name is a part of. Pure. */
export function nearest(name: string, all: readonly string[]): string[] {
  const scored = all
    .filter((other) => Math.abs(other.length - name.length) <= 2 && other[0] === name[0])
    .map((other) => ({ other, distance: editDistance(name, other) }))
    .filter(({ distance }) => distance <= 2)
    .sort((a, b) => a.distance - b.distance || (a.other < b.other ? -1 : 1));
  return scored.slice(0, 3).map(({ other }) => other);
}

/** Levenshtein. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min(
          (row[j] ?? 0) + 1,
          (next[j - 1] ?? 0) + 1,
          (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1),
        ),
      );
    row = next;
  }
  return row[b.length] ?? 0;
}
