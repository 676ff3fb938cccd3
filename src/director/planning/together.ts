/** Takes moves over into a plan that the solver found to be worth it together (regroup.ts): in an order in which every state between is allowed, rid of those that bring less than they cost, and only some of them when all are too much. Pure. */
import type { HostView, MachineView } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import { whoSays } from "../estate/goals.ts";
import type { Seek } from "../estate/likings.ts";
import { survivalOf } from "../failover/failover.ts";
import { policiesOf } from "../rules/rules.ts";
import { acceptOf, type Draft, leastGain, moveCost, type PlanOptions, whyAway } from "./draft.ts";
import { hasToLeave, MENDED } from "./part.ts";

/** Moves of a group that it is tried without. */
const DOUBTS = 48;
/** Moves that are tried with a few of their group only, when all of it is too much. */
const TRIES = 24;
/** Moves of such a few. */
const FEW = 16;

export interface Wanted {
  at: number;
  to: number;
}

interface Step {
  /** Where the machine is in the estate's list. */
  at: number;
  to: number;
  /** In scores. */
  gain: number;
  /** The part of it that is for a host that is empty then. */
  freed: number;
  /** What it has to gain. */
  cost: number;
  must: boolean;
}

/** What a move of the machine has to gain, when it does not leave a host empty together with others. */
export function costOf(
  { estate, index }: Draft,
  at: number,
  options: PlanOptions,
  must = hasToLeave(index, index.machines[at] as MachineView),
): number {
  const machine = index.machines[at] as MachineView;
  return must ? options.threshold : leastGain(estate, machine, options);
}

/** The same when it leaves a host empty together with others: what a host needs when it does nothing does not change with what is measured. */
export const emptyingCost = ({ estate, index }: Draft, at: number, options: PlanOptions): number =>
  options.threshold + moveCost(estate, index.machines[at] as MachineView, options);

const brings = ({ gain, cost }: Step) => gain >= cost;

/** Makes those of the moves that are worth it together. @returns whether there are any */
export function take(draft: Draft, wanted: readonly Wanted[], options: PlanOptions): boolean {
  const left = () => options.maxMoves - draft.moves.length;
  // So many more than may be made that without what is there for nothing they are too many all the same.
  const all =
    wanted.length > left() + DOUBTS ? attempt(draft, wanted, options) : worthy(draft, wanted, options);
  if (!all) return false;
  if (isFine(draft, all, options)) {
    make(draft, all.steps);
    return true;
  }
  // Too many, more than policies let move, or too dear: some of them may do, each with those that it may need.
  const made = new Set<number>();
  const heads = all.steps
    .filter(brings)
    .sort((a, b) => Number(b.must) - Number(a.must) || b.gain - a.gain)
    .slice(0, TRIES);
  for (const head of heads) {
    if (left() <= 0) break;
    if (made.has(head.at)) continue;
    const near = nearest(
      draft,
      head,
      all.steps.filter(({ at }) => !made.has(at)),
    );
    for (let size = 1; size <= FEW && size < 2 * near.length && size < 2 * left(); size *= 2) {
      const few = worthy(draft, allowed(draft, near.slice(0, size), options), options);
      if (!few?.steps.some(({ at }) => at === head.at) || !isFine(draft, few, options)) continue;
      make(draft, few.steps);
      for (const { at } of few.steps) made.add(at);
      break;
    }
  }
  return made.size > 0;
}

interface Attempt {
  steps: Step[];
  /** What they gain beyond what they cost. */
  net: number;
}

/** Without those that are there for nothing; undefined: none brings what a move costs, so several do not either. */
function worthy(draft: Draft, wanted: readonly Wanted[], options: PlanOptions): Attempt | undefined {
  let best = attempt(draft, wanted, options);
  if (!best.steps.some(brings)) return undefined;
  const tryWithout = (some: ReadonlySet<number>) => {
    const others = best.steps.filter(({ at }) => !some.has(at));
    if (others.length === best.steps.length) return;
    const without = attempt(draft, others, options);
    // Of nothing that brings something no part could be tried, in another order (take).
    if (without.net >= best.net - 1e-9 && without.steps.some(brings)) best = without;
  };
  // Those that no other needs, all at once.
  tryWithout(idle(draft, best.steps));
  for (const some of doubts(draft, best.steps).slice(0, DOUBTS)) tryWithout(some);
  return best;
}

/** Those that bring less than they cost, make room for no other and leave no host empty together. */
function idle({ index }: Draft, steps: readonly Step[]): Set<number> {
  const needed = new Set([...emptiedBy(index, steps).keys(), ...steps.map(({ to }) => to)]);
  return new Set(
    steps
      .filter((step) => !brings(step) && !needed.has(index.state.at[step.at] as number))
      .map(({ at }) => at),
  );
}

/** Moves that may be better left out, the worst first: those that bring less than they cost also with what it is worth that their host is empty, and all of a host that bring less together. */
function doubts({ index }: Draft, steps: readonly Step[]): Set<number>[] {
  const emptied = emptiedBy(index, steps);
  const found: { some: Set<number>; net: number }[] = [];
  for (const [h, own] of Map.groupBy(steps, ({ at }) => index.state.at[at] as number)) {
    const saved = emptied.has(h) ? openingOf(index, h) : 0;
    let all = 0;
    for (const { at, gain, freed, cost } of own) {
      all += gain - cost;
      const net = gain - freed + Math.max(saved, freed) - cost;
      if (net < 0) found.push({ some: new Set([at]), net });
    }
    if (saved > 0 && all < 0) found.push({ some: new Set(own.map(({ at }) => at)), net: all });
  }
  return found.sort((a, b) => a.net - b.net).map(({ some }) => some);
}

/** Whether all of them may be made now, and are worth it. */
function isFine(draft: Draft, { steps, net }: Attempt, { maxMoves }: PlanOptions): boolean {
  return (
    steps.length > 0 &&
    net >= 0 &&
    draft.moves.length + steps.length <= maxMoves &&
    draft.allows(...steps.map(({ at }) => draft.index.machines[at] as MachineView))
  );
}

/** The first of them that may be made together. */
function allowed(draft: Draft, wanted: readonly Wanted[], { maxMoves }: PlanOptions): Wanted[] {
  const some: Wanted[] = [];
  const machines: MachineView[] = [];
  for (const next of wanted) {
    const machine = draft.index.machines[next.at] as MachineView;
    if (draft.moves.length + some.length >= maxMoves) break;
    if (!draft.allows(...machines, machine)) continue;
    some.push(next);
    machines.push(machine);
  }
  return some;
}

/** A move, those that make room where it goes and that leave its host with it, then those that do so for these. */
function nearest({ index }: Draft, head: Step, steps: readonly Step[]): Step[] {
  const leaving = Map.groupBy(steps, ({ at }) => index.state.at[at] as number);
  const near = new Set([head]);
  for (const { at, to } of near)
    for (const h of [to, index.state.at[at] as number])
      for (const step of leaving.get(h) ?? []) near.add(step);
  return [...near];
}

function make(draft: Draft, steps: readonly Step[]): void {
  const { index } = draft;
  const words = wordsOf(draft, steps);
  for (const [i, { at, to, must }] of steps.entries()) {
    const machine = index.machines[at] as MachineView;
    const here = index.hosts.get(machine.host ?? "");
    const why = must && here ? whyAway(draft.estate, machine, here, { broken: true, hot: false }) : words[i];
    draft.make(at, index.hostOf(to) as HostView, must, why);
  }
}

/** The moves in an order in which each is allowed after those before it, but for those that never are, and what they gain beyond what they cost; the estate stays as it is. */
function attempt(draft: Draft, wanted: readonly Wanted[], options: PlanOptions): Attempt {
  const { estate, index } = draft;
  const steps: Step[] = [];
  const before: MachineView[] = [];
  const survival = survivalOf(estate);
  const { itemsOn } = index.state;
  const opening = new Map<number, number>();
  for (const { at } of wanted) {
    const h = index.state.at[at] as number;
    if (!opening.has(h)) opening.set(h, openingOf(index, h));
  }
  let pending = [...wanted];
  for (let made = -1; made < steps.length && pending.length > 0; ) {
    made = steps.length;
    const left: Wanted[] = [];
    for (const next of pending) {
      const { at, to } = next;
      const machine = index.machines[at] as MachineView;
      const here = index.hosts.get(machine.host ?? "");
      const seek = index.likings.seekAt(at, machine);
      const must = hasToLeave(index, machine, seek);
      const accept = acceptOf(estate, index, machine, options, must);
      if (
        !seek.now ||
        !index.shelves.admits(seek.want, to) ||
        (accept && !accept(to)) ||
        (survival && !here?.maintenance && survival.ifMoved(at, index.hostOf(to)?.name ?? ""))
      ) {
        left.push(next);
        continue;
      }
      const from = seek.now.host;
      const freed = itemsOn[from] === 1 ? (opening.get(from) ?? 0) : 0;
      const gain = placeGain(index, seek, to) + (must ? MENDED : 0) + freed;
      steps.push({ at, to, gain, freed, must, cost: costOf(draft, at, options, must) });
      before.push(machine);
      index.move(machine.key, index.hostOf(to)?.name ?? "");
    }
    pending = left;
  }
  for (const [i, { at }] of [...steps.entries()].reverse()) index.restore(at, before[i] as MachineView);
  const emptied = emptiedBy(index, steps);
  let net = 0;
  for (const step of steps) {
    if (emptied.has(index.state.at[step.at] as number)) step.cost = emptyingCost(draft, step.at, options);
    net += step.gain - step.cost;
  }
  return { steps, net };
}

/** How much better the machine likes it there, apart from what it means that one of the hosts is empty without it. */
function placeGain(index: EstateIndex, { want, now }: Seek, to: number): number {
  const { shelves } = index;
  const { kind, dearest } = index.likings.tasteOf(want.item);
  const from = now?.host ?? to;
  const there = index.likings.likeOf(kind, want.item, to, dearest);
  const here = index.likings.usedLikeOf(want.item, from);
  return there - here + want.room * (shelves.roomWith(want, to) - shelves.roomWith(want, from));
}

/** What it is worth that the host is empty, in scores: as its machines have it on average. */
export function openingOf(index: EstateIndex, h: number): number {
  const k = index.kindOfHost(h);
  let sum = 0;
  let count = 0;
  for (let item = index.state.first[h] as number; item >= 0; item = index.state.next[item] as number) {
    if (item >= index.machines.length) continue;
    const { kind, dearest } = index.likings.tasteOf(item);
    sum += kind.openingOf(k, dearest);
    count++;
  }
  return count === 0 ? 0 : sum / count;
}

/** Hosts that several of the moves leave empty together, with how many. */
function emptiedBy({ state }: EstateIndex, steps: readonly Step[]): Map<number, number> {
  const leave = new Map<number, number>();
  for (const { at } of steps) {
    const h = state.at[at] as number;
    leave.set(h, (leave.get(h) ?? 0) + 1);
  }
  const filled = new Set(steps.map(({ to }) => to));
  return new Map(
    [...leave].filter(([h, count]) => count > 1 && count === (state.itemsOn[h] as number) && !filled.has(h)),
  );
}

/** What each is for; undefined: for what it gains itself. */
function wordsOf(draft: Draft, steps: readonly Step[]): (string | undefined)[] {
  const { estate, index } = draft;
  const from = steps.map(({ at }) => index.state.at[at] as number);
  const emptied = emptiedBy(index, steps);
  return steps.map((step, i) => {
    const { at } = step;
    const h = from[i] as number;
    const host = index.hostOf(h) as HostView;
    const machine = index.machines[at] as MachineView;
    const [policy] = policiesOf(estate, machine);
    const count = emptied.get(h);
    if (count !== undefined) {
      const saved = host.idleWatts === undefined ? "watts unknown" : `${Math.round(host.idleWatts)} W less`;
      return `${whoSays(policy, index.aimOf(policy))}: ${count} moves leave ${host.name} empty, ${saved}`;
    }
    if (brings(step)) return undefined;
    const comes = steps.slice(i + 1).find(({ to }) => to === h);
    const other = comes && index.machines[comes.at];
    return other ? `makes room on ${host.name} for ${other.name}` : undefined;
  });
}
