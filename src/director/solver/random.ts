/** Whole numbers from 0 to 2^32 - 1 (Marsaglia 2003). */
export function xorshift(seed: number): () => number {
  let x = Math.imul(seed + 1, 0x9e3779b1) | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}
