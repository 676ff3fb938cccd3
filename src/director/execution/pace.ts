/**
 * Which moves may go on at once. Pure.
 *
 *  - A host takes part in as many as its link can bear: one below 10 Gbit/s, which a single one fills, and one more for each 10 Gbit/s.
 *  - Moves that touch the same host begin in the plan's order: one may leave the room that the next needs.
 *  - Of a policy's machines no more than it allows (Policy.spec.moves.concurrent).
 *  - Moves of machines that a policy spreads or keeps together never overlap: whether such a rule holds depends on which of them ends first.
 */
import { moveMbpsOf } from "../../compute/migrations/kinds.ts";
import type { Estate, HostView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { crowd } from "../planning/limits.ts";
import { keyOf, type Move } from "../planning/plan.ts";
import { policiesOf } from "../rules/rules.ts";

const MBPS_PER_MOVE = 10_000;
const MOST_PER_HOST = 4;

/** In how many moves a host takes part at once. */
export const movesAtOnce = (host: HostView | undefined): number =>
  Math.min(MOST_PER_HOST, 1 + Math.floor((host ? moveMbpsOf(host) : 0) / MBPS_PER_MOVE));

/** A move that is under way, whoever asked for it. */
export type UnderWay = Pick<Move, "namespace" | "vm" | "from" | "to">;

/**
 * What a move has to wait for; undefined when it may begin.
 * @param before the plan's moves before it that have yet to begin @param underWay all moves in the estate that have begun, whoever asked
 * for them, or are a plan's, this one or another
 */
export function waitsFor(
  estate: Estate,
  move: Move,
  { before, underWay }: { before: readonly Move[]; underWay: readonly UnderWay[] },
): string | undefined {
  const touches = (other: UnderWay, host: string) => other.from === host || other.to === host;
  const first = before.find((other) => touches(other, move.from) || touches(other, move.to));
  if (first) return `waits until the move of ${first.vm} has begun`;
  const groups = groupsOf(estate, move);
  const shares = (other: UnderWay) => groupsOf(estate, other).find((group) => groups.includes(group));
  for (const other of [...underWay, ...before]) {
    const group = shares(other);
    if (group)
      return `waits until ${other.vm} has moved: policy ${JSON.stringify(group.slice(group.indexOf("/") + 1))} is about both`;
  }
  const { hosts } = indexOf(estate);
  const machine = indexOf(estate).get(keyOf(move));
  const crowded = machine && crowd(estate, machine);
  if (crowded) return crowded;
  for (const host of [move.from, move.to]) {
    const [most, now] = [movesAtOnce(hosts.get(host)), underWay.filter((each) => touches(each, host)).length];
    if (now >= most)
      return `waits: host ${host} takes part in ${most === 1 ? "a move" : `${most} moves`} already`;
  }
  return undefined;
}

/** "namespace/name" of the policies that spread the machine and others, or keep them together. */
function groupsOf(estate: Estate, { namespace, vm }: UnderWay): string[] {
  const machine = indexOf(estate).get(`${namespace}/${vm}`);
  if (!machine) return [];
  return policiesOf(estate, machine)
    .filter(({ spec }) => spec.spread || spec.keepTogether)
    .map(({ metadata }) => `${namespace}/${metadata.name}`);
}
