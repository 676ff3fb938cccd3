/**
 * An item takes the place of another, which goes home or elsewhere: on full hosts nearly everything that comes needs that somebody goes, and seldom does the one that goes like
 * the place that was left (an exchange). A part of anneal.ts.
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
    const c = home >= 0 && dice & 1 ? home : reach.pick(q, dice * UNIT);
    if (c < 0 || c === b || !counts.allows(q, c)) return false;
    const most = (limit + (this.worth[p] as number) + (this.worth[q] as number)) / price;
    // What p leaves makes room where it was.
    if (c !== state.at[p] && state.lackJoin(q, c, most) === Number.POSITIVE_INFINITY) return false;
    const before = state.cost + price * state.lackTotal;
    state.move(q, c);
    const delta = () =>
      state.cost +
      price * (state.lackTotal + state.lackLeave(p) + state.lackJoin(p, b)) -
      before +
      state.leaveDelta(p) +
      state.joinDelta(p, b) +
      state.otherDelta(p, b);
    if (counts.allows(p, b) && delta() <= limit) {
      state.move(p, b);
      return true;
    }
    state.move(q, b);
    return false;
  }

  /** Any of those without which there is room for p on b; -1: none. */
  private pickLeaver(p: number, b: number): number {
    const { first, next } = this.state;
    const { fixed } = this.state.model;
    let found = -1;
    let count = 0;
    for (let q = first[b] as number; q >= 0; q = next[q] as number) {
      if (fixed?.[q] === 1 || !this.makesRoom(q, p, b)) continue;
      count++;
      if (this.random() * UNIT * count < 1) found = q;
    }
    return found;
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
