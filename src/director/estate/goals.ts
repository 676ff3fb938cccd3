/**
 * What a machine likes about a host, by the goals of the policy that has the say: parts from 0 to 1, each with its weight. Pure.
 *
 *   performance: speed of a core, and how much of the host the others leave
 *   energy:      additional watts of the building (by the host's curve, from what is expected of it to that with the machine; an empty host costs its idle watts as well; by the site's PUE)
 *   cost:        what those watts cost, by the site's price now
 *   carbon:      what they emit
 *   balanced:    speed, room and watts together
 *   packing:     the fullest host, and one that is in use already
 *   licences:    a host that another of the policy's machines is on, else one of few sockets
 *
 * Of goals with a window those count that are in it now; when there are none, those without. Several count by their weights.
 */

import type { Goal, Policy } from "../kinds.ts";
import type { Subject } from "../rules/attributes.ts";
import { isKept } from "../rules/expressions.ts";
import type { Estate, HostView, MachineView } from "./estate.ts";
import { describeGoals, describeWindow } from "./policy-words.ts";
import { NO_TARIFFS, type Tariff, type Tariffs } from "./tariffs.ts";
import { drawOn } from "./use.ts";
import { curveOf, wattsBetween } from "./watts.ts";
import { holds } from "./windows.ts";

/** What power is weighed by. */
const POWER = ["energy", "cost", "carbon"] as const;
type Power = (typeof POWER)[number];
const PARTS = ["speed", "room", "packed", "used", "licences", ...POWER] as const;
export type Weights = Record<(typeof PARTS)[number], number>;

const WEIGHTS: Record<Goal, Partial<Weights>> = {
  performance: { speed: 0.6, room: 0.4 },
  energy: { room: 0.05, energy: 0.95 },
  cost: { room: 0.05, cost: 0.95 },
  carbon: { room: 0.05, carbon: 0.95 },
  balanced: { speed: 0.25, room: 0.4, energy: 0.35 },
  packing: { packed: 0.6, used: 0.4 },
  licences: { room: 0.05, licences: 0.95 },
};
/** All preferences together weigh as much as half of the goals. */
const PREFERENCES = 0.5;

type Goals = NonNullable<Policy["spec"]["goals"]>;

/** What a policy aims at now. */
export interface Aim {
  weights: Weights;
  /** "performance", or "performance 67 %, energy 33 %" */
  words: string;
  /** The windows that make it so. */
  because?: string;
}

const BALANCED: Goals = [{ goal: "balanced", weight: 1 }];

export function aimOf(policy: Policy | undefined, { now, sites = NO_TARIFFS }: Moment): Aim {
  const all = policy?.spec.goals?.length ? policy.spec.goals : BALANCED;
  const timely = all.filter(({ during }) => during && holds(during, now, sites));
  const always = all.filter(({ during }) => !during);
  const goals = timely.length > 0 ? timely : always.length > 0 ? always : BALANCED;
  const total = goals.reduce((sum, { weight }) => sum + weight, 0);
  const weights = Object.fromEntries(
    PARTS.map((part) => [
      part,
      goals.reduce((sum, { goal, weight }) => sum + ((WEIGHTS[goal][part] ?? 0) * weight) / total, 0),
    ]),
  ) as Weights;
  const because = goals.flatMap(({ during }) => (during ? [describeWindow(during)] : [])).join("; ");
  return { weights, words: describeGoals(goals), ...(because ? { because } : {}) };
}

export type Moment = Pick<Estate, "now" | "sites">;

/** "policy web (energy)" */
export const whoSays = (policy: Policy | undefined, { words }: Aim): string =>
  `${policy ? `policy ${policy.metadata.name}` : "no policy"} (${words})`;

/** Watts that the machine adds, and the idle watts of a host that is empty without it. @param others share of its processors' time that others are expected to use; undefined: there are none */
export function addedWatts(
  machine: MachineView,
  host: HostView,
  others: number | undefined,
): number | undefined {
  const curve = curveOf(host);
  if (!curve) return undefined;
  const more = wattsBetween(curve, others ?? 0, drawOn(machine, host));
  return others === undefined ? more + (curve[0] ?? 0) : more;
}

export const powerWeight = (weights: Weights): number =>
  POWER.reduce((sum, power) => sum + weights[power], 0);

/** For each watt of a host: what is weighed. */
const perWatt = (power: Power, { pue, price, carbon }: Tariff): number | undefined => {
  const factor = power === "energy" ? 1 : power === "cost" ? price : carbon;
  return factor === undefined ? undefined : pue * factor;
};

/** How much dearer a watt is at the site than at all on average (1), by what is weighed. A site that does not tell is as all on average. */
export function dearness(weights: Weights, sites: Tariffs, site: string): number {
  const total = powerWeight(weights);
  if (total === 0 || sites.size === 0) return 1;
  const tariff = sites.get(site);
  return POWER.reduce((sum, power) => {
    if (weights[power] === 0) return sum;
    const known = [...sites.values()].flatMap((each) => perWatt(power, each) ?? []);
    const mean = known.reduce((all, each) => all + each, 0) / known.length;
    const own = (tariff && perWatt(power, tariff)) ?? mean;
    return sum + (weights[power] / total) * (known.length > 0 && mean > 0 ? own / mean : 1);
  }, 0);
}

/** Without power figures fewer hosts in use is the best that is known about watts. @param added watts by their dearness */
export const wattsValue = (added: number | undefined, inUse: boolean, dearest: number): number =>
  added === undefined ? (inUse ? 0.5 : 0) : 1 - added / dearest;

/** "20 W more", with what they cost or emit where that is weighed and known. */
export function describeWatts(
  added: number | undefined,
  inUse: boolean,
  weights: Weights,
  tariff: Tariff | undefined,
): string {
  if (added === undefined) return inUse ? "in use already; watts unknown" : "empty; watts unknown";
  const per = (power: Power, digits: number, unit: string) => {
    const factor = weights[power] > 0 && tariff ? perWatt(power, tariff) : undefined;
    return factor === undefined ? [] : [`${((added / 1000) * factor).toFixed(digits)}${unit} an hour`];
  };
  return [`${Math.round(added)} W more`, ...per("cost", 4, ""), ...per("carbon", 1, " g CO2")].join(", ");
}

/** What explanations call the part. */
export const powerName = (weights: Weights): string => {
  const weighed = POWER.filter((power) => weights[power] > 0);
  return weighed.length > 1 ? "power" : weighed[0] === "energy" ? "watts" : (weighed[0] ?? "watts");
};

/** Of a host that none of the policy's other machines is on: the fewer sockets, the fewer licences. */
export const unlicensedValue = (sockets: number | undefined, mostSockets: number): number =>
  0.5 * (1 - (sockets ?? mostSockets) / Math.max(1, mostSockets));

/** What the clocks of hosts are compared with. */
export interface Clocks {
  fastest: number;
  /** Of all that tell theirs. */
  average: number;
}

export function clocksOf(hosts: readonly { mhz: number }[]): Clocks {
  const told = hosts.flatMap(({ mhz }) => mhz || []);
  const sum = told.reduce((all, mhz) => all + mhz, 0);
  return {
    fastest: told.reduce((most, mhz) => Math.max(most, mhz), 1),
    average: sum / Math.max(1, told.length),
  };
}

/** A host that does not tell its clock counts as all that do on average. */
export const speedValue = (mhz: number, { fastest, average }: Clocks): number => (mhz || average) / fastest;

export const clockWords = (mhz: number, { average }: Clocks): string =>
  mhz ? `${mhz} MHz` : `clock not known${average ? `, taken for ${Math.round(average)} MHz` : ""}`;

export type Preference = NonNullable<Policy["spec"]["preferred"]>[number];

export const preferencesOf = (policies: readonly Policy[]): Preference[] =>
  policies.flatMap((policy) => policy.spec.preferred ?? []);

/** What the host has of the preferences, each with what it counts. */
export function preferred(
  preferences: readonly Preference[],
  host: HostView,
  machine: Subject,
): { rule: Preference["rule"]; kept: boolean; weight: number }[] {
  const total = preferences.reduce((sum, { weight }) => sum + weight, 0);
  return preferences.map(({ rule, weight }) => ({
    rule,
    kept: isKept(rule, host, machine),
    weight: (PREFERENCES * weight) / total,
  }));
}
