/** "Did you mean": the known word that is least far from what was typed. */

/** How many letters must be put in, taken out or exchanged to make one word the other (Levenshtein). */
export function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (const [i, letter] of [...a].entries()) {
    const next = [i + 1];
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min(
          (row[j] ?? 0) + 1,
          (next[j - 1] ?? 0) + 1,
          (row[j - 1] ?? 0) + (b[j - 1] === letter ? 0 : 1),
        ),
      );
    row = next;
  }
  return row[b.length] ?? 0;
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
