/**
 * Whether the machines of hosts that are lost at once find room on the others, shown by really placing them: the largest first, where most is free, with all that
 * is required of each, and going back where that leads nowhere. "no" is said only when everything was tried; where the search came to its limit it is "unknown". Pure.
 */

import type { Shares } from "../estate/ceilings.ts";
import type { Estate, MachineView } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import { DECLARED } from "../estate/estate-model.ts";
import { anew } from "../estate/likings.ts";
import { DOMAINS } from "../kinds.ts";
import { isSpecial, obstacle } from "../rules/rules.ts";
import { add } from "../solver/model.ts";

/** Hosts looked at for one loss, in each of two orders; and so many for each machine at first. */
const LOOKS = 100_000;
const LOOKS_EACH = 50;
/** A prime: where the search for the machines of one loss begins is far from where it does for the next. */
const SPREAD = 7919;
/** Of more machines than these no other way is sought than the first. */
const MOST_SEARCHED = 300;

/** `left`: the first that found no room, in the try that came farthest. */
export type NotPacked = { found: "no" | "unknown"; left: number };
export type Packed = { found: "yes"; machines: readonly number[]; to: Int32Array } | NotPacked;

/** Where room is sought. */
export interface Within {
  order: Int32Array;
  /** On the first ones that have it, which others count on, too. */
  tight?: boolean;
}

export class Packing {
  private readonly estate: () => Estate;
  private readonly index: EstateIndex;
  /** Hosts that take machines, the one with most memory free first; as it was when this was made. */
  private readonly order: Int32Array;
  private readonly usable: Uint8Array;
  /** By level, by domain: how many hosts take machines. */
  private readonly usableIn: Int32Array[];
  private readonly lost: Uint8Array;
  /** hosts × resources, given out in this try. */
  private readonly given: Float64Array;
  private readonly reservedOn: Uint8Array;
  /** By host: what machines that were put there in this try have it give out at most. */
  private readonly ceilings = new Map<number, Shares[]>();
  private readonly likes: (Float64Array | undefined)[] = [];
  /** By machine: the share that it would take of the greatest host, of its scarcest resource. */
  private readonly size: Float64Array;
  /** By resource: the most that a host has. */
  private readonly most: readonly number[];
  private looks = 0;
  private deepest = 0;

  /** @param estate the estate that the index is of now */
  constructor(estate: () => Estate) {
    this.estate = estate;
    this.index = indexOf(estate());
    const { model, free } = this.index.state;
    const { hosts, resources, tallies } = model;
    this.usable = Uint8Array.from({ length: hosts }, (_, h) => {
      const host = this.index.hostOf(h);
      return host && host.closed === undefined ? 1 : 0;
    });
    this.order = Int32Array.from({ length: hosts }, (_, h) => h)
      .filter((h) => this.usable[h] === 1)
      .sort((a, b) => (free[b * resources + 1] as number) - (free[a * resources + 1] as number) || a - b);
    this.usableIn = DOMAINS.map((_, l) => {
      const counts = new Int32Array(tallies.domainCounts[l] as number);
      for (const h of this.order) add(counts, tallies.domains[l * hosts + h] as number, 1);
      return counts;
    });
    this.lost = new Uint8Array(hosts);
    this.given = new Float64Array(hosts * resources);
    this.reservedOn = new Uint8Array(hosts);
    this.most = Array.from({ length: DECLARED }, (_, r) => {
      let max = 1;
      for (const h of this.order) max = Math.max(max, model.capacity[h * resources + r] as number);
      return max;
    });
    this.size = Float64Array.from(this.index.machines, (_, i) => this.sizeOf(i));
  }

  private sizeOf(at: number): number {
    const { demand, resources } = this.index.state.model;
    return Math.max(...this.most.map((max, r) => (demand[at * resources + r] as number) / max));
  }

  /** Another machine is in this place of the estate's list from now on. */
  become(at: number): void {
    this.size[at] = this.sizeOf(at);
    this.likes[at] = undefined;
  }

  /** From now on it takes no machines, as if it were switched off; or it does again. */
  close(h: number, closed = true): void {
    const value = closed ? 0 : 1;
    if (this.usable[h] === value) return;
    this.usable[h] = value;
    const { hosts, tallies } = this.index.state.model;
    for (const [l, counts] of this.usableIn.entries()) {
      const d = tallies.domains[l * hosts + h] as number;
      add(counts, d, closed ? -1 : 1);
      this.openDomain(l, d, (counts[d] as number) > 0);
    }
  }

  takes(h: number): boolean {
    return this.usable[h] === 1;
  }

  private openDomain(l: number, d: number, open: boolean): boolean {
    const { tallies } = this.index.state.model;
    const flags = tallies.open[l] as Uint8Array;
    if (flags[d] === (open ? 1 : 0)) return false;
    flags[d] = open ? 1 : 0;
    add(tallies.openCounts, l, open ? 1 : -1);
    return true;
  }

  /**
   * @param lost hosts
   * @param must which machines have to find room; the others that are lost stay lost
   * @param within only on these hosts, and only at once: "no" is not said then
   */
  place(lost: readonly number[], must: (at: number) => boolean, within?: Within): Packed {
    const { state, machines } = this.index;
    const { model, at, first, next, counts } = state;
    const { hosts, tallies } = model;
    const gone: [item: number, h: number][] = [];
    const wanted: number[] = [];
    for (const h of lost) {
      this.lost[h] = 1;
      for (let item = first[h] as number; item >= 0; item = next[item] as number) {
        if ((tallies.ofStart[item] as number) < (tallies.ofStart[item + 1] as number)) gone.push([item, h]);
        // What is on its way there runs elsewhere still.
        if (item < machines.length && must(item)) wanted.push(item);
      }
    }
    const closedDomains: [l: number, d: number][] = [];
    if (gone.length > 0)
      for (const [l, of] of this.usableIn.entries()) {
        const left = new Map<number, number>();
        for (const h of lost) {
          if (this.usable[h] === 0) continue;
          const d = tallies.domains[l * hosts + h] as number;
          left.set(d, (left.get(d) ?? (of[d] as number)) - 1);
        }
        for (const [d, n] of left) if (n === 0 && this.openDomain(l, d, false)) closedDomains.push([l, d]);
      }
    for (const [item] of gone) {
      counts.recount(item, -1);
      at[item] = -1;
    }
    wanted.sort((a, b) => (this.size[b] as number) - (this.size[a] as number) || a - b);
    const to = new Int32Array(wanted.length).fill(-1);
    try {
      // From another host on for each loss, so that not all of them count on the same few.
      const order = within?.order ?? this.order;
      const spread = ((lost[0] ?? 0) * SPREAD) % Math.max(1, order.length);
      for (const start of within?.tight ? [0] : [spread, 0]) {
        if (this.atOnce(wanted, to, order, start)) return { found: "yes", machines: wanted, to };
        for (const [k, h] of to.entries()) if (h >= 0) this.take(wanted[k] as number, h);
        to.fill(-1);
      }
      let exhausted = wanted.length <= MOST_SEARCHED && !within;
      if (!exhausted) return { found: "unknown", left: wanted[this.deepest] ?? -1 };
      this.deepest = 0;
      for (const backwards of [false, true]) {
        this.looks = 0;
        if (this.search(wanted, to, 0, backwards)) return { found: "yes", machines: wanted, to };
        exhausted = this.looks <= LOOKS;
        // Everything was tried: another order finds nothing else.
        if (exhausted) break;
      }
      return { found: exhausted ? "no" : "unknown", left: wanted[this.deepest] ?? -1 };
    } finally {
      for (const [k, h] of to.entries()) if (h >= 0) this.take(wanted[k] as number, h);
      for (const [item, h] of gone.reverse()) {
        counts.recount(item, h);
        at[item] = h;
      }
      for (const [l, d] of closedDomains) this.openDomain(l, d, true);
      for (const h of lost) this.lost[h] = 0;
    }
  }

  /** Each to the first host that it fits on, from the one that the last went to on. */
  private atOnce(wanted: readonly number[], to: Int32Array, order: Int32Array, start: number): boolean {
    const most = Math.max(LOOKS, LOOKS_EACH * wanted.length);
    this.looks = 0;
    let cursor = start;
    for (const [k, item] of wanted.entries()) {
      this.deepest = k;
      const admits = this.admits(item);
      let found = -1;
      for (let i = 0; admits && i < order.length && found < 0; i++) {
        if (++this.looks > most) return false;
        const h = order[(cursor + i) % order.length] as number;
        if (admits(h)) {
          found = h;
          cursor += i;
        }
      }
      if (found < 0) return false;
      to[k] = found;
      this.put(item, found);
    }
    return true;
  }

  /** Undefined: no host may have it. */
  private admits(item: number): ((h: number) => boolean) | undefined {
    const machine = this.index.machines[item] as MachineView;
    if (machine.localDisks) return undefined;
    this.likes[item] ??= this.index.likings.startLikes(item);
    const likes = this.likes[item];
    if (!likes) return undefined;
    const { index, given, lost, usable } = this;
    const { model, free, counts } = index.state;
    const { resources, demand, tallies } = model;
    const grouped = (tallies.ofStart[item] as number) < (tallies.ofStart[item + 1] as number);
    const special = isSpecial(machine);
    const limited = index.ceilings;
    const own = this.sharesOf(item);
    return (h) => {
      if (lost[h] === 1 || usable[h] === 0) return false;
      if (likes[2 * index.kindOfHost(h)] === Number.NEGATIVE_INFINITY) return false;
      for (let r = 0, j = h * resources; r < DECLARED; r++, j++) {
        const need = demand[item * resources + r] as number;
        if (need > 0 && need > (free[j] as number) - (given[j] as number)) return false;
      }
      if (limited) {
        const more = (r: number) =>
          (given[h * resources + r] as number) + (demand[item * resources + r] as number);
        const needs = (r: number) => (demand[item * resources + r] as number) > 0;
        for (const shares of this.ceilings.get(h) ?? [])
          if (!limited.allows(shares, h, more, needs)) return false;
        if (own && !limited.allows(own, h, more)) return false;
      }
      return !(grouped && counts.breaks(item, h) >= 0) && !(special && !this.suitsSpecial(machine, h));
    };
  }

  private sharesOf(item: number): Shares | undefined {
    const { ceilings, machines } = this.index;
    return ceilings?.sharesOf(this.index.policiesOf(machines[item] as MachineView));
  }

  private search(wanted: readonly number[], to: Int32Array, k: number, backwards: boolean): boolean {
    const item = wanted[k];
    if (item === undefined) return true;
    if (k > this.deepest) this.deepest = k;
    const machine = this.index.machines[item] as MachineView;
    const admits = this.admits(item);
    if (!admits) return false;
    const { model, free } = this.index.state;
    const { resources, tallies } = model;
    const alone =
      tallies.ofStart[item] === tallies.ofStart[item + 1] && !isSpecial(machine) && !this.index.ceilings;
    // Hosts of a kind with the same room are one and the same to a machine without a group.
    let tried = "";
    const { order, given } = this;
    for (let i = 0; i < order.length; i++) {
      const h = order[backwards ? order.length - 1 - i : i] as number;
      if (++this.looks > LOOKS) return false;
      if (!admits(h)) continue;
      if (alone) {
        let same = `${this.index.kindOfHost(h)}`;
        for (let r = 0, j = h * resources; r < DECLARED; r++, j++)
          same += ` ${(free[j] as number) - (given[j] as number)}`;
        if (tried === same) continue;
        tried = same;
      }
      to[k] = h;
      this.put(item, h);
      if (this.search(wanted, to, k + 1, backwards)) return true;
      this.take(item, h);
      to[k] = -1;
      if (this.looks > LOOKS) return false;
    }
    return false;
  }

  /** One of them on a host at most: what they take of a host alone is not added up here. */
  private suitsSpecial(machine: MachineView, h: number): boolean {
    const host = this.index.hostOf(h);
    if (!host || this.reservedOn[h] === 1) return false;
    return obstacle(this.estate(), anew(machine), host) === undefined;
  }

  private put(item: number, h: number): void {
    this.give(item, h, 1);
    const shares = this.sharesOf(item);
    if (shares) this.ceilings.set(h, [...(this.ceilings.get(h) ?? []), shares]);
    const { state, machines } = this.index;
    if ((machines[item] as MachineView).reserved) this.reservedOn[h] = 1;
    const { ofStart } = state.model.tallies;
    if ((ofStart[item] as number) === (ofStart[item + 1] as number)) return;
    state.counts.recount(item, h);
    state.at[item] = h;
  }

  private take(item: number, h: number): void {
    this.give(item, h, -1);
    const shares = this.sharesOf(item);
    const there = this.ceilings.get(h);
    if (shares && there) this.ceilings.set(h, there.toSpliced(there.indexOf(shares), 1));
    const { state, machines } = this.index;
    if ((machines[item] as MachineView).reserved) this.reservedOn[h] = 0;
    const { ofStart } = state.model.tallies;
    if ((ofStart[item] as number) === (ofStart[item + 1] as number)) return;
    state.counts.recount(item, -1);
    state.at[item] = -1;
  }

  private give(item: number, h: number, by: 1 | -1): void {
    const { resources, demand } = this.index.state.model;
    for (let r = 0; r < resources; r++)
      add(this.given, h * resources + r, by * (demand[item * resources + r] as number));
  }
}
