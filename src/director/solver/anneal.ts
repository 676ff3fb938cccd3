/**
 * Simulated annealing (the proposals: walk.ts).
 *
 * Room may be soft while it is warm: demand beyond capacity has a price that rises until it cannot be paid; on some tight published instances that finds
 * more, on others hard room does (an unpayable price from the beginning). With sharp terms the results on all of them were clearly worse: at first the corners of all are
 * rounded (State.round), and become sharp as it cools. Where items hold transient resources at home, moves that bring little take all that is free while it is hot, and large items then
 * never get in: so being away has a price at first (State.hold). Tallies are always hard. Only states with room for all are results, and only by what they really cost.
 *
 * The director's plans take of the result what is worth its moves (planning/regroup.ts); of published instances it is the result (bench/roadef.ts), which tells how good the search is.
 *
 * The same seed and `steps` give the same result; with a time limit, how far it comes depends on the machine.
 */
import { xorshift } from "./random.ts";
import type { State } from "./state.ts";
import { Walk } from "./walk.ts";

export interface AnnealOptions {
  seed: number;
  /** Ends after this many proposals. */
  steps?: number;
  /** Ends after this time. */
  milliseconds?: number;
  /** Temperatures at the beginning and the end, in units (unitOf). */
  hot: number;
  cold: number;
  /** Price of demand beyond capacity, at the beginning and the end, in mean costs of such a demand. */
  priceHot: number;
  priceCold: number;
  /** How much the corners of terms are rounded at first, as a share of a term's value without items. */
  round: number;
}

/** What the options are for a model and a time when nothing else is known. */
export function temper(
  state: State,
  seed: number,
  { milliseconds, steps }: Pick<AnnealOptions, "milliseconds" | "steps">,
): AnnealOptions {
  // Proposals for each item, about; with few, beginning hot only destroys what there is.
  const each =
    Math.min(steps ?? Number.POSITIVE_INFINITY, (milliseconds ?? Number.POSITIVE_INFINITY) * 700) /
    state.model.items;
  const warmth = Math.min(1, each / 5000) ** 0.55;
  return {
    seed,
    ...(steps === undefined ? {} : { steps }),
    ...(milliseconds === undefined ? {} : { milliseconds }),
    hot: 4 * warmth,
    cold: 0.02 * warmth,
    priceHot: 32,
    priceCold: 3000,
    round: 0.4,
  };
}

/** Proposals between two looks at time and temperature; fewer when there are few `steps` in all, so that it cools slowly then, too. */
const BLOCK = 2048;
const BLOCKS = 32;
/** So long it only descends, cold and sharp, so that there is something in any case. */
const DESCENT = 0.04;
/** From here on, what has no room becomes dearer until all has. */
const PAID = 0.7;
/** Sharp from here on. */
const SHARP = 0.95;
/** Until here, items away from home pay for what they hold there, ever less. */
const HELD = 0.9;
/** If there is still no room for all here, the best that has is gone on with. */
const LAST = 0.96;
const DEAREST = 1e7;
const UNIT = 2 ** -32;

/** The best assignment found; that of `state` when there is none with room for all. Leaves `state` anywhere. */
export function anneal(state: State, options: AnnealOptions): Int32Array {
  const { model, at } = state;
  const best = Int32Array.from(at);
  if (model.items === 0 || model.hosts < 2) return best;
  const random = xorshift(options.seed);
  const begin = performance.now();
  const block = Math.max(
    64,
    Math.min(BLOCK, Math.ceil((options.steps ?? Number.POSITIVE_INFINITY) / BLOCKS)),
  );
  const walk = new Walk(state, random, block);
  const unit = unitOf(state, walk, random);
  if (unit === 0) return best;
  let least = state.lacking ? Number.POSITIVE_INFINITY : state.cost;
  const { steps = Number.POSITIVE_INFINITY, milliseconds = Number.POSITIVE_INFINITY } = options;
  if (model.inUse) walk.clear.each(0);
  const hot = options.hot * unit;
  const cold = options.cold * unit;
  let price = options.priceCold;
  let round = 0;
  let warm = false;
  let last = false;
  let before = 0;
  for (let done = 0; ; done += block) {
    const past = Math.max(done / steps, (performance.now() - begin) / milliseconds);
    if (past >= 1) break;
    const cooled = (past - DESCENT) / (1 - DESCENT);
    let temperature = cold;
    if (cooled >= 0) {
      if (!warm) price = options.priceHot;
      warm = true;
      temperature = hot * (cold / hot) ** cooled;
      const due = options.priceHot * (options.priceCold / options.priceHot) ** cooled;
      const step = 2 ** (100 * (cooled - before));
      before = cooled;
      if (cooled > PAID)
        price = state.lacking ? Math.min(DEAREST, price * step) : Math.max(due, price / step);
      else price = due;
      // Not in each block: all hosts are reckoned anew. Longest where it is little, of the order of what loads differ by in the end.
      const wanted = Math.ceil(100 * Math.max(0, 1 - cooled / SHARP) ** 2) * (options.round / 100);
      if (wanted !== round) state.round(wanted);
      round = wanted;
      state.hold(Math.max(0, 1 - cooled / HELD));
      if (cooled > LAST && !last) {
        last = true;
        if (state.lacking) for (let p = 0; p < model.items; p++) state.move(p, best[p] as number);
        if (model.inUse) walk.clear.each(0);
      }
    }
    walk.block(temperature, price);
    if (state.lacking) continue;
    const cost = state.exactCost();
    if (cost >= least) continue;
    least = cost;
    best.set(at);
  }
  state.round(0);
  state.hold(0);
  return best;
}

/** Units that a mean item is worth: from hot ones, the most that its place can change is taken once in a hundred times. */
const UNITS = 20;

/**
 * What temperatures are measured by: of published instances what items are worth at most, since the large ones decide, and hardly any shift that there is room for is one of these.
 * What a plan changes has to be worth its moves.
 */
function unitOf(state: State, walk: Walk, random: () => number): number {
  return state.model.places ? changeOf(state, random) : walk.meanWorth / UNITS;
}

/** The mean of random shifts into hosts with room, and what an item costs to move at least. */
function changeOf(state: State, random: () => number): number {
  const { items, takers: hosts = state.model.hosts } = state.model;
  let sum = 0;
  let count = 0;
  for (let i = Math.min(2000, 20 * items); i > 0; i--) {
    const p = (random() * UNIT * items) | 0;
    const b = (random() * UNIT * hosts) | 0;
    if (b === (state.at[p] as number) || !state.fits(p, b)) continue;
    const place = state.placeDelta(p, b);
    if (place === Number.POSITIVE_INFINITY) continue;
    sum += Math.abs(state.leaveDelta(p) + state.joinDelta(p, b) + place);
    count++;
  }
  const mean = count === 0 ? 0 : sum / count;
  // Nothing may have room anywhere, or hosts may all be alike: whatever it is, it has to be worth its moves.
  return Math.max(mean, state.model.moveCost.reduce((all, each) => all + each, 0) / items);
}
