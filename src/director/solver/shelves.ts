/**
 * The best host for an item, found by looking at a few: hosts of one shelf (shelved-hosts.ts) are liked equally apart from the room that is left, and are looked
 * at in the order of it. Hosts of some kinds are liked less the more, or the less, their items do (Bend). Pure.
 */
import { ShelvedHosts } from "./shelved-hosts.ts";

/** Likings that differ by less are equal: of equal ones the first host is taken. */
const EQUAL = 1e-9;

/** What an item looks for. */
export interface Want {
  item: number;
  /** Of each resource. */
  demand: ArrayLike<number>;
  /** So many resources, the first ones, must have room for it; the others only count for how it likes a host. */
  binding: number;
  /** How it likes hosts of each shelf, apart from room; -Infinity: it may not be there. */
  likes: Float64Array;
  /** The shelves where it may be, those liked most first. */
  order: Int32Array;
  /** What it has its host give out at most to all that are there: of each resource a share of the base (hosts × resources). Absent: whatever the host has. */
  ceilings?: { shares: readonly number[]; base: Float64Array };
  /** How much it likes a host that would be empty with it, more than one that would be full; below 0: less. */
  room: number;
  /** Absent: what others do there is all the same to it. */
  bend?: Bend;
}

/** How much less than the likes of its shelf say an item likes a host with others. */
export interface Bend {
  /** By kind and level, of hosts that are told apart. */
  less: Float64Array;
  /** What that counts. */
  weight: number;
}

export class Shelves extends ShelvedHosts {
  /** By likes: as much as any host can be liked by an item of them. Of a hundred thousand items that all are looked at many like the same. */
  private readonly mosts = new WeakMap<Float64Array, { order: number; most: number }>();

  /** The share of the host that would be free with the item, of its scarcest resource; its own counts once, also where it is already. */
  roomWith(want: Want, h: number): number {
    const { state } = this;
    const { resources, capacity } = state.model;
    const here = (state.at[want.item] as number) === h;
    let load = 0;
    for (let r = 0, i = h * resources; r < resources; r++, i++) {
      const c = capacity[i] as number;
      const own = here ? this.ownOf(want, r) : 0;
      const share = (c - (state.free[i] as number) - own + (want.demand[r] as number)) / c;
      if (share > load) load = share;
    }
    return Math.max(0, 1 - load);
  }

  /** Of the others that are there. */
  private shelfWithout(want: Want, h: number): number {
    const others = (this.state.itemsOn[h] as number) - ((this.state.at[want.item] as number) === h ? 1 : 0);
    return 2 * (this.kindOf[h] as number) + (others > 0 ? 1 : 0);
  }

  /** How well the item would like to be on the host; -Infinity: it may not come there. */
  liking(want: Want, h: number): number {
    const shelf = this.shelfWithout(want, h);
    let like = want.likes[shelf] as number;
    if (want.bend && this.isTold(shelf)) {
      const without = (this.state.at[want.item] as number) === h ? want.item : -1;
      like -= this.lessAt(want, shelf >> 1, this.levels?.of(h, without) ?? 0);
    }
    return like + want.room * this.roomWith(want, h);
  }

  private lessAt({ bend }: Pick<Want, "bend">, kind: number, level: number): number {
    return bend ? (bend.less[kind * (this.levels?.count ?? 0) + level] as number) * bend.weight : 0;
  }

  private ownOf({ item }: Want, r: number): number {
    return this.state.model.demand[item * this.state.model.resources + r] as number;
  }

  /** Whether it has room for it. Of what the item does not need there may be less than nothing. */
  fits(want: Want, h: number): boolean {
    const { state } = this;
    const { resources } = state.model;
    const here = (state.at[want.item] as number) === h;
    for (let r = 0, i = h * resources; r < want.binding; r++, i++) {
      const need = want.demand[r] as number;
      if (need > 0 && need > (state.free[i] as number) + (here ? this.ownOf(want, r) : 0)) return false;
    }
    const { ceilings } = want;
    if (!ceilings) return true;
    for (let r = 0, i = h * resources; r < want.binding; r++, i++) {
      const taken =
        (state.model.capacity[i] as number) - (state.free[i] as number) - (here ? this.ownOf(want, r) : 0);
      if (taken + (want.demand[r] as number) > (ceilings.shares[r] as number) * (ceilings.base[i] as number))
        return false;
    }
    return true;
  }

  /** Whether the item may come to the host: open, of a kind that is allowed, room, groups. */
  admits(want: Want, h: number): boolean {
    return (
      (this.open[h] as number) === 1 &&
      (want.likes[this.shelfWithout(want, h)] as number) > Number.NEGATIVE_INFINITY &&
      this.fits(want, h) &&
      this.state.counts.breaks(want.item, h) < 0
    );
  }

  /** How many hosts admit the item, but for one. */
  countOf(want: Want, accept: ((h: number) => boolean) | undefined, but: number): number {
    const { open, state, kindOf } = this;
    const { resources, hosts, capacity } = state.model;
    const { free } = state;
    const { binding, likes, item, ceilings } = want;
    const own = state.at[item] as number;
    const needs = Float64Array.from({ length: binding }, (_, r) => want.demand[r] as number);
    const shares = Float64Array.from(ceilings?.shares ?? []);
    const broken = state.counts.broken(item);
    let count = 0;
    // As `admits`, without calling it for each.
    for (let h = 0; h < hosts; h++) {
      if ((open[h] as number) === 0 || h === but || broken?.[h] === 1) continue;
      if ((likes[2 * (kindOf[h] as number)] as number) === Number.NEGATIVE_INFINITY) continue;
      let fits = true;
      if (h === own) fits = this.fits(want, h);
      else
        for (let r = 0, i = h * resources; fits && r < binding; r++, i++) {
          const need = needs[r] as number;
          const left = free[i] as number;
          fits =
            !(need > 0 && need > left) &&
            !(
              ceilings &&
              (capacity[i] as number) - left + need > (shares[r] as number) * (ceilings.base[i] as number)
            );
        }
      if (fits && (!accept || accept(h))) count++;
    }
    return count;
  }

  /**
   * The host that the item likes best, as much as `floor` at least; -1: none. The one that it is on is none.
   * @param accept the last word, asked only of hosts that are the best so far
   */
  best(want: Want, floor: number, accept: ((h: number) => boolean) | undefined): number {
    if (this.mostOf(want) < floor - EQUAL) return -1;
    const { levelStart } = this;
    const found: Found = { best: -1, liked: floor, floor, accept };
    for (const shelf of want.order) {
      const like = want.likes[shelf] as number;
      if (like + Math.max(0, want.room) < found.liked - EQUAL) break;
      const [start, end] = [levelStart[shelf] as number, levelStart[shelf + 1] as number];
      const isTold = end - start > 1 && want.bend !== undefined;
      // The levels that are liked most first: what is found there spares most of the others.
      for (const most of isTold ? [true, false] : [true])
        for (let level = start; level < end; level++) {
          const less = isTold ? this.lessAt(want, shelf >> 1, level - start) : 0;
          if ((less === 0) !== most || like - less + this.roomAt(want, level) < found.liked - EQUAL) continue;
          this.bestOf(want, like - less, shelf >> 1, level, found);
        }
    }
    return found.best;
  }

  /** How much the room of any host of the level counts at most; -Infinity: there is none. */
  private roomAt({ room }: Pick<Want, "room">, level: number): number {
    const freest = this.freest[level] as number;
    if (freest === Number.NEGATIVE_INFINITY) return freest;
    return room > 0 ? room * Math.max(0, freest) : 0;
  }

  /** What it likes no host more than: as if it needed nothing itself. */
  mostOf(want: Pick<Want, "likes" | "order" | "room" | "bend">): number {
    this.sort();
    const known = this.mosts.get(want.likes);
    if (known?.order === this.order) return known.most;
    const { levelStart } = this;
    let most = Number.NEGATIVE_INFINITY;
    for (const shelf of want.order) {
      const like = want.likes[shelf] as number;
      if (like + Math.max(0, want.room) <= most) break;
      const [start, end] = [levelStart[shelf] as number, levelStart[shelf + 1] as number];
      for (let level = start; level < end; level++) {
        const less = end - start > 1 ? this.lessAt(want, shelf >> 1, level - start) : 0;
        const value = like - less + this.roomAt(want, level);
        if (value > most) most = value;
      }
    }
    this.mosts.set(want.likes, { order: this.order, most });
    return most;
  }

  /** Of the hosts of one level. @param like how well it likes them at most, apart from room */
  private bestOf(want: Want, like: number, kind: number, level: number, found: Found): void {
    const { loads, most } = this;
    const { resources } = this.state.model;
    for (let r = 0; r < resources; r++) {
      const list = this.hosts[level * resources + r] as number[];
      if (want.room < 0) {
        this.fullest(want, like, kind, list, found);
        continue;
      }
      const share = (want.demand[r] as number) / (most[kind * resources + r] as number);
      for (const h of list) {
        const load = loads[h] as number;
        // Nor is any behind it better, or less full.
        const most = like + want.room * Math.max(0, 1 - share - load);
        if (most < found.liked - EQUAL || (r < want.binding && share > 0 && load + share > 1 + EQUAL)) break;
        if (!isBehind(most, h, found)) this.consider(want, h, found);
      }
    }
  }

  /** Of one list, for an item that likes full hosts. */
  private fullest(want: Want, like: number, kind: number, list: readonly number[], found: Found): void {
    const { resources } = this.state.model;
    let share = 0;
    for (let r = 0; r < resources; r++)
      share = Math.max(share, (want.demand[r] as number) / (this.least[kind * resources + r] as number));
    for (let i = list.length - 1; i >= 0; i--) {
      const h = list[i] as number;
      // Nor is any before it fuller.
      const most = like + want.room * Math.max(0, 1 - share - (this.loads[h] as number));
      if (most < found.liked - EQUAL) break;
      if (!isBehind(most, h, found)) this.consider(want, h, found);
    }
  }

  private consider(want: Want, h: number, found: Found): void {
    const { state } = this;
    if (h === (state.at[want.item] as number) || !this.fits(want, h)) return;
    const value = this.liking(want, h);
    const { best, liked, floor, accept } = found;
    if (!isBetter(value, h, { best, liked, floor })) return;
    if (state.counts.breaks(want.item, h) >= 0 || (accept && !accept(h))) return;
    found.best = h;
    found.liked = value;
  }
}

interface Found {
  best: number;
  liked: number;
  floor: number;
  accept: ((h: number) => boolean) | undefined;
}

/** Before its liking is reckoned, which is `most` at most but for rounding: many hosts are as full as the best one and come after it. */
const isBehind = (most: number, h: number, { best, liked }: Found): boolean =>
  best >= 0 && h > best && most <= liked + EQUAL / 2;

/** Of equal ones the first. */
export const isBetter = (
  value: number,
  h: number,
  { best, liked, floor }: Pick<Found, "best" | "liked" | "floor">,
): boolean =>
  best < 0 ? value >= floor - EQUAL : value > liked + EQUAL || (value > liked - EQUAL && h < best);
