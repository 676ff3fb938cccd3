/** The outcomes of simulations side by side, in figures. Pure. */

import type { Outcome } from "./run.ts";
import { STEP_MS } from "./trace.ts";

export interface Column {
  head: string;
  of: (outcome: Outcome) => string;
}

const whole = (value: number) => Math.round(value).toLocaleString("en-US");
const GiB = 2 ** 30;
const hostsOn = ({ samples }: Outcome) => samples.map((sample) => sample.hostsOn);
const most = (values: readonly number[]) => values.reduce((max, value) => Math.max(max, value), 0);
const mean = (values: readonly number[]) =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;

const COLUMNS: readonly Column[] = [
  { head: "POLICY", of: ({ name }) => name },
  { head: "ENERGY KWH", of: ({ energyKWh }) => energyKWh.toFixed(1) },
  { head: "HOSTS ON", of: (o) => `${mean(hostsOn(o)).toFixed(1)} (most ${most(hostsOn(o))})` },
  { head: "SWITCHED ON", of: ({ switchedOn }) => whole(switchedOn) },
  { head: "MOVES", of: ({ moves }) => whole(moves) },
  { head: "MOVED GIB", of: ({ movedBytes }) => whole(movedBytes / GiB) },
  { head: "OVERLOAD MIN", of: ({ overloadMinutes }) => whole(overloadMinutes) },
  { head: "UNMET", of: ({ unmet }) => `${(unmet * 100).toFixed(3)} %` },
  { head: "RULE BREAKS MIN", of: ({ brokenMinutes }) => whole(brokenMinutes) },
];

/** Those of which some outcome tells. */
export function columnsOf(outcomes: readonly Outcome[]): readonly Column[] {
  const at = COLUMNS.findIndex(({ head }) => head === "HOSTS ON");
  const some = (head: string, value: (outcome: Outcome) => number | undefined): Column[] =>
    outcomes.some((outcome) => value(outcome) !== undefined)
      ? [{ head, of: (outcome) => value(outcome)?.toFixed(2) ?? "unknown" }]
      : [];
  return [
    ...COLUMNS.slice(0, at),
    ...some("COST", ({ cost }) => cost),
    ...some("CO2 KG", ({ carbonKg }) => carbonKg),
    ...COLUMNS.slice(at),
  ];
}

/** What the figures are of, and what they are not. @param byPolicy alternatives in which PowerPolicies have hosts on and off */
export function preamble(
  { machines, steps, repeated }: { machines: number; steps: number; repeated: boolean },
  hosts: number,
  byPolicy: readonly string[] = [],
): string[] {
  const days = (steps * STEP_MS) / 86_400_000;
  return [
    `Simulated, not measured: ${whole(machines)} machines of the trace on ${whole(hosts)} declared hosts, ${Number(days.toFixed(2))} days in steps of five minutes${repeated ? ", for which the trace was repeated" : ""}.`,
    "The director's own planner decided, knowing only what was used until then.",
    `Memory stays resident as declared; hosts without machines are off${byPolicy.length > 0 ? ` (${byPolicy.join(", ")}: as its PowerPolicies have it)` : ""}; moves take no time.`,
  ];
}

/** What stands below the table: what one may not overlook. */
export function remarks(outcomes: readonly Outcome[]): string[] {
  return outcomes.flatMap(({ name, homeless, waitedMinutes, samples, hostsWithoutWatts }) => [
    ...(homeless.length > 0
      ? [
          `${name}: no host could take ${homeless.length} of the machines, which took no part: ${homeless.slice(0, 5).join(", ")}${homeless.length > 5 ? ", …" : ""}`,
        ]
      : []),
    ...later(name, waitedMinutes - (homeless.length * samples.length * STEP_MS) / 60_000),
    ...(hostsWithoutWatts > 0
      ? [`${name}: ${hostsWithoutWatts} hosts do not tell their watts; their energy is not in it`]
      : []),
  ]);
}

const later = (name: string, minutes: number): string[] =>
  minutes > 0
    ? [`${name}: machines waited ${whole(minutes)} minutes in all until a host could take them`]
    : [];
