/**
 * How good a host is for a machine: a number from 0 to 1 for each part, weighted by the goal of the policy that has the say. Pure.
 *
 *   performance: speed of a core, and how much of the host the others leave
 *   energy:      additional watts (linear from idle to full load; an empty host costs its idle watts as well)
 *   balanced:    half and half, with even load
 */
import { breach, describeRule } from "./attributes.ts";
import type { Estate, HostView, MachineView } from "./estate.ts";
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

export function score(estate: Estate, machine: MachineView, host: HostView): Score {
  const policies = policiesOf(estate, machine);
  const weights = WEIGHTS[goalOf(policies[0])];
  const fastest = Math.max(1, ...estate.hosts.map((h) => h.mhz));
  const used = usage(estate, host.name, machine.key);
  const room =
    1 -
    Math.max(
      (used.cpus + machine.cpus) / host.cpus,
      (used.memoryBytes + machine.memoryBytes) / host.memoryBytes,
    );
  const watts = addedWatts(estate, machine, host);
  const dearest = Math.max(1, ...estate.hosts.map((h) => addedWatts(estate, machine, h) ?? 0));
  const parts: Score["parts"] = [
    { name: "speed", value: host.mhz / fastest, weight: weights.speed, detail: `${host.mhz} MHz` },
    {
      name: "room",
      value: Math.max(0, room),
      weight: weights.room,
      detail: `${Math.round(Math.max(0, room) * 100)} % free with it`,
    },
    watts === undefined
      ? // Without power figures fewer hosts in use is the best that is known about watts.
        {
          name: "watts",
          value: used.machines > 0 ? 0.5 : 0,
          weight: weights.watts,
          detail: used.machines > 0 ? "in use already; watts unknown" : "empty; watts unknown",
        }
      : {
          name: "watts",
          value: 1 - watts / dearest,
          weight: weights.watts,
          detail: `${Math.round(watts)} W more`,
        },
  ];
  const preferred = policies.flatMap((policy) => policy.spec.preferred ?? []);
  const sum = preferred.reduce((total, { weight }) => total + weight, 0);
  for (const { rule, weight } of preferred)
    parts.push({
      name: "preferred",
      value: breach(host, rule) ? 0 : 1,
      weight: (PREFERENCES * weight) / sum,
      detail: `${describeRule(rule)}: ${breach(host, rule) ? "no" : "yes"}`,
    });
  const used2 = parts.filter((part) => part.weight > 0);
  return { total: used2.reduce((total, part) => total + part.value * part.weight, 0), parts: used2 };
}
