/**
 * What a host takes over its utilisation: a curve of watts at 0, 10 … 100 %, straight between (as SPECpower_ssj2008 measures servers), or a straight line where
 * only the two ends are known. A host without machines is none that has to be on. Pure.
 */

/** Points of a curve: at idle, then at each tenth up to full load. */
export const POINTS = 11;

export interface PowerFigures {
  idleWatts?: number;
  maxWatts?: number;
  /** At 0, 10 … 100 % of its processors' time; goes before the two. */
  wattsCurve?: readonly number[];
}

/** Undefined: it does not tell. */
export function curveOf({ wattsCurve, idleWatts, maxWatts }: PowerFigures): readonly number[] | undefined {
  if (wattsCurve) return wattsCurve;
  if (idleWatts === undefined || maxWatts === undefined) return undefined;
  return Array.from({ length: POINTS }, (_, i) => idleWatts + ((maxWatts - idleWatts) * i) / (POINTS - 1));
}

/** @param share of its processors' time, from 0 to 1; beyond is as at the ends */
export function wattsAt(curve: readonly number[], share: number): number {
  const at = Math.min(1, Math.max(0, share)) * (POINTS - 1);
  const below = Math.min(POINTS - 2, Math.floor(at));
  const [low = 0, high = 0] = [curve[below], curve[below + 1]];
  return low + (high - low) * (at - below);
}

/** Why these are no curve; undefined: they are. */
export function curveFault(watts: readonly number[]): string | undefined {
  if (watts.length !== POINTS)
    return `a curve has ${POINTS} points (watts at 0, 10 … 100 %), this one has ${watts.length}`;
  const bad = watts.findIndex((value, i) => !(value >= 0 && value < 1e6 && value >= (watts[i - 1] ?? 0)));
  return bad < 0 ? undefined : `point ${bad} (${watts[bad]} W) is less than the one before, or absurd`;
}
