/**
 * Moves that are worth it, in an order in which every state between is allowed. Pure.
 *
 * The search is the solver's (src/director/solver), which works on the estate as flat numbers; here is what a plan may do and wants. First the best single moves, the one with the greatest gain before the
 * others (solver/descend.ts): broken rules first, then hosts that are too busy by what is measured (use.ts); each is applied to the index of the estate, and the next one is judged there (afterwards all are taken
 * back). When no move alone is worth it, those are sought that are together (regroup.ts, by the solver's annealing). A machine moves at most once a plan, so a plan ends. Against ping-pong: a move must
 * gain clearly, and a machine that came to its host recently stays, unless a rule is broken or policies changed since; and it never goes
 * back within that time to a host that it was moved away from.
 */

import type { Estate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { survivalOf } from "../failover/failover.ts";
import type { Policy } from "../kinds.ts";
import { Draft, type Move, type PlanOptions } from "./draft.ts";
import { lookAtAll } from "./look.ts";
import { PARTS, type Parts, regroup } from "./regroup.ts";
import { restoreReserve } from "./reserve.ts";

export type { Move, PlanOptions } from "./draft.ts";
export { keyOf, PLAN_DEFAULTS } from "./draft.ts";

/** The policy that a move was planned by, if it is still there. */
export const policyOf = (
  policies: readonly Policy[],
  move: Pick<Move, "namespace" | "policy">,
): Policy | undefined =>
  policies.find(
    ({ metadata }) => metadata.name === move.policy && (metadata.namespace ?? "default") === move.namespace,
  );

/** The moves, in order; none: there is no useful move. @param parts of the estate that are annealed for it, and tells how many were */
export function planMoves(
  estate: Estate,
  options: PlanOptions,
  parts: Parts = { left: PARTS, annealed: 0 },
): Move[] {
  const index = indexOf(estate);
  const draft = new Draft(estate, index, options);
  try {
    if (survivalOf(estate)?.faults().length) {
      // What is broken first, so that it finds the room; then what was reserved, before anything that only gains.
      lookAtAll(draft, options, true);
      while (draft.moves.length < options.maxMoves && restoreReserve(draft, options));
    }
    for (let found = true; found && draft.moves.length < options.maxMoves; ) {
      const look = lookAtAll(draft, options, options.needed);
      found =
        look.found || (!options.needed && parts.left > 0 && regroup(draft, look.wishes(), options, parts));
    }
    return draft.moves;
  } finally {
    draft.takeBack();
  }
}
