/**
 * Where each item can be at all, so that nothing else is proposed: on its own host, and on those with room for it beside what never leaves them. Of a transient resource that
 * is the share of every item whose home a host is, wherever it is then: on full estates large items have a few hosts left of a hundred. A part of anneal.ts.
 */
import { costOfPlace, type Model } from "./model.ts";

/** With more pairs of items and hosts than this, lists take too much memory and time. */
const MOST_PAIRS = 2 ** 24;

export class Reach {
  private readonly model: Model;
  private readonly room: Float64Array;
  /** Hosts of item p: hosts[start[p]] … Without: there are no lists. */
  private readonly start: Int32Array | undefined;
  private readonly hosts: Int32Array = new Int32Array();
  /** With lists, items × takers, 1: it can be there. */
  private readonly can: Uint8Array | undefined;
  /** Items that are not fixed and can be on more than one host. */
  readonly movable: Int32Array;

  constructor(model: Model) {
    this.model = model;
    const { items, takers: hosts = model.hosts, fixed } = model;
    this.room = roomOf(model);
    const free = Int32Array.from({ length: items }, (_, p) => p).filter((p) => fixed?.[p] !== 1);
    if (items * hosts > MOST_PAIRS) {
      this.movable = free;
      return;
    }
    const start = new Int32Array(items + 1);
    const all = new Int32Array(items * (hosts + 1));
    const can = new Uint8Array(items * hosts);
    let count = 0;
    for (let p = 0; p < items; p++) {
      for (let h = 0; h < hosts; h++)
        if (this.couldBe(p, h)) {
          all[count++] = h;
          can[p * hosts + h] = 1;
        }
      // Its own host takes nothing else, perhaps.
      const own = model.home[p] as number;
      if (own >= hosts) all[count++] = own;
      start[p + 1] = count;
    }
    this.can = can;
    this.start = start;
    this.hosts = all.slice(0, count);
    this.movable = free.filter((p) => (start[p + 1] as number) - (start[p] as number) > 1);
  }

  /** Whether p can be on h when no other item is there that can be elsewhere. */
  allows(p: number, h: number): boolean {
    const { home, hosts, takers = hosts } = this.model;
    if (h === (home[p] as number)) return true;
    return this.can ? h < takers && this.can[p * takers + h] === 1 : this.couldBe(p, h);
  }

  private couldBe(p: number, h: number): boolean {
    const { resources, demand, home, places } = this.model;
    if (h === (home[p] as number)) return true;
    if (places && costOfPlace(places, p, h) === Number.POSITIVE_INFINITY) return false;
    const { room } = this;
    for (let i = p * resources, end = i + resources, j = h * resources; i < end; i++, j++)
      if ((demand[i] as number) > (room[j] as number)) return false;
    return true;
  }

  /** A host that p can be on, from a number in [0, 1); -1: there is none, or, where there are no lists, the one that was picked is none. */
  pick(p: number, u: number): number {
    const { start } = this;
    if (!start) {
      const h = (u * (this.model.takers ?? this.model.hosts)) | 0;
      return this.allows(p, h) ? h : -1;
    }
    const first = start[p] as number;
    const count = (start[p + 1] as number) - first;
    return count === 0 ? -1 : (this.hosts[first + ((u * count) | 0)] as number);
  }
}

/** hosts × resources: capacity without what never leaves. */
function roomOf({ items, resources, transient, capacity, demand, home, fixed }: Model): Float64Array {
  const room = Float64Array.from(capacity);
  for (let p = 0; p < items; p++) {
    const h = home[p] as number;
    if (h < 0) continue;
    const held = fixed?.[p] === 1 ? resources : transient;
    for (let r = 0; r < held; r++)
      room[h * resources + r] = (room[h * resources + r] as number) - (demand[p * resources + r] as number);
  }
  return room;
}
