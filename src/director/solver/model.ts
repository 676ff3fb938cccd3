/**
 * The estate as the solver sees it: numbers in flat arrays, so that the cost of a change is found by a few additions and no object is
 * made. Names, reasons and policies stay outside. Pure.
 *
 * An *item* (a machine) is on a *host*. What must hold:
 *   room       demands on a host are at most its capacity, for each resource. Of a *transient* resource an item that is moved
 *              takes its share on its first host, too.
 *   tallies    how many items of a group each domain (host, rack, site…) has: at most so many in one, in at least or at most so
 *              many domains, or only where another group is
 * What it costs (the solver makes the sum least):
 *   terms      of each host: the sum over its terms of max(0, base + sum of its items' increments). A load above a safe level is such a
 *              term, and so is an unbalanced rest of two resources, or a slope of a convex cost of load.
 *   in use     of each host that has an item
 *   places     of each item by what kind of host it is on
 *   moves      of each item that is not where it was, and of the pair of hosts; and of the service that has most of its items moved
 *
 * The estate (estate/estate-index.ts, planning/part.ts) and published instances (roadef.ts) are read into the same model, and searched by the same solver: the best single
 * shifts first where items tell what hosts they like (shelves.ts, descend.ts; few moves are sought that gain most), then annealing (anneal.ts), from which an instance
 * takes all, and a plan what is worth its moves.
 */

export interface Model {
  resources: number;
  terms: number;
  hosts: number;
  items: number;
  /** Resources 0 … transient-1 are the transient ones. */
  transient: number;
  /** hosts × resources */
  capacity: Float64Array;
  /** Of each resource: what one unit beyond capacity counts while searching. */
  price: Float64Array;
  /** items × resources */
  demand: Float64Array;
  /** hosts × terms: the value without items. */
  base: Float64Array;
  /** items × terms: what an item adds to the value. */
  increment: Float64Array;
  /** Of each host while it has an item; none: 0. */
  inUse?: Float64Array;
  /** What items like or must not; none: all hosts are the same to them but for what is on them. */
  places?: Places;
  /** Only the first so many hosts take items; none: all. */
  takers?: number;
  /** 1: this item stays; none: all may be moved. */
  fixed?: Uint8Array;
  /** Where each item was first; -1: nowhere, or what it costs to move is not counted. */
  home: Int32Array;
  /** Of each item, when it is moved. */
  moveCost: Float64Array;
  /** hosts × hosts, from home to new; none: all 0. */
  distance?: Int32Array;
  distanceWeight: number;
  /** For each item the service it belongs to; the cost of the most moved service is `serviceWeight` for each moved item. */
  service?: Int32Array;
  services: number;
  serviceWeight: number;
  tallies: Tallies;
}

/** What an item costs on a host, by the kinds of both. */
export interface Places {
  kinds: number;
  ofItem: Int32Array;
  ofHost: Int32Array;
  /** Kinds of items × kinds of hosts; Infinity: it may not come there. */
  cost: Float64Array;
  /** Of each item at home, where it may be although it could not come there. Finite. */
  stay: Float64Array;
}

/** Of item p on host h when it is not at home. */
export const costOfPlace = ({ kinds, ofItem, ofHost, cost }: Places, p: number, h: number): number =>
  cost[(ofItem[p] as number) * kinds + (ofHost[h] as number)] as number;

/** Groups of items and the domains they are counted in. */
export interface Tallies {
  count: number;
  /** levels × hosts: the domain of each host. */
  domains: Int32Array;
  domainCounts: Int32Array;
  level: Int32Array;
  /** Members of tally t: members[memberStart[t]] … */
  memberStart: Int32Array;
  members: Int32Array;
  /** Members that are no items and stay where they are, by tally, as pairs: a domain, and how many it has. outside[outsideStart[t]] … */
  outsideStart: Int32Array;
  outside: Int32Array;
  /** Tallies of item i, likewise. */
  ofStart: Int32Array;
  of: Int32Array;
  /** At most so many items in one domain. */
  most: Int32Array;
  /** In at least, and at most, so many domains. */
  minDomains: Int32Array;
  maxDomains: Int32Array;
  /** 1: no domain has more than the open ones with the fewest have, and one. */
  even: Uint8Array;
  /** Of each level 1 for each domain that could take an item, and how many those are. */
  open: Uint8Array[];
  openCounts: Int32Array;
  /** Of each item which hosts may ever have it, as a number: 0 all. For `even` only domains of those count. */
  reach: Int32Array;
  /** reach × levels, by domain: 2 where one of those hosts takes items, 1 where only such are that take none, else 0. Of reach 0 there are none. */
  reached: Uint8Array[];
  /** Where tally t has an item, those it needs have one, too. */
  needsStart: Int32Array;
  needs: Int32Array;
  neededByStart: Int32Array;
  neededBy: Int32Array;
}

export const NO_LIMIT = 2 ** 30;

export interface TallySpec {
  level: number;
  members: readonly number[];
  /** Domains that have members which are no items, each before how many it has. */
  outside?: readonly number[];
  most?: number;
  minDomains?: number;
  maxDomains?: number;
  even?: boolean;
  needs?: readonly number[];
}

/** Lists of numbers as one array and where each begins in it. */
export function pack(lists: readonly (readonly number[])[]): { start: Int32Array; all: Int32Array } {
  const start = new Int32Array(lists.length + 1);
  let total = 0;
  for (const [i, list] of lists.entries()) start[i + 1] = total += list.length;
  const all = new Int32Array(total);
  let next = 0;
  for (const list of lists) for (const each of list) all[next++] = each;
  return { start, all };
}

/** Of each number below `count` the lists that have it, packed. Without a list of its own for each: there may be 100,000. */
function packWhere(lists: readonly (readonly number[])[], count: number): ReturnType<typeof pack> {
  const start = new Int32Array(count + 1);
  for (const list of lists) for (const each of list) start[each + 1] = (start[each + 1] as number) + 1;
  for (let i = 0; i < count; i++) start[i + 1] = (start[i + 1] as number) + (start[i] as number);
  const all = new Int32Array(start[count] as number);
  const next = start.slice();
  for (const [l, list] of lists.entries())
    for (const each of list) {
      const at = next[each] as number;
      all[at] = l;
      next[each] = at + 1;
    }
  return { start, all };
}

/** What a unit beyond capacity counts, so that a mean demand of each resource counts as much as a mean term. */
export function pricesOf(
  demand: Float64Array,
  resources: number,
  increment: Float64Array,
  terms: number,
): Float64Array {
  const items = demand.length / resources;
  const cost = increment.reduce((sum, each) => sum + Math.abs(each), 0) / Math.max(1, terms * items);
  const mean = new Float64Array(resources);
  for (const [i, each] of demand.entries()) add(mean, i % resources, each / items);
  return mean.map((of) => (of > 0 ? Math.max(1, cost) / of : 0));
}

/** array[i] += by. The index is one of the array's. */
export function add(array: Float64Array | Int32Array, i: number, by: number): void {
  array[i] = (array[i] as number) + by;
}

export function makeTallies(
  items: number,
  levels: readonly Int32Array[],
  specs: readonly TallySpec[],
  /** Of each host whether it could take an item; none: all could. */
  isOpen?: Uint8Array,
): Tallies {
  const domainCounts = Int32Array.from(levels, (of) => of.reduce((most, d) => Math.max(most, d + 1), 1));
  const domains = Int32Array.from(levels.flatMap((of) => [...of]));
  const open = levels.map((of, l) => {
    const flags = new Uint8Array(domainCounts[l] as number);
    for (const [host, d] of of.entries()) if (!isOpen || isOpen[host] === 1) flags[d] = 1;
    return flags;
  });
  const ofMembers = specs.map((s) => s.members);
  const ofNeeds = specs.map((s) => s.needs ?? []);
  const [members, of] = [pack(ofMembers), packWhere(ofMembers, items)];
  const outside = pack(specs.map((s) => s.outside ?? []));
  const [needs, by] = [pack(ofNeeds), packWhere(ofNeeds, specs.length)];
  return {
    count: specs.length,
    domains,
    domainCounts,
    level: Int32Array.from(specs, (s) => s.level),
    memberStart: members.start,
    members: members.all,
    outsideStart: outside.start,
    outside: outside.all,
    ofStart: of.start,
    of: of.all,
    most: Int32Array.from(specs, (s) => s.most ?? NO_LIMIT),
    minDomains: Int32Array.from(specs, (s) => s.minDomains ?? 0),
    maxDomains: Int32Array.from(specs, (s) => s.maxDomains ?? NO_LIMIT),
    even: Uint8Array.from(specs, (s) => (s.even ? 1 : 0)),
    open,
    openCounts: Int32Array.from(open, (flags) => flags.reduce((sum, flag) => sum + flag, 0)),
    reach: new Int32Array(items),
    reached: [],
    needsStart: needs.start,
    needs: needs.all,
    neededByStart: by.start,
    neededBy: by.all,
  };
}
