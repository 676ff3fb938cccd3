/**
 * Moves that are worth it, in an order in which every state between is allowed. Pure.
 *
 * The search is the solver's (src/director/solver), which works on the estate as flat numbers; here is what a plan may do and wants. First the best single moves, the one with the greatest gain before the
 * others (solver/descend.ts): broken rules first, then hosts that are too busy by what is measured (use.ts); each is applied to the index of the estate, and the next one is judged there (afterwards all are taken
 * back). When no move alone is worth it, those are sought that are together (regroup.ts, by the solver's annealing). A machine moves at most once a plan, so a plan ends. Against ping-pong: a move must
 * gain clearly, and a machine that came to its host recently stays, unless a rule is broken or policies changed since; and it never goes
 * back within that time to a host that it was moved away from.
 */

import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import type { Seek } from "../estate/likings.ts";
import { survivalOf } from "../failover/failover.ts";
import { isSpecial, obstacle } from "../rules/rules.ts";
import { descend, type Shift } from "../solver/descend.ts";
import {
  acceptOf,
  Draft,
  isSettled,
  leastGain,
  type Move,
  mayMove,
  moveCost,
  type PlanOptions,
  whyAway,
} from "./draft.ts";
import { MENDED } from "./part.ts";
import { bestIn, PARTS, type Parts, regroup, type Wish } from "./regroup.ts";
import { restoreReserve } from "./reserve.ts";

export type { Move, PlanOptions } from "./draft.ts";
export { PLAN_DEFAULTS } from "./draft.ts";

/** After rules that are mended: a host that is too busy. */
const RELIEVED = 5;
/** So much less what relieves it by a machine with high latency sensitivity: after any other. */
const SENSITIVE_LAST = 2;

const SURVIVAL_LOOKS = 20;

interface Candidate extends Shift {
  broken: boolean;
  /** Its host is too busy. */
  hot: boolean;
}

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
      const look = lookAtAll(draft, options);
      found = look.found || regroup(draft, look.wishes, options, parts);
    }
    return draft.moves;
  } finally {
    draft.takeBack();
  }
}

/** @param needed only rules are mended and hosts relieved @returns whether there was a useful move, and who would move if there were room */
function lookAtAll(draft: Draft, options: PlanOptions, needed = false): { found: boolean; wishes: Wish[] } {
  const { estate, index, moves, moved } = draft;
  const survival = survivalOf(estate);
  const wishes: Wish[] = [];
  function* first(): Generator<Candidate> {
    for (const [at, machine] of index.machines.entries()) {
      if (moved.has(at) || !mayMove(index, at, options) || !draft.allows(machine)) continue;
      const candidate = consider(draft, at, options, undefined, wishes);
      if (candidate && (!needed || candidate.broken || candidate.hot)) yield candidate;
    }
  }
  // Its gain before it is taken, on what there is by then.
  const again = (at: number): Candidate | undefined => {
    if (!draft.allows(index.machines[at] as MachineView)) return undefined;
    const candidate = consider(draft, at, options);
    return candidate && (!needed || candidate.broken || candidate.hot) ? candidate : undefined;
  };
  // Whether the machine may take the room there that losses may need; of few hosts, the others are not tried.
  const survives = (at: number) => {
    let looks = SURVIVAL_LOOKS;
    return survival && ((h: number) => looks-- > 0 && !survival.ifMoved(at, index.hostOf(h)?.name ?? ""));
  };
  const make = (shift: Candidate): boolean => {
    let candidate: Candidate | undefined = shift;
    const machine = index.machines[shift.item] as MachineView;
    const here = index.hosts.get(machine.host ?? "");
    if (survival && !here?.maintenance && survival.ifMoved(shift.item, index.hostOf(shift.to)?.name ?? ""))
      candidate = consider(draft, shift.item, options, survives(shift.item));
    if (!candidate) return false;
    draft.make(
      candidate.item,
      index.hostOf(candidate.to) as HostView,
      here &&
        (whyAway(estate, machine, here, candidate) ??
          (here.emptied ? `${here.name} is emptied for its wake test` : undefined)),
    );
    return true;
  };
  const found = descend(first(), again, make, () => moves.length >= options.maxMoves);
  return { found, wishes };
}

/** The best move of a machine, if it may be moved (its host is to be empty, a rule is broken there, or it has been there long enough and the host is not cordoned) and gains enough. */
function consider(
  draft: Draft,
  at: number,
  options: PlanOptions,
  survives?: (h: number) => boolean,
  wishes?: Wish[],
): Candidate | undefined {
  const { estate, index } = draft;
  const machine = index.machines[at] as MachineView;
  const here = index.hostOf(index.state.at[at] as number);
  // A host that is silent keeps its machines: nobody can move them, and they may well run.
  if (!here?.ready) return undefined;
  const seek = index.likings.seekAt(at, machine);
  if (!seek.now) return undefined;
  const { now } = seek;
  const special = isSpecial(machine);
  const broken = here.maintenance || !now.stays || (special && obstacle(estate, machine, here) !== undefined);
  if (!broken && (here.cordoned || !isSettled(index, at, options))) return undefined;
  const emptied = here.emptied === true && !broken;
  const heat = broken || emptied ? undefined : index.load.heat(now.host);
  const cooled = heat ? index.load.cools(at, machine, heat) : 0;
  const hot = cooled > 0;
  const floor =
    broken || hot || emptied ? Number.NEGATIVE_INFINITY : now.like + leastGain(estate, machine, options);
  const best = (must: boolean) => {
    const accept = acceptOf(estate, index, machine, options, must);
    // A host in maintenance is left, whatever that takes.
    const last =
      survives && !here.maintenance ? (h: number) => (!accept || accept(h)) && survives(h) : accept;
    return index.likings.best(seek, floor, last);
  };
  const calm = best(false);
  const to = calm < 0 && broken ? best(true) : calm;
  if (to < 0) {
    if (wishes && !emptied && (broken || wouldMove(draft, seek, seek.now, floor)))
      wishes.push({ at, must: broken });
    return undefined;
  }
  // Of two that gain as much the one that is moved sooner goes first; what must go does so in any case.
  const gain = index.likings.liking(seek, to) - now.like - Math.min(1, moveCost(estate, machine, options));
  if (hot) {
    // One that is enough by itself goes before several, a small one before a large one.
    const relief = cooled - machine.memoryBytes / here.memoryBytes / 2;
    const last = machine.latencySensitivity === "high" ? SENSITIVE_LAST : 0;
    return { item: at, gain: RELIEVED + relief - last, to, broken, hot };
  }
  // As for a host that is too busy; nobody is moved for that who would not let it be.
  if (emptied) return { item: at, gain: RELIEVED + gain, to, broken, hot };
  if (!broken) return { item: at, gain, to, broken, hot };
  // One that is enough by itself goes before several.
  return { item: at, gain: MENDED + gain + 2 * index.load.relief(at, now.host), to, broken, hot };
}

/** Whether there are kinds of hosts that it likes so much better, if only one of them had as much room as this one. */
function wouldMove(
  { index }: Draft,
  { want }: Seek,
  { host, like }: { host: number; like: number },
  floor: number,
) {
  return bestIn(index, want.item) - index.likings.usedLikeOf(want.item, host) >= floor - like;
}
