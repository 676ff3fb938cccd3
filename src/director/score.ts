/**
 * How good a host is for a machine: a number from 0 to 1 for each part, weighted by the goal of the policy that has the say. Pure.
 *
 *   performance: speed of a core, and how much of the host the others leave
 *   energy:      additional watts (linear from idle to full load; an empty host costs its idle watts as well)
 *   balanced:    half and half, with even load
 */
import { breach, describeRule } from "./attributes.ts";
import type { Estate, HostView, MachineView } from "./estate.ts";
import { indexOf } from "./index.ts";
import type { Policy } from "./kinds.ts";
import { policiesOf, usage } from "./rules.ts";

export interface Score {
  total: number;
  /** What each part contributed, for explanations. */
  parts: { name: string; value: number; weight: number; detail: string }[];
}

const WEIGHTS = {
  performance: { speed: 0.6, room: 0.4, watts: 0 },
  energy: { speed: 0, room: 0.05, watts: 0.95 },
  balanced: { speed: 0.25, room: 0.4, watts: 0.35 },
} as const;
/** All preferences together weigh as much as half of the goal. */
const PREFERENCES = 0.5;

/** Watts that the machine adds: its share of the span from idle to full, and the idle watts of a host that is empty without it. */
export function addedWatts(estate: Estate, machine: MachineView, host: HostView): number | undefined {
  if (host.idleWatts === undefined || host.maxWatts === undefined) return undefined;
  const empty = usage(estate, host.name, machine.key).machines === 0;
  return ((host.maxWatts - host.idleWatts) * machine.cpus) / host.cpus + (empty ? host.idleWatts : 0);
}

export function goalOf(policy: Policy | undefined): Policy["spec"]["goal"] {
  return policy?.spec.goal ?? "balanced";
}

/** What is the same for every host that one machine could be on, found once. */
export interface Frame {
  policies: readonly Policy[];
  weights: (typeof WEIGHTS)[keyof typeof WEIGHTS];
  fastestMhz: number;
  dearestWatts: number;
  preferred: readonly NonNullable<Policy["spec"]["preferred"]>[number][];
  preferredWeight: number;
}

export function frameOf(estate: Estate, machine: MachineView): Frame {
  const policies = policiesOf(estate, machine);
  const preferred = policies.flatMap((policy) => policy.spec.preferred ?? []);
  let dearestWatts = 1;
  for (const host of estate.hosts)
    dearestWatts = Math.max(dearestWatts, addedWatts(estate, machine, host) ?? 0);
  return {
    policies,
    weights: WEIGHTS[goalOf(policies[0])],
    fastestMhz: indexOf(estate).fastestMhz,
    dearestWatts,
    preferred,
    preferredWeight: preferred.reduce((total, { weight }) => total + weight, 0),
  };
}

/** Each from 0 to 1. */
function valuesOf(estate: Estate, machine: MachineView, host: HostView, frame: Frame) {
  const used = usage(estate, host.name, machine.key);
  const room =
    1 -
    Math.max(
      (used.cpus + machine.cpus) / host.cpus,
      (used.memoryBytes + machine.memoryBytes) / host.memoryBytes,
    );
  const inUse = used.machines > 0;
  const addedW = addedWatts(estate, machine, host);
  // Without power figures fewer hosts in use is the best that is known about watts.
  const watts = addedW === undefined ? (inUse ? 0.5 : 0) : 1 - addedW / frame.dearestWatts;
  return { speed: host.mhz / frame.fastestMhz, room: Math.max(0, room), watts, addedW, inUse };
}

/** The total of `score`, without its words. */
export function totalOf(estate: Estate, machine: MachineView, host: HostView, frame: Frame): number {
  const { speed, room, watts } = valuesOf(estate, machine, host, frame);
  const { weights, preferred, preferredWeight } = frame;
  let total = speed * weights.speed + room * weights.room + watts * weights.watts;
  for (const { rule, weight } of preferred)
    if (!breach(host, rule)) total += (PREFERENCES * weight) / preferredWeight;
  return total;
}

export function score(
  estate: Estate,
  machine: MachineView,
  host: HostView,
  frame: Frame = frameOf(estate, machine),
): Score {
  const { weights, preferred, preferredWeight } = frame;
  const { speed, room, watts, addedW, inUse } = valuesOf(estate, machine, host, frame);
  const parts: Score["parts"] = [
    { name: "speed", value: speed, weight: weights.speed, detail: `${host.mhz} MHz` },
    { name: "room", value: room, weight: weights.room, detail: `${Math.round(room * 100)} % free with it` },
    {
      name: "watts",
      value: watts,
      weight: weights.watts,
      detail:
        addedW === undefined
          ? inUse
            ? "in use already; watts unknown"
            : "empty; watts unknown"
          : `${Math.round(addedW)} W more`,
    },
  ];
  for (const { rule, weight } of preferred)
    parts.push({
      name: "preferred",
      value: breach(host, rule) ? 0 : 1,
      weight: (PREFERENCES * weight) / preferredWeight,
      detail: `${describeRule(rule)}: ${breach(host, rule) ? "no" : "yes"}`,
    });
  const weighed = parts.filter((part) => part.weight > 0);
  return { total: weighed.reduce((total, part) => total + part.value * part.weight, 0), parts: weighed };
}
