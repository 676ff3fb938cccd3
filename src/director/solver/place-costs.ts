/**
 * What items cost by where they are themselves, whatever else is there: what they like about hosts, that they were moved and how far, the service that has most of its items
 * moved; and, while searching, what they hold at home while they are away. Kept up to date by each change.
 */
import { add, costOfPlace, type Model } from "./model.ts";

export class PlaceCosts {
  private readonly model: Model;
  /** But for the most moved service. */
  private own = 0;
  /** What an item away from home pays while searching, for what it holds there. */
  private holdPrice = 0;
  /** Of each item what it holds of transient resources at home when it is away, by their prices. */
  private readonly holds: Float64Array;
  /** Of all items away from home. */
  private held = 0;
  private readonly movedOf: Int32Array;
  /** How many services have n items moved. */
  private readonly movedCounts: Int32Array;
  private mostMoved = 0;

  constructor(model: Model, at: Int32Array) {
    this.model = model;
    this.holds = holdsOf(model);
    this.movedOf = new Int32Array(model.services);
    this.movedCounts = new Int32Array(model.items + 2);
    this.movedCounts[0] = model.services;
    for (const [p, m] of at.entries()) {
      const home = model.home[p] as number;
      if (m < 0) continue;
      this.own += this.costOf(p, m);
      if (m === home || home < 0) continue;
      this.countMoved(p, 1);
      this.held += this.holds[p] as number;
    }
  }

  get cost(): number {
    return this.own + this.mostMoved * this.model.serviceWeight + this.heldCost;
  }

  /** The part of it that is there only while searching. */
  get heldCost(): number {
    return this.holdPrice * this.held;
  }

  /** @param price State.hold */
  hold(price: number): void {
    this.holdPrice = price;
  }

  /** What p may cost more in one place than in another, at most. */
  mostOf(p: number): number {
    const { hosts, moveCost, distance, distanceWeight, home, serviceWeight } = this.model;
    const most = (moveCost[p] as number) + (this.holds[p] as number) + serviceWeight + this.likingSpan(p);
    const from = home[p] as number;
    if (!distance || from < 0) return most;
    let far = 0;
    for (let i = from * hosts, end = i + hosts; i < end; i++) far = Math.max(far, distance[i] as number);
    return most + distanceWeight * far;
  }

  /** What p, which is on a, costs more on b by what it likes; Infinity: it may not come there. */
  likingDelta(p: number, a: number, b: number): number {
    return this.likingOf(p, b) - this.likingOf(p, a);
  }

  /** What p, which is on a, costs more on b. */
  delta(p: number, a: number, b: number): number {
    return (
      this.costOf(p, b) -
      this.costOf(p, a) +
      this.serviceDelta(p, a, b) +
      this.holdPrice * this.heldDelta(p, a, b)
    );
  }

  /** What p, which is on a, and q, which is on b, cost more in each other's place. The most moved service counts once, however many of its items move. */
  exchangeDelta(p: number, a: number, q: number, b: number): number {
    const own =
      this.costOf(p, b) -
      this.costOf(p, a) +
      (this.costOf(q, a) - this.costOf(q, b)) +
      this.holdPrice * (this.heldDelta(p, a, b) + this.heldDelta(q, b, a));
    const { service, serviceWeight } = this.model;
    if (!service || serviceWeight === 0) return own;
    const before = this.mostMoved;
    this.countShift(p, a, b, 1);
    this.countShift(q, b, a, 1);
    const most = this.mostMoved;
    this.countShift(q, b, a, -1);
    this.countShift(p, a, b, -1);
    return own + serviceWeight * (most - before);
  }

  /** p goes from a to b (-1: nowhere). */
  record(p: number, a: number, b: number): void {
    this.own += this.costOf(p, b) - this.costOf(p, a);
    this.held += this.heldDelta(p, a, b);
    this.countShift(p, a, b, 1);
  }

  /** Where it is, and that it was moved. */
  private costOf(p: number, m: number): number {
    const { home, moveCost, distance, distanceWeight, hosts, places } = this.model;
    const from = home[p] as number;
    const place = places ? this.likingOf(p, m) : 0;
    if (from === m || from < 0) return place;
    return (
      place +
      (moveCost[p] as number) +
      (distance ? distanceWeight * (distance[from * hosts + m] as number) : 0)
    );
  }

  /** How much more p holds at home when it goes from a to b. */
  private heldDelta(p: number, a: number, b: number): number {
    const home = this.model.home[p] as number;
    if (home < 0) return 0;
    if (a === home) return this.holds[p] as number;
    return b === home ? -(this.holds[p] as number) : 0;
  }

  private likingOf(p: number, m: number): number {
    const { places, home } = this.model;
    if (!places) return 0;
    if (m === (home[p] as number)) return places.stay[p] as number;
    return costOfPlace(places, p, m);
  }

  /** How much what p likes can differ. */
  private likingSpan(p: number): number {
    const { places } = this.model;
    if (!places) return 0;
    const { kinds, cost, stay } = places;
    let [least, most] = [stay[p] as number, stay[p] as number];
    for (let i = (places.ofItem[p] as number) * kinds, end = i + kinds; i < end; i++) {
      const each = cost[i] as number;
      if (each < least) least = each;
      if (each > most && each < Number.POSITIVE_INFINITY) most = each;
    }
    return most - least;
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

  /** Counts p as moved, or not, when it goes from a to b; -1: back again. */
  private countShift(p: number, a: number, b: number, by: 1 | -1): void {
    const home = this.model.home[p] as number;
    if (a === home) this.countMoved(p, by);
    else if (b === home) this.countMoved(p, by === 1 ? -1 : 1);
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
}

/** Of each item its demands of transient resources, by their prices. */
function holdsOf({ items, resources, transient, demand, price }: Model): Float64Array {
  const holds = new Float64Array(items);
  if (transient === 0) return holds;
  for (let p = 0; p < items; p++)
    for (let r = 0; r < transient; r++)
      add(holds, p, (demand[p * resources + r] as number) * (price[r] as number));
  return holds;
}
