/**
 * What a machine likes about a host, by the goal of the policy that has the say: parts from 0 to 1, each with its weight. Pure.
 *
 *   performance: speed of a core, and how much of the host the others leave
 *   energy:      additional watts (linear from idle to full load; an empty host costs its idle watts as well)
 *   balanced:    speed, room and watts together
 */
import type { Subject } from "./attributes.ts";
import type { HostView, MachineView } from "./estate.ts";
import { isKept } from "./expressions.ts";
import type { Policy } from "./kinds.ts";
import { expectedOf, processorsOf } from "./use.ts";
import { curveOf } from "./watts.ts";

export const WEIGHTS = {
  performance: { speed: 0.6, room: 0.4, watts: 0 },
  energy: { speed: 0, room: 0.05, watts: 0.95 },
  balanced: { speed: 0.25, room: 0.4, watts: 0.35 },
} as const;
/** All preferences together weigh as much as half of the goal. */
const PREFERENCES = 0.5;

export function goalOf(policy: Policy | undefined): Policy["spec"]["goal"] {
  return policy?.spec.goal ?? "balanced";
}

/** "policy web (energy)" */
export const whoSays = (policy: Policy | undefined): string =>
  `${policy ? `policy ${policy.metadata.name}` : "no policy"} (${goalOf(policy)})`;

/** Watts that the machine adds: its share of the span from idle to full, and the idle watts of a host that is empty without it. */
export function addedWatts(machine: MachineView, host: HostView, inUse: boolean): number | undefined {
  const curve = curveOf(host);
  if (!curve) return undefined;
  const [idle = 0, full = idle] = [curve[0], curve.at(-1)];
  return ((full - idle) * expectedOf(machine)) / processorsOf(host) + (inUse ? 0 : idle);
}

/** Without power figures fewer hosts in use is the best that is known about watts. */
export const wattsValue = (added: number | undefined, inUse: boolean, dearestWatts: number): number =>
  added === undefined ? (inUse ? 0.5 : 0) : 1 - added / dearestWatts;

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
