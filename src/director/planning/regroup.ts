/**
 * Moves that are worth it only together, which no single one is: a host is emptied and the watts with it that it needs when it does nothing; others make room for a machine that has to leave its host, or
 * that likes one much better which is full. They are sought by the solver's annealing (solver/anneal.ts) on the part of the estate where something is to be had (part.ts); what it finds is taken apart into
 * moves that hang together, put in an order in which every state between is allowed, and rid of moves that bring less than they cost. Pure.
 */
import type { HostView, MachineView } from "../estate/estate.ts";
import type { EstateIndex, Seek } from "../estate/estate-index.ts";
import { survivalOf } from "../failover/failover.ts";
import { isSpecial, policiesOf } from "../rules/rules.ts";
import { anneal, temper } from "../solver/anneal.ts";
import { State } from "../solver/state.ts";
import { acceptOf, type Draft, isSettled, leastGain, mayMove, type PlanOptions, whyAway } from "./draft.ts";
import { whoSays } from "./goals.ts";
import { isStuck, MENDED, partOf } from "./part.ts";

/** Hosts of a part at most; so many of them for what is sought there. */
const HOSTS = 192;
const SEEDS = 64;
/** Of a kind that a machine likes best so many hosts come along, and of so many kinds. */
const HOSTS_A_KIND = 8;
const KINDS = 3;
/** Parts that are looked at in a plan: each takes about a tenth of a second at most. */
export const PARTS = 3;
/** Proposals for each machine, and in all. */
const EACH = 60;
const MOST = 60_000;
const SEED = 1;
/** Moves of a group that it is tried without. */
const DOUBTS = 48;
/** Moves that are tried with a few of their group only, when all of it is too much. */
const TRIES = 24;

/** A machine that would move if there were room. */
export interface Wish {
  at: number;
  /** It has to. */
  must: boolean;
}

interface Step {
  /** Where the machine is in the estate's list. */
  at: number;
  to: number;
  /** In scores. */
  gain: number;
  /** What it has to gain. */
  cost: number;
  must: boolean;
}

/** Of a whole plan. */
export interface Parts {
  /** That may be looked at yet. */
  left: number;
  /** In which there was something to be sought. */
  annealed: number;
}

/** @param wishes of machines for which no move alone was found @returns whether there were such moves */
export function regroup(draft: Draft, wishes: readonly Wish[], options: PlanOptions, parts: Parts): boolean {
  const { index } = draft;
  if (parts.left <= 0) return false;
  const seeds = seedsOf(draft, wishes, options);
  if (seeds.length === 0) return false;
  const whole = index.hosts.size <= HOSTS;
  const all = whole ? 1 : Math.ceil(seeds.length / SEEDS);
  let found = false;
  for (let n = 0; n < all && parts.left > 0 && draft.moves.length < options.maxMoves; n++) {
    parts.left--;
    const begin = turnOf(n, all, options.now) * SEEDS;
    const own = Array.from(
      { length: Math.min(SEEDS, seeds.length) },
      (_, i) => seeds[(begin + i) % seeds.length] as number,
    );
    const hosts = whole ? Array.from({ length: index.hosts.size }, (_, h) => h) : around(draft, own);
    const groups = sought(draft, hosts, options);
    if (groups) parts.annealed++;
    for (const moves of groups ?? []) if (take(draft, moves, options)) found = true;
  }
  return found;
}

/** Which part comes as the nth: the first one always, of the others other ones each minute. */
export const turnOf = (n: number, all: number, now: number): number =>
  n === 0 ? 0 : 1 + ((Math.floor(now / 60_000) + n - 1) % (all - 1));

/** Hosts of machines that wish to move, those that must first, and hosts that may be worth emptying, those with the fewest machines first. */
function seedsOf(draft: Draft, wishes: readonly Wish[], options: PlanOptions): number[] {
  const { index } = draft;
  const hostOf = ({ at }: Wish) => index.state.at[at] as number;
  const musts = wishes.filter(({ must }) => must).map(hostOf);
  const others = wishes.filter(({ must }) => !must).map(hostOf);
  const { itemsOn } = index.state;
  const light = [...index.hosts.keys()]
    .map((_, h) => h)
    .filter((h) => isWorthEmptying(draft, h, options))
    .sort((a, b) => (itemsOn[a] as number) - (itemsOn[b] as number) || a - b);
  return [...new Set([...musts, ...light, ...others])];
}

/** At best, when all its machines find a host that they like as much as any. */
function isWorthEmptying(draft: Draft, h: number, options: PlanOptions): boolean {
  const { estate, index } = draft;
  const host = index.hostOf(h);
  const count = index.state.itemsOn[h] as number;
  if (!host?.ready || host.cordoned || count < 2 || count > MOST_AT_ONCE) return false;
  let gain = 0;
  const saved = openingOf(index, h);
  for (let item = index.state.first[h] as number; item >= 0; item = index.state.next[item] as number) {
    const machine = index.machines[item];
    if (!machine) return false;
    const { kind, dearest } = index.tasteOf(item);
    gain += Math.max(0, bestIn(index, item) - kind.likeOf(index.kindOfHost(h), true, dearest));
  }
  if (saved + gain < options.threshold * count) return false;
  return index.machinesOn(host.name).every((at) => {
    const machine = index.machines[at] as MachineView;
    return isFree(draft, at, options) && isSettled(estate, machine, options);
  });
}

/** With more machines the idle watts of their host are never worth the moves. */
const MOST_AT_ONCE = 12;

/** How well a machine likes the kind of host that it likes best, of those in use, apart from room. */
export function bestIn(index: EstateIndex, at: number): number {
  const { likes, order } = index.tasteOf(at);
  for (const shelf of order)
    if (shelf % 2 === 1 && (index.shelves.count[shelf] as number) > 0) return likes[shelf] as number;
  return Number.NEGATIVE_INFINITY;
}

/** Whether a plan may move it now, and its costs are known to the part. */
function isFree(draft: Draft, at: number, options: PlanOptions): boolean {
  const { estate, index, moved } = draft;
  const machine = index.machines[at] as MachineView;
  const here = index.hosts.get(machine.host ?? "");
  if (!here?.ready || moved.has(at) || !mayMove(estate, machine, options) || isSpecial(machine)) return false;
  if (!draft.allows(machine)) return false;
  if (isStuck(index, machine)) return true;
  if (index.tasteOf(at).kind.aboutLicences) return false;
  return !here.cordoned && isSettled(estate, machine, options);
}

/** Some hosts, and those that their machines like best: in use and with most room. */
function around({ index }: Draft, seeds: readonly number[]): number[] {
  const { itemsOn, free } = index.state;
  const { resources, capacity } = index.state.model;
  const room = (h: number) => (free[h * resources + 1] as number) / (capacity[h * resources + 1] as number);
  const byKind = Map.groupBy(
    Array.from({ length: index.hosts.size }, (_, h) => h).filter(
      (h) => (itemsOn[h] as number) > 0 && index.shelves.isOpen(h),
    ),
    (h) => index.kindOfHost(h),
  );
  for (const list of byKind.values()) list.sort((a, b) => room(b) - room(a) || a - b);
  const chosen = new Set(seeds);
  for (const h of seeds)
    for (const at of index.machinesOn(index.hostOf(h)?.name ?? "")) {
      if (chosen.size >= HOSTS) return [...chosen];
      const kinds = new Set([...index.tasteOf(at).order].map((shelf) => shelf >> 1));
      for (const k of [...kinds].slice(0, KINDS))
        for (const other of byKind.get(k)?.slice(0, HOSTS_A_KIND) ?? []) chosen.add(other);
    }
  return [...chosen].slice(0, HOSTS);
}

interface Wanted {
  at: number;
  to: number;
}

/** Where the solver would have machines, as moves that have no host in common with the others; undefined: nothing there may be moved. */
function sought(draft: Draft, hosts: readonly number[], options: PlanOptions): Wanted[][] | undefined {
  const { index } = draft;
  const part = partOf(index, {
    hosts,
    isFree: (at) => isFree(draft, at, options),
    mustLeave: (at) => isStuck(index, index.machines[at] as MachineView),
    moveCost: (at) =>
      // What it is worth that a host is empty is told afterwards.
      (index.state.itemsOn[index.state.at[at] as number] as number) <= MOST_AT_ONCE
        ? options.threshold
        : costOf(draft, at, options),
  });
  if (!part) return undefined;
  const { model, machine, host } = part;
  const free = machine.reduce((sum, at) => sum + (at < 0 ? 0 : 1), 0);
  const state = new State(model);
  const steps = Math.min(MOST, 512 + free * EACH);
  const hard = pricesUnpayable(temper(state, SEED, { steps }));
  const target = anneal(state, hard);
  const groupOf = new Int32Array(model.hosts).map((_, h) => h);
  const root = (h: number): number => {
    let at = h;
    while (groupOf[at] !== at) at = groupOf[at] as number;
    return at;
  };
  const moves: { item: number; from: number; to: number }[] = [];
  for (const [item, to] of target.entries()) {
    const from = model.home[item] as number;
    if (from === to) continue;
    moves.push({ item, from, to });
    groupOf[root(from)] = root(to);
  }
  const groups = Map.groupBy(moves, ({ from }) => root(from));
  return [...groups.values()].map((group) =>
    group.map(({ item, to }) => ({ at: machine[item] as number, to: host[to] as number })),
  );
}

/** Nothing is put where there is no room, not even on the way. */
const pricesUnpayable = <O extends { priceHot: number; priceCold: number }>(options: O): O => ({
  ...options,
  priceHot: 1e6,
  priceCold: 1e6,
});

/** What a move of the machine has to gain, when it does not leave a host empty together with others. */
function costOf({ estate, index }: Draft, at: number, options: PlanOptions): number {
  const machine = index.machines[at] as MachineView;
  return isStuck(index, machine) ? options.threshold : leastGain(estate, machine, options);
}

const brings = ({ gain, cost }: Step) => gain >= cost;

/** Makes those of the moves that are worth it together. @returns whether there are any */
function take(draft: Draft, wanted: readonly Wanted[], options: PlanOptions): boolean {
  const all = worthy(draft, wanted, options);
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
    if (made.has(head.at)) continue;
    const near = nearest(
      draft,
      head,
      all.steps.filter(({ at }) => !made.has(at)),
    );
    for (let size = 1; size < 2 * near.length; size *= 2) {
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
  // Those that bring less are there for others, or for nothing.
  for (const step of best.steps
    .filter((each) => !brings(each))
    .sort((a, b) => a.gain - b.gain)
    .slice(0, DOUBTS)) {
    const others = attempt(
      draft,
      best.steps.filter(({ at }) => at !== step.at),
      options,
    );
    if (others.net >= best.net - 1e-9) best = others;
  }
  return best;
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
    draft.make(at, index.hostOf(to) as HostView, why);
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
      const must = isStuck(index, machine);
      const seek = index.seek(machine);
      const accept = acceptOf(estate, index, machine, options, must);
      if (
        !seek?.now ||
        !index.shelves.admits(seek.want, to) ||
        (accept && !accept(to)) ||
        (survival && !here?.maintenance && survival.ifMoved(at, index.hostOf(to)?.name ?? ""))
      ) {
        left.push(next);
        continue;
      }
      const from = seek.now.host;
      const gain =
        placeGain(index, seek, to) +
        (must ? MENDED : 0) +
        (itemsOn[from] === 1 ? (opening.get(from) ?? 0) : 0);
      steps.push({ at, to, gain, must, cost: costOf(draft, at, options) });
      before.push(machine);
      index.move(machine.key, index.hostOf(to)?.name ?? "");
    }
    pending = left;
  }
  for (const [i, { at }] of [...steps.entries()].reverse()) index.restore(at, before[i] as MachineView);
  const emptied = emptiedBy(index, steps);
  let net = 0;
  for (const step of steps) {
    // What a host needs when it does nothing does not change with what is measured.
    if (emptied.has(index.state.at[step.at] as number)) step.cost = options.threshold;
    net += step.gain - step.cost;
  }
  return { steps, net };
}

/** How much better the machine likes it there, apart from what it means that one of the hosts is empty without it. */
function placeGain(index: EstateIndex, { want, now }: Seek, to: number): number {
  const { shelves } = index;
  const { kind, dearest, likes } = index.tasteOf(want.item);
  const from = now?.host ?? to;
  const there = likes[2 * index.kindOfHost(to) + (index.state.itemsOn[to] === 0 ? 0 : 1)] as number;
  const here = kind.likeOf(index.kindOfHost(from), true, dearest);
  return there - here + want.room * (shelves.roomWith(want, to) - shelves.roomWith(want, from));
}

/** What it is worth that the host is empty, in scores: as its machines have it on average. */
function openingOf(index: EstateIndex, h: number): number {
  const k = index.kindOfHost(h);
  let sum = 0;
  let count = 0;
  for (let item = index.state.first[h] as number; item >= 0; item = index.state.next[item] as number) {
    if (item >= index.machines.length) continue;
    const { kind, dearest } = index.tasteOf(item);
    sum += kind.likeOf(k, true, dearest) - kind.likeOf(k, false, dearest);
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
