/** Where every item is, and what follows from it, kept up to date by each change. Costs are exact while all numbers are integers. */
import { add, type Model } from "./model.ts";

/** Groups up to this size are counted by looking at each member; greater ones have a counter for each domain. */
const SCAN = 12;

export class State {
  readonly model: Model;
  /** The host of each item. */
  readonly at: Int32Array;
  /** hosts × terms */
  readonly value: Float64Array;
  /** hosts × resources: what is left, without what moved items hold of transient resources. */
  readonly free: Float64Array;
  /** Of each host what its items need beyond its capacity, summed over resources by their prices. */
  readonly hostLack: Float64Array;
  private lack = 0;
  readonly price: Float64Array;
  /** Cost of the terms of each host. */
  readonly hostCost: Float64Array;
  /** Everything but the term for the most moved service. */
  private sum = 0;
  private readonly movedOf: Int32Array;
  /** How many services have n items moved. */
  private readonly movedCounts: Int32Array;
  private mostMoved = 0;
  /** Of each tally where its counters begin; -1: its members are looked at. */
  private readonly row: Int32Array;
  private readonly counters: Int32Array;
  private readonly distinct: Int32Array;

  constructor(model: Model, at: Int32Array = model.home) {
    const { hosts, terms, resources, tallies } = model;
    this.model = model;
    this.at = Int32Array.from(at);
    this.value = Float64Array.from(model.base);
    this.free = Float64Array.from(model.capacity);
    this.hostCost = new Float64Array(hosts);
    this.hostLack = new Float64Array(hosts);
    this.price = model.price;
    this.movedOf = new Int32Array(model.services);
    this.movedCounts = new Int32Array(model.items + 2);
    this.movedCounts[0] = model.services;
    this.row = new Int32Array(tallies.count).fill(-1);
    this.distinct = new Int32Array(tallies.count);
    let counters = 0;
    for (let t = 0; t < tallies.count; t++) {
      if ((tallies.memberStart[t + 1] as number) - (tallies.memberStart[t] as number) <= SCAN) continue;
      this.row[t] = counters;
      counters += tallies.domainCounts[tallies.level[t] as number] as number;
    }
    this.counters = new Int32Array(counters);
    for (let p = 0; p < model.items; p++) {
      const m = this.at[p] as number;
      const home = model.home[p] as number;
      for (let k = 0; k < terms; k++)
        add(this.value, m * terms + k, model.increment[p * terms + k] as number);
      for (let r = 0; r < resources; r++)
        add(this.free, m * resources + r, -(model.demand[p * resources + r] as number));
      if (m !== home && home >= 0) {
        for (let r = 0; r < model.transient; r++)
          add(this.free, home * resources + r, -(model.demand[p * resources + r] as number));
        this.sum += this.moveCostOf(p, m);
        this.countMoved(p, 1);
      }
    }
    for (let m = 0; m < hosts; m++) this.sum += this.setCost(m);
    for (let m = 0; m < hosts; m++) this.lack += this.setLack(m);
    for (let t = 0; t < tallies.count; t++) {
      const first = (tallies.level[t] as number) * hosts;
      const seen = new Set<number>();
      for (let i = tallies.memberStart[t] as number; i < (tallies.memberStart[t + 1] as number); i++) {
        const d = tallies.domains[first + (this.at[tallies.members[i] as number] as number)] as number;
        seen.add(d);
        if ((this.row[t] as number) >= 0) add(this.counters, (this.row[t] as number) + d, 1);
      }
      this.distinct[t] = seen.size;
    }
  }

  get cost(): number {
    return this.sum + this.mostMoved * this.model.serviceWeight;
  }

  /** Whether some host has more than it has room for. */
  get lacking(): boolean {
    // What is left of sums that came to nothing.
    return this.lack > 1e-3;
  }

  private termsOf(m: number): number {
    const { terms } = this.model;
    let cost = 0;
    for (let k = m * terms; k < (m + 1) * terms; k++)
      if ((this.value[k] as number) > 0) cost += this.value[k] as number;
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
      if ((this.free[j] as number) < 0) lack -= (this.free[j] as number) * (this.price[r] as number);
    return lack;
  }

  lackJoin(p: number, b: number): number {
    const { resources, transient, demand, home } = this.model;
    const { free, price } = this;
    const isHome = b === (home[p] as number);
    let lack = 0;
    for (let r = 0, i = p * resources, j = b * resources; r < resources; r++, i++, j++) {
      const f = isHome && r < transient ? (free[j] as number) : (free[j] as number) - (demand[i] as number);
      if (f < 0) lack -= f * (price[r] as number);
    }
    return lack - (this.hostLack[b] as number);
  }

  lackLeave(p: number): number {
    const { resources, transient, demand, home } = this.model;
    const { free, price, at } = this;
    const a = at[p] as number;
    if ((this.hostLack[a] as number) === 0) return 0;
    const isHome = a === (home[p] as number);
    let lack = 0;
    for (let r = 0, i = p * resources, j = a * resources; r < resources; r++, i++, j++) {
      const f = isHome && r < transient ? (free[j] as number) : (free[j] as number) + (demand[i] as number);
      if (f < 0) lack -= f * (price[r] as number);
    }
    return lack - (this.hostLack[a] as number);
  }

  lackExchange(p: number, q: number): number {
    const { resources, transient, demand, home } = this.model;
    const { free, price, at } = this;
    const a = at[p] as number;
    const b = at[q] as number;
    const ph = home[p] as number,
      qh = home[q] as number;
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
      if (f < 0) lack -= f * (price[r] as number);
      if (g < 0) lack -= g * (price[r] as number);
    }
    return lack - (this.hostLack[a] as number) - (this.hostLack[b] as number);
  }

  private moveCostOf(p: number, m: number): number {
    const { home, moveCost, distance, distanceWeight, hosts } = this.model;
    const from = home[p] as number;
    if (from === m || from < 0) return 0;
    return (moveCost[p] as number) + (distance ? distanceWeight * (distance[from * hosts + m] as number) : 0);
  }

  private countMoved(p: number, by: 1 | -1): void {
    const { service } = this.model;
    if (!service) return;
    const s = service[p] as number;
    const before = this.movedOf[s] as number;
    this.movedOf[s] = before + by;
    add(this.movedCounts, before, -1);
    add(this.movedCounts, before + by, 1);
    if (before + by > this.mostMoved) this.mostMoved = before + by;
    else if (before === this.mostMoved && (this.movedCounts[before] as number) === 0)
      this.mostMoved = before - 1;
  }

  /** How much more the most moved service costs when p goes from a to b. */
  private serviceDelta(p: number, a: number, b: number): number {
    const { service, home, serviceWeight } = this.model;
    if (!service || serviceWeight === 0) return 0;
    if (a === (home[p] as number))
      return (this.movedOf[service[p] as number] as number) === this.mostMoved ? serviceWeight : 0;
    if (b !== (home[p] as number)) return 0;
    return (this.movedOf[service[p] as number] as number) === this.mostMoved &&
      (this.movedCounts[this.mostMoved] as number) === 1
      ? -serviceWeight
      : 0;
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

  /** What leaving its host saves (negative or 0 in most cases), as to terms. */
  leaveDelta(p: number): number {
    const { terms, increment } = this.model;
    const { value, at } = this;
    const a = at[p] as number;
    let cost = 0;
    for (let i = p * terms, j = a * terms, end = i + terms; i < end; i++, j++) {
      const v = (value[j] as number) - (increment[i] as number);
      if (v > 0) cost += v;
    }
    return cost - (this.hostCost[a] as number);
  }

  joinDelta(p: number, b: number): number {
    const { terms, increment } = this.model;
    const { value } = this;
    let cost = 0;
    for (let i = p * terms, j = b * terms, end = i + terms; i < end; i++, j++) {
      const v = (value[j] as number) + (increment[i] as number);
      if (v > 0) cost += v;
    }
    return cost - (this.hostCost[b] as number);
  }

  /** What p costs more on b than now, apart from the terms. */
  otherDelta(p: number, b: number): number {
    const a = this.at[p] as number;
    return this.moveCostOf(p, b) - this.moveCostOf(p, a) + this.serviceDelta(p, a, b);
  }

  exchangeDelta(p: number, q: number): number {
    const { terms, increment } = this.model;
    const { value, at } = this;
    const a = at[p] as number;
    const b = at[q] as number;
    let cost = 0;
    for (
      let i = p * terms, j = q * terms, k = a * terms, l = b * terms, end = i + terms;
      i < end;
      i++, j++, k++, l++
    ) {
      const d = (increment[i] as number) - (increment[j] as number);
      const v = (value[k] as number) - d;
      if (v > 0) cost += v;
      const w = (value[l] as number) + d;
      if (w > 0) cost += w;
    }
    return cost - (this.hostCost[a] as number) - (this.hostCost[b] as number);
  }

  countIn(t: number, d: number): number {
    const row = this.row[t] as number;
    if (row >= 0) return this.counters[row + d] as number;
    const { memberStart, members, domains, level } = this.model.tallies;
    const first = (level[t] as number) * this.model.hosts;
    let count = 0;
    for (let i = memberStart[t] as number, end = memberStart[t + 1] as number; i < end; i++)
      if ((domains[first + (this.at[members[i] as number] as number)] as number) === d) count++;
    return count;
  }

  /** Whether the tallies let p go to b. */
  allows(p: number, b: number): boolean {
    const { tallies, hosts } = this.model;
    const { domains } = tallies;
    const a = this.at[p] as number;
    for (let i = tallies.ofStart[p] as number, end = tallies.ofStart[p + 1] as number; i < end; i++) {
      const t = tallies.of[i] as number;
      const level0 = (tallies.level[t] as number) * hosts;
      const from = domains[level0 + a] as number;
      const to = domains[level0 + b] as number;
      if (from === to) continue;
      const there = this.countIn(t, to);
      if (there >= (tallies.most[t] as number)) return false;
      const leaves = this.countIn(t, from) === 1;
      const distinct = (this.distinct[t] as number) + (there === 0 ? 1 : 0) - (leaves ? 1 : 0);
      const before = this.distinct[t] as number;
      if (distinct < before && distinct < (tallies.minDomains[t] as number)) return false;
      if (distinct > before && distinct > (tallies.maxDomains[t] as number)) return false;
      if (there === 0)
        for (
          let k = tallies.needsStart[t] as number, last = tallies.needsStart[t + 1] as number;
          k < last;
          k++
        )
          if (this.countIn(tallies.needs[k] as number, to) === 0) return false;
      if (leaves)
        for (
          let k = tallies.neededByStart[t] as number, last = tallies.neededByStart[t + 1] as number;
          k < last;
          k++
        )
          if (this.countIn(tallies.neededBy[k] as number, from) > 0) return false;
    }
    return true;
  }

  /** Whether the tallies let p and q change places. */
  allowsExchange(p: number, q: number): boolean {
    const { ofStart } = this.model.tallies;
    const bare = (item: number) => (ofStart[item] as number) === (ofStart[item + 1] as number);
    const a = this.at[p] as number;
    const b = this.at[q] as number;
    if (bare(q)) return this.allows(p, b);
    if (bare(p)) return this.allows(q, a);
    // As if both had been moved.
    this.recount(p, b);
    this.at[p] = b;
    this.recount(q, a);
    this.at[q] = a;
    const kept = this.holds(p, a, b) && this.holds(q, b, a);
    this.recount(q, b);
    this.at[q] = b;
    this.recount(p, a);
    this.at[p] = a;
    return kept;
  }

  /** Whether the tallies of p hold, which came from a to b. */
  private holds(p: number, a: number, b: number): boolean {
    const { tallies, hosts } = this.model;
    const { domains } = tallies;
    for (let i = tallies.ofStart[p] as number, end = tallies.ofStart[p + 1] as number; i < end; i++) {
      const t = tallies.of[i] as number;
      const level0 = (tallies.level[t] as number) * hosts;
      const from = domains[level0 + a] as number;
      const to = domains[level0 + b] as number;
      if (from === to) continue;
      if (this.countIn(t, to) > (tallies.most[t] as number)) return false;
      if (
        (this.distinct[t] as number) < (tallies.minDomains[t] as number) ||
        (this.distinct[t] as number) > (tallies.maxDomains[t] as number)
      )
        return false;
      for (let k = tallies.needsStart[t] as number, last = tallies.needsStart[t + 1] as number; k < last; k++)
        if (this.countIn(tallies.needs[k] as number, to) === 0) return false;
      if (this.countIn(t, from) === 0)
        for (
          let k = tallies.neededByStart[t] as number, last = tallies.neededByStart[t + 1] as number;
          k < last;
          k++
        )
          if (this.countIn(tallies.neededBy[k] as number, from) > 0) return false;
    }
    return true;
  }

  /** Counts p as on b; `at` is set by the caller, afterwards. */
  private recount(p: number, b: number): void {
    const { tallies, hosts } = this.model;
    const { domains } = tallies;
    const a = this.at[p] as number;
    for (let i = tallies.ofStart[p] as number, end = tallies.ofStart[p + 1] as number; i < end; i++) {
      const t = tallies.of[i] as number;
      const level0 = (tallies.level[t] as number) * hosts;
      const from = domains[level0 + a] as number;
      const to = domains[level0 + b] as number;
      if (from === to) continue;
      if (this.countIn(t, to) === 0) add(this.distinct, t, 1);
      if (this.countIn(t, from) === 1) add(this.distinct, t, -1);
      const row = this.row[t] as number;
      if (row >= 0) {
        add(this.counters, row + from, -1);
        add(this.counters, row + to, 1);
      }
    }
  }

  /** Puts p on b, whatever that breaks. */
  move(p: number, b: number): void {
    const { model, at, value, free, hostCost, hostLack } = this;
    const { terms, resources, transient, increment, demand, home } = model;
    const a = at[p] as number;
    if (a === b) return;
    const first = home[p] as number;
    this.sum += this.moveCostOf(p, b) - this.moveCostOf(p, a);
    if (a === first) this.countMoved(p, 1);
    else if (b === first) this.countMoved(p, -1);
    this.recount(p, b);
    for (let i = p * terms, j = a * terms, k = b * terms, end = i + terms; i < end; i++, j++, k++) {
      add(value, j, -(increment[i] as number));
      add(value, k, increment[i] as number);
    }
    for (
      let r = 0, i = p * resources, j = a * resources, k = b * resources;
      r < resources;
      r++, i++, j++, k++
    ) {
      if (r >= transient || a !== first) add(free, j, demand[i] as number);
      if (r >= transient || b !== first) add(free, k, -(demand[i] as number));
    }
    at[p] = b;
    this.sum -= (hostCost[a] as number) + (hostCost[b] as number);
    this.sum += this.setCost(a) + this.setCost(b);
    this.lack -= (hostLack[a] as number) + (hostLack[b] as number);
    this.lack += this.setLack(a) + this.setLack(b);
  }
}
