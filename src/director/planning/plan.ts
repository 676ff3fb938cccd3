/**
 * Moves that are worth it, in an order in which every state between is allowed. Pure.
 *
 * One move at a time is chosen, the one with the greatest gain, broken rules first, then hosts that are too busy by what is measured (use.ts); it is applied to the index of the estate, and the next one is judged
 * there (afterwards all are taken back). All machines are looked at once for many moves: a gain that has become less since waits for its turn (lazy greedy), one that
 * has become more is found by the next look; when a look finds nothing, hosts are sought that are worth emptying (empty.ts). A machine moves at most once a plan, so a plan ends. Against ping-pong: a move must
 * gain clearly, and a machine that came to its host recently stays, unless a rule is broken or policies changed since; and it never goes
 * back within that time to a host that it was moved away from.
 */

import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import { busyOf, FULL, processorsOf } from "../estate/use.ts";
import { survivalOf } from "../failover/failover.ts";
import { isSpecial, obstacle } from "../rules/rules.ts";
import { Heap } from "../solver/heap.ts";
import { acceptOf, Draft, isSettled, leastGain, type Move, mayMove, type PlanOptions } from "./draft.ts";
import { emptyHosts } from "./empty.ts";
import { restoreReserve } from "./reserve.ts";

export type { Move, PlanOptions } from "./draft.ts";
export { PLAN_DEFAULTS } from "./draft.ts";

/** A mended rule counts more than anything else. */
const MENDED = 10;
/** Then a host that is too busy. */
const RELIEVED = 5;

const SURVIVAL_LOOKS = 20;

interface Candidate {
  /** Where the machine is in the estate's list. */
  at: number;
  gain: number;
  to: number;
  broken: boolean;
  /** Its host is too busy. */
  hot: boolean;
}

/** The moves, in order; none: there is no useful move. */
export function planMoves(estate: Estate, options: PlanOptions): Move[] {
  const index = indexOf(estate);
  const draft = new Draft(estate, index, options.now);
  try {
    if (survivalOf(estate)?.faults().length) {
      // What is broken first, so that it finds the room; then what was reserved, before anything that only gains.
      lookAtAll(draft, options, true);
      while (draft.moves.length < options.maxMoves && restoreReserve(draft, options));
    }
    for (let found = true; found && draft.moves.length < options.maxMoves; )
      found = lookAtAll(draft, options) || emptyHosts(draft, options);
    return draft.moves;
  } finally {
    draft.takeBack();
  }
}

/** @param needed only rules are mended and hosts relieved @returns whether there was a useful move */
function lookAtAll(draft: Draft, options: PlanOptions, needed = false): boolean {
  const { estate, index, moves, moved } = draft;
  // The gain that each had when it was looked at; before it is taken, it is looked at again on what there is by then.
  const queue = new Heap<Candidate>((a, b) => b.gain - a.gain || a.at - b.at);
  for (const [at, machine] of index.machines.entries()) {
    if (moved.has(at) || !mayMove(estate, machine, options) || !draft.allows(machine)) continue;
    const candidate = consider(estate, index, at, options);
    if (candidate && (!needed || candidate.broken || candidate.hot)) queue.push(candidate);
  }
  let found = false;
  const survival = survivalOf(estate);
  // Whether the machine may take the room there that losses may need; of few hosts, the others are not tried.
  const survives = (at: number) => {
    let looks = SURVIVAL_LOOKS;
    return survival && ((h: number) => looks-- > 0 && !survival.ifMoved(at, index.hostOf(h)?.name ?? ""));
  };
  for (let next = queue.pop(); next && moves.length < options.maxMoves; next = queue.pop()) {
    if (!draft.allows(index.machines[next.at] as MachineView)) continue;
    let candidate = consider(estate, index, next.at, options);
    if (!candidate || (needed && !candidate.broken && !candidate.hot)) continue;
    if (candidate.gain < (queue.first?.gain ?? 0)) {
      queue.push(candidate);
      continue;
    }
    const machine = index.machines[candidate.at] as MachineView;
    const here = index.hosts.get(machine.host ?? "");
    if (
      survival &&
      !here?.maintenance &&
      survival.ifMoved(candidate.at, index.hostOf(candidate.to)?.name ?? "")
    ) {
      candidate = consider(estate, index, next.at, options, survives(next.at));
      if (!candidate) continue;
    }
    draft.make(
      candidate.at,
      index.hostOf(candidate.to) as HostView,
      here && whyAway(estate, machine, here, candidate),
    );
    found = true;
  }
  return found;
}

/** Why it leaves its host, when it is not for what it gains itself. */
function whyAway(
  estate: Estate,
  machine: MachineView,
  here: HostView,
  { broken, hot }: Candidate,
): string | undefined {
  if (broken)
    return here.maintenance
      ? `${here.name} is ${here.closed?.startsWith("it is ") ? here.closed.slice(6) : `to be left: ${here.closed}`}`
      : `on ${here.name} ${obstacle(estate, machine, here)}`;
  if (!hot) return undefined;
  const processors = processorsOf(here);
  const index = indexOf(estate);
  const expected = (index.expected(index.hostNumber(here.name)) * FULL) / 1000;
  return `${here.name} is too busy: its machines are expected to use ${expected.toFixed(1)} of ${processors} processors, this one ${(machine.use?.expected ?? 0).toFixed(1)}`;
}

/** The best move of a machine, if it may be moved (its host is to be empty, a rule is broken there, or it has been there long enough and the host is not cordoned) and gains enough. */
function consider(
  estate: Estate,
  index: EstateIndex,
  at: number,
  options: PlanOptions,
  survives?: (h: number) => boolean,
): Candidate | undefined {
  const machine = index.machines[at] as MachineView;
  const here = index.hosts.get(machine.host ?? "");
  // A host that is silent keeps its machines: nobody can move them, and they may well run.
  if (!here?.ready) return undefined;
  const seek = index.seek(machine);
  if (!seek?.now) return undefined;
  const { now } = seek;
  const special = isSpecial(machine);
  const broken = here.maintenance || !now.stays || (special && obstacle(estate, machine, here) !== undefined);
  if (!broken && (here.cordoned || !isSettled(estate, machine, options))) return undefined;
  const excess = broken || !machine.use ? 0 : index.excess(now.host);
  const hot = excess > 0;
  const floor = broken || hot ? Number.NEGATIVE_INFINITY : now.like + leastGain(estate, machine, options);
  const best = (must: boolean) => {
    const accept = acceptOf(estate, index, machine, options, must);
    // A host in maintenance is left, whatever that takes.
    const last =
      survives && !here.maintenance ? (h: number) => (!accept || accept(h)) && survives(h) : accept;
    return index.best(seek, floor, last);
  };
  const calm = best(false);
  const to = calm < 0 && broken ? best(true) : calm;
  if (to < 0) return undefined;
  const gain = index.liking(seek, to) - now.like;
  if (hot) {
    // One that is enough by itself goes before several, a small one before a large one.
    const relief = Math.min(1, busyOf(machine) / excess) - machine.memoryBytes / here.memoryBytes / 2;
    return { at, gain: RELIEVED + relief, to, broken, hot };
  }
  if (!broken) return { at, gain, to, broken, hot };
  // One that is enough by itself goes before several.
  return { at, gain: MENDED + gain + 2 * index.relief(at, now.host), to, broken, hot };
}
