/**
 * The hosts in the order in which they are worth looking at. Hosts of one kind are alike but for what is on them: those of one *shelf* (of a kind, with items or
 * without) stand on it by their load. Hosts of some kinds are told apart by levels of what their items do, too. Kept up to date by each change. Pure.
 */
import type { State } from "./state.ts";

/** By what their items do, hosts in use of some kinds are of one level or another. */
export interface Levels {
  count: number;
  /** Of each kind 1: its hosts are told apart. */
  told: Uint8Array;
  /** Of a host, without an item that is there; -1: with all. */
  of: (h: number, without: number) => number;
}

export class ShelvedHosts {
  readonly state: State;
  protected readonly kindOf: Int32Array;
  protected readonly open: Uint8Array;
  protected readonly levels: Levels | undefined;
  /** Of each shelf (2 * kind, and 1 more for hosts with items) where its levels begin; with the end of the last one. */
  protected readonly levelStart: Int32Array;
  /**
   * By level and by scarcest resource: the least loaded first. There an item adds its share of that resource at
   * least, so that it is known soon when no better host comes.
   */
  protected readonly hosts: number[][];
  /** By level the share that is free of the host with most room there; -Infinity: there is none. */
  protected readonly freest: Float64Array;
  /** Of each open host the share of its scarcest resource that is taken. */
  protected readonly loads: Float64Array;
  /** kinds × resources: the most that a host of the kind has, and the least. */
  protected readonly most: Float64Array;
  protected readonly least: Float64Array;
  /** The list in which each open host stands, by the load that it is known with there. */
  private readonly listed: Int32Array;
  /** Hosts that may belong elsewhere by now. Whoever tries moves and takes them back looks at none of the lists, so hosts are put in order only when one is looked at. */
  private readonly stale: number[] = [];
  private readonly isStale: Uint8Array;
  /** By shelf, of all hosts, whether open or not. */
  readonly count: Int32Array;
  /** Grows when a shelf gets its first host or loses its last. */
  version = 0;
  /** Grows when a host gets another place in the lists. */
  protected order = 0;

  /** @param open of each host 1: it takes items */
  constructor(state: State, kindOf: Int32Array, kinds: number, open: Uint8Array, levels?: Levels) {
    const { hosts, resources, capacity } = state.model;
    this.state = state;
    this.kindOf = kindOf;
    this.open = open;
    this.levels = levels;
    this.levelStart = new Int32Array(2 * kinds + 1);
    for (let shelf = 0; shelf < 2 * kinds; shelf++) {
      const told = shelf % 2 === 1 && levels?.told[shelf >> 1] === 1;
      this.levelStart[shelf + 1] = (this.levelStart[shelf] as number) + (told ? levels.count : 1);
    }
    const all = this.levelStart[2 * kinds] as number;
    this.freest = new Float64Array(all);
    this.hosts = Array.from({ length: all * resources }, () => []);
    this.loads = new Float64Array(hosts);
    this.listed = new Int32Array(hosts);
    this.isStale = new Uint8Array(hosts);
    this.most = new Float64Array(kinds * resources);
    this.least = new Float64Array(kinds * resources).fill(Number.POSITIVE_INFINITY);
    this.count = new Int32Array(2 * kinds);
    for (let h = 0; h < hosts; h++) {
      const kind = kindOf[h] as number;
      for (let r = 0; r < resources; r++) {
        const c = capacity[h * resources + r] as number;
        if (c > (this.most[kind * resources + r] as number)) this.most[kind * resources + r] = c;
        if (c < (this.least[kind * resources + r] as number)) this.least[kind * resources + r] = c;
      }
      (this.count[this.shelfOf(h)] as number)++;
      if ((open[h] as number) === 0) continue;
      [this.listed[h], this.loads[h]] = this.placeOf(h);
      (this.hosts[this.listed[h] as number] as number[]).push(h);
    }
    for (const shelf of this.hosts)
      shelf.sort((a, b) => (this.loads[a] as number) - (this.loads[b] as number) || a - b);
    for (let level = 0; level < all; level++) this.lighten(level);
  }

  private lighten(level: number): void {
    const { resources } = this.state.model;
    let freest = Number.NEGATIVE_INFINITY;
    for (let r = 0; r < resources; r++) {
      const first = (this.hosts[level * resources + r] as number[])[0];
      if (first !== undefined) freest = Math.max(freest, 1 - (this.loads[first] as number));
    }
    this.freest[level] = freest;
  }

  /** The list where it belongs, and its load. */
  private placeOf(h: number): [list: number, load: number] {
    const { resources, capacity } = this.state.model;
    let [load, scarcest] = [0, 0];
    for (let r = 0, i = h * resources; r < resources; r++, i++) {
      const c = capacity[i] as number;
      const share = c > 0 ? (c - (this.state.free[i] as number)) / c : 1;
      if (share <= load) continue;
      load = share;
      scarcest = r;
    }
    const shelf = this.shelfOf(h);
    const start = this.levelStart[shelf] as number;
    const level = this.isTold(shelf) ? (this.levels?.of(h, -1) ?? 0) : 0;
    return [(start + level) * resources + scarcest, load];
  }

  private levelAt(list: number): number {
    return Math.floor(list / this.state.model.resources);
  }

  /** Puts hosts where they belong by now. */
  protected sort(): void {
    for (const h of this.stale) {
      this.isStale[h] = 0;
      const [list, load] = this.placeOf(h);
      if (list === this.listed[h] && load === this.loads[h]) continue;
      const before = this.hosts[this.listed[h] as number] as number[];
      before.splice(this.positionOf(before, h), 1);
      const level = this.levelAt(this.listed[h] as number);
      this.listed[h] = list;
      this.loads[h] = load;
      this.order++;
      const after = this.hosts[list] as number[];
      after.splice(this.positionOf(after, h), 0, h);
      this.lighten(level);
      this.lighten(this.levelAt(list));
    }
    this.stale.length = 0;
  }

  /** Whether it takes items. */
  isOpen(h: number): boolean {
    return this.open[h] === 1;
  }

  /** Puts an item elsewhere, and its hosts where they then belong. */
  move(item: number, to: number): void {
    const from = this.state.at[item] as number;
    if (from === to) return;
    for (const h of [from, to]) if (h >= 0) this.take(h);
    this.state.move(item, to);
    for (const h of [from, to]) if (h >= 0) this.put(h);
  }

  /** The host has so much of each resource from now on. */
  resize(h: number, capacity: ArrayLike<number>): void {
    const { model, free } = this.state;
    this.take(h);
    const kind = this.kindOf[h] as number;
    for (let r = 0, i = h * model.resources; r < model.resources; r++, i++) {
      const now = capacity[r] as number;
      free[i] = (free[i] as number) + now - (model.capacity[i] as number);
      model.capacity[i] = now;
      const k = kind * model.resources + r;
      if (now > (this.most[k] as number)) this.most[k] = now;
      if (now < (this.least[k] as number)) this.least[k] = now;
    }
    this.put(h);
  }

  private shelfOf(h: number): number {
    return 2 * (this.kindOf[h] as number) + ((this.state.itemsOn[h] as number) > 0 ? 1 : 0);
  }

  private take(h: number): void {
    if (--(this.count[this.shelfOf(h)] as number) === 0) this.version++;
  }

  private put(h: number): void {
    if (++(this.count[this.shelfOf(h)] as number) === 1) this.version++;
    if ((this.open[h] as number) === 0 || (this.isStale[h] as number) === 1) return;
    this.isStale[h] = 1;
    this.stale.push(h);
  }

  /** Where it is in its list, or belongs. */
  private positionOf(hosts: readonly number[], h: number): number {
    const load = this.loads[h] as number;
    let low = 0;
    let high = hosts.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const other = hosts[middle] as number;
      const before = (this.loads[other] as number) - load || other - h;
      if (before < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
  /** The same of the host as it is: with an item that is there. */
  roomOf(h: number): number {
    const { free, model } = this.state;
    let load = 0;
    for (let r = 0, i = h * model.resources; r < model.resources; r++, i++) {
      const c = model.capacity[i] as number;
      const share = (c - (free[i] as number)) / c;
      if (share > load) load = share;
    }
    return Math.max(0, 1 - load);
  }
  /** Whether hosts of the shelf are told apart by levels. */
  protected isTold(shelf: number): boolean {
    return (this.levelStart[shelf + 1] as number) - (this.levelStart[shelf] as number) > 1;
  }
}
