/**
 * A host is cleared: each of its items goes where it costs least, the largest first; kept when all find room and it is worth it, else taken back. What a host costs while it
 * is in use is saved by the last item that leaves, and single steps hardly ever come so far. A part of anneal.ts, for models that say what use costs.
 */
import type { State } from "./state.ts";

/** With more items, what a host costs is hardly ever worth the moves. */
export const MOST_CLEARED = 12;
/** Of a few hosts the one with the fewest items is tried. */
const PICKS = 4;
const UNIT = 2 ** -32;

export class Clear {
  private readonly state: State;
  private readonly random: () => number;
  private readonly moved: number[] = [];

  constructor(state: State, random: () => number) {
    this.state = state;
    this.random = random;
  }

  private get hosts(): number {
    return this.state.model.takers ?? this.state.model.hosts;
  }

  /** Each host once, those with the fewest items first. */
  each(limit: number): void {
    const { itemsOn } = this.state;
    const order = Array.from({ length: this.hosts }, (_, h) => h)
      .filter((h) => (itemsOn[h] as number) > 0 && (itemsOn[h] as number) <= MOST_CLEARED)
      .sort((a, b) => (itemsOn[a] as number) - (itemsOn[b] as number) || a - b);
    for (const h of order) this.clear(h, limit);
  }

  /** @param limit by how much the cost may grow */
  attempt(limit: number): boolean {
    const { itemsOn } = this.state;
    let host = -1;
    for (let n = 0; n < PICKS; n++) {
      const other = (this.random() * UNIT * this.hosts) | 0;
      const items = itemsOn[other] as number;
      if (items > 0 && items <= MOST_CLEARED && (host < 0 || items < (itemsOn[host] as number))) host = other;
    }
    return host >= 0 && this.clear(host, limit);
  }

  private clear(host: number, limit: number): boolean {
    const { state, moved } = this;
    const { fixed, demand, resources } = state.model;
    const items: number[] = [];
    for (let item = state.first[host] as number; item >= 0; item = state.next[item] as number) {
      if (fixed && (fixed[item] as number) === 1) return false;
      items.push(item);
    }
    if (items.length > MOST_CLEARED) return false;
    const sizeOf = (item: number) => {
      let size = 0;
      for (let r = 0; r < resources; r++)
        size += (demand[item * resources + r] as number) * (state.price[r] as number);
      return size;
    };
    items.sort((a, b) => sizeOf(b) - sizeOf(a) || a - b);
    const before = state.cost;
    moved.length = 0;
    let all = true;
    for (const item of items) {
      const to = this.cheapest(item, host);
      all = to >= 0;
      if (!all) break;
      moved.push(item);
      state.move(item, to);
    }
    if (all && state.cost - before < limit) return true;
    for (const item of moved.reverse()) state.move(item, host);
    return false;
  }

  /** Of all hosts that have room and are in use. */
  private cheapest(item: number, but: number): number {
    const { state } = this;
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let h = 0; h < this.hosts; h++) {
      if (h === but || (state.itemsOn[h] as number) === 0 || !state.fits(item, h)) continue;
      const delta = state.joinDelta(item, h) + state.otherDelta(item, h);
      if (delta >= least || !state.counts.allows(item, h)) continue;
      least = delta;
      best = h;
    }
    return best;
  }
}
