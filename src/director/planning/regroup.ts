/**
 * Moves that are worth it only together, which no single one is: a host is emptied and the watts with it that it needs when it does nothing; others make room for a machine that has to leave its host, or
 * that likes one much better which is full. They are sought by the solver's annealing (solver/anneal.ts) on the part of the estate where something is to be had (part.ts); what it finds is taken apart into
 * moves that hang together (together.ts takes them over). Pure.
 */
import type { MachineView } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import { isSpecial } from "../rules/rules.ts";
import { anneal, temper } from "../solver/anneal.ts";
import { MOST_CLEARED } from "../solver/clear.ts";
import { add, costOfPlace } from "../solver/model.ts";
import { State } from "../solver/state.ts";
import { type Draft, isSettled, mayMove, type PlanOptions } from "./draft.ts";
import { type Freedom, hasToLeave, type Part, partOf } from "./part.ts";
import { costOf, emptyingCost, openingOf, take, type Wanted } from "./together.ts";

/** Hosts of a part at most; so many of them for what is sought there. */
const HOSTS = 192;
const SEEDS = 64;
/** Of a kind that a machine likes best so many hosts come along, and of so many kinds. */
const HOSTS_A_KIND = 8;
const KINDS = 3;
/** Parts that are looked at in a plan: each takes some hundredths of a second. */
export const PARTS = 3;
/** Proposals for each machine, and in all: with four times as many nothing better was found, on estates with much room and with hardly any. */
const EACH = 60;
const MOST = 16_000;
const SEED = 1;

/** A machine that would move if there were room. */
export interface Wish {
  at: number;
  /** It has to. */
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
  const seeds = new Seeds(draft, wishes, options);
  const whole = index.hosts.size <= HOSTS;
  const first = seeds.from(0);
  const all = whole ? 1 : seeds.windows();
  let found = false;
  for (let n = 0; n < all && parts.left > 0 && draft.moves.length < options.maxMoves; n++) {
    const own = n === 0 ? first : seeds.from(turnOf(n, all, options.now));
    if (own.length === 0) break;
    parts.left--;
    const hosts = whole ? Array.from({ length: index.hosts.size }, (_, h) => h) : around(draft, own);
    const groups = sought(draft, hosts, options);
    if (groups) parts.annealed++;
    for (const moves of groups ?? []) {
      if (draft.moves.length >= options.maxMoves) break;
      if (take(draft, moves, options)) found = true;
    }
  }
  return found;
}

/** Which part comes as the nth: the first one always, of the others other ones each minute. */
export const turnOf = (n: number, all: number, now: number): number =>
  n === 0 ? 0 : 1 + ((Math.floor(now / 60_000) + n - 1) % (all - 1));

/** What parts are around: hosts of machines that have to leave them, then hosts that may be worth emptying, those with the fewest machines first, then hosts of machines that would like to move. Each is in one part of a plan at most. */
class Seeds {
  private readonly hosts: readonly number[];
  /** Where those are that are asked whether they are worth emptying when it comes to them: there may be ten thousand. */
  private readonly asked: { from: number; to: number };
  private readonly isWorth: (h: number) => boolean;
  private readonly taken = new Set<number>();
  private readonly refused = new Set<number>();
  /** How far it came for the first part: so far parts are apart. */
  private window = SEEDS;

  constructor(draft: Draft, wishes: readonly Wish[], options: PlanOptions) {
    const { index } = draft;
    const { itemsOn, at } = index.state;
    const hostsOf = (must: boolean) =>
      new Set(wishes.filter((wish) => wish.must === must).map((wish) => at[wish.at] as number));
    const [musts, others] = [hostsOf(true), hostsOf(false)];
    const bySize: number[][] = Array.from({ length: MOST_CLEARED + 1 }, () => []);
    for (let h = 0; h < index.hosts.size; h++) bySize[itemsOn[h] as number]?.push(h);
    // Of one machine it is known already that it does not move alone.
    const light = bySize.slice(2).flat();
    this.hosts = [...musts, ...light, ...others];
    this.asked = { from: musts.size, to: musts.size + light.length };
    this.isWorth = (h) => isWorthEmptying(draft, h, options);
  }

  /** How many parts there are. */
  windows(): number {
    return Math.ceil(this.hosts.length / this.window);
  }

  /** @param turn which part @returns its hosts; none: there are no more */
  from(turn: number): number[] {
    const { hosts, asked, taken, refused } = this;
    const found: number[] = [];
    let n = 0;
    for (; n < hosts.length && found.length < SEEDS; n++) {
      const i = (turn * this.window + n) % hosts.length;
      const h = hosts[i] as number;
      if (taken.has(h)) continue;
      if (i >= asked.from && i < asked.to) {
        if (refused.has(h)) continue;
        if (!this.isWorth(h)) {
          refused.add(h);
          continue;
        }
      }
      taken.add(h);
      found.push(h);
    }
    if (turn === 0) this.window = Math.max(SEEDS, n);
    return found;
  }
}

/** At best, when all its machines find a host that they like as much as any. */
function isWorthEmptying(draft: Draft, h: number, options: PlanOptions): boolean {
  const { index } = draft;
  const host = index.hostOf(h);
  const count = index.state.itemsOn[h] as number;
  if (!host?.ready || host.cordoned || count < 2 || count > MOST_CLEARED) return false;
  const { first, next } = index.state;
  let short = options.threshold * count - openingOf(index, h);
  for (let item = first[h] as number; item >= 0 && short > 0; item = next[item] as number)
    if (item < index.machines.length)
      short -= Math.max(0, bestIn(index, item) - index.likings.usedLikeOf(item, h));
  if (short > 0) return false;
  for (let item = first[h] as number; item >= 0; item = next[item] as number)
    if (
      item >= index.machines.length ||
      !isSettled(index, item, options) ||
      freedomOf(draft, item, options) === "stays"
    )
      return false;
  return true;
}

/** How well a machine likes the kind of host that it likes best, of those in use, apart from room. */
export function bestIn(index: EstateIndex, at: number): number {
  const { likes, order } = index.likings.tasteOf(at);
  for (const shelf of order)
    if (shelf % 2 === 1 && (index.shelves.count[shelf] as number) > 0) return likes[shelf] as number;
  return Number.NEGATIVE_INFINITY;
}

/** Whether a plan may move it now, and its costs are known to the part. */
function freedomOf(draft: Draft, at: number, options: PlanOptions): Freedom {
  const { index, moved } = draft;
  const machine = index.machines[at] as MachineView;
  const here = index.hostOf(index.state.at[at] as number);
  if (!here?.ready || moved.has(at) || !mayMove(index, at, options) || isSpecial(machine)) return "stays";
  if (!draft.allows(machine)) return "stays";
  if (hasToLeave(index, machine)) return "must";
  if (here.cordoned || !isSettled(index, at, options)) return "stays";
  return index.likings.tasteOf(at).kind.aboutLicences ? "stays" : "free";
}

/** Some hosts, and those that their machines like best: in use and with most room. */
function around({ index }: Draft, seeds: readonly number[]): number[] {
  const { itemsOn, free } = index.state;
  const { resources, capacity } = index.state.model;
  const room = (h: number) => (free[h * resources + 1] as number) / (capacity[h * resources + 1] as number);
  const byKind: number[][] = [];
  for (let h = 0; h < index.hosts.size; h++) {
    if ((itemsOn[h] as number) === 0 || !index.shelves.isOpen(h)) continue;
    const list = byKind[index.kindOfHost(h)];
    if (list) list.push(h);
    else byKind[index.kindOfHost(h)] = [h];
  }
  /** Only kinds that are asked for are sorted: there may be a hundred. */
  const roomiest = new Map<number, number[]>();
  const roomiestOf = (kind: number): number[] => {
    const known = roomiest.get(kind);
    if (known) return known;
    const list = (byKind[kind] ?? []).sort((a, b) => room(b) - room(a) || a - b).slice(0, HOSTS_A_KIND);
    roomiest.set(kind, list);
    return list;
  };
  const chosen = new Set(seeds);
  for (const h of seeds)
    for (const at of index.machinesOn(index.hostOf(h)?.name ?? "")) {
      if (chosen.size >= HOSTS) return [...chosen];
      for (const kind of favourites(index.likings.tasteOf(at).order))
        for (const other of roomiestOf(kind)) chosen.add(other);
    }
  return [...chosen].slice(0, HOSTS);
}

/** The kinds of hosts of the first shelves. */
function favourites(order: Int32Array): Set<number> {
  const kinds = new Set<number>();
  for (const shelf of order) {
    kinds.add(shelf >> 1);
    if (kinds.size === KINDS) break;
  }
  return kinds;
}

/** Where the solver would have machines, as groups of moves that may need each other; undefined: nothing there may be moved. */
function sought(draft: Draft, hosts: readonly number[], options: PlanOptions): Wanted[][] | undefined {
  const { index } = draft;
  const part = partOf(index, {
    hosts,
    freedomOf: (at) => freedomOf(draft, at, options),
    moveCost: (at, must) =>
      // What it is worth that a host is empty is told afterwards.
      (index.state.itemsOn[index.state.at[at] as number] as number) <= MOST_CLEARED
        ? emptyingCost(draft, at, options)
        : costOf(draft, at, options, must),
  });
  if (!part) return undefined;
  const { model, machine, host } = part;
  const free = machine.reduce((sum, at) => sum + (at < 0 ? 0 : 1), 0);
  const state = new State(model);
  const steps = Math.min(MOST, 512 + free * EACH);
  const hard = pricesUnpayable(temper(state, SEED, { steps }));
  const target = anneal(state, hard);
  return groupsOf(draft, part, target).map((group) =>
    group.map(({ item, to }) => ({ at: machine[item] as number, to: host[to] as number })),
  );
}

/**
 * Moves that may need each other: they leave the same host, one leaves the host that another goes to, or both go to one that was empty. Those that only go to the same host may be made alone.
 * The groups that gain most for each move first, so that what has to leave its host does, and then the best are made when not all may be.
 */
function groupsOf({ index }: Draft, { model, host }: Part, target: Int32Array) {
  const { home, places, moveCost, inUse } = model;
  const moves: { item: number; from: number; to: number; gain: number }[] = [];
  const [leave, come] = [new Int32Array(model.hosts), new Int32Array(model.hosts)];
  for (const [item, to] of target.entries()) {
    const from = home[item] as number;
    if (from === to) continue;
    const liked = places ? (places.stay[item] as number) - costOfPlace(places, item, to) : 0;
    moves.push({ item, from, to, gain: liked - (moveCost[item] as number) });
    add(leave, from, 1);
    add(come, to, 1);
  }
  const onHost = (h: number) => index.state.itemsOn[host[h] as number] as number;
  const groupOf = new Int32Array(model.hosts).map((_, h) => h);
  const root = (h: number): number => {
    let at = h;
    while (groupOf[at] !== at) at = groupOf[at] as number;
    return at;
  };
  for (const { from, to } of moves)
    if ((leave[to] as number) > 0 || onHost(to) === 0) groupOf[root(from)] = root(to);
  return [...Map.groupBy(moves, ({ from }) => root(from)).values()]
    .map((group) => {
      let gain = group.reduce((sum, each) => sum + each.gain, 0);
      for (const h of new Set(group.map(({ from }) => from)))
        if (leave[h] === onHost(h) && come[h] === 0) gain += inUse?.[h] ?? 0;
      return { group, each: gain / group.length };
    })
    .sort((a, b) => b.each - a.each)
    .map(({ group }) => group);
}

/** Nothing is put where there is no room, not even on the way. */
const pricesUnpayable = <O extends { priceHot: number; priceCold: number }>(options: O): O => ({
  ...options,
  priceHot: 1e6,
  priceCold: 1e6,
});
