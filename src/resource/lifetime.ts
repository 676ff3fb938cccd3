/** When a certificate is renewed. Pure. */

/** From two thirds of its life on: what stands still for less than the last third (four months of a year) comes back by itself. */
export function isDueForRenewal(life: { from: Date; to: Date }, now = Date.now()): boolean {
  const [from, to] = [life.from.getTime(), life.to.getTime()];
  return now >= from + ((to - from) * 2) / 3;
}
