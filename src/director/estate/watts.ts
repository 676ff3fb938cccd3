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

/** What of a Host says what it takes. */
interface Drawing {
  spec: { watts?: readonly number[] };
  status?: { facts?: { power?: { idleWatts: number; maxWatts: number; curve?: readonly number[] } } };
}

/** What users have said goes before facts. Empty: it does not tell. */
export function powerFiguresOf({ spec, status }: Drawing): PowerFigures {
  const { watts } = spec;
  if (watts) {
    const ends = { idleWatts: watts[0] ?? 0, maxWatts: watts.at(-1) ?? 0 };
    return watts.length > 2 ? { ...ends, wattsCurve: watts } : ends;
  }
  const { power } = status?.facts ?? {};
  if (!power) return {};
  const { idleWatts, maxWatts, curve } = power;
  return { idleWatts, maxWatts, ...(curve ? { wattsCurve: curve } : {}) };
}

/**
 * The share of a host's processors' time that a machine takes there.
 * @param used processors of it; undefined, not measured: its share of the CPUs that the host gives out
 */
export const shareOn = (
  cpus: number,
  used: number | undefined,
  givenOut: number,
  processors: number,
): number => (used === undefined ? cpus / givenOut : used / processors);

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

/**
 * Watts more when so much is added to what is done already, both as shares of its processors' time. Where more is to be done than it can, each share counts as on average: that is no reason
 * to come there.
 */
export function wattsBetween(curve: readonly number[], share: number, added: number): number {
  const [idle = 0, full = idle] = [curve[0], curve.at(-1)];
  const beyond = Math.max(1, share + added) - Math.max(1, share);
  return wattsAt(curve, share + added) - wattsAt(curve, share) + beyond * (full - idle);
}

/**
 * How far hosts are used is told in so many levels, that many hosts are alike by it. Between two points of a curve a machine adds as much wherever it begins, as long as it stays between them; of
 * one that goes beyond a point what it adds is told as from the middle of the level. The last level: more than they have.
 */
const STEPS = POINTS - 1;
export const LEVELS = STEPS + 1;

/** @param share of a host's processors' time */
export const levelOf = (share: number): number => Math.min(STEPS, Math.max(0, Math.floor(share * STEPS)));

/** The middle of the level. */
export const shareAt = (level: number): number => Math.min(1, (level + 0.5) / STEPS);

const known = new WeakMap<readonly number[], Map<number, Float64Array>>();

/** What so much more costs, by the level of what is done already. @param added share of the processors' time; kept for as long as the curve is: many machines use the same */
export function addedByLevel(curve: readonly number[], added: number): Float64Array {
  const ofCurve = known.get(curve) ?? new Map<number, Float64Array>();
  known.set(curve, ofCurve);
  const made =
    ofCurve.get(added) ??
    Float64Array.from({ length: LEVELS }, (_, level) => wattsBetween(curve, shareAt(level), added));
  ofCurve.set(added, made);
  return made;
}

/** Why these are no curve; undefined: they are. */
export function curveFault(watts: readonly number[]): string | undefined {
  if (watts.length !== POINTS)
    return `a curve has ${POINTS} points (watts at 0, 10 … 100 %), this one has ${watts.length}`;
  const bad = watts.findIndex((value, i) => !(value >= 0 && value < 1e6 && value >= (watts[i - 1] ?? 0)));
  return bad < 0 ? undefined : `point ${bad} (${watts[bad]} W) is less than the one before, or absurd`;
}
