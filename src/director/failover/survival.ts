/**
 * Which losses (losses.ts) the machines of an estate survive: for each a way to place all that has to survive it on what is left (packing.ts). Proven
 * for all at first; after each change of where machines are, anew only for the losses that it touches: those of the place where a machine came, those whose
 * way counted on the room that it took, and those of machines that a policy keeps together or apart with it. Pure.
 */
import type { Estate } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import { DECLARED } from "../estate/estate-model.ts";
import { NO_LIMIT } from "../solver/model.ts";
import { type Demand, Losses, NOBODY } from "./losses.ts";
import { ManyLosses } from "./many-losses.ts";
import { type NotPacked, type Packed, Packing } from "./packing.ts";

const ALL_ASK: Relaxed = { without: NOBODY, spared: new Set() };

/** Of more losses that are not survived it is not asked which would be if some did not ask. */
const MOST_SPARED = 100;

/** After so many ways into parts that are none any more it is looked at once what that makes of sets, before all others are looked for. */
const EARLY = 3;

/** So many more losses that are looked at one by one than at first are many. */
const MANY_MORE = 2000;

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

export class Survival {
  estate: Estate;
  readonly demands: readonly Demand[];
  private readonly index: EstateIndex;
  private readonly packing: Packing;
  readonly losses: Losses;
  private readonly many: ManyLosses;
  /** By loss, as last proven. */
  private readonly ways: (Packed | undefined)[];
  /** By host: the losses whose way counts on it. */
  private readonly usersOf = new Map<number, Set<number>>();
  private readonly stale = new Set<number>();
  /** Not survived, and not all machines are where they were then: there may be a way by now. */
  private readonly hopeful = new Set<number>();
  private readonly failing = new Set<number>();
  /** When all was proven for the first time: of each group how many are looked at one by one. */
  private atFirst: { sets: number; givenUp: boolean }[] | undefined;

  /** Nothing is proven yet: it has to be before anything is moved (sync, or catchUp). @param closed hosts that take machines, by the estate, and are to take none at first */
  constructor(estate: Estate, demands: readonly Demand[], closed: readonly number[] = []) {
    this.estate = estate;
    this.demands = demands;
    this.index = indexOf(estate);
    this.packing = new Packing(() => this.estate);
    for (const h of closed) this.packing.close(h);
    this.losses = new Losses(estate, this.index, demands, (h) => this.packing.takes(h));
    this.ways = new Array<Packed | undefined>(this.losses.count).fill(undefined);
    for (let e = 0; e < this.losses.count; e++) this.stale.add(e);
    this.many = new ManyLosses({
      ...{ index: this.index, losses: this.losses, packing: this.packing },
      wayOf: (e) => this.ways[e],
      prove: (e) => this.prove(e),
      tight: (e) => this.prove(e, NOBODY, true),
      set: (e, packed) => this.set(e, packed),
      faultOf: (e, packed) => this.faultOf(e, packed),
    });
    this.index.onMove = (at, from, to) => this.moved(at, from, to);
  }

  /** Another machine is in this place of the estate's list from now on, and on no host yet. @param demands that are about it */
  become(at: number, demands: readonly Demand[]): void {
    this.packing.become(at);
    this.losses.become(at, demands);
    this.forget();
  }

  private forget(): void {
    for (const { parts } of this.losses.groups) parts?.forget();
  }

  private moved(at: number, from: number, to: number): void {
    this.forget();
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
      const packed = this.ways[e];
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
    for (const e of this.losses.of(h))
      if (this.losses.asks(e, at) && isThere(this.ways[e])) this.stale.add(e);
  }

  /** Proves anew what has changed, piece by piece: between two of them others may have their turn, but nothing may be moved. */
  *catchUp(): Generator<void> {
    while (this.stale.size > 0 || this.losses.groups.some(({ parts }) => parts && parts.changed.size > 0)) {
      for (const e of this.stale) {
        this.stale.delete(e);
        this.set(e, this.prove(e));
        yield;
      }
      for (const group of this.losses.groups) if (group.parts) yield* this.many.cover(group, group.parts);
    }
    this.atFirst ??= this.losses.groups.map(({ sets, givenUp }) => ({ sets: sets.size, givenUp }));
  }

  /** Whether one made anew may know more, or have less to look at: what was found to be looked at one by one stays so, and what was given up. */
  get wear(): "much" | "some" | undefined {
    let wear: "some" | undefined;
    for (const [g, { sets, givenUp }] of this.losses.groups.entries()) {
      const first = this.atFirst?.[g];
      if (!first) continue;
      if (sets.size > first.sets + MANY_MORE || (givenUp && !first.givenUp)) return "much";
      if (givenUp) wear = "some";
    }
    return wear;
  }

  /** The same at once. */
  sync(): void {
    for (const _ of this.catchUp());
  }

  /** @param without as if these did not ask @param tight where others have room, too */
  private prove(e: number, without: ReadonlySet<Demand> = NOBODY, tight = false): Packed {
    const of = this.losses.partOf(e);
    const within = of && { order: of.parts.orderOf(of.part), tight };
    return this.packing.place(this.losses.hostsIn(e), (at) => this.losses.asks(e, at, without), within);
  }

  private set(e: number, packed: Packed | undefined): void {
    const before = this.ways[e];
    if (before?.found === "yes") for (const h of before.to) this.usersOf.get(h)?.delete(e);
    this.ways[e] = packed;
    const part = this.losses.partOf(e);
    part?.parts.set(part.domain, part.part, packed);
    if (packed?.found !== "yes") {
      if (!part) this.failing.add(e);
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
    this.stillHolds(fault);
    return fault;
  }

  /** The ways from before hold again, but of what was found to be a loss for itself. */
  private stillHolds(fault?: Fault): void {
    this.stale.clear();
    if (fault && this.ways[fault.event] === undefined) this.stale.add(fault.event);
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
    const { first, next } = this.index.state;
    const demands = [...this.losses.demandsOf(fault.event, at)];
    for (const h of this.lostIn(fault))
      for (let item = first[h] as number; item >= 0; item = next[item] as number)
        demands.push(...this.losses.demandsOf(fault.event, item));
    return demands;
  }

  /** Whether a loss that is not survived would be with the machine there, and no other less. The estate stays as it is. */
  mends({ event }: Fault, at: number, to: string): boolean {
    const before = this.index.machines[at];
    if (!before || this.ifMoved(at, to)) return false;
    this.index.move(before.key, to);
    const { found } = this.prove(event);
    this.index.restore(at, before);
    this.stillHolds();
    return found === "yes";
  }

  /** The hosts that are lost. */
  lostIn({ event }: Fault): ReadonlySet<number> {
    return new Set(this.losses.hostsIn(event));
  }

  /** Of moves that were made since the last question; when there is one, whoever made them has to take them back. */
  worse(): Fault | undefined {
    const fault = this.firstWorse(-1, true);
    // One that was found to be a loss for itself is proven for what was, once that is so again.
    if (fault && this.losses.groupOf(fault.event).parts) this.stale.add(fault.event);
    return fault;
  }

  private firstWorse(at: number, keep = false, { without, spared }: Relaxed = ALL_ASK): Fault | undefined {
    const touched = [...this.stale];
    this.stale.clear();
    const known = touched.map((e): [number, Packed | undefined] => [e, this.ways[e]]);
    let fault: Fault | undefined;
    let early = EARLY;
    const ofSets = () => {
      for (const group of this.losses.groups) {
        if (!group.parts) continue;
        const found = this.many.uncovered(group, group.parts, { known, keep, without });
        if (found) return found;
      }
      return undefined;
    };
    for (const [e, was] of [...known]) {
      const isPart = this.losses.partOf(e) !== undefined;
      const bears = !isPart && at >= 0 && this.losses.asks(e, at, without) && this.losses.takes(e, at);
      // Of what is not survived anyway nothing is asked, but of a machine that would be part of it.
      if (was?.found !== "yes" && !bears && !spared.has(e)) {
        if (!isPart) this.hopeful.add(e);
        continue;
      }
      const packed = this.prove(e, without);
      this.set(e, packed);
      if (packed.found === "yes") continue;
      if (isPart) {
        // It is found soonest there that no other way is left.
        if (early-- > 0) fault = ofSets();
        if (fault) break;
        continue;
      }
      fault = this.faultOf(e, packed);
      break;
    }
    fault ??= ofSets();
    if (!keep || fault) {
      for (const [e, was] of known.reverse()) this.set(e, was);
      for (const { parts } of this.losses.groups) parts?.changed.clear();
    }
    return fault;
  }

  private faultOf(e: number, { found, left }: NotPacked): Fault {
    const { losses } = this;
    return {
      event: e,
      loss: losses.inWords(e),
      sure: found === "no",
      machine: left,
      demands: losses.demandsOf(e, left),
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
        const packed = this.ways[e];
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

  /** Has a host take machines that took none; what that makes of losses is found at the next question, or in pieces before that (catchUp). */
  open(h: number): void {
    this.packing.close(h, false);
    for (const e of this.failing) this.stale.add(e);
    this.touchGrouped();
    for (const group of this.losses.groups) {
      if (!group.parts || (this.failing.size === 0 && !group.givenUp)) continue;
      // There may be ways now where there were none, and all is to be looked at that was not.
      for (const [e, packed] of this.ways.entries())
        if (packed?.found !== "yes" && this.losses.groupOf(e) === group) this.stale.add(e);
      this.losses.takeUp(group);
      group.parts.reconsider();
    }
  }

  /** With another domain, or without one, machines that are to be spread may have to be elsewhere. */
  private touchGrouped(): void {
    const { tallies } = this.index.state.model;
    if (!tallies.even.includes(1)) return;
    const { ofStart, of, even } = tallies;
    const isSpread = (item: number) => {
      for (let i = ofStart[item] as number; i < (ofStart[item + 1] as number); i++)
        if (even[of[i] as number] === 1) return true;
      return false;
    };
    for (const [e, packed] of this.ways.entries())
      if (packed?.found === "yes" && packed.machines.some(isSpread)) this.stale.add(e);
  }
}
