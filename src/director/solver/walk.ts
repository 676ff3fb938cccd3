/**
 * The proposals of annealing (anneal.ts), and which of them are taken: shifts, exchanges, a large item for which others make room (repack.ts), an item that takes the place of
 * another (evict.ts), a host that is cleared (clear.ts).
 */
import { Clear } from "./clear.ts";
import { Evict } from "./evict.ts";
import type { Model } from "./model.ts";
import { Reach } from "./reach.ts";
import { Repack } from "./repack.ts";
import type { State } from "./state.ts";

/** To each attempt to repack. */
const PROPOSALS = 103;
/** Of the shifts that are not home, those that put another item out. */
const EVICTIONS = 0.2 * 2 ** 12;
const DISTANCES = 4096;
/** Items that are worth less, in temperatures, are not proposed: where they are is chance while it is so hot, and they would only be in the way. */
const LEAST_WORTH = 3;
const FEW = 10;
const UNIT = 2 ** -32;
const LOGS = new Float64Array(4096).map((_, i) => -Math.log((i + 0.5) / 4096));

/** Proposals, half of them made up at random, the others where they help most: a shift home frees what a moved item holds of transient resources. */
export class Walk {
  private readonly state: State;
  private readonly random: () => number;
  /** Proposals of a block. */
  private readonly size: number;
  private readonly reach: Reach;
  private readonly repack: Repack;
  private readonly evict: Evict;
  readonly clear: Clear;
  /** Of each item: State.worthOf. */
  private readonly worth: Float64Array;
  /** The items by their worth, and where each is among them. */
  private readonly order: Int32Array;
  private readonly rank: Int32Array;
  /** Between two in that order: any from 1 to all is as likely as its double. */
  private readonly distances: Int32Array;
  /** Of each item what it is worth, or the one that is worth most of those that can only be where one of its group is. */
  private readonly weight: Float64Array;
  /** Those of `reach`, the ones of most weight first. */
  private readonly movable: Int32Array;
  private readonly homeShare: number;
  private readonly exchangeShare = 0.5 * 2 ** 32;
  /** Of the exchanges, those with an item of the same tally, and of about the same worth: others of very different size hardly ever have room for each other. */
  private readonly groupShare = 0.2 * 2 ** 32;
  private readonly nearShare = 0.4 * 2 ** 32;

  constructor(state: State, random: () => number, size: number) {
    this.state = state;
    this.random = random;
    this.size = size;
    this.worth = Float64Array.from({ length: state.model.items }, (_, p) => state.worthOf(p));
    this.reach = new Reach(state.model);
    this.repack = new Repack(state, random, this.reach);
    this.evict = new Evict(state, random, this.reach, this.worth);
    this.clear = new Clear(state, random);
    const { worth } = this;
    this.order = Int32Array.from(worth.keys()).sort((a, b) => (worth[a] as number) - (worth[b] as number));
    this.rank = new Int32Array(worth.length);
    for (const [r, p] of this.order.entries()) this.rank[p] = r;
    this.distances = Int32Array.from({ length: DISTANCES }, (_, i) =>
      Math.floor(state.model.items ** ((i + 0.5) / DISTANCES)),
    );
    const weight = weightOf(state.model, worth);
    this.weight = weight;
    this.movable = this.reach.movable
      .slice()
      .sort((a, b) => (weight[b] as number) - (weight[a] as number) || a - b);
    this.homeShare = (state.model.transient > 0 ? 0.4 : 0.1) * 2 ** 32;
  }

  /** Of the items that can be on more than one host; 0: there are none. */
  get meanWorth(): number {
    const { movable } = this;
    return movable.reduce((sum, p) => sum + (this.worth[p] as number), 0) / Math.max(1, movable.length);
  }

  block(temperature: number, price: number): void {
    const { state, random, reach, repack, evict, size, homeShare, exchangeShare, groupShare, nearShare } =
      this;
    const { items, home, fixed } = state.model;
    const { ofStart, of, memberStart, members } = state.model.tallies;
    const { at, counts } = state;
    const { rank, order, distances, worth, weight, movable } = this;
    if (movable.length === 0) return;
    const least = LEAST_WORTH * temperature;
    const active = this.countFrom(least);
    for (let i = 0; i < size; i += PROPOSALS)
      repack.attempt(temperature * (LOGS[random() & 4095] as number), price);
    if (state.model.inUse && !state.lacking)
      this.clear.attempt(temperature * (LOGS[random() & 4095] as number));
    for (let i = 0; i < size; i++) {
      const kind = random();
      const pick = random() * UNIT;
      const u = random();
      // All may go home.
      const goesHome = kind >= exchangeShare && u < homeShare;
      const p = movable[(pick * (goesHome ? movable.length : active)) | 0] as number;
      const limit = temperature * (LOGS[kind & 4095] as number);
      const a = at[p] as number;
      if (kind < exchangeShare) {
        let q: number;
        if (u < groupShare) {
          const first = ofStart[p] as number;
          if (first === (ofStart[p + 1] as number)) continue;
          const t = of[first] as number;
          q = members[
            (memberStart[t] as number) +
              (((u / groupShare) * ((memberStart[t + 1] as number) - (memberStart[t] as number))) | 0)
          ] as number;
        } else if (u < groupShare + nearShare) {
          const distance = distances[(((u - groupShare) / nearShare) * DISTANCES) | 0] as number;
          const r = (rank[p] as number) + (kind & 8192 ? distance : -distance);
          if (r < 0 || r >= items) continue;
          q = order[r] as number;
        } else {
          const share = (u - groupShare - nearShare) / (2 ** 32 - groupShare - nearShare);
          const host = reach.pick(p, share);
          q = host < 0 ? -1 : state.anyOn(host, (kind >>> 14) * 2 ** -17);
        }
        const b = q < 0 || (weight[q] as number) < least ? a : (at[q] as number);
        if (a === b || !reach.allows(p, b) || !reach.allows(q, a)) continue;
        if (fixed && (fixed[q] as number) === 1) continue;
        const lack = state.lackExchange(p, q, (limit + (worth[p] as number) + (worth[q] as number)) / price);
        if (lack === Number.POSITIVE_INFINITY) continue;
        const delta = price * lack + state.exchangeDelta(p, q) + state.exchangeOther(p, q);
        if (delta > limit || !counts.allowsExchange(p, q)) continue;
        state.move(p, b);
        state.move(q, a);
      } else {
        let b = home[p] as number;
        if (!goesHome) {
          b = reach.pick(p, (u - homeShare) / (2 ** 32 - homeShare));
          if (((kind >>> 12) & 4095) < EVICTIONS) {
            if (b >= 0 && a !== b) evict.attempt(p, b, limit, price);
            continue;
          }
        }
        if (b < 0 || a === b) continue;
        const lack = state.lackLeave(p);
        const more = state.lackJoin(p, b, (limit + (worth[p] as number)) / price - lack);
        if (more === Number.POSITIVE_INFINITY) continue;
        const delta =
          price * (lack + more) + state.leaveDelta(p) + state.joinDelta(p, b) + state.otherDelta(p, b);
        if (delta > limit) continue;
        if (counts.allows(p, b)) state.move(p, b);
        else if (counts.blocker(p, b) >= 0) evict.attempt(p, b, limit, price);
      }
    }
  }

  /** How many of `movable` have so much weight; a few have in any case. */
  private countFrom(least: number): number {
    const { movable, weight } = this;
    let low = Math.min(FEW, movable.length);
    let high = movable.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((weight[movable[middle] as number] as number) < least) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** An item has the weight of those that cannot be anywhere without one of its group, and of those that need these. */
function weightOf({ tallies }: Model, worth: Float64Array): Float64Array {
  const { count, memberStart, members, neededBy, neededByStart } = tallies;
  const weight = worth.slice();
  for (let changed = neededBy.length > 0; changed; ) {
    changed = false;
    for (let t = 0; t < count; t++) {
      let most = 0;
      for (let k = neededByStart[t] as number; k < (neededByStart[t + 1] as number); k++) {
        const other = neededBy[k] as number;
        for (let i = memberStart[other] as number; i < (memberStart[other + 1] as number); i++)
          most = Math.max(most, weight[members[i] as number] as number);
      }
      for (let i = memberStart[t] as number; i < (memberStart[t + 1] as number); i++) {
        const p = members[i] as number;
        if ((weight[p] as number) >= most) continue;
        weight[p] = most;
        changed = true;
      }
    }
  }
  return weight;
}
