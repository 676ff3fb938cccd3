/**
 * What may be lost at once (hosts, racks, sites: any so many as some ask to survive), and which machines have to find room elsewhere then. Whether they do is survival.ts. Pure.
 */
import { domainOf, type Estate, type Level } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import { DOMAINS, isWithin } from "../kinds.ts";

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

export const NOBODY: ReadonlySet<Demand> = new Set();

/** More losses than these are not looked at one by one. */
const MOST_EVENTS = 20_000;

/** Losses of so many of one level, and what asks to survive them. */
interface Group {
  level: number;
  losses: number;
  member: Uint8Array;
  /** By machine. */
  demandsOf: Map<number, Demand[]>;
  demands: Demand[];
}

interface Event {
  group: Group;
  domains: readonly number[];
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

function listOf(lists: Map<number, number[]>, key: number): number[] {
  const known = lists.get(key);
  if (known) return known;
  const list: number[] = [];
  lists.set(key, list);
  return list;
}

/** Each loss has a number, from 0 on. */
export class Losses {
  /** Demands of which there are more losses than can be looked at. */
  readonly tooMany = new Map<Demand, number>();
  private readonly index: EstateIndex;
  private readonly groups: Group[] = [];
  private readonly events: Event[] = [];
  /** By level and domain: its losses, and its hosts. */
  private readonly eventsOf: Map<number, number[]>[] = DOMAINS.map(() => new Map());
  private readonly hostsOf: Map<number, number[]>[] = DOMAINS.map(() => new Map());

  constructor(estate: Estate, index: EstateIndex, demands: readonly Demand[]) {
    this.index = index;
    for (const [l, hosts] of this.hostsOf.entries())
      for (let h = 0; h < estate.hosts.length; h++) listOf(hosts, this.domainAt(l, h)).push(h);
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
  }

  get count(): number {
    return this.events.length;
  }

  private domainAt(level: number, h: number): number {
    const { tallies, hosts } = this.index.state.model;
    return tallies.domains[level * hosts + h] as number;
  }

  private groupFor({ per, losses }: Demand): void {
    const level = DOMAINS.indexOf(per);
    if (this.groups.some((group) => group.level === level && group.losses === losses)) return;
    const member = new Uint8Array(this.index.machines.length);
    this.groups.push({ level, losses, member, demands: [], demandsOf: new Map() });
  }

  private addEvents(group: Group): void {
    const { level, losses } = group;
    const hostsOf = this.hostsOf[level] as Map<number, number[]>;
    const eventsOf = this.eventsOf[level] as Map<number, number[]>;
    let domains = [...hostsOf.keys()];
    const count = choose(domains.length, Math.min(losses, domains.length));
    if (losses > 1 && count > MOST_EVENTS) {
      for (const demand of group.demands)
        if (demand.losses === losses && DOMAINS.indexOf(demand.per) === level)
          this.tooMany.set(demand, count);
      // The heaviest at least.
      let few = losses;
      while (few < domains.length && choose(few + 1, losses) <= MOST_EVENTS) few++;
      const weight = new Map(
        domains.map((d) => [d, this.weightOf(hostsOf.get(d) ?? [], group.member)] as const),
      );
      domains.sort((a, b) => (weight.get(b) ?? 0) - (weight.get(a) ?? 0) || a - b);
      domains = domains.slice(0, few);
    }
    const add = (from: number, taken: readonly number[]): void => {
      if (taken.length === Math.min(losses, domains.length)) {
        const e = this.events.push({ group, domains: taken }) - 1;
        for (const d of taken) listOf(eventsOf, d).push(e);
        return;
      }
      for (let i = from; i < domains.length; i++) add(i + 1, [...taken, domains[i] as number]);
    };
    if (domains.length > 0) add(0, []);
  }

  private weightOf(hosts: readonly number[], member: Uint8Array): number {
    const { first, next, model } = this.index.state;
    let weight = 0;
    for (const h of hosts)
      for (let item = first[h] as number; item >= 0; item = next[item] as number)
        if (member[item] === 1) weight += model.demand[item * model.resources + 1] as number;
    return weight;
  }

  /** Another machine is in this place of the estate's list from now on. @param demands that are about it */
  become(at: number, demands: readonly Demand[]): void {
    for (const group of this.groups) {
      group.member[at] = 0;
      group.demandsOf.delete(at);
      for (const demand of demands) if (group.demands.includes(demand)) addMember(group, at, demand);
    }
  }

  /** The hosts that are lost. */
  hostsIn(e: number): number[] {
    const { group, domains } = this.events[e] as Event;
    return domains.flatMap((d) => this.hostsOf[group.level]?.get(d) ?? []);
  }

  /** Losses that take the host. */
  *of(h: number): Generator<number> {
    for (const [l, events] of this.eventsOf.entries())
      if (events.size > 0) yield* events.get(this.domainAt(l, h)) ?? [];
  }

  /** Whether the machine is lost with it, where it is now. */
  takes(e: number, at: number): boolean {
    const { group, domains } = this.events[e] as Event;
    const h = this.index.state.at[at] as number;
    return h >= 0 && domains.includes(this.domainAt(group.level, h));
  }

  /** Whether the machine has to find room elsewhere then. @param without as if these did not ask */
  asks(e: number, at: number, without: ReadonlySet<Demand> = NOBODY): boolean {
    const { member } = (this.events[e] as Event).group;
    if (member[at] !== 1) return false;
    return without.size === 0 || this.demandsOf(e, at).some((demand) => !without.has(demand));
  }

  /** Who asks for the machine. */
  demandsOf(e: number, at: number): readonly Demand[] {
    return (this.events[e] as Event).group.demandsOf.get(at) ?? [];
  }

  /** "host a", "racks north r1 and north r2" */
  inWords(e: number): string {
    const { group, domains } = this.events[e] as Event;
    const word = DOMAINS[group.level] as Level;
    const names = domains.map((d) => {
      const [h = -1] = this.hostsOf[group.level]?.get(d) ?? [];
      const host = this.index.hostOf(h);
      return host ? domainOf(host, word).trim() : "?";
    });
    return names.length === 1 ? `${word} ${names[0]}` : `${word}s ${names.join(" and ")}`;
  }
}
