/** "Did you mean": the known word that is least far from what was typed. */

/** How many letters must be put in, taken out, exchanged, or swapped with the next one, to make one word the other. */
export function distance(a: string, b: string): number {
  const [from, to] = [[...a], [...b]];
  let before: number[] = [];
  let row = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (const [i, letter] of from.entries()) {
    const next = [i + 1];
    for (const [j, other] of to.entries()) {
      const swapped = letter === to[j - 1] && from[i - 1] === other ? (before[j - 1] ?? Infinity) : Infinity;
      next.push(
        Math.min(
          (row[j + 1] ?? 0) + 1,
          (next[j] ?? 0) + 1,
          (row[j] ?? 0) + (letter === other ? 0 : 1),
          swapped + 1,
        ),
      );
    }
    [before, row] = [row, next];
  }
  return row[to.length] ?? 0;
}

/** The nearest of the words, unless even that is too far to be meant. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const [best] = words
    .map((candidate) => ({ candidate, far: distance(word.toLowerCase(), candidate.toLowerCase()) }))
    .sort((a, b) => a.far - b.far);
  return best && best.far <= Math.max(1, Math.floor(word.length / 2)) ? best.candidate : undefined;
}

/** `; did you mean "hosts"?`, or nothing. */
export function hint(word: string, words: readonly string[]): string {
  const found = nearest(word, words);
  return found === undefined ? "" : `; did you mean ${JSON.stringify(found)}?`;
}
