/**
 * Proves the loss of any k hosts (racks, sites) without looking at all sets of k, which are half a million of two of a thousand. The hosts are dealt into 2k - 1 parts that share none, and of the loss of each host *alone*
 * it is sought how its machines are placed within each part. Ways into different parts never want the same room, so that of a set of hosts each may take one of its own: that all of the set are
 * survived follows where each of them has a part for itself, with a way there that counts on none of the set. With k + min(k - 1, ways that count on hosts with machines) ways each host has one whatever
 * the others are (each of them spoils one of its ways at most): sets of such hosts need not be looked at. Those with another host are, by their ways alone (`covers`); what follows from no ways,
 * and what machines of several hosts have to keep together (a rule that counts in domains which parts share), is proven for itself (survival.ts). Exact: nothing is said to be survived by sums. Pure.
 */

import type { Level } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import { DOMAINS, isWithin } from "../kinds.ts";
import { NO_LIMIT } from "../solver/model.ts";
import type { Packed } from "./packing.ts";
import { areDistinct, type Beginning, bitsOf, setsOf } from "./sets.ts";

/** Sets are looked at by their ways up to so many times at once; between so many others have their turn. */
const MOST_CHECKS = 5_000_000;
const CHECKS = 5000;
/** To find whom one shares rules with takes as long as so many of these. */
const PARTNERS = 200;

const NOBODY: ReadonlySet<number> = new Set();

const inOrder = (set: readonly number[]): number[] => [...set].sort((a, b) => a - b);

/** Which sets are looked at. */
interface Looked {
  /** Only those of these. */
  among?: readonly number[] | undefined;
  /** So many at most. */
  most?: number | undefined;
}

/** What Parts is about: losses of so many of a level, and whose machines count. */
export interface Lost {
  level: number;
  losses: number;
  /** By machine: it has to find room. */
  member: Uint8Array;
}

export class Parts {
  readonly count: number;
  private readonly index: EstateIndex;
  private readonly lost: Lost;
  /** Whether the host takes machines. */
  private readonly takes: (h: number) => boolean;
  /** How many domains the level has. */
  private readonly domains: number;
  /** The level whose domains lie in one part whole. */
  private readonly dealt: number;
  /** The hosts of each part, those without machines that count first, then by free memory. */
  private readonly orders: Int32Array[];
  /** By domain: in which parts it has a way, as bits; and whether it has machines that count. */
  private readonly ways: Uint8Array;
  private readonly active: Uint8Array;
  /** By domain and part: the domains that the way counts on. */
  private readonly targets: (readonly number[] | undefined)[] = [];
  /** By domain: who counts on it, with which ways. */
  private readonly fans = new Map<number, Map<number, number>>();
  /** Domains that have too few ways to be survived with any others. */
  private readonly weak = new Set<number>();
  /** Domains whose ways are others than when their sets were looked at. */
  readonly changed = new Set<number>();
  /** By domain, as long as nothing is moved: those with machines that it shares a rule with. */
  private readonly partners = new Map<number, ReadonlySet<number>>();
  /** Tallies that machines in several parts may break together. */
  private readonly shared: Uint8Array;
  private readonly isShared: boolean;
  /** Those that do, as long as nothing is moved; null: none. */
  private binds: Uint8Array | null | undefined;
  private readonly hostsByDomain: number[][] = [];
  private mostHosts = 1;

  constructor(index: EstateIndex, lost: Lost, takes: (h: number) => boolean) {
    this.index = index;
    this.lost = lost;
    this.takes = takes;
    this.count = 2 * lost.losses - 1;
    const { tallies } = index.state.model;
    this.domains = tallies.domainCounts[lost.level] as number;
    for (let h = 0; h < index.state.model.hosts; h++) {
      this.hostsByDomain[this.domainAt(h)] ??= [];
      this.hostsByDomain[this.domainAt(h)]?.push(h);
    }
    for (let d = 0; d < this.domains; d++) this.mostHosts = Math.max(this.mostHosts, this.hostsIn(d).length);
    this.dealt = this.levelToDeal();
    const dealt = DOMAINS[this.dealt] ?? "host";
    this.shared = Uint8Array.from({ length: tallies.count }, (_, t) => {
      const own = this.levelOf(t);
      if ((tallies.maxDomains[t] as number) < NO_LIMIT) return tallies.maxDomains[t] === 1 ? 0 : 1;
      return tallies.even[t] === 1 || !isWithin(own, dealt) ? 1 : 0;
    });
    this.isShared = this.shared.includes(1);
    this.orders = this.deal();
    this.ways = new Uint8Array(this.domains);
    this.active = new Uint8Array(this.domains);
  }

  /**
   * That of what is lost, or wider: then rules that count in racks, say, and let each rack have but one machine, cannot be broken by ways into different parts. Not where machines have to
   * stay in their rack, nor where there are too few racks to deal.
   */
  private levelToDeal(): number {
    const { tallies } = this.index.state.model;
    const { level, losses } = this.lost;
    const wanted = new Set<Level>();
    const kept = new Set<Level>();
    for (let t = 0; t < tallies.count; t++) {
      if ((tallies.maxDomains[t] as number) < NO_LIMIT) kept.add(this.levelOf(t));
      else if (tallies.even[t] !== 1 || this.isSparse(t)) wanted.add(this.levelOf(t));
    }
    const own = DOMAINS[level] ?? "host";
    const fits = DOMAINS.filter(
      (wide, l) =>
        isWithin(own, wide) &&
        l !== level &&
        (tallies.domainCounts[l] as number) >= 2 * (2 * losses - 1) &&
        [...wanted].every((narrow) => isWithin(narrow, wide)) &&
        ![...kept].some((each) => each !== "host" && isWithin(each, wide)),
    );
    const isEnough = [...wanted].every((narrow) => isWithin(narrow, own));
    return isEnough || fits[0] === undefined ? level : DOMAINS.indexOf(fits[0]);
  }

  /** That the tally counts in. */
  private levelOf(t: number): Level {
    return DOMAINS[this.index.state.model.tallies.level[t] as number] ?? "host";
  }

  /** Of a rule to spread: some domain has none, whatever is lost, so that each machine may only come where none is. */
  private isSparse(t: number): boolean {
    const { model, counts } = this.index.state;
    const { level, openCounts, memberStart, members, reach } = model.tallies;
    for (let m = memberStart[t] as number; m < (memberStart[t + 1] as number); m++)
      if (reach[members[m] as number] !== 0) return false;
    const lost = this.lost.losses * this.mostHosts;
    return (counts.placed[t] as number) + lost < (openCounts[level[t] as number] as number);
  }

  /** So that each has about as much free memory, and of hosts that are alike as many. */
  private deal(): Int32Array[] {
    const { model, free } = this.index.state;
    const { hosts, resources, tallies } = model;
    const memory = (h: number) => free[h * resources + 1] as number;
    const now = (h: number) => (this.takes(h) ? memory(h) : 0);
    const members = new Map<number, number[]>();
    for (let h = 0; h < hosts; h++) {
      if (!this.index.hostOf(h)) continue;
      const d = tallies.domains[this.dealt * hosts + h] as number;
      const known = members.get(d);
      if (known) known.push(h);
      else members.set(d, [h]);
    }
    const sumOf = (of: readonly number[], room: (h: number) => number) =>
      of.reduce((sum, h) => sum + room(h), 0);
    const units = [...members.values()].map((of) => ({ of, now: sumOf(of, now), room: sumOf(of, memory) }));
    // Those that take no machines now last: they may, later.
    units.sort((a, b) => b.now - a.now || b.room - a.room || (a.of[0] ?? 0) - (b.of[0] ?? 0));
    const parts = Array.from({ length: this.count }, () => ({ hosts: [] as number[], room: 0 }));
    for (const { of, room } of units) {
      const [least] = [...parts].sort((a, b) => a.room - b.room || a.hosts.length - b.hosts.length);
      least?.hosts.push(...of);
      if (least) least.room += room;
    }
    const isUsed = (h: number) => (this.hasMembers(h) ? 1 : 0);
    return parts.map((part) =>
      Int32Array.from(part.hosts.sort((a, b) => isUsed(a) - isUsed(b) || memory(b) - memory(a) || a - b)),
    );
  }

  private hasMembers(h: number): boolean {
    const { first, next } = this.index.state;
    for (let item = first[h] as number; item >= 0; item = next[item] as number)
      if (this.lost.member[item] === 1) return true;
    return false;
  }

  private domainAt(h: number): number {
    const { tallies, hosts } = this.index.state.model;
    return tallies.domains[this.lost.level * hosts + h] as number;
  }

  orderOf(part: number): Int32Array {
    return this.orders[part] as Int32Array;
  }

  /** A way of the loss of the domain alone into the part is this one from now on. */
  set(d: number, part: number, packed: Packed | undefined): void {
    const at = d * this.count + part;
    const bit = 1 << part;
    for (const to of this.targets[at] ?? []) {
      const fans = this.fans.get(to);
      const left = (fans?.get(d) ?? 0) & ~bit;
      if (left === 0) fans?.delete(d);
      else fans?.set(d, left);
    }
    const found = packed?.found === "yes" ? packed : undefined;
    const targets = found && [...new Set([...found.to].map((h) => this.domainAt(h)))];
    this.targets[at] = targets;
    for (const to of targets ?? []) {
      const fans = this.fans.get(to) ?? new Map<number, number>();
      this.fans.set(to, fans);
      fans.set(d, (fans.get(d) ?? 0) | bit);
    }
    const ways = (this.ways[d] as number) & ~bit;
    this.ways[d] = found ? ways | bit : ways;
    const active = packed === undefined || (found && found.machines.length === 0) ? 0 : 1;
    this.changed.add(d);
    if (active !== this.active[d]) {
      this.active[d] = active;
      for (const fan of this.fans.get(d)?.keys() ?? []) this.weigh(fan);
    }
    this.weigh(d);
  }

  private weigh(d: number): void {
    const { losses } = this.lost;
    let counting = 0;
    for (let part = 0; part < this.count; part++)
      if (this.targets[d * this.count + part]?.some((to) => this.active[to] === 1)) counting++;
    const enough = losses + Math.min(losses - 1, counting);
    if (this.active[d] === 1 && bitsOf(this.ways[d] as number) < enough) this.weak.add(d);
    else this.weak.delete(d);
  }

  isWeak(d: number): boolean {
    return this.weak.has(d);
  }

  /** A machine is elsewhere, or another one: what is known of rules that several share is not known any more. */
  forget(): void {
    this.partners.clear();
    this.binds = undefined;
  }

  /** All that there are have to be looked at anew. */
  reconsider(): void {
    for (let d = 0; d < this.domains; d++) this.changed.add(d);
  }

  /** Domains with machines of a rule of which also this one has some, and which they might break together. */
  private partnersOf(d: number): ReadonlySet<number> {
    const binds = this.binding();
    if (!binds) return NOBODY;
    const known = this.partners.get(d);
    if (known) return known;
    const { state } = this.index;
    const { tallies } = state.model;
    const found = new Set<number>();
    const seen = new Set<number>();
    for (const h of this.hostsIn(d))
      for (let item = state.first[h] as number; item >= 0; item = state.next[item] as number)
        for (let i = tallies.ofStart[item] as number; i < (tallies.ofStart[item + 1] as number); i++) {
          const t = tallies.of[i] as number;
          if (seen.has(t) || binds[t] !== 1) continue;
          seen.add(t);
          for (let m = tallies.memberStart[t] as number; m < (tallies.memberStart[t + 1] as number); m++) {
            const at = state.at[tallies.members[m] as number] as number;
            if (at >= 0) found.add(this.domainAt(at));
          }
        }
    found.delete(d);
    this.partners.set(d, found);
    return found;
  }

  /** By tally: whether ways into different parts may break it together; undefined: none. */
  private binding(): Uint8Array | undefined {
    if (!this.isShared) return undefined;
    if (this.binds === undefined) {
      const { tallies } = this.index.state.model;
      const dealt = DOMAINS[this.dealt] ?? "host";
      const binds = this.shared.map((may, t) => {
        const own = this.levelOf(t);
        return may === 1 && (tallies.even[t] !== 1 || !isWithin(own, dealt) || !this.isSparse(t)) ? 1 : 0;
      });
      this.binds = binds.includes(1) ? binds : null;
    }
    return this.binds ?? undefined;
  }

  private hostsIn(d: number): readonly number[] {
    return this.hostsByDomain[d] ?? [];
  }

  /** Whether that all of these are survived at once follows from their ways. */
  covers(set: readonly number[]): boolean {
    const options: number[] = [];
    for (const d of set) {
      if (this.binding()) {
        const partners = this.partnersOf(d);
        if (partners.size > 0 && set.some((other) => partners.has(other))) return false;
      }
      if (this.active[d] === 0) continue;
      let left = this.ways[d] as number;
      for (const other of set) if (other !== d) left &= ~(this.fans.get(other)?.get(d) ?? 0);
      if (left === 0) return false;
      options.push(left);
    }
    return areDistinct(options, 0, 0);
  }

  /** Those that matter when they are lost; of those that have nothing and take nothing, which are all alike, as many as are lost at once. */
  private matter(): number[] {
    const { first } = this.index.state;
    let alike = this.lost.losses;
    return Array.from({ length: this.domains }, (_, d) => d).filter((d) => {
      const hosts = this.hostsIn(d).filter((h) => this.index.hostOf(h));
      if (hosts.length === 0) return false;
      return hosts.some((h) => this.takes(h) || (first[h] as number) >= 0) || alike-- > 0;
    });
  }

  /**
   * Sets that are not covered, of those with a changed one; undefined now and then: others may have their turn. A set may come twice.
   * @returns the one it would have looked at next; undefined: there were no more sets than can be looked at
   */
  *uncovered(
    changed: Iterable<number>,
    { among, most = MOST_CHECKS }: Looked = {},
  ): Generator<number[] | undefined, number[] | undefined> {
    if (this.weak.size === 0 && !this.binding()) return undefined;
    const all = among ?? this.matter();
    let checks = 0;
    let turn = CHECKS;
    for (const beginning of this.beginnings(new Set(changed), all)) {
      if (!beginning) checks += PARTNERS;
      for (const set of beginning ? setsOf(beginning, all, this.lost.losses) : []) {
        if (++checks > most) return inOrder(set);
        if (!this.covers(set)) yield inOrder(set);
        if (checks < turn) continue;
        turn = checks + CHECKS;
        yield undefined;
      }
      if (checks < turn) continue;
      turn = checks + CHECKS;
      yield undefined;
    }
    return undefined;
  }

  /** How those begin that may not be covered: with a weak one, or with two that share a rule. Undefined: partners were looked for, which takes a while. */
  private *beginnings(
    changed: ReadonlySet<number>,
    all: readonly number[],
  ): Generator<Beginning | undefined> {
    const within = new Set(all);
    const weak = [...this.weak].filter((d) => within.has(d));
    // When most have changed, weak ones and pairs are gone through but once.
    const some = changed.size * 2 < all.length ? [...changed].filter((d) => within.has(d)) : undefined;
    const done = new Set<number>();
    for (const d of some?.filter((each) => this.weak.has(each)) ?? weak) {
      yield { begin: [d], but: done };
      done.add(d);
    }
    const strong = some?.filter((each) => !this.weak.has(each));
    for (const d of strong ?? []) {
      const tried = new Set(done);
      for (const other of [...weak, ...this.partnersOf(d)]) {
        if (tried.has(other) || !within.has(other)) continue;
        yield { begin: [d, other], but: tried };
        tried.add(other);
      }
    }
    if (!this.binding() || (strong && this.lost.losses < 3)) return;
    for (const p of all) {
      if (this.weak.has(p)) continue;
      for (const q of this.partnersOf(p)) {
        if (q < p || !within.has(q) || this.weak.has(q)) continue;
        if (!strong) yield { begin: [p, q], but: this.weak };
        else for (const d of strong) if (d !== p && d !== q) yield { begin: [d, p, q], but: this.weak };
      }
      yield undefined;
    }
  }
}
