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
import { State } from "../solver/state.ts";
import { type Draft, isSettled, mayMove, type PlanOptions } from "./draft.ts";
import { hasToLeave, partOf } from "./part.ts";
import { costOf, emptyingCost, openingOf, take, type Wanted } from "./together.ts";

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
  const { index } = draft;
  const host = index.hostOf(h);
  const count = index.state.itemsOn[h] as number;
  if (!host?.ready || host.cordoned || count < 2 || count > MOST_CLEARED) return false;
  let gain = 0;
  const saved = openingOf(index, h);
  for (let item = index.state.first[h] as number; item >= 0; item = index.state.next[item] as number) {
    const machine = index.machines[item];
    if (!machine) return false;
    gain += Math.max(0, bestIn(index, item) - index.likings.usedLikeOf(item, h));
  }
  if (saved + gain < options.threshold * count) return false;
  return index
    .machinesOn(host.name)
    .every((at) => isFree(draft, at, options) && isSettled(index, at, options));
}

/** How well a machine likes the kind of host that it likes best, of those in use, apart from room. */
export function bestIn(index: EstateIndex, at: number): number {
  const { likes, order } = index.likings.tasteOf(at);
  for (const shelf of order)
    if (shelf % 2 === 1 && (index.shelves.count[shelf] as number) > 0) return likes[shelf] as number;
  return Number.NEGATIVE_INFINITY;
}

/** Whether a plan may move it now, and its costs are known to the part. */
function isFree(draft: Draft, at: number, options: PlanOptions): boolean {
  const { index, moved } = draft;
  const machine = index.machines[at] as MachineView;
  const here = index.hosts.get(machine.host ?? "");
  if (!here?.ready || moved.has(at) || !mayMove(index, at, options) || isSpecial(machine)) return false;
  if (!draft.allows(machine)) return false;
  if (hasToLeave(index, machine)) return true;
  if (index.likings.tasteOf(at).kind.aboutLicences) return false;
  return !here.cordoned && isSettled(index, at, options);
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
      const kinds = new Set([...index.likings.tasteOf(at).order].map((shelf) => shelf >> 1));
      for (const k of [...kinds].slice(0, KINDS))
        for (const other of byKind.get(k)?.slice(0, HOSTS_A_KIND) ?? []) chosen.add(other);
    }
  return [...chosen].slice(0, HOSTS);
}

/** Where the solver would have machines, as moves that have no host in common with the others; undefined: nothing there may be moved. */
function sought(draft: Draft, hosts: readonly number[], options: PlanOptions): Wanted[][] | undefined {
  const { index } = draft;
  const part = partOf(index, {
    hosts,
    isFree: (at) => isFree(draft, at, options),
    mustLeave: (at) => hasToLeave(index, index.machines[at] as MachineView),
    moveCost: (at) =>
      // What it is worth that a host is empty is told afterwards.
      (index.state.itemsOn[index.state.at[at] as number] as number) <= MOST_CLEARED
        ? emptyingCost(draft, at, options)
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
