/**
 * Losses of so many at once that not each is looked at (parts.ts): those of which it does not follow from ways into parts that they are survived become losses that are looked at one by one, as
 * far as that can be done; and after a change it is found whether one does not follow any more. Pure.
 */
import type { EstateIndex } from "../estate/estate-index.ts";
import { type Demand, type Group, type Losses, MOST_EVENTS } from "./losses.ts";
import type { NotPacked, Packed, Packing } from "./packing.ts";
import type { Parts } from "./parts.ts";
import type { Fault } from "./survival.ts";

/** Of the sets that do not follow from ways into parts: so many that are not survived are sought, and so many proven for one question. */
const MOST_FAILING = 100;
const MOST_ASKED = 500;
/** For one question, which the server asks at a write, so many sets are looked at by their ways at most: all pairs of a thousand. */
const MOST_CHECKS_ASKED = 500_000;

/** What is proven of each loss. */
interface Proofs {
  index: EstateIndex;
  losses: Losses;
  packing: Packing;
  wayOf: (e: number) => Packed | undefined;
  prove: (e: number) => Packed;
  /** Where others have room, too. */
  tight: (e: number) => Packed;
  set: (e: number, packed: Packed | undefined) => void;
  faultOf: (e: number, packed: NotPacked) => Fault;
}

/** Of what was not looked at it is not known whether it was any better. */
const isKnown = ({ givenUp, fullest }: Group): boolean => !givenUp || fullest !== undefined;

type Known = [e: number, way: Packed | undefined][];

interface Asked {
  /** The ways from before. */
  known: Known;
  /** It stays so. */
  keep: boolean;
  /** As if these did not ask. */
  without: ReadonlySet<Demand>;
}

export class ManyLosses {
  private readonly of: Proofs;

  constructor(of: Proofs) {
    this.of = of;
  }

  /** Has the sets that do not follow from ways into parts be losses that are looked at one by one. */
  *cover(group: Group, parts: Parts): Generator<void> {
    for (const d of parts.changed) {
      this.tighten(group, parts, d);
      yield;
    }
    const changed = [...parts.changed];
    parts.changed.clear();
    if (changed.length === 0 || !isKnown(group)) return;
    const found = new Map<string, number[]>();
    const look = function* (of: ReturnType<Parts["uncovered"]>): Generator<void, boolean> {
      for (;;) {
        const { value, done } = of.next();
        if (done) return value === undefined;
        if (value && !group.sets.has(value.join())) found.set(value.join(), value);
        if (found.size + group.sets.size > MOST_EVENTS) return false;
        if (!value) yield;
      }
    };
    let all = yield* look(parts.uncovered(changed, { among: group.fullest }));
    if (!all && !group.givenUp) {
      this.of.losses.giveUp(group, this.of.losses.heaviest(group));
      found.clear();
      all = yield* look(parts.uncovered(changed, { among: group.fullest }));
    }
    if (!all) this.of.losses.giveUp(group);
    const isFailing = (e: number) => this.of.wayOf(e)?.found !== "yes";
    let failing = [...group.sets.values()].filter(isFailing).length;
    for (const set of found.values()) {
      if (failing > MOST_FAILING) {
        this.of.losses.giveUp(group);
        return;
      }
      const e = this.of.losses.addSet(group, set);
      this.of.set(e, this.of.prove(e));
      if (isFailing(e)) failing++;
      yield;
    }
  }

  /** Of a domain with too few ways: on hosts that have no machines, which spoil fewer. @param known where the ways from before are kept */
  private tighten(group: Group, parts: Parts, d: number, known?: Known): void {
    if (!parts.isWeak(d)) return;
    for (const e of this.of.losses.partsOf(group, d)) {
      const before = this.of.wayOf(e);
      if (before?.found !== "yes") continue;
      const packed = this.of.tight(e);
      if (packed.found !== "yes") continue;
      known?.push([e, before]);
      this.of.set(e, packed);
    }
  }

  /** A set that followed from ways into parts, does not any more, and is not survived; or one that was not looked at, where they are too many. */
  uncovered(group: Group, parts: Parts, { known, keep, without }: Asked): Fault | undefined {
    if (!isKnown(group) || group.demands.every((demand) => without.has(demand))) return undefined;
    for (const d of [...parts.changed]) this.tighten(group, parts, d, known);
    const changed = [...parts.changed];
    parts.changed.clear();
    if (changed.length === 0) return undefined;
    const proven: [readonly number[], Packed][] = [];
    const seen = new Set<string>();
    const faultOf = (set: readonly number[], packed: NotPacked) =>
      this.of.faultOf(group.sets.get(set.join()) ?? this.of.losses.addSet(group, set), packed);
    const unknown = (set: readonly number[]) =>
      faultOf(set, { found: "unknown", left: this.firstOf(group, set, without) });
    const sets = parts.uncovered(changed, { among: group.fullest, most: MOST_CHECKS_ASKED });
    let next = sets.next();
    for (; !next.done; next = sets.next()) {
      const set = next.value;
      if (!set || group.sets.has(set.join()) || seen.has(set.join())) continue;
      seen.add(set.join());
      if (seen.size > MOST_ASKED) return unknown(set);
      const packed = this.of.packing.place(this.of.losses.hostsOfSet(group, set), (item) =>
        this.of.losses.asksIn(group, item, without),
      );
      if (packed.found === "yes") proven.push([set, packed]);
      else return faultOf(set, packed);
    }
    if (next.value) return unknown(next.value);
    if (keep) for (const [set, packed] of proven) this.of.set(this.of.losses.addSet(group, set), packed);
    return undefined;
  }

  private firstOf(group: Group, set: readonly number[], without: ReadonlySet<Demand>): number {
    const { first, next } = this.of.index.state;
    for (const h of this.of.losses.hostsOfSet(group, set))
      for (let item = first[h] as number; item >= 0; item = next[item] as number)
        if (this.of.losses.asksIn(group, item, without)) return item;
    return -1;
  }
}
