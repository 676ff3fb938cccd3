/**
 * A large item is put on another host, and what then has no room there goes elsewhere, one after the other; kept when it is worth it, else taken back. Large items
 * of full hosts hardly ever move in single steps, and where they are decides most of the cost. A part of anneal.ts.
 */
import type { Reach } from "./reach.ts";
import type { State } from "./state.ts";

/** Hosts that are looked at for the large item, and for each that makes room. */
const TARGETS = 6;
const OTHERS = 16;
/** Items that make room at most. */
const LEAVE = 8;
/** Share of attempts that begin on one of the costliest hosts. */
const COSTLY = 0.6;
const UNIT = 2 ** -32;

export class Repack {
  private readonly state: State;
  private readonly random: () => number;
  private readonly reach: Reach;
  /** Of each item the largest share of a mean host. */
  private readonly size: Float64Array;
  private readonly moved = new Int32Array(LEAVE + 3);
  private readonly from = new Int32Array(LEAVE + 3);
  /** Resources, the first so many. */
  private readonly lacking: Int32Array;
  private count = 0;
  /** Who has to leave the target before all others (Counts.blocker); -1: nobody. */
  private blocker = -1;

  constructor(state: State, random: () => number, reach: Reach) {
    this.state = state;
    this.random = random;
    this.reach = reach;
    const { items, hosts, resources, capacity, demand } = state.model;
    this.lacking = new Int32Array(resources);
    const total = new Float64Array(resources);
    for (let i = 0; i < hosts * resources; i++) (total[i % resources] as number) += capacity[i] as number;
    this.size = new Float64Array(items);
    for (let i = 0; i < items * resources; i++) {
      const item = Math.floor(i / resources);
      const share = ((demand[i] as number) * hosts) / Math.max(1, total[i % resources] as number);
      if (share > (this.size[item] as number)) this.size[item] = share;
    }
  }

  private below(n: number): number {
    return (this.random() * UNIT * n) | 0;
  }

  /** @param limit by how much the cost may grow @param price of what there is no room for */
  attempt(limit: number, price: number): boolean {
    const { state } = this;
    const large = this.pickLarge();
    if (large < 0 || (state.model.fixed && (state.model.fixed[large] as number) === 1)) return false;
    const left = state.at[large] as number;
    const target = this.pickTarget(large, price);
    if (target < 0) return false;
    const before = state.cost + price * state.lackTotal;
    this.count = 0;
    if (this.blocker >= 0 && !this.unblock(large, target, left)) return false;
    this.move(large, target);
    for (let n = 0; n < LEAVE && (state.hostLack[target] as number) > 1e-9; n++) {
      const item = this.pickLeaver(large, target, price);
      const to = item < 0 ? -1 : this.pickOther(item, target, left);
      if (to < 0) break;
      this.move(item, to);
    }
    if (state.cost + price * state.lackTotal - before <= limit) return true;
    this.takeBack();
    return false;
  }

  /** Has the one go that keeps the large item from its target. */
  private unblock(large: number, target: number, left: number): boolean {
    const to = this.pickOther(this.blocker, target, left);
    if (to < 0) return false;
    this.move(this.blocker, to);
    if (this.state.counts.allows(large, target)) return true;
    this.takeBack();
    return false;
  }

  private takeBack(): void {
    while (this.count > 0) {
      this.count--;
      this.state.move(this.moved[this.count] as number, this.from[this.count] as number);
    }
  }

  private move(item: number, to: number): void {
    this.moved[this.count] = item;
    this.from[this.count++] = this.state.at[item] as number;
    this.state.move(item, to);
  }

  private larger(a: number, b: number): number {
    return (this.size[b] as number) > (this.size[a] as number) ? b : a;
  }

  private pickLarge(): number {
    const { itemsOn, hostCost, model } = this.state;
    if (this.random() * UNIT >= COSTLY) {
      const [a, b, c] = [this.below(model.items), this.below(model.items), this.below(model.items)];
      return this.larger(this.larger(a, b), c);
    }
    let host = this.below(model.hosts);
    for (let n = 0; n < 3; n++) {
      const other = this.below(model.hosts);
      if ((hostCost[other] as number) > (hostCost[host] as number)) host = other;
    }
    if ((itemsOn[host] as number) === 0) return -1;
    const any = () => this.state.anyOn(host, this.random() * UNIT);
    return this.larger(any(), any());
  }

  /** Of some hosts in its reach the one where it costs least; there may be one that keeps it from there. */
  private pickTarget(item: number, price: number): number {
    const { state } = this;
    this.blocker = -1;
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let n = 0; n < TARGETS; n++) {
      const host = this.reach.pick(item, this.random() * UNIT);
      if (host < 0 || host === (state.at[item] as number)) continue;
      const delta =
        state.joinDelta(item, host) + state.otherDelta(item, host) + price * state.lackJoin(item, host);
      if (delta >= least) continue;
      let blocker = -1;
      if (!state.counts.allows(item, host)) {
        blocker = state.counts.blocker(item, host);
        if (blocker < 0 || state.model.fixed?.[blocker] === 1) continue;
      }
      least = delta;
      best = host;
      this.blocker = blocker;
    }
    return best;
  }

  /** Who makes room: about the one whose leaving helps most. */
  private pickLeaver(large: number, host: number, price: number): number {
    const { state, lacking } = this;
    const { fixed, home, demand, resources, transient } = state.model;
    const { free, first, next } = state;
    let count = 0;
    for (let r = 0; r < resources; r++) if ((free[host * resources + r] as number) < 0) lacking[count++] = r;
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let item = first[host] as number; item >= 0; item = next[item] as number) {
      if (item === large || (fixed && (fixed[item] as number) === 1)) continue;
      // As State.lackLeave, of those that are lacking.
      const isHome = (home[item] as number) === host;
      let room = 0;
      for (let n = 0; n < count; n++) {
        const r = lacking[n] as number;
        if (isHome && r < transient) continue;
        room +=
          Math.min(-(free[host * resources + r] as number), demand[item * resources + r] as number) *
          (state.price[r] as number);
      }
      if (room <= 0) continue;
      const delta = (state.leaveDelta(item) - price * room) * (0.5 + this.random() * UNIT);
      if (delta >= least) continue;
      least = delta;
      best = item;
    }
    return best;
  }

  /** A host that has room for it: the one that was left, its first one, or some others. */
  private pickOther(item: number, but: number, left: number): number {
    const { state } = this;
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let n = 0; n < OTHERS + 2; n++) {
      const host =
        n === 0
          ? left
          : n === 1
            ? (state.model.home[item] as number)
            : this.reach.pick(item, this.random() * UNIT);
      if (host < 0 || host === but || !state.fits(item, host)) continue;
      const delta = state.joinDelta(item, host) + state.otherDelta(item, host);
      if (delta >= least || !state.counts.allows(item, host)) continue;
      least = delta;
      best = host;
    }
    return best;
  }
}
