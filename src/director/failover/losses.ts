/**
 * What may be lost at once (hosts, racks, sites: any so many as some ask to survive), and which machines have to find room elsewhere then. Whether they do is survival.ts. Pure.
 */
import { domainOf, type Estate, type Level } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import { DOMAINS, isWithin } from "../kinds.ts";
import { Parts } from "./parts.ts";

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

/** More losses of a group than these are not looked at one by one. */
export const MOST_EVENTS = 20_000;

/** Losses of so many of one level, and what asks to survive them. */
export interface Group {
  level: number;
  losses: number;
  member: Uint8Array;
  /** Where there are many: what proves most without looking at them; then only those are losses here of which it does not. */
  parts?: Parts;
  /** By their domains, of a group with parts: sets that are looked at one by one. */
  sets: Map<string, number>;
  /** More of its sets have to be looked at one by one than can be. */
  givenUp: boolean;
  /** The domains all of whose sets are looked at nevertheless. */
  fullest?: readonly number[] | undefined;
  /** By machine. */
  demandsOf: Map<number, Demand[]>;
  demands: Demand[];
}

interface Event {
  group: Group;
  domains: readonly number[];
  /** Room is sought in this part alone: of itself it tells of no loss. */
  part?: number;
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
  private readonly takesMachines: (h: number) => boolean;
  readonly groups: Group[] = [];
  private readonly events: Event[] = [];
  /** By level and domain: its losses, and its hosts. */
  private readonly eventsOf: Map<number, number[]>[] = DOMAINS.map(() => new Map());
  private readonly hostsOf: Map<number, number[]>[] = DOMAINS.map(() => new Map());

  /** @param takes whether the host takes machines */
  constructor(estate: Estate, index: EstateIndex, demands: readonly Demand[], takes: (h: number) => boolean) {
    this.index = index;
    this.takesMachines = takes;
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
    const none = { demands: [], demandsOf: new Map(), sets: new Map() };
    this.groups.push({ level, losses, member, givenUp: false, ...none });
  }

  private addEvents(group: Group): void {
    const { level, losses } = group;
    const domains = [...(this.hostsOf[level] as Map<number, number[]>).keys()];
    const most = Math.min(losses, domains.length);
    const ways = domains.length * (2 * losses - 1);
    if (losses > 1 && choose(domains.length, most) > ways) {
      group.parts = new Parts(this.index, group, this.takesMachines);
      for (const d of domains)
        for (let part = 0; part < group.parts.count; part++) this.add({ group, domains: [d], part });
      return;
    }
    const add = (from: number, taken: readonly number[]): void => {
      if (taken.length === most) {
        this.add({ group, domains: taken });
        return;
      }
      for (let i = from; i < domains.length; i++) add(i + 1, [...taken, domains[i] as number]);
    };
    if (domains.length > 0) add(0, []);
  }

  private add(event: Event): number {
    const e = this.events.push(event) - 1;
    const eventsOf = this.eventsOf[event.group.level] as Map<number, number[]>;
    for (const d of event.domains) listOf(eventsOf, d).push(e);
    return e;
  }

  /** The set is one of the losses from now on. */
  addSet(group: Group, domains: readonly number[]): number {
    const e = this.add({ group, domains });
    group.sets.set(domains.join(), e);
    return e;
  }

  /** There are more sets that have to be looked at one by one than can be. @param fullest all of whose sets are looked at nevertheless */
  giveUp(group: Group, fullest?: readonly number[]): void {
    group.givenUp = true;
    group.fullest = fullest;
    const count = choose(this.hostsOf[group.level]?.size ?? 0, group.losses);
    for (const demand of this.ownOf(group)) this.tooMany.set(demand, count);
  }

  takeUp(group: Group): void {
    group.givenUp = false;
    group.fullest = undefined;
    for (const demand of this.ownOf(group)) this.tooMany.delete(demand);
  }

  /** Who asks for just these: those who ask for more have a group of their own, which may be too many where these are not. */
  private ownOf({ level, losses, demands }: Group): Demand[] {
    return demands.filter((demand) => demand.losses === losses && DOMAINS.indexOf(demand.per) === level);
  }

  /** The heaviest, of whose sets as many can be looked at one by one as can be of any. */
  heaviest({ level, losses, member }: Group): number[] {
    const hostsOf = this.hostsOf[level] as Map<number, number[]>;
    const weighed = [...hostsOf].map(([d, hosts]) => ({ d, weight: this.weightOf(hosts, member) }));
    weighed.sort((a, b) => b.weight - a.weight || a.d - b.d);
    let few = losses;
    while (few < weighed.length && choose(few + 1, losses) <= MOST_EVENTS) few++;
    return weighed.slice(0, few).map(({ d }) => d);
  }

  /** What it is a way of, when room is sought in a part alone. */
  partOf(e: number): { group: Group; parts: Parts; domain: number; part: number } | undefined {
    const { group, part, domains } = this.events[e] as Event;
    if (part === undefined || !group.parts) return undefined;
    return { group, parts: group.parts, domain: domains[0] as number, part };
  }

  /** The losses of that domain alone, into each part. */
  partsOf(group: Group, domain: number): number[] {
    const { eventsOf, events } = this;
    const isOwn = (e: number) => events[e]?.group === group && events[e]?.part !== undefined;
    return (eventsOf[group.level]?.get(domain) ?? []).filter(isOwn);
  }

  groupOf(e: number): Group {
    return (this.events[e] as Event).group;
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
    return this.hostsOfSet(group, domains);
  }

  hostsOfSet({ level }: Group, domains: readonly number[]): number[] {
    return domains.flatMap((d) => this.hostsOf[level]?.get(d) ?? []);
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
    return this.asksIn((this.events[e] as Event).group, at, without);
  }

  asksIn({ member, demandsOf }: Group, at: number, without: ReadonlySet<Demand> = NOBODY): boolean {
    if (member[at] !== 1) return false;
    return without.size === 0 || (demandsOf.get(at) ?? []).some((demand) => !without.has(demand));
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
