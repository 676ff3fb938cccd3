/**
 * A look at all machines for the best single moves. To find a machine's best host takes long beside telling that none can be much better than its own: in an estate of a hundred thousand machines only
 * those are asked which might gain the most (solver/descend.ts), and which may have to leave their host. Pure.
 */

import type { HostView, MachineView } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import type { Seek } from "../estate/likings.ts";
import { survivalOf } from "../failover/failover.ts";
import { isSpecial, obstacle } from "../rules/rules.ts";
import { descend, type Shift } from "../solver/descend.ts";
import {
  acceptOf,
  type Draft,
  isSettled,
  leastBesides,
  leastGain,
  mayMove,
  moveCost,
  type PlanOptions,
  whyAway,
} from "./draft.ts";
import { MENDED } from "./part.ts";
import { bestIn, type Wish } from "./regroup.ts";

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

/** What is added up in another order may differ by less. */
const ROUNDING = 1e-8;

export interface Look {
  /** Whether there was a useful move. */
  found: boolean;
  /** Who would move if there were room, when no move was found. */
  wishes: () => Wish[];
}

/** @param needed only rules are mended and hosts relieved */
export function lookAtAll(draft: Draft, options: PlanOptions, needed = false): Look {
  const { estate, index, moves } = draft;
  const survival = survivalOf(estate);
  /** Of machines that were asked. */
  const wishes: Wish[] = [];
  /** By machine, 1: it need not leave its host. */
  const calm = new Uint8Array(index.machines.length);
  /** Of these, those that have a better one. */
  const better = new Set<number>();
  function* first(): Generator<Candidate> {
    for (const { at, gain, must } of prospects(draft, options)) {
      if (!must) {
        if (needed) continue;
        calm[at] = 1;
        const machine = index.machines[at] as MachineView;
        if (gain < leastBesides(index, machine, index.policiesAt(at)[0], options)) continue;
      }
      yield { item: at, gain, to: -1, broken: false, hot: false };
    }
  }
  /** Hosts that are liked better than they were: machines left them, or the first came. */
  const fresh = new Set<number>();
  // Its gain before it is taken, on what there is by then.
  const again = (at: number): Candidate | undefined => {
    if (!draft.allowsAt(at)) return undefined;
    const candidate = consider(draft, at, options, undefined, calm[at] === 1 ? undefined : wishes);
    if (!candidate) return undefined;
    better.add(at);
    // Who gains by what others left alone waits for the next look, which asks all that might: another may gain more.
    const must = candidate.broken || candidate.hot;
    if (
      calm[at] === 1 &&
      !must &&
      fresh.has(candidate.to) &&
      !consider(draft, at, options, (h) => !fresh.has(h))
    )
      return undefined;
    return !needed || must ? candidate : undefined;
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
    fresh.add(index.state.at[candidate.item] as number);
    if ((index.state.itemsOn[candidate.to] as number) === 0) fresh.add(candidate.to);
    draft.make(
      candidate.item,
      index.hostOf(candidate.to) as HostView,
      candidate.broken || candidate.hot,
      here &&
        (whyAway(estate, machine, here, candidate) ??
          (here.emptied ? `${here.name} is emptied for its wake test` : undefined)),
    );
    return true;
  };
  const found = descend(first(), again, make, () => moves.length >= options.maxMoves);
  return {
    found,
    wishes: () => {
      for (const at of index.machines.keys())
        if (calm[at] === 1 && !better.has(at) && wouldBeMoved(draft, at, options))
          wishes.push({ at, must: false });
      return wishes.sort((a, b) => a.at - b.at);
    },
  };
}

export interface Prospect {
  at: number;
  /** What it gains by a move at most. */
  gain: number;
  /** It may have to leave its host. */
  must: boolean;
}

/** Of a host's machines: none is moved; all are to leave; only those that must; those that may; those that relieve it; any that gains. */
type Standing = "silent" | "left" | "cordoned" | "emptied" | "hot" | "calm";

function standingOf(index: EstateIndex, h: number): Standing {
  const host = index.hostOf(h);
  if (!host?.ready) return "silent";
  if (host.maintenance) return "left";
  if (host.cordoned) return "cordoned";
  if (host.emptied) return "emptied";
  return index.load.heat(h) ? "hot" : "calm";
}

/** The machines that may be moved, as things are: of what changes after that nothing is known. */
export function* prospects(draft: Draft, options: PlanOptions): Generator<Prospect> {
  const { index, moved } = draft;
  const { at: hostAt } = index.state;
  const standings: (Standing | undefined)[] = [];
  for (const [at, machine] of index.machines.entries()) {
    const h = hostAt[at] as number;
    if (h < 0 || moved.has(at) || !mayMove(index, at, options) || !draft.allowsAt(at)) continue;
    const standing = standings[h] ?? standingOf(index, h);
    standings[h] = standing;
    if (standing === "silent") continue;
    const must = standing === "left" || isSpecial(machine) || !index.likings.staysAt(at, h);
    if (!must && (standing === "cordoned" || !isSettled(index, at, options))) continue;
    const gain = index.likings.mostGain(at, h) + ROUNDING;
    const cooled = standing === "hot" && !must ? cooledBy(index, at, h) : 0;
    if (must) yield { at, gain: gain + MENDED + 2 * index.load.relief(at, h), must };
    else if (standing === "emptied") yield { at, gain: gain + RELIEVED, must: true };
    else if (cooled > 0)
      yield { at, gain: reliefGain(machine, index.hostOf(h) as HostView, cooled), must: true };
    else yield { at, gain, must };
  }
}

/** How much of what is too much on its host it takes with it. */
function cooledBy({ load, machines }: EstateIndex, at: number, h: number): number {
  const heat = load.heat(h);
  return heat ? load.cools(at, machines[at] as MachineView, heat) : 0;
}

/** One that is enough by itself goes before several, a small one before a large one. */
function reliefGain(machine: MachineView, here: HostView, cooled: number): number {
  const last = machine.latencySensitivity === "high" ? SENSITIVE_LAST : 0;
  return RELIEVED + cooled - machine.memoryBytes / here.memoryBytes / 2 - last;
}

/** The best move of a machine, if it may be moved (its host is to be empty, a rule is broken there, or it has been there long enough and the host is not cordoned) and gains enough. */
export function consider(
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
  const cooled = broken || emptied ? 0 : cooledBy(index, at, now.host);
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
  if (hot) return { item: at, gain: reliefGain(machine, here, cooled), to, broken, hot };
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

/** The same of one that need not leave its host. */
function wouldBeMoved({ estate, index }: Draft, at: number, options: PlanOptions): boolean {
  const machine = index.machines[at] as MachineView;
  const gain = bestIn(index, at) - index.likings.usedLikeOf(at, index.state.at[at] as number);
  if (gain < leastBesides(index, machine, index.policiesAt(at)[0], options)) return false;
  return gain >= leastGain(estate, machine, options);
}
