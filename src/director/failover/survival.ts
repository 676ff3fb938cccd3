/**
 * Which losses of hosts, racks or sites the machines of an estate survive: for each loss a way to place all that has to survive it on what is left (packing.ts). Proven
 * for all at first; after each change of where machines are, anew only for the losses that it touches: those of the place where a machine came, those whose
 * way counted on the room that it took, and those of machines that a policy keeps together or apart with it. Pure.
 */
import { domainOf, type Estate, type Level } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import { DECLARED } from "../estate/estate-model.ts";
import { DOMAINS, isWithin } from "../kinds.ts";
import { NO_LIMIT } from "../solver/model.ts";
import { type Packed, Packing } from "./packing.ts";

/** Something that is to survive. */
export interface Demand {
  /** For people: 'policy "web"'. */
  name: string;
  per: Level;
  /** Any so many of these may be lost at once. */
  losses: number;
  /** Where its machines are in the estate's list. */
  machines: readonly number[];
}

const NOBODY: ReadonlySet<Demand> = new Set();
const ALL_ASK: Relaxed = { without: NOBODY, spared: new Set() };

/** Of more losses that are not survived it is not asked which would be if some did not ask. */
const MOST_SPARED = 100;

/** More losses than these are not looked at one by one. */
const MOST_EVENTS = 20_000;

interface Event {
  level: number;
  losses: number;
  domains: readonly number[];
  packed: Packed | undefined;
}

/** A loss that is not survived. */
export interface Fault {
  /** Its number, for Survival. */
  event: number;
  /** "host a", "racks north r1 and north r2" */
  loss: string;
  /** Whether it is known that there is no way; else none was found within the limit. */
  sure: boolean;
  /** The first that found no room. */
  machine: number;
  demands: readonly Demand[];
}

/** As if some did not ask. */
export interface Relaxed {
  without: ReadonlySet<Demand>;
  /** Losses that are not survived, and would be. */
  spared: ReadonlySet<number>;
}

interface Group {
  level: number;
  losses: number;
  member: Uint8Array;
  /** By machine. */
  demandsOf: Map<number, Demand[]>;
  demands: Demand[];
}

function addMember(group: Group, at: number, demand: Demand): void {
  group.member[at] = 1;
  const known = group.demandsOf.get(at);
  if (known) known.push(demand);
  else group.demandsOf.set(at, [demand]);
}

const choose = (n: number, k: number): number => {
  let result = 1;
  for (let i = 0; i < k; i++) result = (result * (n - i)) / (i + 1);
  return result;
};

export class Survival {
  estate: Estate;
  readonly demands: readonly Demand[];
  private readonly index: EstateIndex;
  private readonly packing: Packing;
  private readonly groups: Group[] = [];
  private readonly events: Event[] = [];
  private readonly groupOf: Group[] = [];
  /** By level and domain: its events, and its hosts. */
  private readonly eventsOf: Map<number, number[]>[] = DOMAINS.map(() => new Map());
  private readonly hostsOf: Map<number, number[]>[] = DOMAINS.map(() => new Map());
  /** By host: the events whose way counts on it. */
  private readonly usersOf = new Map<number, Set<number>>();
  private readonly stale = new Set<number>();
  /** Not survived, and not all machines are where they were then: there may be a way by now. */
  private readonly hopeful = new Set<number>();
  private readonly failing = new Set<number>();
  /** Demands of which there are more losses than can be looked at. */
  readonly tooMany = new Map<Demand, number>();

  /** @param closed hosts that take machines, by the estate, and are to take none at first */
  constructor(estate: Estate, demands: readonly Demand[], closed: readonly number[] = []) {
    this.estate = estate;
    this.demands = demands;
    this.index = indexOf(estate);
    this.packing = new Packing(() => this.estate);
    const { model } = this.index.state;
    for (const [l, hosts] of this.hostsOf.entries())
      for (let h = 0; h < estate.hosts.length; h++) {
        const d = model.tallies.domains[l * model.hosts + h] as number;
        const list = hosts.get(d);
        if (list) list.push(h);
        else hosts.set(d, [h]);
      }
    for (const h of closed) this.packing.close(h);
    for (const demand of demands) this.groupFor(demand);
    for (const group of this.groups) {
      // Who survives the loss of so many sites survives that of as many racks: those compete for the room.
      for (const demand of demands) {
        const lost = DOMAINS[group.level] as Level;
        if (!isWithin(lost, demand.per) || demand.losses < group.losses) continue;
        group.demands.push(demand);
        for (const at of demand.machines) addMember(group, at, demand);
      }
      this.addEvents(group);
    }
    for (let e = 0; e < this.events.length; e++) this.stale.add(e);
    this.index.onMove = (at, from, to) => this.moved(at, from, to);
    this.sync();
  }

  private groupFor({ per, losses }: Demand): void {
    const level = DOMAINS.indexOf(per);
    if (this.groups.some((group) => group.level === level && group.losses === losses)) return;
    const member = new Uint8Array(this.index.machines.length);
    this.groups.push({ level, losses, member, demands: [], demandsOf: new Map() });
  }

  private addEvents(group: Group): void {
    const { level, losses } = group;
    let domains = [...(this.hostsOf[level] as Map<number, number[]>).keys()];
    const count = choose(domains.length, Math.min(losses, domains.length));
    if (losses > 1 && count > MOST_EVENTS) {
      for (const demand of group.demands)
        if (demand.losses === losses && DOMAINS.indexOf(demand.per) === level)
          this.tooMany.set(demand, count);
      // The heaviest at least.
      let few = losses;
      while (few < domains.length && choose(few + 1, losses) <= MOST_EVENTS) few++;
      const weight = new Map(domains.map((d) => [d, this.weightOf(level, d, group.member)]));
      domains.sort((a, b) => (weight.get(b) ?? 0) - (weight.get(a) ?? 0) || a - b);
      domains = domains.slice(0, few);
    }
    const add = (from: number, taken: readonly number[]): void => {
      if (taken.length === Math.min(losses, domains.length)) {
        const e = this.events.push({ level, losses, domains: taken, packed: undefined }) - 1;
        this.groupOf.push(group);
        for (const d of taken) {
          const own = this.eventsOf[level] as Map<number, number[]>;
          const list = own.get(d);
          if (list) list.push(e);
          else own.set(d, [e]);
        }
        return;
      }
      for (let i = from; i < domains.length; i++) add(i + 1, [...taken, domains[i] as number]);
    };
    if (domains.length > 0) add(0, []);
  }

  /** Another machine is in this place of the estate's list from now on, and on no host yet. @param demands that are about it */
  become(at: number, demands: readonly Demand[]): void {
    this.packing.become(at);
    for (const group of this.groups) {
      group.member[at] = 0;
      group.demandsOf.delete(at);
      for (const demand of demands) if (group.demands.includes(demand)) addMember(group, at, demand);
    }
  }

  private weightOf(level: number, d: number, member: Uint8Array): number {
    const { first, next, model } = this.index.state;
    let weight = 0;
    for (const h of this.hostsOf[level]?.get(d) ?? [])
      for (let item = first[h] as number; item >= 0; item = next[item] as number)
        if (member[item] === 1) weight += model.demand[item * model.resources + 1] as number;
    return weight;
  }

  private moved(at: number, from: number, to: number): void {
    this.touch(at, from);
    this.touch(at, to);
    const { tallies } = this.index.state.model;
    for (let i = tallies.ofStart[at] as number, end = tallies.ofStart[at + 1] as number; i < end; i++) {
      const t = tallies.of[i] as number;
      // Where only how many are in one domain counts, ways that put none of them there still hold.
      const counts = tallies.even[t] === 0 && (tallies.maxDomains[t] as number) >= NO_LIMIT;
      for (let m = tallies.memberStart[t] as number; m < (tallies.memberStart[t + 1] as number); m++) {
        const member = tallies.members[m] as number;
        if (member >= this.index.machines.length || member === at) continue;
        this.touch(member, this.index.state.at[member] as number, counts ? [t, to] : undefined);
      }
    }
    if (from >= 0) for (const e of this.failing) this.hopeful.add(e);
    if (to < 0) return;
    const { ceilings } = this.index;
    const { free, model } = this.index.state;
    for (const e of this.usersOf.get(to) ?? []) {
      const { packed } = this.events[e] as Event;
      if (packed?.found !== "yes") continue;
      // Those of the way may have the host give out less than it has.
      if (ceilings) this.stale.add(e);
      for (let r = 0; r < DECLARED; r++) {
        let given = 0;
        for (const [k, machine] of packed.machines.entries())
          if (packed.to[k] === to) given += model.demand[machine * model.resources + r] as number;
        if (given > (free[to * model.resources + r] as number)) this.stale.add(e);
      }
    }
  }

  /**
   * The losses that take the machine with them, where it is on h.
   * @param but only when their way puts it where `to` is in tally t
   */
  private touch(at: number, h: number, but?: readonly [t: number, to: number]): void {
    if (h < 0 || (but && but[1] < 0)) return;
    const { model } = this.index.state;
    const { domains, level } = model.tallies;
    const isThere = (packed: Packed | undefined): boolean => {
      if (!but || packed?.found !== "yes") return true;
      const first = (level[but[0]] as number) * model.hosts;
      const way = packed.to[packed.machines.indexOf(at)];
      return way === undefined || domains[first + way] === domains[first + but[1]];
    };
    for (const [l, events] of this.eventsOf.entries()) {
      if (events.size === 0) continue;
      for (const e of events.get(model.tallies.domains[l * model.hosts + h] as number) ?? [])
        if ((this.groupOf[e] as Group).member[at] === 1 && isThere((this.events[e] as Event).packed))
          this.stale.add(e);
    }
  }

  /** Proves anew what has changed. */
  private sync(): void {
    for (const e of this.stale) this.set(e, this.prove(e));
    this.stale.clear();
  }

  /** @param without as if these did not ask */
  private prove(e: number, without: ReadonlySet<Demand> = NOBODY): Packed {
    const { level, domains } = this.events[e] as Event;
    const lost = domains.flatMap((d) => this.hostsOf[level]?.get(d) ?? []);
    return this.packing.place(lost, (at) => this.isAsked(e, at, without));
  }

  private isAsked(e: number, at: number, without: ReadonlySet<Demand>): boolean {
    const { member, demandsOf } = this.groupOf[e] as Group;
    if (member[at] !== 1) return false;
    return without.size === 0 || (demandsOf.get(at) ?? []).some((demand) => !without.has(demand));
  }

  private set(e: number, packed: Packed | undefined): void {
    const event = this.events[e] as Event;
    if (event.packed?.found === "yes") for (const h of event.packed.to) this.usersOf.get(h)?.delete(e);
    event.packed = packed;
    if (packed?.found !== "yes") {
      this.failing.add(e);
      return;
    }
    this.failing.delete(e);
    for (const h of packed.to) {
      const users = this.usersOf.get(h);
      if (users) users.add(e);
      else this.usersOf.set(h, new Set([e]));
    }
  }

  /** What would no longer be survived, or be asked for in vain, with the machine there; undefined: nothing. The estate stays as it is. */
  ifMoved(at: number, to: string, relaxed: Relaxed = ALL_ASK): Fault | undefined {
    this.sync();
    const before = this.index.machines[at];
    if (!before) return undefined;
    this.index.move(before.key, to);
    for (const e of relaxed.spared) this.stale.add(e);
    const fault = this.firstWorse(at, false, relaxed);
    this.index.restore(at, before);
    // The ways from before hold again.
    this.stale.clear();
    return fault;
  }

  /** As if these did not ask; undefined: too much is not survived to tell. */
  relaxedBy(without: ReadonlySet<Demand>): Relaxed | undefined {
    this.sync();
    if (this.failing.size > MOST_SPARED) return undefined;
    const spared = [...this.failing].filter((e) => this.prove(e, without).found === "yes");
    return { without, spared: new Set(spared) };
  }

  /** Who asks for the machines that compete for room at that loss, and for one more. */
  askedIn(fault: Fault, at: number): Demand[] {
    const { demandsOf } = this.groupOf[fault.event] as Group;
    const { first, next } = this.index.state;
    const demands = [...(demandsOf.get(at) ?? [])];
    for (const h of this.lostIn(fault))
      for (let item = first[h] as number; item >= 0; item = next[item] as number)
        demands.push(...(demandsOf.get(item) ?? []));
    return demands;
  }

  /** Whether a loss that is not survived would be with the machine there, and no other less. The estate stays as it is. */
  mends({ event }: Fault, at: number, to: string): boolean {
    const before = this.index.machines[at];
    if (!before || this.ifMoved(at, to)) return false;
    this.index.move(before.key, to);
    const { found } = this.prove(event);
    this.index.restore(at, before);
    this.stale.clear();
    return found === "yes";
  }

  /** The hosts that are lost. */
  lostIn({ event }: Fault): ReadonlySet<number> {
    const { level, domains } = this.events[event] as Event;
    return new Set(domains.flatMap((d) => this.hostsOf[level]?.get(d) ?? []));
  }

  /** Of moves that were made since the last question; when there is one, whoever made them has to take them back. */
  worse(): Fault | undefined {
    return this.firstWorse(-1, true);
  }

  private firstWorse(at: number, keep = false, { without, spared }: Relaxed = ALL_ASK): Fault | undefined {
    const touched = [...this.stale];
    this.stale.clear();
    const known = touched.map((e) => [e, (this.events[e] as Event).packed] as const);
    let fault: Fault | undefined;
    for (const [e, was] of known) {
      const bears = at >= 0 && this.isAsked(e, at, without) && this.takes(e, at);
      // Of what is not survived anyway nothing is asked, but of a machine that would be part of it.
      if (was?.found !== "yes" && !bears && !spared.has(e)) {
        this.hopeful.add(e);
        continue;
      }
      const packed = this.prove(e, without);
      this.set(e, packed);
      if (packed.found === "yes") continue;
      fault = this.faultOf(e, packed);
      break;
    }
    if (!keep || fault) for (const [e, was] of known) this.set(e, was);
    return fault;
  }

  private takes(e: number, at: number): boolean {
    const { level, domains } = this.events[e] as Event;
    const { at: where, model } = this.index.state;
    const h = where[at] as number;
    return h >= 0 && domains.includes(model.tallies.domains[level * model.hosts + h] as number);
  }

  private faultOf(e: number, packed: Packed & { found: "no" | "unknown" }): Fault {
    const { level, domains } = this.events[e] as Event;
    const { demandsOf } = this.groupOf[e] as Group;
    const names = domains.map((d) => {
      const [h = -1] = this.hostsOf[level]?.get(d) ?? [];
      const host = this.index.hostOf(h);
      return host ? domainOf(host, DOMAINS[level] as Level).trim() : "?";
    });
    const word = DOMAINS[level] as Level;
    return {
      event: e,
      loss: names.length === 1 ? `${word} ${names[0]}` : `${word}s ${names.join(" and ")}`,
      sure: packed.found === "no",
      machine: packed.left,
      demands: demandsOf.get(packed.left) ?? [],
    };
  }

  /** Looks again whether losses that were not survived are by now. @param most at so many of them, those that wait longest */
  retry(most = Number.POSITIVE_INFINITY): void {
    this.sync();
    for (const e of [...this.hopeful].slice(0, most)) {
      this.set(e, this.prove(e));
      this.hopeful.delete(e);
    }
  }

  /** All losses that are not survived. */
  faults(): Fault[] {
    this.retry();
    return [...this.failing]
      .sort((a, b) => a - b)
      .flatMap((e) => {
        const { packed } = this.events[e] as Event;
        return packed && packed.found !== "yes" ? [this.faultOf(e, packed)] : [];
      });
  }

  /** Has the host take no machines from now on, when all that is survived still is; else tells what would not be. @param h an empty one */
  close(h: number): Fault | undefined {
    this.sync();
    this.packing.close(h);
    for (const e of this.usersOf.get(h) ?? []) this.stale.add(e);
    this.touchGrouped();
    const fault = this.worse();
    if (fault) this.packing.close(h, false);
    return fault;
  }

  /** Has a host take machines that took none. */
  open(h: number): void {
    this.packing.close(h, false);
    for (const e of this.failing) this.stale.add(e);
    this.touchGrouped();
    this.sync();
  }

  /** With another domain, or without one, machines that are to be spread may have to be elsewhere. */
  private touchGrouped(): void {
    const { tallies } = this.index.state.model;
    if (!tallies.even.includes(1)) return;
    for (const [e, { packed }] of this.events.entries())
      if (packed?.found === "yes" && packed.machines.length > 0) this.stale.add(e);
  }
}
