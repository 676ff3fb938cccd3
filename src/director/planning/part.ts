/**
 * A part of an estate as a model for the solver: some of its hosts, the machines that are there, and what policies say of them, with costs in the unit of scores
 * (score.ts). What cannot be said in it (licences, what limits of policies leave of a host once others come, failover) is looked at when its result is taken over
 * (together.ts). Pure.
 *
 *   places   what a machine likes about a kind of host (classes.ts), and much more for where a rule is broken or that is to be left
 *   in use   what the first machine on a host costs: its idle watts, as machines of the part weigh them on average
 *   terms    room: a slope that rises with the load of each host, so that the next machine likes the emptier one as much as it would by its score
 *   moves    what a move must gain
 * Machines that a plan may not move now are fixed; of those outside that share a rule with one inside it is known how many each domain has. Rules that nothing inside can break are left out.
 */
import type { MachineView } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import { BUSY, NOISE, RESOURCES } from "../estate/estate-model.ts";
import type { Seek } from "../estate/likings.ts";
import { FULL, MARGIN, SENSITIVE_FULL } from "../estate/use.ts";
import { DOMAINS } from "../kinds.ts";
import {
  type Model,
  makeTallies,
  NO_LIMIT,
  type Places,
  pricesOf,
  type Tallies,
  type TallySpec,
} from "../solver/model.ts";

/** A broken rule, or a host that is to be left, counts more than anything else. */
export const MENDED = 10;

/** What keeps a host from being roomy; these are always asked (roomsOf). */
const GUIDES = [0, 1, BUSY] as const;
/** Each guide has so many terms, the slopes of which add up. */
const STEPS = 4;

export interface Part {
  model: Model;
  /** Of each item where its machine is in the estate's list; -1: it is none that may be moved. */
  machine: Int32Array;
  /** Of each host its number in the index. */
  host: Int32Array;
}

export interface Selection {
  /** Numbers of hosts. */
  hosts: readonly number[];
  /** Whether a plan may move it now, and whether it has to leave its host then. */
  freedomOf: (at: number) => Freedom;
  /** What a move of it must gain. */
  moveCost: (at: number, must: boolean) => number;
}

export type Freedom = "stays" | "free" | "must";

/** Undefined: nothing in it may be moved. */
export function partOf(index: EstateIndex, { hosts, freedomOf, moveCost }: Selection): Part | undefined {
  const { state, machines, shelves } = index;
  const takes = (h: number) => shelves.isOpen(h);
  const host = [...hosts.filter(takes), ...hosts.filter((h) => !takes(h))];
  const takers = hosts.filter(takes).length;
  const number = new Map(host.map((h, i) => [h, i]));
  const items = host.flatMap((h) => {
    const there: number[] = [];
    for (let item = state.first[h] as number; item >= 0; item = state.next[item] as number) there.push(item);
    return there;
  });
  items.sort((a, b) => a - b);
  const machine = new Int32Array(items.length).fill(-1);
  const mustLeave = new Uint8Array(items.length);
  let free = 0;
  for (const [i, item] of items.entries()) {
    const freedom = item < machines.length ? freedomOf(item) : "stays";
    if (freedom === "stays") continue;
    machine[i] = item;
    mustLeave[i] = freedom === "must" ? 1 : 0;
    free++;
  }
  if (free === 0 || takers === 0) return undefined;
  const rooms = roomsOf(index, items, host);
  const demand = new Float64Array(items.length * rooms.length);
  for (const [i, item] of items.entries())
    for (const [k, r] of rooms.entries())
      demand[i * rooms.length + k] = state.model.demand[item * RESOURCES + r] as number;
  const home = Int32Array.from(items, (item) => number.get(state.at[item] as number) as number);
  const capacity = capacityOf(index, { host, home, demand, rooms });
  const taste = tastesOf(index, { machine, host, takers, mustLeave });
  const room = roomOf(taste.room, {
    capacity,
    demand,
    takers,
    hosts: host.length,
    machine,
    rooms: rooms.length,
  });
  const model: Model = {
    resources: rooms.length,
    terms: room.terms,
    hosts: host.length,
    items: items.length,
    transient: 0,
    capacity,
    price: pricesOf(demand, rooms.length, room.increment, room.terms),
    demand,
    base: room.base,
    increment: room.increment,
    inUse: taste.inUse,
    places: taste.places,
    takers,
    fixed: Uint8Array.from(machine, (at) => (at < 0 ? 1 : 0)),
    home,
    moveCost: Float64Array.from(machine, (at, i) => (at < 0 ? 0 : moveCost(at, mustLeave[i] === 1))),
    distanceWeight: 0,
    services: 0,
    serviceWeight: 0,
    tallies: talliesOf(index, { items, machine, host, takers }),
  };
  return { model, machine, host: Int32Array.from(host) };
}

/**
 * The resources that have to be asked: what is declared, and of what is measured the processors, and others as far as all machines together could fill a host. Never the noise,
 * which is no sum that a host is full of.
 */
function roomsOf({ state }: EstateIndex, items: readonly number[], host: readonly number[]): number[] {
  const { demand, capacity } = state.model;
  return Array.from({ length: NOISE }, (_, r) => r).filter((r) => {
    if (r <= BUSY) return true;
    const all = items.reduce((sum, item) => sum + (demand[item * RESOURCES + r] as number), 0);
    return host.some((h) => all > (capacity[h * RESOURCES + r] as number));
  });
}

/** What hosts have; those that give out too much already have that. Of the processors what is expected of others is kept (Load.expected). */
function capacityOf(
  index: EstateIndex,
  of: { host: readonly number[]; home: Int32Array; demand: Float64Array; rooms: readonly number[] },
) {
  const { host, home, demand, rooms } = of;
  const { capacity, free } = {
    capacity: index.state.model.capacity,
    free: index.state.free,
  };
  const n = rooms.length;
  const taken = new Float64Array(host.length * n);
  for (const [i, h] of home.entries())
    for (let k = 0; k < n; k++)
      taken[h * n + k] = (taken[h * n + k] as number) + (demand[i * n + k] as number);
  return taken.map((used, i) => {
    const [h, r] = [host[Math.floor(i / n)] as number, rooms[i % n] as number];
    let has = capacity[h * RESOURCES + r] as number;
    if (r === BUSY) {
      // Which others will have a sensitive machine is not known yet: that is looked at when the moves are taken over.
      if (index.load.isSensitive(h)) has *= SENSITIVE_FULL / FULL;
      const j = h * RESOURCES + NOISE;
      has -= MARGIN * Math.sqrt(Math.max(0, (capacity[j] as number) - (free[j] as number)));
    }
    return Math.max(has, used);
  });
}

/** What machines like, by kinds; of those that stay nothing is asked. */
function tastesOf(
  index: EstateIndex,
  of: {
    machine: Int32Array;
    host: readonly number[];
    takers: number;
    /** Of each item 1: it has to leave its host. */
    mustLeave: Uint8Array;
  },
): { places: Places; inUse: Float64Array; room: number } {
  const { machine, host, takers, mustLeave } = of;
  const known = index.kindsOfHosts().length;
  // Hosts that take nothing are of a kind of their own.
  const kinds = known + 1;
  const ofHost = Int32Array.from(host, (h, i) => (i < takers ? index.kindOfHost(h) : known));
  const ofItem = new Int32Array(machine.length);
  const stay = new Float64Array(machine.length);
  const rows = new Map<Float64Array, number>();
  const cost: number[] = [];
  const opening = new Float64Array(kinds);
  const openers = new Float64Array(kinds);
  let room = 0;
  let free = 0;
  for (const [i, at] of machine.entries()) {
    if (at < 0) continue;
    const { kind, dearest, likes } = index.likings.tasteOf(at);
    let row = rows.get(likes);
    if (row === undefined) {
      row = rows.size;
      rows.set(likes, row);
      for (let k = 0; k < known; k++) cost.push(-(likes[2 * k + 1] as number));
      cost.push(Number.POSITIVE_INFINITY);
    }
    ofItem[i] = row;
    for (let k = 0; k < known; k++) {
      const used = likes[2 * k + 1] as number;
      if (used === Number.NEGATIVE_INFINITY) continue;
      opening[k] = (opening[k] as number) + kind.openingOf(k, dearest);
      openers[k] = (openers[k] as number) + 1;
    }
    const here = index.kindOfHost(index.state.at[at] as number);
    stay[i] = (here < known ? -kind.evenLikeOf(here, dearest) : 0) + (mustLeave[i] === 1 ? MENDED : 0);
    room += Math.max(0, kind.room);
    free++;
  }
  const inUse = Float64Array.from(ofHost, (k) =>
    (openers[k] as number) > 0 ? Math.max(0, (opening[k] as number) / (openers[k] as number)) : 0,
  );
  return {
    places: { kinds, ofItem, ofHost, cost: Float64Array.from(cost), stay },
    inUse,
    room: free > 0 ? room / free : 0,
  };
}

/** @param weight of room in scores, on average */
function roomOf(
  weight: number,
  of: {
    capacity: Float64Array;
    demand: Float64Array;
    takers: number;
    hosts: number;
    machine: Int32Array;
    /** How many resources. */
    rooms: number;
  },
): Pick<Model, "terms" | "base" | "increment"> {
  const { capacity, demand, takers, hosts, machine, rooms } = of;
  const terms = weight > 0 ? GUIDES.length * STEPS : 0;
  const base = new Float64Array(hosts * terms);
  const increment = new Float64Array(machine.length * terms);
  if (terms === 0) return { terms, base, increment };
  const mean = GUIDES.map((r) => {
    let sum = 0;
    for (let h = 0; h < takers; h++) sum += capacity[h * rooms + r] as number;
    return Math.max(1, sum / takers);
  });
  // The share of a mean host that a machine takes of what it takes most of.
  let share = 0;
  let free = 0;
  for (const [i, at] of machine.entries()) {
    if (at < 0) continue;
    share += GUIDES.reduce<number>(
      (most, r, g) => Math.max(most, (demand[i * rooms + r] as number) / (mean[g] as number)),
      0,
    );
    free++;
  }
  const slope = (weight * free) / Math.max(1e-9, share) / GUIDES.length;
  for (const [g, r] of GUIDES.entries())
    for (let s = 0; s < STEPS; s++) {
      const term = g * STEPS + s;
      const each = (slope * (s === 0 ? 0.5 : 1)) / STEPS / (mean[g] as number);
      for (let h = 0; h < hosts; h++)
        base[h * terms + term] = (-each * s * (capacity[h * rooms + r] as number)) / STEPS;
      for (let i = 0; i < machine.length; i++)
        increment[i * terms + term] = each * (demand[i * rooms + r] as number);
    }
  return { terms, base, increment };
}

/** The rules that machines of the part have together with others, as far as something inside could break them, and how many of the others each domain has. */
function talliesOf(
  index: EstateIndex,
  of: { items: readonly number[]; machine: Int32Array; host: readonly number[]; takers: number },
): Tallies {
  const { items, machine, host, takers } = of;
  const { model, counts } = index.state;
  const { tallies, hosts } = model;
  const levels = DOMAINS.map((_, l) =>
    Int32Array.from(host, (h) => tallies.domains[l * hosts + h] as number),
  );
  const inside = membersInside(tallies, items, machine);
  /** Where machines of the part may come. */
  const near = levels.map((of) => [...new Set(of.subarray(0, takers))]);
  const specs: TallySpec[] = [];
  for (const [t, { members, free }] of inside) {
    const level = tallies.level[t] as number;
    const [most, maxDomains] = [tallies.most[t] as number, tallies.maxDomains[t] as number];
    const even = (tallies.even[t] as number) === 1;
    const everywhere = even || maxDomains < NO_LIMIT;
    const around = near[level] as number[];
    if (!everywhere && around.every((d) => counts.countIn(t, d) + free <= most)) continue;
    const own = new Map<number, number>();
    for (const i of members) {
      const d = tallies.domains[level * hosts + (index.state.at[items[i] as number] as number)] as number;
      own.set(d, (own.get(d) ?? 0) + 1);
    }
    const outside: number[] = [];
    for (const d of everywhere ? domainsOf(index, t) : around) {
      const others = counts.countIn(t, d) - (own.get(d) ?? 0);
      if (others > 0) outside.push(d, others);
    }
    specs.push({ level, members, outside, most, maxDomains, even });
  }
  // Domains are those of the whole estate: also one without a host of the part may have the fewest.
  const { domainCounts, open, openCounts, reached } = tallies;
  const reach = Int32Array.from(items, (item) => tallies.reach[item] as number);
  return {
    ...makeTallies(items.length, levels, specs),
    ...{ domainCounts, open, openCounts, reach, reached },
  };
}

/** Of the tallies of items that are free which items are in them, and how many of those are free. */
function membersInside(
  { ofStart, of }: Tallies,
  items: readonly number[],
  machine: Int32Array,
): Map<number, { members: number[]; free: number }> {
  const inside = new Map<number, { members: number[]; free: number }>();
  for (const isFree of [true, false])
    for (const [i, item] of items.entries()) {
      if ((machine[i] as number) >= 0 !== isFree) continue;
      for (let k = ofStart[item] as number; k < (ofStart[item + 1] as number); k++) {
        const t = of[k] as number;
        const known = inside.get(t);
        if (known) known.members.push(i);
        else if (isFree) inside.set(t, { members: [i], free: 0 });
        if (isFree) (inside.get(t) as { free: number }).free++;
      }
    }
  return inside;
}

/** The domains that have members of the tally, each once. */
function domainsOf({ state }: EstateIndex, t: number): Set<number> {
  const { tallies, hosts } = state.model;
  const first = (tallies.level[t] as number) * hosts;
  const domains = new Set<number>();
  for (let i = tallies.memberStart[t] as number; i < (tallies.memberStart[t + 1] as number); i++) {
    const h = state.at[tallies.members[i] as number] as number;
    if (h >= 0) domains.add(tallies.domains[first + h] as number);
  }
  return domains;
}

/** A rule is broken where it is, or its host is to be empty. @param seek for who knows it already */
export const hasToLeave = (
  index: EstateIndex,
  machine: MachineView,
  seek: Seek | undefined = index.likings.seek(machine),
): boolean => seek?.now?.stays === false || index.hosts.get(machine.host ?? "")?.maintenance === true;
