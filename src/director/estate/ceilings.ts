/**
 * What hosts may give out at most where machines are whose policies limit that (Policy.spec.overcommit). Such a host has less to give from the moment on at which
 * the first of them comes, and more again when the last has left: so the index sees to it for all machines alike. Pure.
 */
import type { Policy } from "../kinds.ts";
import { TOLD } from "../rules/overcommit.ts";
import type { Shelves } from "../solver/shelves.ts";
import type { HostView } from "./estate.ts";
import { baseOf, DECLARED, RESOURCES } from "./estate-model.ts";

/** Of each declared resource: of what a host has; Infinity: as much as it will. */
export type Shares = readonly number[];

/** The least that policies say; undefined: none says anything. */
export function sharesOf(policies: readonly Policy[]): Shares | undefined {
  const own = policies.flatMap(({ spec }) => spec.overcommit ?? []);
  return own.length === 0
    ? undefined
    : TOLD.map(({ field }) =>
        own.reduce(
          (least, of) => Math.min(least, of[field] ?? Number.POSITIVE_INFINITY),
          Number.POSITIVE_INFINITY,
        ),
      );
}

export class Ceilings {
  /** hosts × resources: what shares are of. */
  readonly base: Float64Array;
  private readonly shelves: Shelves;
  /** As hosts have it, whatever is on them. */
  private readonly full: Float64Array;
  /** By host, of all that are there. */
  private readonly there: Shares[][];
  private readonly ofItem: (Shares | undefined)[] = [];
  private readonly known = new Map<readonly Policy[], { shares: Shares | undefined }>();
  /** Those that say the same are one. */
  private readonly distinct = new Map<string, Shares>();

  constructor(hosts: readonly HostView[], shelves: Shelves) {
    this.shelves = shelves;
    this.full = shelves.state.model.capacity.slice();
    this.base = new Float64Array(this.full.length).fill(Number.POSITIVE_INFINITY);
    this.there = Array.from({ length: this.full.length / RESOURCES }, () => []);
    for (const [h, host] of hosts.entries()) this.base.set(baseOf(host), h * RESOURCES);
  }

  /** @param policies the same list for machines that the same choose (chosen.ts) */
  sharesOf(policies: readonly Policy[]): Shares | undefined {
    const known = this.known.get(policies);
    if (known) return known.shares;
    const own = sharesOf(policies);
    const shares = own && (this.distinct.get(own.join()) ?? own);
    if (shares) this.distinct.set(shares.join(), shares);
    this.known.set(policies, { shares });
    return shares;
  }

  /** An item was put there (-1: nowhere), which these policies choose. */
  moved(item: number, from: number, to: number, policies: readonly Policy[]): void {
    const before = this.ofItem[item];
    if (before && from >= 0) {
      this.ofItem[item] = undefined;
      const list = this.there[from] as Shares[];
      list.splice(list.indexOf(before), 1);
      // Others there want the same.
      if (!list.includes(before)) this.fit(from);
    }
    const shares = to < 0 ? undefined : this.sharesOf(policies);
    if (!shares) return;
    this.ofItem[item] = shares;
    const list = this.there[to] as Shares[];
    const isNew = !list.includes(shares);
    list.push(shares);
    if (isNew) this.fit(to);
  }

  private fit(h: number): void {
    const list = this.there[h] as Shares[];
    const now = this.full.slice(h * RESOURCES, (h + 1) * RESOURCES);
    // Most want the same.
    for (const shares of new Set(list))
      for (let r = 0; r < DECLARED; r++) now[r] = Math.min(now[r] as number, this.ceiling(shares, h, r));
    this.shelves.resize(h, now);
  }

  /**
   * The most that the host may give out of a resource; Infinity × 0, of a host that has none of it, is no number. Whole CPUs and bytes, as machines ask for: what is
   * free would be off by a little when parts of them are taken away and given back, and the last machine that fits would not.
   */
  private ceiling(shares: Shares, h: number, r: number): number {
    const share = shares[r] as number;
    return share === Number.POSITIVE_INFINITY
      ? share
      : Math.floor(share * (this.base[h * RESOURCES + r] as number));
  }

  /** Whether the host, with so much more on it, gives out no more than these shares. @param of which resources it is asked; all when absent */
  allows(shares: Shares, h: number, more: (r: number) => number, of?: (r: number) => boolean): boolean {
    const { free, model } = this.shelves.state;
    for (let r = 0, i = h * RESOURCES; r < DECLARED; r++, i++) {
      const taken = (model.capacity[i] as number) - (free[i] as number) + more(r);
      if (taken > this.ceiling(shares, h, r) && (!of || of(r))) return false;
    }
    return true;
  }
}
