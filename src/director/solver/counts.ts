/** How many items of each group every domain has (model.ts, Tallies), and what that allows. Kept up to date by `State`. */
import { add, type Model, NO_LIMIT } from "./model.ts";

/** Groups up to this size are counted by looking at each member, which takes no longer then; greater ones have a counter for each domain. */
const SCAN = 3;
/** And up to one for so many domains, so that all counters together take no more memory than so many for each member. */
const DOMAINS_A_MEMBER = 256;

export class Counts {
  private readonly model: Model;
  /** The host of each item, -1: none; the state's. */
  private readonly at: Int32Array;
  /** Of each tally where its counters begin; -1: its members are looked at. */
  private readonly row: Int32Array;
  private readonly counters: Int32Array;
  private readonly distinct: Int32Array;
  /** Of each tally how many members are anywhere. */
  readonly placed: Int32Array;
  /** By domain, and by host: what `broken` finds. */
  private readonly marks: Uint8Array;
  private readonly marked: Uint8Array;
  /** Of each tally the fewest that a domain has which counts for `even`; -1: not known now. */
  private readonly fewest: Int32Array;
  /** Of items of which reach that is. */
  private readonly fewestReach: Int32Array;

  constructor(model: Model, at: Int32Array) {
    const { hosts, tallies } = model;
    this.model = model;
    this.at = at;
    this.row = new Int32Array(tallies.count).fill(-1);
    this.distinct = new Int32Array(tallies.count);
    this.placed = new Int32Array(tallies.count);
    this.fewest = new Int32Array(tallies.count).fill(-1);
    this.fewestReach = new Int32Array(tallies.count);
    let counters = 0;
    for (let t = 0; t < tallies.count; t++) {
      const outside = ((tallies.outsideStart[t + 1] as number) - (tallies.outsideStart[t] as number)) / 2;
      const size = (tallies.memberStart[t + 1] as number) - (tallies.memberStart[t] as number) + outside;
      const domains = tallies.domainCounts[tallies.level[t] as number] as number;
      if (size <= Math.max(SCAN, domains / DOMAINS_A_MEMBER)) continue;
      this.row[t] = counters;
      counters += domains;
    }
    this.counters = new Int32Array(counters);
    const domains = tallies.domainCounts.reduce((most, each) => Math.max(most, each), 0);
    this.marks = new Uint8Array(domains);
    this.marked = new Uint8Array(hosts);
    /** By domain the last tally, and 1 more, of which one was found there. */
    const seen = new Int32Array(domains);
    for (let t = 0; t < tallies.count; t++) {
      const first = (tallies.level[t] as number) * hosts;
      let distinct = 0;
      const count = (d: number, n: number) => {
        add(this.placed, t, n);
        if (seen[d] !== t + 1) distinct++;
        seen[d] = t + 1;
        if ((this.row[t] as number) >= 0) add(this.counters, (this.row[t] as number) + d, n);
      };
      for (let i = tallies.memberStart[t] as number; i < (tallies.memberStart[t + 1] as number); i++) {
        const host = at[tallies.members[i] as number] as number;
        if (host >= 0) count(tallies.domains[first + host] as number, 1);
      }
      for (let i = tallies.outsideStart[t] as number; i < (tallies.outsideStart[t + 1] as number); i += 2)
        count(tallies.outside[i] as number, tallies.outside[i + 1] as number);
      this.distinct[t] = distinct;
    }
  }

  countIn(t: number, d: number): number {
    const row = this.row[t] as number;
    if (row >= 0) return this.counters[row + d] as number;
    const { memberStart, members, outsideStart, outside, domains, level } = this.model.tallies;
    const first = (level[t] as number) * this.model.hosts;
    let count = 0;
    for (let i = outsideStart[t] as number, end = outsideStart[t + 1] as number; i < end; i += 2)
      if ((outside[i] as number) === d) count += outside[i + 1] as number;
    for (let i = memberStart[t] as number, end = memberStart[t + 1] as number; i < end; i++) {
      const host = this.at[members[i] as number] as number;
      if (host >= 0 && (domains[first + host] as number) === d) count++;
    }
    return count;
  }

  /** The domain of tally t that p is in; -1: it is nowhere. */
  private domainOf(t: number, p: number): number {
    const { domains, level } = this.model.tallies;
    const host = p < 0 ? -1 : (this.at[p] as number);
    return host < 0 ? -1 : (domains[(level[t] as number) * this.model.hosts + host] as number);
  }

  /** The first tally that p would break on b, as if it were nowhere yet; -1: none. Needs are not looked at. */
  breaks(p: number, b: number): number {
    const { tallies, hosts } = this.model;
    const { domains } = tallies;
    for (let i = tallies.ofStart[p] as number, end = tallies.ofStart[p + 1] as number; i < end; i++) {
      const t = tallies.of[i] as number;
      const d = domains[(tallies.level[t] as number) * hosts + b] as number;
      const own = this.domainOf(t, p);
      if (this.isTooMany(t, p, own, this.countIn(t, d) - (own === d ? 1 : 0))) return t;
    }
    return -1;
  }

  /** Whether p breaks the tally in a domain with so many others. @param own the domain where p is; -1: none */
  private isTooMany(t: number, p: number, own: number, others: number): boolean {
    const { most, maxDomains, even } = this.model.tallies;
    if (others >= (most[t] as number)) return true;
    if ((maxDomains[t] as number) < NO_LIMIT) {
      const without = (this.distinct[t] as number) - (own >= 0 && this.countIn(t, own) === 1 ? 1 : 0);
      if (without + (others === 0 ? 1 : 0) > (maxDomains[t] as number)) return true;
    }
    return (even[t] as number) === 1 && others > 0 && others > this.fewestWithout(t, p);
  }

  /**
   * Of each host 1 where p would break a tally, as `breaks` says: found by domain, in a fraction of the time that asking for each host takes. Good until it is
   * asked again; undefined: there is no such host.
   */
  broken(p: number): Uint8Array | undefined {
    const { marks, marked } = this;
    const { tallies, hosts } = this.model;
    const { domains, domainCounts } = tallies;
    let found = false;
    for (let i = tallies.ofStart[p] as number, end = tallies.ofStart[p + 1] as number; i < end; i++) {
      const t = tallies.of[i] as number;
      if (!this.mark(t, p)) continue;
      if (!found) marked.fill(0);
      found = true;
      const first = (tallies.level[t] as number) * hosts;
      for (let h = 0; h < hosts; h++)
        marked[h] = (marked[h] as number) | (marks[domains[first + h] as number] as number);
      marks.fill(0, 0, domainCounts[tallies.level[t] as number] as number);
    }
    return found ? marked : undefined;
  }

  /** Marks the domains where p would break the tally. @returns whether there are any */
  private mark(t: number, p: number): boolean {
    const { marks } = this;
    const { hosts, tallies } = this.model;
    const { memberStart, members, outsideStart, outside, domains, level } = tallies;
    const count = tallies.domainCounts[level[t] as number] as number;
    const own = this.domainOf(t, p);
    let found = this.isTooMany(t, p, own, 0);
    if (found) marks.fill(1, 0, count);
    const look = (d: number, there: number): void => {
      const tooMany = this.isTooMany(t, p, own, there - (own === d ? 1 : 0));
      marks[d] = tooMany ? 1 : 0;
      found ||= tooMany;
    };
    const row = this.row[t] as number;
    if (row >= 0) {
      for (let d = 0; d < count; d++)
        if ((this.counters[row + d] as number) > 0) look(d, this.counters[row + d] as number);
      return found;
    }
    for (let i = outsideStart[t] as number; i < (outsideStart[t + 1] as number); i += 2)
      look(outside[i] as number, this.countIn(t, outside[i] as number));
    for (let i = memberStart[t] as number; i < (memberStart[t + 1] as number); i++) {
      const host = this.at[members[i] as number] as number;
      if (host < 0) continue;
      const d = domains[(level[t] as number) * hosts + host] as number;
      look(d, this.countIn(t, d));
    }
    return found;
  }

  /** The fewest members that a domain has, without p, of those that p could be in and that are open or have one. */
  fewestWithout(t: number, p: number): number {
    const { level, openCounts, reach } = this.model.tallies;
    const l = level[t] as number;
    const own = this.domainOf(t, p);
    const alone = own >= 0 && this.countIn(t, own) === 1;
    const r = p < 0 ? 0 : (reach[p] as number);
    // Without looking at each: there are more open domains than such that have one.
    if (r === 0 && (this.distinct[t] as number) - (alone ? 1 : 0) < (openCounts[l] as number)) return 0;
    if (alone) return this.fewestOf(t, r, own);
    if ((this.fewest[t] as number) < 0 || this.fewestReach[t] !== r) {
      this.fewest[t] = this.fewestOf(t, r, -1);
      this.fewestReach[t] = r;
    }
    const all = this.fewest[t] as number;
    return own < 0 || !this.isReached(l, r, own) ? all : Math.min(all, this.countIn(t, own) - 1);
  }

  /** @param but the domain that has one fewer */
  private fewestOf(t: number, r: number, but: number): number {
    const { open, level, domainCounts, reached } = this.model.tallies;
    const l = level[t] as number;
    const isOpen = open[l] as Uint8Array;
    const here = r === 0 ? undefined : reached[r * open.length + l];
    let least = NO_LIMIT;
    for (let d = 0, count = domainCounts[l] as number; d < count && least > 0; d++) {
      if (here?.[d] === 0) continue;
      const n = this.countIn(t, d) - (d === but ? 1 : 0);
      if (n < least && (n > 0 || ((isOpen[d] as number) === 1 && here?.[d] !== 1))) least = n;
    }
    // None counts: who is somewhere is where it may not be.
    return least === NO_LIMIT ? 0 : least;
  }

  private isReached(l: number, r: number, d: number): boolean {
    const { open, reached } = this.model.tallies;
    return r === 0 || reached[r * open.length + l]?.[d] !== 0;
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
      if ((tallies.even[t] as number) === 1 && there > 0 && there > this.fewestWithout(t, p)) return false;
      const leaves = this.countIn(t, from) === 1;
      const distinct = (this.distinct[t] as number) + (there === 0 ? 1 : 0) - (leaves ? 1 : 0);
      const before = this.distinct[t] as number;
      if (distinct < before && distinct < (tallies.minDomains[t] as number)) return false;
      if (distinct > before && distinct > (tallies.maxDomains[t] as number)) return false;
      if (there === 0 && !this.hasNeeds(t, to)) return false;
      if (leaves && this.isNeeded(t, from)) return false;
    }
    return true;
  }

  /** The item on host b, and the only one, without which p may come there: it makes the one tally full that p would be too many for. -1: there is none. */
  blocker(p: number, b: number): number {
    const { tallies, hosts } = this.model;
    const { domains, memberStart, members } = tallies;
    let found = -1;
    for (let i = tallies.ofStart[p] as number, end = tallies.ofStart[p + 1] as number; i < end; i++) {
      const t = tallies.of[i] as number;
      const most = tallies.most[t] as number;
      if (most >= NO_LIMIT) continue;
      const to = domains[(tallies.level[t] as number) * hosts + b] as number;
      if (to === this.domainOf(t, p) || this.countIn(t, to) < most) continue;
      if (found >= 0) return -1;
      for (let k = memberStart[t] as number, last = memberStart[t + 1] as number; k < last; k++)
        if ((this.at[members[k] as number] as number) === b) found = members[k] as number;
      if (found < 0) return -1;
    }
    return found;
  }

  /** Whether the tallies let p and q change places. */
  allowsExchange(p: number, q: number): boolean {
    const { ofStart } = this.model.tallies;
    const bare = (item: number) => (ofStart[item] as number) === (ofStart[item + 1] as number);
    const a = this.at[p] as number;
    const b = this.at[q] as number;
    if (bare(q)) return this.allows(p, b);
    if (bare(p)) return this.allows(q, a);
    if (this.isFull(p, q, b) || this.isFull(q, p, a)) return false;
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

  /** Whether a domain of host b has as many of a tally of p as it may, also without q, which is there. */
  private isFull(p: number, q: number, b: number): boolean {
    const { tallies, hosts } = this.model;
    const { domains, ofStart, of } = tallies;
    for (let i = ofStart[p] as number, end = ofStart[p + 1] as number; i < end; i++) {
      const t = of[i] as number;
      const most = tallies.most[t] as number;
      if (most >= NO_LIMIT) continue;
      const level0 = (tallies.level[t] as number) * hosts;
      const to = domains[level0 + b] as number;
      if ((domains[level0 + (this.at[p] as number)] as number) === to) continue;
      let there = this.countIn(t, to);
      for (let j = ofStart[q] as number; there >= most && j < (ofStart[q + 1] as number); j++)
        if ((of[j] as number) === t) there--;
      if (there >= most) return true;
    }
    return false;
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
      const others = this.countIn(t, to) - 1;
      if (others >= (tallies.most[t] as number)) return false;
      if ((tallies.even[t] as number) === 1 && others > 0 && others > this.fewestWithout(t, p)) return false;
      if (
        (this.distinct[t] as number) < (tallies.minDomains[t] as number) ||
        (this.distinct[t] as number) > (tallies.maxDomains[t] as number)
      )
        return false;
      if (!this.hasNeeds(t, to) || (this.countIn(t, from) === 0 && this.isNeeded(t, from))) return false;
    }
    return true;
  }

  /** Whether a domain has some of each tally that t cannot be there without. */
  private hasNeeds(t: number, domain: number): boolean {
    const { needs, needsStart } = this.model.tallies;
    for (let k = needsStart[t] as number, end = needsStart[t + 1] as number; k < end; k++)
      if (this.countIn(needs[k] as number, domain) === 0) return false;
    return true;
  }

  /** Whether a domain has some of a tally that cannot be there without t. */
  private isNeeded(t: number, domain: number): boolean {
    const { neededBy, neededByStart } = this.model.tallies;
    for (let k = neededByStart[t] as number, end = neededByStart[t + 1] as number; k < end; k++)
      if (this.countIn(neededBy[k] as number, domain) > 0) return true;
    return false;
  }

  /** Counts p as on b (-1: nowhere); `at` is set by the caller, afterwards. */
  recount(p: number, b: number): void {
    const { tallies, hosts } = this.model;
    const { domains } = tallies;
    const a = this.at[p] as number;
    for (let i = tallies.ofStart[p] as number, end = tallies.ofStart[p + 1] as number; i < end; i++) {
      const t = tallies.of[i] as number;
      const level0 = (tallies.level[t] as number) * hosts;
      const from = a < 0 ? -1 : (domains[level0 + a] as number);
      const to = b < 0 ? -1 : (domains[level0 + b] as number);
      if (from === to) continue;
      if (from < 0) add(this.placed, t, 1);
      if (to < 0) add(this.placed, t, -1);
      if (to >= 0 && this.countIn(t, to) === 0) add(this.distinct, t, 1);
      if (from >= 0 && this.countIn(t, from) === 1) add(this.distinct, t, -1);
      this.fewest[t] = -1;
      const row = this.row[t] as number;
      if (row >= 0) {
        if (from >= 0) add(this.counters, row + from, -1);
        if (to >= 0) add(this.counters, row + to, 1);
      }
    }
  }
}
