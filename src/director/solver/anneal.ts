/**
 * Simulated annealing over shifts (an item to another host) and exchanges (two items change places), half of them made up at random, the
 * others where they help most: exchanges within a tally keep its counts whatever its limits, and a shift home frees what
 * a moved item holds of transient resources.
 *
 * Room is soft while it is warm: demand beyond capacity has a price that rises until it cannot be paid. Large items of full hosts move only this
 * way; with hard room the results on tight published instances were clearly worse. Tallies are always hard. Only states with room for
 * all are results.
 *
 * The same seed and `steps` give the same result; with a time limit, how far it comes depends on the machine.
 */
import type { State } from "./state.ts";

export interface AnnealOptions {
  seed: number;
  /** Ends after this many proposals. */
  steps?: number;
  /** Ends after this time. */
  milliseconds?: number;
  /** Temperatures at the beginning and the end, as shares of the mean change of cost by a shift. */
  hot: number;
  cold: number;
  /** Price of demand beyond capacity, at the beginning and the end, in mean costs of such a demand. */
  priceHot: number;
  priceCold: number;
}

/** What the options are for a model and a time when nothing else is known. */
export function temper(
  state: State,
  seed: number,
  { milliseconds, steps }: Pick<AnnealOptions, "milliseconds" | "steps">,
): AnnealOptions {
  const { items } = state.model;
  // Proposals for each item, about; with few, beginning hot only destroys what there is.
  const each =
    Math.min(steps ?? Number.POSITIVE_INFINITY, (milliseconds ?? Number.POSITIVE_INFINITY) * 3000) / items;
  return {
    seed,
    ...(steps === undefined ? {} : { steps }),
    ...(milliseconds === undefined ? {} : { milliseconds }),
    hot: 0.5 * Math.min(1, each / 20_000) ** 0.5,
    cold: 0.003,
    // Where moved items hold room at home, most that is far beyond it while it is warm cannot come back when it is cold.
    priceHot: state.model.transient > 0 ? 10 : 3,
    priceCold: 200,
  };
}

const BLOCK = 2048;
/** Where each phase begins, and by how much cooler than `hot`; the first begins cold and only descends, so that there is something in any case. */
const PHASES = [0, 0.05, 0.7, 0.85, 1];
const COOLER = [Number.POSITIVE_INFINITY, 1, 8, 8];
/** Reaches the last price here, so that what is left of the time is spent with it. */
const PRICED = 0.85;
const UNIT = 2 ** -32;
const LOGS = new Float64Array(4096).map((_, i) => -Math.log((i + 0.5) / 4096));

/** The best assignment found; that of `state` when there is none with room for all. Leaves `state` anywhere. */
export function anneal(state: State, options: AnnealOptions): Int32Array {
  const { model, at, hostLack } = state;
  const { items, hosts, home, fixed } = model;
  const { ofStart, of, memberStart, members } = model.tallies;
  const best = Int32Array.from(at);
  if (items === 0 || hosts < 2) return best;
  const random = xorshift(options.seed);
  const scale = meanChange(state, random);
  if (scale === 0) return best;
  let least = state.lacking ? Number.POSITIVE_INFINITY : state.cost;
  const { steps = Number.POSITIVE_INFINITY, milliseconds = Number.POSITIVE_INFINITY } = options;
  const hot = options.hot * scale;
  const cold = options.cold * scale;
  const homeShare = (model.transient > 0 ? 0.4 : 0.1) * 2 ** 32;
  const exchangeShare = 0.5 * 2 ** 32;
  const groupShare = 0.3 * 2 ** 32;
  const begin = performance.now();
  let price = options.priceHot;
  let phase = 0;
  for (let done = 0; ; done += BLOCK) {
    const past = Math.max(done / steps, (performance.now() - begin) / milliseconds);
    if (past >= 1) break;
    if (past >= (PHASES[phase + 1] as number)) {
      phase++;
      // Warmed up again from the best there is: also when the last cooling ended without room for all.
      for (let p = 0; p < items; p++) state.move(p, best[p] as number);
    }
    const from = PHASES[phase] as number;
    const share = (past - from) / ((PHASES[phase + 1] as number) - from);
    const cooler = COOLER[phase] as number;
    const warm = Math.max(cold, hot / cooler);
    const temperature = warm * (cold / warm) ** share;
    const first = Math.min(options.priceHot * cooler, options.priceCold);
    // Once it should be paid, it doubles until it is.
    if (share < PRICED) price = first * (options.priceCold / first) ** (share / PRICED);
    else if (state.lacking && price < 1e5) price *= 1.05;
    for (let i = 0; i < BLOCK; i++) {
      const kind = random();
      const p = (random() * UNIT * items) | 0;
      const u = random();
      if (fixed && (fixed[p] as number) === 1) continue;
      const limit = temperature * (LOGS[kind & 4095] as number);
      const a = at[p] as number;
      if (kind < exchangeShare) {
        let q: number;
        if (u < groupShare) {
          const first = ofStart[p] as number;
          if (first === (ofStart[p + 1] as number)) continue;
          const t = of[first] as number;
          q = members[
            (memberStart[t] as number) +
              (((u / groupShare) * ((memberStart[t + 1] as number) - (memberStart[t] as number))) | 0)
          ] as number;
        } else q = (u * UNIT * items) | 0;
        const b = at[q] as number;
        if (a === b || (fixed && (fixed[q] as number) === 1)) continue;
        let delta = state.exchangeDelta(p, q);
        if (delta - price * ((hostLack[a] as number) + (hostLack[b] as number)) > limit) continue;
        delta += price * state.lackExchange(p, q) + state.otherDelta(p, b) + state.otherDelta(q, a);
        if (delta > limit || !state.counts.allowsExchange(p, q)) continue;
        state.move(p, b);
        state.move(q, a);
      } else {
        const b = u < homeShare ? (home[p] as number) : (u * UNIT * hosts) | 0;
        if (a === b) continue;
        let delta = state.leaveDelta(p) + price * state.lackLeave(p) + state.joinDelta(p, b);
        if (delta > limit) continue;
        delta += price * state.lackJoin(p, b) + state.otherDelta(p, b);
        if (delta > limit || !state.counts.allows(p, b)) continue;
        state.move(p, b);
      }
    }
    if (state.cost < least && !state.lacking) {
      least = state.cost;
      best.set(at);
    }
  }
  return best;
}

/** Whole numbers from 0 to 2^32 - 1 (Marsaglia 2003). */
export function xorshift(seed: number): () => number {
  let x = Math.imul(seed + 1, 0x9e3779b1) | 1;
  return () => {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    return x >>> 0;
  };
}

/** Of random shifts into hosts with room. */
function meanChange(state: State, random: () => number): number {
  const { items, hosts } = state.model;
  let sum = 0;
  let count = 0;
  for (let i = 0; i < 20_000; i++) {
    const p = (random() * UNIT * items) | 0;
    const b = (random() * UNIT * hosts) | 0;
    if (b === (state.at[p] as number) || !state.fits(p, b)) continue;
    sum += Math.abs(state.leaveDelta(p) + state.joinDelta(p, b));
    count++;
  }
  return count === 0 ? 0 : sum / count;
}
