/**
 * Machine reassignment as in the Google/ROADEF-EURO challenge 2012, read into the director's own model: processes are items, machines
 * hosts; services become tallies (one process a host, spread over locations, dependencies by neighborhood), safety capacities and
 * balance costs become terms. Published instances then tell how good the solver is. Pure.
 */
import { type Model, makeTallies, pricesOf, type TallySpec } from "./model.ts";

/** Numbers separated by white space; throws an Error that tells where anything else is. */
class Numbers {
  private readonly text: Uint8Array;
  private readonly what: string;
  private at = 0;
  private read = 0;

  constructor(text: Uint8Array, what: string) {
    this.text = text;
    this.what = what;
  }

  private skip(): void {
    while (this.at < this.text.length && (this.text[this.at] as number) <= 32) this.at++;
  }

  get ended(): boolean {
    this.skip();
    return this.at >= this.text.length;
  }

  next(): number {
    this.skip();
    const { text } = this;
    const begin = this.at;
    let value = 0;
    while (this.at < text.length) {
      const digit = (text[this.at] as number) - 48;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      this.at++;
    }
    if (this.at === begin || (this.at < text.length && (text[this.at] as number) > 32))
      throw new Error(
        begin >= text.length
          ? `${this.what} ends after ${this.read} numbers, more are due`
          : `${this.what}: number ${this.read + 1} (byte ${begin}) is not a whole number of digits`,
      );
    this.read++;
    return value;
  }

  /** A number from 0 to count-1. */
  index(count: number, of: string): number {
    const value = this.next();
    if (value >= count)
      throw new Error(`${this.what}: number ${this.read} is ${value}, but there are ${count} ${of}`);
    return value;
  }

  many(count: number): number[] {
    return Array.from({ length: count }, () => this.next());
  }
}

export function readAssignment(text: Uint8Array, model: { items: number; hosts: number }): Int32Array {
  const numbers = new Numbers(text, "the assignment");
  const assignment = Int32Array.from({ length: model.items }, () => numbers.index(model.hosts, "machines"));
  if (!numbers.ended) throw new Error(`the assignment has more than ${model.items} numbers`);
  return assignment;
}

export const formatAssignment = (assignment: Int32Array): string => `${assignment.join(" ")}\n`;

interface Resource {
  transient: boolean;
  weight: number;
}

interface Balance {
  first: number;
  second: number;
  target: number;
  weight: number;
}

/** Throws an Error that tells what is wrong in which file. */
export function readRoadef(modelText: Uint8Array, assignmentText: Uint8Array): Model {
  const numbers = new Numbers(modelText, "the model");
  const kinds: Resource[] = Array.from({ length: numbers.next() }, () => ({
    transient: numbers.next() > 0,
    weight: numbers.next(),
  }));
  const resources = kinds.length;
  const hosts = numbers.next();
  const neighborhoods = new Int32Array(hosts);
  const locations = new Int32Array(hosts);
  const capacities: number[][] = [];
  const safes: number[][] = [];
  const distance = new Int32Array(hosts * hosts);
  for (let m = 0; m < hosts; m++) {
    neighborhoods[m] = numbers.next();
    locations[m] = numbers.next();
    capacities.push(numbers.many(resources));
    safes.push(numbers.many(resources));
    for (let other = 0; other < hosts; other++) distance[m * hosts + other] = numbers.next();
  }
  const services = Array.from(
    { length: numbers.next() },
    (): Service => ({ members: [], spreadMin: 0, needs: [] }),
  );
  for (const service of services) {
    service.spreadMin = numbers.next();
    service.needs = Array.from({ length: numbers.next() }, () => numbers.index(services.length, "services"));
  }
  const items = numbers.next();
  const serviceOf = new Int32Array(items);
  const moveCost = new Float64Array(items);
  const demands: number[][] = [];
  for (let p = 0; p < items; p++) {
    const s = numbers.index(services.length, "services");
    serviceOf[p] = s;
    services[s]?.members.push(p);
    demands.push(numbers.many(resources));
    moveCost[p] = numbers.next();
  }
  const balances: Balance[] = Array.from({ length: numbers.next() }, () => ({
    first: numbers.index(resources, "resources"),
    second: numbers.index(resources, "resources"),
    target: numbers.next(),
    weight: numbers.next(),
  }));
  const [processWeight, serviceWeight, distanceWeight] = [numbers.next(), numbers.next(), numbers.next()];
  if (!numbers.ended) throw new Error("the model has more numbers than its counts say");

  const order = transientFirst(kinds);
  const demand = Float64Array.from(demands.flatMap((of) => order.map((r) => of[r] ?? 0)));
  const { base, increment, terms } = termsOf(kinds, balances, { capacities, safes, demands });
  return {
    resources,
    terms,
    hosts,
    items,
    transient: kinds.filter(({ transient }) => transient).length,
    capacity: Float64Array.from(capacities.flatMap((of) => order.map((r) => of[r] ?? 0))),
    demand,
    price: pricesOf(demand, resources, increment, terms),
    base,
    increment,
    home: readAssignment(assignmentText, { items, hosts }),
    moveCost: moveCost.map((cost) => cost * processWeight),
    distance,
    distanceWeight,
    service: serviceOf,
    services: services.length,
    serviceWeight,
    tallies: makeTallies(
      items,
      [Int32Array.from({ length: hosts }, (_, m) => m), locations, neighborhoods],
      talliesOf(services),
    ),
  };
}

const transientFirst = (kinds: readonly Resource[]): number[] => [
  ...[...kinds.keys()].filter((r) => kinds[r]?.transient),
  ...[...kinds.keys()].filter((r) => !kinds[r]?.transient),
];

/** Safety capacities and balances, as terms: what is beyond zero costs. */
function termsOf(
  kinds: readonly Resource[],
  balances: readonly Balance[],
  { capacities, safes, demands }: Record<"capacities" | "safes" | "demands", number[][]>,
) {
  const loads = [...kinds.entries()].filter(([, { weight }]) => weight > 0);
  const weighed = balances.filter(({ weight }) => weight > 0);
  const of = (list: readonly number[] | undefined, r: number) => list?.[r] ?? 0;
  return {
    terms: loads.length + weighed.length,
    base: Float64Array.from(
      capacities.flatMap((capacity, m) => [
        ...loads.map(([r, { weight }]) => -weight * of(safes[m], r)),
        ...weighed.map((b) => b.weight * (b.target * of(capacity, b.first) - of(capacity, b.second))),
      ]),
    ),
    increment: Float64Array.from(
      demands.flatMap((demand) => [
        ...loads.map(([r, { weight }]) => weight * of(demand, r)),
        ...weighed.map((b) => b.weight * (of(demand, b.second) - b.target * of(demand, b.first))),
      ]),
    ),
  };
}

interface Service {
  members: number[];
  spreadMin: number;
  /** Numbers of services. */
  needs: number[];
}

function talliesOf(services: readonly Service[]): TallySpec[] {
  const specs: TallySpec[] = [];
  for (const { members, spreadMin } of services) {
    if (members.length > 1) specs.push({ level: 0, members, most: 1 });
    if (spreadMin > 1) specs.push({ level: 1, members, minDomains: spreadMin });
  }
  // By neighborhood: services that depend on others or are needed.
  const needed = new Set(services.flatMap(({ needs }) => needs));
  const counted = [...services.entries()].filter(([s, { needs }]) => needs.length > 0 || needed.has(s));
  const tallyOf = new Map(counted.map(([s], i) => [s, specs.length + i]));
  for (const [s, { members, needs }] of counted)
    specs.push({
      level: 2,
      members,
      needs: [...new Set(needs)].filter((other) => other !== s).map((other) => tallyOf.get(other) ?? -1),
    });
  return specs;
}
