/** Sets of some of many, and small ones as the bits of a number. Pure. */

export const bitsOf = (mask: number): number => {
  let bits = 0;
  for (let left = mask; left !== 0; left &= left - 1) bits++;
  return bits;
};

/** Sets that begin so, with others than these. */
export interface Beginning {
  begin: readonly number[];
  but: ReadonlySet<number>;
}

/** Whether each may have a bit of its own. */
export function areDistinct(options: readonly number[], k: number, taken: number): boolean {
  const own = options[k];
  if (own === undefined) return true;
  for (let left = own & ~taken; left !== 0; left &= left - 1)
    if (areDistinct(options, k + 1, taken | (left & -left))) return true;
  return false;
}

/** All sets of so many that begin so, with others of these. The array is always the same one. */
export function* setsOf(
  { begin, but }: Beginning,
  all: readonly number[],
  size: number,
): Generator<readonly number[]> {
  const set = [...begin];
  const others = all.filter((d) => !but.has(d) && !begin.includes(d));
  function* more(from: number): Generator<readonly number[]> {
    if (set.length === size) {
      yield set;
      return;
    }
    for (let i = from; i < others.length; i++) {
      set.push(others[i] as number);
      yield* more(i + 1);
      set.pop();
    }
  }
  if (begin.length <= size) yield* more(0);
}
