/**
 * An item takes the place of another, which goes home or elsewhere: on full hosts nearly everything that comes needs that somebody goes, and seldom does the one that goes like
 * the place that was left (an exchange). So it is where one of the same group is that may not be there twice: of a large group there is one on every other host. A part of anneal.ts.
 */
import type { Reach } from "./reach.ts";
import type { State } from "./state.ts";

const UNIT = 2 ** -32;

export class Evict {
  private readonly state: State;
  private readonly random: () => number;
  private readonly reach: Reach;
  /** Of each item: State.worthOf. */
  private readonly worth: Float64Array;

  constructor(state: State, random: () => number, reach: Reach, worth: Float64Array) {
    this.state = state;
    this.random = random;
    this.reach = reach;
    this.worth = worth;
  }

  /** @param b where p goes, not where it is @param limit by how much the cost may grow @param price of what there is no room for */
  attempt(p: number, b: number, limit: number, price: number): boolean {
    const { state, random, reach } = this;
    const { counts } = state;
    const q = this.pickLeaver(p, b);
    if (q < 0) return false;
    const home = state.model.home[q] as number;
    const dice = random();
    const c = home >= 0 && home !== b && dice & 1 ? home : reach.pick(q, dice * UNIT);
    // To where p was, that is an exchange.
    if (c < 0 || c === b || c === (state.at[p] as number)) return false;
    // On b there is room for all then, and where p was there is more.
    const less = state.lackLeave(p) - (state.hostLack[b] as number);
    const most = (limit + (this.worth[p] as number) + (this.worth[q] as number)) / price - less;
    const more = state.lackJoin(q, c, most);
    if (more === Number.POSITIVE_INFINITY) return false;
    // But for what the most moved service costs, when both are of it.
    const delta =
      price * (less + more) +
      state.leaveDelta(p) +
      state.replaceDelta(p, q, b) +
      state.joinDelta(q, c) +
      state.otherDelta(p, b) +
      state.otherDelta(q, c);
    if (delta > limit || !counts.allows(q, c)) return false;
    state.move(q, c);
    if (counts.allows(p, b)) {
      state.move(p, b);
      return true;
    }
    state.move(q, b);
    return false;
  }

  /** The one that keeps p from b by a tally, else the first of those without which there is room for p there, looked at from any one on; -1: none. */
  private pickLeaver(p: number, b: number): number {
    const { state } = this;
    const { first, next, itemsOn } = state;
    const { fixed } = state.model;
    const blocker = state.counts.blocker(p, b);
    if (blocker >= 0) return fixed?.[blocker] !== 1 && this.makesRoom(blocker, p, b) ? blocker : -1;
    let q = state.anyOn(b, this.random() * UNIT);
    for (let n = itemsOn[b] as number; n > 0; n--) {
      if (fixed?.[q] !== 1 && this.makesRoom(q, p, b)) return q;
      q = next[q] as number;
      if (q < 0) q = first[b] as number;
    }
    return -1;
  }

  private makesRoom(q: number, p: number, b: number): boolean {
    const { free, model } = this.state;
    const { resources, transient, demand, home } = model;
    const kept = (home[q] as number) === b ? transient : 0;
    for (let r = (home[p] as number) === b ? transient : 0; r < resources; r++) {
      const room =
        (free[b * resources + r] as number) + (r < kept ? 0 : (demand[q * resources + r] as number));
      if ((demand[p * resources + r] as number) > room) return false;
    }
    return true;
  }
}
