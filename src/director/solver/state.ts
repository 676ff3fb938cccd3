/** Where every item is, and what follows from it, kept up to date by each change. Costs are exact while all numbers are integers. */
import { Counts } from "./counts.ts";
import { add, type Model } from "./model.ts";
import { PlaceCosts } from "./place-costs.ts";

export class State {
  readonly model: Model;
  /** The host of each item; -1: none. */
  readonly at: Int32Array;
  /** hosts × terms */
  readonly value: Float64Array;
  /** hosts × resources: what is left, without what moved items hold of transient resources. */
  readonly free: Float64Array;
  /** hosts × terms: how far from 0 the cost of a term begins to bend. */
  private readonly width: Float64Array;
  /** hosts × terms: 1 / (16 width); 0 without a width. */
  private readonly bow: Float64Array;
  /** Of each host what its items need beyond its capacity, summed over resources by their prices. */
  readonly hostLack: Float64Array;
  private lack = 0;
  readonly price: Float64Array;
  /** Cost of the terms of each host. */
  readonly hostCost: Float64Array;
  /** The terms of all hosts. */
  private termCost = 0;
  /** The most that it costs to have a host in use. */
  private readonly dearestUse: number;
  /** What items cost by where they are themselves. */
  private readonly places: PlaceCosts;
  /** Of each host. */
  readonly itemsOn: Int32Array;
  /** Of each host its items as a list: the first, and after each the next; -1 ends. */
  readonly first: Int32Array;
  readonly next: Int32Array;
  private readonly previous: Int32Array;
  readonly counts: Counts;

  constructor(model: Model, at: Int32Array = model.home) {
    const { hosts, terms, resources } = model;
    this.model = model;
    this.at = Int32Array.from(at);
    this.value = Float64Array.from(model.base);
    this.width = new Float64Array(model.base.length);
    this.bow = new Float64Array(model.base.length);
    this.free = Float64Array.from(model.capacity);
    this.hostCost = new Float64Array(hosts);
    this.hostLack = new Float64Array(hosts);
    this.price = model.price;
    this.dearestUse = model.inUse?.reduce((most, each) => Math.max(most, each), 0) ?? 0;
    this.itemsOn = new Int32Array(hosts);
    this.first = new Int32Array(hosts).fill(-1);
    this.next = new Int32Array(model.items).fill(-1);
    this.previous = new Int32Array(model.items).fill(-1);
    this.places = new PlaceCosts(model, this.at);
    for (let p = 0; p < model.items; p++) {
      const m = this.at[p] as number;
      const home = model.home[p] as number;
      if (m < 0) continue;
      add(this.itemsOn, m, 1);
      this.link(p, m);
      for (let k = 0; k < terms; k++)
        add(this.value, m * terms + k, model.increment[p * terms + k] as number);
      for (let r = 0; r < resources; r++)
        add(this.free, m * resources + r, -(model.demand[p * resources + r] as number));
      if (m !== home && home >= 0) {
        for (let r = 0; r < model.transient; r++)
          add(this.free, home * resources + r, -(model.demand[p * resources + r] as number));
      }
    }
    for (let m = 0; m < hosts; m++) this.termCost += this.setCost(m);
    for (let m = 0; m < hosts; m++) this.lack += this.setLack(m);
    this.counts = new Counts(model, this.at);
  }

  /** As it is felt while terms are rounded; else what it is. */
  get cost(): number {
    return this.termCost + this.places.cost;
  }

  /** Whatever is rounded and held. */
  exactCost(): number {
    let terms = 0;
    for (const value of this.value) if (value > 0) terms += value;
    const { inUse } = this.model;
    if (inUse) for (const [m, cost] of inUse.entries()) if ((this.itemsOn[m] as number) > 0) terms += cost;
    return terms + this.places.cost - this.places.heldCost;
  }

  /**
   * Rounds the corner of each term, so that it is felt before it is reached: what is to be spread is spread, also where that does not cost yet. The width is
   * a share of the term's value without items. 0: sharp again.
   */
  round(share: number): void {
    for (const [i, base] of this.model.base.entries()) {
      const width = share * Math.abs(base);
      this.width[i] = width;
      this.bow[i] = width > 0 ? 1 / (16 * width) : 0;
    }
    this.termCost = 0;
    for (let m = 0; m < this.model.hosts; m++) this.termCost += this.setCost(m);
  }

  /**
   * Lets each item away from home pay for what it holds of transient resources there, so that what is free is left to those whose moves bring most. 0: nothing; 1: an item
   * of mean demands pays a mean term for each of these resources.
   */
  hold(price: number): void {
    this.places.hold(price);
  }

  /** Whether some host has more than it has room for. */
  get lacking(): boolean {
    // What is left of sums that came to nothing.
    return this.lack > 1e-3;
  }

  /** What there is too much on all hosts, by price. */
  get lackTotal(): number {
    return this.lack;
  }

  /** Also in `load`, as is lackOf. */
  private termsOf(m: number): number {
    const { terms } = this.model;
    const { inUse } = this.model;
    let cost = inUse && (this.itemsOn[m] as number) > 0 ? (inUse[m] as number) : 0;
    for (let k = m * terms; k < (m + 1) * terms; k++)
      cost += bend(this.value[k] as number, this.width[k] as number, this.bow[k] as number);
    return cost;
  }

  private setCost(m: number): number {
    const cost = this.termsOf(m);
    this.hostCost[m] = cost;
    return cost;
  }

  private setLack(m: number): number {
    const lack = this.lackOf(m);
    this.hostLack[m] = lack;
    return lack;
  }

  private lackOf(m: number): number {
    const { resources } = this.model;
    let lack = 0;
    for (let r = 0, j = m * resources; r < resources; r++, j++)
      lack += below(this.free[j] as number) * (this.price[r] as number);
    return lack;
  }

  /**
   * What host b lacks more with p on it, by price; Infinity as soon as that is more than `most`: on full hosts most proposals end there, after a resource or two.
   */
  lackJoin(p: number, b: number, most = Number.POSITIVE_INFINITY): number {
    const { resources, transient, demand, home } = this.model;
    const { free, price } = this;
    const isHome = b === (home[p] as number);
    const before = this.hostLack[b] as number;
    const end = most + before;
    let lack = 0;
    for (let r = 0, i = p * resources, j = b * resources; r < resources; r++, i++, j++) {
      const f = isHome && r < transient ? (free[j] as number) : (free[j] as number) - (demand[i] as number);
      if (f >= 0) continue;
      lack -= f * (price[r] as number);
      if (lack > end) return Number.POSITIVE_INFINITY;
    }
    return lack - before;
  }

  /** What its host lacks more without p: less than that, or 0. */
  lackLeave(p: number): number {
    const { resources, transient, demand, home } = this.model;
    const { free, price, at } = this;
    const a = at[p] as number;
    if ((this.hostLack[a] as number) === 0) return 0;
    let lack = 0;
    const begin = a === (home[p] as number) ? transient : 0;
    for (let r = begin, i = p * resources + begin, j = a * resources + begin; r < resources; r++, i++, j++) {
      const f = free[j] as number;
      if (f < 0) lack -= Math.min(-f, demand[i] as number) * (price[r] as number);
    }
    return lack;
  }

  /** What the hosts of p and q lack more when these change places; Infinity as in lackJoin. */
  lackExchange(p: number, q: number, most = Number.POSITIVE_INFINITY): number {
    const { resources, transient, demand, home } = this.model;
    const { free, price, at } = this;
    const a = at[p] as number;
    const b = at[q] as number;
    const ph = home[p] as number,
      qh = home[q] as number;
    const before = (this.hostLack[a] as number) + (this.hostLack[b] as number);
    const end = most + before;
    let lack = 0;
    for (
      let r = 0, i = p * resources, j = q * resources, k = a * resources, l = b * resources;
      r < resources;
      r++, i++, j++, k++, l++
    ) {
      let f: number, g: number;
      if (r < transient) {
        const d = demand[i] as number,
          e = demand[j] as number;
        f = (free[k] as number) + (ph === a ? 0 : d) - (qh === a ? 0 : e);
        g = (free[l] as number) + (qh === b ? 0 : e) - (ph === b ? 0 : d);
      } else {
        const d = (demand[i] as number) - (demand[j] as number);
        f = (free[k] as number) + d;
        g = (free[l] as number) - d;
      }
      if (f >= 0 && g >= 0) continue;
      lack += (below(f) + below(g)) * (price[r] as number);
      if (lack > end) return Number.POSITIVE_INFINITY;
    }
    return lack - before;
  }

  /** By how much no change of place of item p can be cheaper than none, apart from room: all that its terms and its moving can make. */
  worthOf(p: number): number {
    const { terms, increment } = this.model;
    let worth = this.places.mostOf(p) + this.dearestUse;
    for (let i = p * terms, end = i + terms; i < end; i++) worth += Math.abs(increment[i] as number);
    return worth;
  }

  /** Whether host b has room for p. */
  fits(p: number, b: number): boolean {
    const { resources, transient, demand, home } = this.model;
    const { free } = this;
    let i = p * resources;
    const end = i + resources;
    let j = b * resources;
    if (b === (home[p] as number)) {
      i += transient;
      j += transient;
    }
    for (; i < end; i++, j++) if ((demand[i] as number) > (free[j] as number)) return false;
    return true;
  }

  /** What leaving its host saves (negative or 0 in most cases), as to terms and use. */
  leaveDelta(p: number): number {
    const { terms, increment, inUse } = this.model;
    const { value, at, width, bow } = this;
    const a = at[p] as number;
    let cost = inUse && (this.itemsOn[a] as number) > 1 ? (inUse[a] as number) : 0;
    for (let i = p * terms, j = a * terms, end = i + terms; i < end; i++, j++) {
      const v = (value[j] as number) - (increment[i] as number);
      cost += bend(v, width[j] as number, bow[j] as number);
    }
    return cost - (this.hostCost[a] as number);
  }

  joinDelta(p: number, b: number): number {
    const { terms, increment, inUse } = this.model;
    const { value, width, bow } = this;
    let cost = inUse ? (inUse[b] as number) : 0;
    for (let i = p * terms, j = b * terms, end = i + terms; i < end; i++, j++) {
      const v = (value[j] as number) + (increment[i] as number);
      cost += bend(v, width[j] as number, bow[j] as number);
    }
    return cost - (this.hostCost[b] as number);
  }

  /** What p costs more on b by what it likes; Infinity: it may not come there. */
  placeDelta(p: number, b: number): number {
    return this.places.likingDelta(p, this.at[p] as number, b);
  }

  /** What p costs more on b than now, apart from terms and use. */
  otherDelta(p: number, b: number): number {
    return this.places.delta(p, this.at[p] as number, b);
  }

  /** What p and q cost more in each other's place, apart from terms and use. */
  exchangeOther(p: number, q: number): number {
    return this.places.exchangeDelta(p, this.at[p] as number, q, this.at[q] as number);
  }

  exchangeDelta(p: number, q: number): number {
    const { terms, increment, inUse } = this.model;
    const { value, at, width, bow } = this;
    const a = at[p] as number;
    const b = at[q] as number;
    let cost = inUse ? (inUse[a] as number) + (inUse[b] as number) : 0;
    for (
      let i = p * terms, j = q * terms, k = a * terms, l = b * terms, end = i + terms;
      i < end;
      i++, j++, k++, l++
    ) {
      const d = (increment[i] as number) - (increment[j] as number);
      const v = (value[k] as number) - d;
      const w = (value[l] as number) + d;
      cost += bend(v, width[k] as number, bow[k] as number) + bend(w, width[l] as number, bow[l] as number);
    }
    return cost - (this.hostCost[a] as number) - (this.hostCost[b] as number);
  }

  /** What the terms of host b cost more with p instead of q, which is there. */
  replaceDelta(p: number, q: number, b: number): number {
    const { terms, increment, inUse } = this.model;
    const { value, width, bow } = this;
    let cost = inUse ? (inUse[b] as number) : 0;
    for (let i = p * terms, j = q * terms, l = b * terms, end = i + terms; i < end; i++, j++, l++) {
      const v = (value[l] as number) + (increment[i] as number) - (increment[j] as number);
      cost += bend(v, width[l] as number, bow[l] as number);
    }
    return cost - (this.hostCost[b] as number);
  }

  /** An item on host h, from a number in [0, 1); -1: there is none. */
  anyOn(h: number, u: number): number {
    const { first, next, itemsOn } = this;
    let item = first[h] as number;
    for (let n = (u * (itemsOn[h] as number)) | 0; n > 0; n--) item = next[item] as number;
    return item;
  }

  /** Puts p on b (-1: nowhere), whatever that breaks. */
  move(p: number, b: number): void {
    const { at } = this;
    const a = at[p] as number;
    if (a === b) return;
    this.places.record(p, a, b);
    this.counts.recount(p, b);
    if (a >= 0) {
      this.unlink(p, a);
      this.load(p, a, -1);
    }
    if (b >= 0) {
      this.link(p, b);
      this.load(p, b, 1);
    }
    at[p] = b;
  }

  private link(p: number, m: number): void {
    const { first, next, previous } = this;
    const second = first[m] as number;
    first[m] = p;
    next[p] = second;
    previous[p] = -1;
    if (second >= 0) previous[second] = p;
  }

  private unlink(p: number, m: number): void {
    const { first, next, previous } = this;
    const before = previous[p] as number;
    const after = next[p] as number;
    if (before < 0) first[m] = after;
    else next[before] = after;
    if (after >= 0) previous[after] = before;
  }

  /** Adds p to what host m has, or takes it off. As termsOf and lackOf, in the pass that changes the values: no loop runs more often. */
  private load(p: number, m: number, by: 1 | -1): void {
    const { value, width, bow, free, price, hostCost, hostLack } = this;
    const { terms, resources, transient, increment, demand, home, inUse } = this.model;
    add(this.itemsOn, m, by);
    let cost = inUse && (this.itemsOn[m] as number) > 0 ? (inUse[m] as number) : 0;
    for (let i = p * terms, j = m * terms, end = i + terms; i < end; i++, j++) {
      const v = (value[j] as number) + by * (increment[i] as number);
      value[j] = v;
      cost += bend(v, width[j] as number, bow[j] as number);
    }
    // What moved items hold at home, they hold on.
    const begin = m === (home[p] as number) ? transient : 0;
    let lack = 0;
    for (let r = 0, i = p * resources, j = m * resources; r < resources; r++, i++, j++) {
      const f = (free[j] as number) - (r < begin ? 0 : by * (demand[i] as number));
      free[j] = f;
      lack += below(f) * (price[r] as number);
    }
    this.termCost -= hostCost[m] as number;
    this.termCost += cost;
    hostCost[m] = cost;
    this.lack -= hostLack[m] as number;
    this.lack += lack;
    hostLack[m] = lack;
  }
}

/**
 * max(0, value), with a parabola for a corner from -width to width; `bow` is 1 / (16 width), or 0 without a width. Written without a branch: which way it goes is
 * as good as random, and a branch guessed wrong costs more than all of this.
 */
function bend(value: number, width: number, bow: number): number {
  const size = Math.abs(value);
  const within = width - size;
  const twice = within + Math.abs(within);
  return 0.5 * (value + size) + twice * twice * bow;
}

/** max(0, -value), without a branch. */
function below(value: number): number {
  return 0.5 * (Math.abs(value) - value);
}
