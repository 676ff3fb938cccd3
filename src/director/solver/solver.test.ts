/** The solver on small instances that are made here, against a second, plain reckoning of the challenge's rules and costs. */
import { describe, expect, it } from "vitest";
import { anneal } from "./anneal.ts";
import { type Model, makeTallies } from "./model.ts";
import { solve } from "./parallel.ts";
import { xorshift } from "./random.ts";
import { Reach } from "./reach.ts";
import { formatAssignment, readAssignment, readRoadef } from "./roadef.ts";
import { State } from "./state.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

interface Instance {
  resources: { transient: boolean; weight: number }[];
  machines: { neighborhood: number; location: number; capacity: number[]; safe: number[] }[];
  distance: number[][];
  services: { spreadMin: number; needs: number[] }[];
  processes: { service: number; demand: number[]; moveCost: number }[];
  assignment: number[];
}
const BALANCE = { first: 0, second: 1, target: 2, weight: 3 };
const WEIGHTS = { process: 1, service: 10, machine: 2 };

/** Whatever the seed, the first assignment keeps all rules: that is how the rules are made. */
function instance(seed: number): Instance {
  const random = xorshift(seed);
  const below = (n: number) => random() % n;
  const machines = 6;
  const processes = 24;
  const assignment = Array.from({ length: processes }, () => below(machines));
  const demand = assignment.map(() => [1 + below(20), 1 + below(10), 1 + below(5)]);
  const service = assignment.map(
    (m, p) => (assignment.findIndex((other, q) => other === m && q === p) % 8) + 8 * (p % 2),
  );
  const used = (m: number, r: number) =>
    demand.reduce((sum, of, p) => sum + (assignment[p] === m ? (of[r] ?? 0) : 0), 0);
  const of = Array.from({ length: machines }, (_, m) => ({ neighborhood: m % 2, location: m % 3, m }));
  // Two of a service on one machine: the second gets a service of its own.
  let next = 16;
  const seen = new Set<string>();
  for (const [p, m] of assignment.entries()) {
    if (seen.has(`${service[p]}/${m}`)) service[p] = next++;
    seen.add(`${service[p]}/${m}`);
  }
  const where = (s: number, key: "location" | "neighborhood") =>
    new Set(assignment.flatMap((m, p) => (service[p] === s ? [of[m]?.[key] ?? 0] : [])));
  return {
    resources: [
      { transient: false, weight: 3 },
      { transient: true, weight: 0 },
      { transient: false, weight: 1 },
    ],
    machines: of.map(({ m, ...at }) => ({
      ...at,
      capacity: [0, 1, 2].map((r) => used(m, r) + 15 + below(25)),
      safe: [0, 1, 2].map(() => 20 + below(20)),
    })),
    distance: of.map((a) => of.map((b) => (a === b ? 0 : 1 + below(3)))),
    services: Array.from({ length: next }, (_, s) => ({
      spreadMin: Math.max(0, where(s, "location").size - below(2)),
      needs: [below(next)].filter(
        (t) => t !== s && [...where(s, "neighborhood")].every((n) => where(t, "neighborhood").has(n)),
      ),
    })),
    processes: demand.map((d, p) => ({ service: service[p] ?? 0, demand: d, moveCost: below(4) })),
    assignment,
  };
}

const textOf = (i: Instance): string =>
  [
    [i.resources.length, ...i.resources.flatMap((r) => [Number(r.transient), r.weight])],
    [
      i.machines.length,
      ...i.machines.flatMap((m, k) => [
        m.neighborhood,
        m.location,
        ...m.capacity,
        ...m.safe,
        ...(i.distance[k] ?? []),
      ]),
    ],
    [i.services.length, ...i.services.flatMap((s) => [s.spreadMin, s.needs.length, ...s.needs])],
    [i.processes.length, ...i.processes.flatMap((p) => [p.service, ...p.demand, p.moveCost])],
    [1, BALANCE.first, BALANCE.second, BALANCE.target, BALANCE.weight],
    [WEIGHTS.process, WEIGHTS.service, WEIGHTS.machine],
  ]
    .map((line) => line.join(" "))
    .join("\n");

/** Straight from the rules, nothing kept up to date. Undefined: a rule is broken. */
function costOf(i: Instance, at: readonly number[]): number | undefined {
  let cost = 0;
  for (const [m, machine] of i.machines.entries()) {
    const use = i.resources.map((_, r) =>
      i.processes.reduce((sum, p, k) => sum + (at[k] === m ? (p.demand[r] ?? 0) : 0), 0),
    );
    for (const [r, { transient, weight }] of i.resources.entries()) {
      const held = i.processes.reduce(
        (sum, p, k) => sum + (transient && i.assignment[k] === m && at[k] !== m ? (p.demand[r] ?? 0) : 0),
        use[r] ?? 0,
      );
      if (held > (machine.capacity[r] ?? 0)) return undefined;
      cost += weight * Math.max(0, (use[r] ?? 0) - (machine.safe[r] ?? 0));
    }
    const free = (r: number) => (machine.capacity[r] ?? 0) - (use[r] ?? 0);
    cost += BALANCE.weight * Math.max(0, BALANCE.target * free(BALANCE.first) - free(BALANCE.second));
  }
  const of = i.services.map((_, s) => i.processes.flatMap((p, k) => (p.service === s ? [k] : [])));
  const neighborhoods = of.map((own) => new Set(own.map((k) => i.machines[at[k] ?? 0]?.neighborhood)));
  for (const [s, own] of of.entries()) {
    if (new Set(own.map((k) => at[k])).size < own.length) return undefined;
    if (new Set(own.map((k) => i.machines[at[k] ?? 0]?.location)).size < (i.services[s]?.spreadMin ?? 0))
      return undefined;
    for (const t of i.services[s]?.needs ?? [])
      for (const n of neighborhoods[s] ?? []) if (!neighborhoods[t]?.has(n)) return undefined;
  }
  const moved = i.processes.map((_, k) => at[k] !== i.assignment[k]);
  for (const [k, p] of i.processes.entries())
    if (moved[k])
      cost +=
        WEIGHTS.process * p.moveCost +
        WEIGHTS.machine * (i.distance[i.assignment[k] ?? 0]?.[at[k] ?? 0] ?? 0);
  return cost + WEIGHTS.service * Math.max(...of.map((own) => own.filter((k) => moved[k]).length));
}

const read = (i: Instance) => readRoadef(bytes(textOf(i)), bytes(i.assignment.join(" ")));

/** The same with costs of places and of hosts in use. */
function placed(model: Model, seed: number) {
  const random = xorshift(seed + 100);
  const kinds = 3;
  const places = {
    kinds,
    ofItem: Int32Array.from(model.home, () => random() % 4),
    ofHost: Int32Array.from({ length: model.hosts }, (_, h) => h % kinds),
    cost: Float64Array.from({ length: 4 * kinds }, (_, k) =>
      k % 5 === 4 ? Number.POSITIVE_INFINITY : (random() % 40) - 20,
    ),
    stay: Float64Array.from(model.home, () => (random() % 40) - 20),
  };
  return { ...model, places, inUse: Float64Array.from({ length: model.hosts }, () => random() % 50) };
}

/** The best single shift, again and again, until none helps. */
function descend(i: Instance): number {
  let at = i.assignment;
  for (;;) {
    const now = costOf(i, at) ?? 0;
    const next = at
      .flatMap((_, p) => i.machines.map((_, m) => at.with(p, m)))
      .reduce((best, each) => ((costOf(i, each) ?? now) < (costOf(i, best) ?? now) ? each : best), at);
    if (next === at) return now;
    at = next;
  }
}

const OPTIONS = { seed: 7, steps: 200_000, hot: 0.3, cold: 0.005, priceHot: 3, priceCold: 1000, round: 0.4 };

describe("the state of a solution", () => {
  it("knows its cost, and before a change what that costs and whether it is allowed", () => {
    for (let seed = 1; seed <= 15; seed++) {
      const i = instance(seed);
      const state = new State(read(i));
      const random = xorshift(seed);
      expect(state.cost).toBe(costOf(i, i.assignment));
      for (let round = 0; round < 400; round++) {
        const p = random() % i.processes.length;
        const q = random() % i.processes.length;
        const [a = 0, b = 0, c = 0] = [state.at[p], random() % i.machines.length, state.at[q]];
        const before = state.cost;
        const shifted = [...state.at].with(p, b);
        const exchanged = [...state.at].with(p, c).with(q, a);
        if (round % 2 === 0 && a !== b) {
          const allowed = state.fits(p, b) && state.counts.allows(p, b);
          const cost = costOf(i, shifted);
          expect(allowed).toBe(cost !== undefined);
          if (cost === undefined) continue;
          expect(before + state.leaveDelta(p) + state.joinDelta(p, b) + state.otherDelta(p, b)).toBe(cost);
          state.move(p, b);
          expect(state.cost).toBe(cost);
        } else if (round % 2 === 1 && a !== c) {
          const cost = costOf(i, exchanged);
          const allowed = state.lackExchange(p, q) <= 0 && state.counts.allowsExchange(p, q);
          expect(allowed).toBe(cost !== undefined);
          if (cost === undefined) continue;
          state.round(0.3);
          expect(state.cost).toBeGreaterThanOrEqual(before);
          expect(state.exactCost()).toBeCloseTo(before, 6);
          state.round(0);
          expect(before + state.exchangeDelta(p, q) + state.exchangeOther(p, q)).toBe(cost);
          const replaced = (state.hostCost[c] ?? 0) + state.replaceDelta(p, q, c);
          state.move(p, c);
          state.move(q, a);
          expect(state.cost).toBe(cost);
          expect(state.hostCost[c]).toBe(replaced);
        }
      }
      expect(new State(read(i), state.at).cost).toBe(state.cost);
    }
  });

  it("knows what places and hosts in use cost", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const i = instance(seed);
      const model = placed(read(i), seed);
      const { places, inUse, home, hosts } = model;
      const own = (at: readonly number[]) =>
        at.reduce((sum, h, p) => {
          const kind = places.ofItem[p] ?? 0;
          const cost = places.cost[kind * places.kinds + (places.ofHost[h] ?? 0)] ?? 0;
          return sum + (h === home[p] ? (places.stay[p] ?? 0) : cost);
        }, 0) + [...new Set(at)].reduce((sum, h) => sum + (inUse[h] ?? 0), 0);
      const plain = new State(read(i));
      const state = new State(model);
      const random = xorshift(seed);
      for (let round = 0; round < 300; round++) {
        expect(state.cost).toBe(plain.cost + own([...plain.at]));
        expect(state.exactCost()).toBe(state.cost);
        const [p, q, h] = [random() % i.processes.length, random() % i.processes.length, random() % hosts];
        const [a = 0, c = 0] = [state.at[p], state.at[q]];
        if (round % 2 === 0 && a !== h) {
          const delta = state.leaveDelta(p) + state.joinDelta(p, h) + state.otherDelta(p, h);
          if (delta === Number.POSITIVE_INFINITY) continue;
          expect(-delta).toBeLessThanOrEqual(state.worthOf(p));
          const before = state.cost;
          for (const each of [state, plain]) each.move(p, h);
          expect(state.cost).toBe(before + delta);
        } else if (round % 2 === 1 && a !== c) {
          const delta = state.exchangeDelta(p, q) + state.exchangeOther(p, q);
          if (delta === Number.POSITIVE_INFINITY) continue;
          const before = state.cost;
          for (const each of [state, plain]) {
            each.move(p, c);
            each.move(q, a);
          }
          expect(state.cost).toBe(before + delta);
        }
      }
    }
  });

  it("lets items away from home pay for what they hold there, as long as it is told to", () => {
    for (let seed = 1; seed <= 10; seed++) {
      const i = instance(seed);
      const model = read(i);
      const state = new State(model);
      state.hold(0.5);
      const random = xorshift(seed);
      for (let round = 0; round < 300; round++) {
        const [p, q] = [random() % i.processes.length, random() % i.processes.length];
        const [a = 0, b = 0, c = 0] = [state.at[p], random() % i.machines.length, state.at[q]];
        const before = state.cost;
        if (round % 2 === 0 && a !== b) {
          const delta = state.leaveDelta(p) + state.joinDelta(p, b) + state.otherDelta(p, b);
          expect(-delta).toBeLessThanOrEqual(state.worthOf(p));
          state.move(p, b);
          expect(state.cost - before).toBeCloseTo(delta, 6);
        } else if (round % 2 === 1 && a !== c) {
          const delta = state.exchangeDelta(p, q) + state.exchangeOther(p, q);
          state.move(p, c);
          state.move(q, a);
          expect(state.cost - before).toBeCloseTo(delta, 6);
        }
        const away = [...state.at].flatMap((h, each) => (h === model.home[each] ? [] : [each]));
        const held = away.reduce(
          (sum, each) => sum + (model.demand[each * 3] ?? 0) * (model.price[0] ?? 0),
          0,
        );
        const plain = new State(model, state.at).cost;
        expect(state.cost).toBeCloseTo(plain + 0.5 * held, 6);
        expect(state.exactCost()).toBeCloseTo(plain, 6);
      }
    }
  });

  it("knows where items can be at all", () => {
    for (let seed = 1; seed <= 15; seed++) {
      const i = instance(seed);
      const model = read(i);
      const reach = new Reach(model);
      const random = xorshift(seed);
      const state = new State(model);
      for (let round = 0; round < 2000; round++) {
        const [p, h] = [random() % model.items, random() % model.hosts];
        // Whatever is allowed now or later is in reach.
        if (state.fits(p, h)) {
          expect(reach.allows(p, h)).toBe(true);
          if (state.counts.allows(p, h)) state.move(p, h);
        }
        const picked = reach.pick(p, random() / 2 ** 32);
        expect(reach.allows(p, picked)).toBe(true);
      }
      // What is not in reach has no room even when all have gone home or elsewhere.
      for (let p = 0; p < model.items; p++)
        for (let h = 0; h < model.hosts; h++) {
          const alone = new State(model);
          for (let q = 0; q < model.items; q++)
            if (q !== p && alone.at[q] === h) alone.move(q, (h + 1) % model.hosts);
          expect(reach.allows(p, h)).toBe(alone.at[p] === h || alone.fits(p, h));
        }
      // Hosts that take nothing are in reach of what is there already.
      const takers = model.hosts >> 1;
      const fewer = new Reach({ ...model, takers });
      for (let p = 0; p < model.items; p++)
        for (let h = 0; h < model.hosts; h++)
          expect(fewer.allows(p, h)).toBe(h === model.home[p] || (h < takers && reach.allows(p, h)));
    }
  });

  it("knows what there would be no room for, and how much an item can be worth at most", () => {
    const bounded = (lack: number, most: number) => (lack > most ? Number.POSITIVE_INFINITY : lack);
    for (let seed = 1; seed <= 15; seed++) {
      const i = instance(seed);
      const state = new State(read(i));
      const random = xorshift(seed);
      for (let round = 0; round < 200; round++) {
        const [p, q] = [random() % i.processes.length, random() % i.processes.length];
        const [a = 0, b = 0, c = 0] = [state.at[p], random() % i.machines.length, state.at[q]];
        if (a === b || a === c) continue;
        const before = state.lackTotal;
        const most = state.lackJoin(p, b) / 2;
        expect(state.lackJoin(p, b, most)).toBe(bounded(state.lackJoin(p, b), most));
        const exchange = state.lackExchange(p, q);
        expect(state.lackExchange(p, q, exchange / 2)).toBe(bounded(exchange, exchange / 2));
        const gain = -(state.leaveDelta(p) + state.joinDelta(p, b) + state.otherDelta(p, b));
        expect(gain).toBeLessThanOrEqual(state.worthOf(p));
        const shift = state.lackLeave(p) + state.lackJoin(p, b);
        state.move(p, b);
        expect(state.lackTotal - before).toBeCloseTo(shift, 6);
        if (round % 3 > 0) continue;
        state.move(p, a);
        state.move(p, c);
        state.move(q, a);
        expect(state.lackTotal - before).toBeCloseTo(exchange, 6);
      }
    }
  });
});

describe("the solver", () => {
  it("puts nothing where it must not be, and leaves hosts that cost more than the moves", () => {
    for (let seed = 1; seed <= 5; seed++) {
      const model = placed(read(instance(seed)), seed);
      const { places, home } = model;
      const found = anneal(new State(model), { ...OPTIONS, steps: 20_000 });
      const state = new State(model, found);
      expect(state.lacking).toBe(false);
      expect(state.cost).toBeLessThanOrEqual(new State(model).cost);
      for (const [p, h] of found.entries())
        if (h !== home[p])
          expect(places.cost[(places.ofItem[p] ?? 0) * places.kinds + (places.ofHost[h] ?? 0)]).toBeLessThan(
            Number.POSITIVE_INFINITY,
          );
    }
    // All on one of two hosts that are alike.
    const model = placed(read(instance(1)), 1);
    const alike: Model = {
      ...model,
      inUse: new Float64Array(model.hosts).fill(1e6),
      capacity: new Float64Array(model.capacity.length).fill(1e6),
      tallies: makeTallies(model.items, [new Int32Array(model.hosts)], []),
    };
    const used = (at: Int32Array) => new Set(at).size;
    expect(used(anneal(new State(alike), { ...OPTIONS, steps: 20_000 }))).toBeLessThan(used(alike.home));
  });

  it("finds what is allowed and better than by single shifts, and the same again with the same seed", () => {
    let [sum, sumOfShifts] = [0, 0];
    for (let seed = 1; seed <= 5; seed++) {
      const i = instance(seed);
      const model = read(i);
      const found = anneal(new State(model), OPTIONS);
      const cost = costOf(i, [...found]) ?? Number.NaN;
      const shifts = descend(i);
      expect(cost).toBeLessThanOrEqual(costOf(i, i.assignment) ?? 0);
      [sum, sumOfShifts] = [sum + cost, sumOfShifts + shifts];
      expect(anneal(new State(model), OPTIONS)).toEqual(found);
    }
    expect(sum).toBeLessThan(sumOfShifts);
  });

  it("runs in threads", async () => {
    const i = instance(3);
    const model = read(i);
    const found = await solve(model, model.home, { steps: 60_000, threads: 2, seed: 1 });
    expect(costOf(i, [...found])).toBeLessThan(costOf(i, i.assignment) ?? 0);
  });
});

describe("a file of the challenge", () => {
  const [i] = [instance(1)];
  it("is read and written", () => {
    const model = read(i);
    expect(formatAssignment(model.home)).toBe(`${i.assignment.join(" ")}\n`);
  });
  it("that is not right is refused with the place", () => {
    const good = textOf(i);
    const assignment = bytes(i.assignment.join(" "));
    expect(() => readRoadef(bytes(good.slice(0, 40)), assignment)).toThrow(
      /^the model ends after \d+ numbers/,
    );
    expect(() => readRoadef(bytes(`${good} 1`), assignment)).toThrow("more numbers than its counts say");
    expect(() => readRoadef(bytes(good.replace(" ", " x")), assignment)).toThrow(
      "number 2 (byte 2) is not a whole number",
    );
    expect(() => readAssignment(bytes("0 1 9"), { items: 3, hosts: 6 })).toThrow(
      "number 3 is 9, but there are 6 machines",
    );
  });
});
