/** Why a machine is where it is: for every host what ruled it out, or how it scored. Pure. */

import type { Estate, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { policiesOf } from "../rules/rules.ts";
import { fixedBy, fixedWords } from "../rules/suits.ts";
import { PLAN_DEFAULTS } from "./draft.ts";
import type { Aim } from "./goals.ts";
import { judge, type Verdict } from "./judge.ts";
import { Budget, stayOf } from "./limits.ts";

export interface Explanation {
  machine: string;
  host?: string;
  policies: { name: string; goal: string }[];
  /** Why the director does not move it by itself now, or at all; absent: it may. */
  moves?: string;
  /** What it uses, and is expected to; absent: it runs nowhere. */
  use?: string;
  /** The best first. Ruled out: it could not go there. */
  hosts: { name: string; chosen: boolean; ruledOut: boolean; verdict: string }[];
}

const goalNow = ({ words, because }: Aim): string => (because ? `${words}, since it is ${because}` : words);

function movesOf(estate: Estate, machine: MachineView): { moves?: string } {
  const policies = policiesOf(estate, machine);
  const [top] = policies;
  const fixed = fixedBy(policies);
  if (fixed) return { moves: `never: ${fixedWords(fixed)}` };
  const name = top && JSON.stringify(top.metadata.name);
  switch (top?.spec.automation) {
    case "off":
      return { moves: `by hand only: policy ${name} moves nothing` };
    case "advise":
      return { moves: `by hand only: policy ${name} only advises` };
    case "ask":
      return { moves: `once a plan is approved: policy ${name} asks` };
  }
  const { now } = estate;
  if (now === undefined) return {};
  const limited = new Budget(estate, now).refuses([machine]);
  if (limited) return { moves: `not now: ${limited}` };
  const until = machine.since + stayOf(policiesOf(estate, machine), PLAN_DEFAULTS.stayMs);
  return machine.host !== undefined && now < until
    ? {
        moves: `not before ${new Date(until).toISOString()}, unless a rule is broken or a policy of its changes: it came here lately`,
      }
    : {};
}

function useOf({ use, cpus }: MachineView): string {
  if (!use) return `not measured for five minutes yet; it is taken to be a quarter of its ${cpus} CPUs`;
  const { cpus: now, expected, deviation, usualAt } = use;
  const around = deviation === undefined ? "" : `, give or take ${deviation.toFixed(2)}`;
  const why =
    usualAt === undefined
      ? "as in the last while"
      : `usual in the hour of the week from ${new Date(usualAt).toISOString()}`;
  return `${now.toFixed(2)} of its ${cpus} CPUs; expected ${expected.toFixed(2)}${around}, ${why}`;
}

function judged(
  { host, against: [obstacle], score, busy }: Verdict,
  machine: MachineView,
): Explanation["hosts"][number] {
  const about = { name: host.name, chosen: host.name === machine.host, ruledOut: false };
  if (host.maintenance && about.chosen) return { ...about, verdict: `to be left: ${host.closed}` };
  if (obstacle) return { ...about, ruledOut: true, verdict: `ruled out: ${obstacle.why}` };
  const parts = (score?.parts ?? []).map(
    ({ name, value, weight, detail }) => `${name} ${value.toFixed(2)} × ${weight.toFixed(2)}: ${detail}`,
  );
  const tooBusy = busy ? "; it would be too busy, by what its machines are measured to use" : "";
  return { ...about, verdict: `score ${(score?.total ?? 0).toFixed(2)} (${parts.join("; ")})${tooBusy}` };
}

/** Undefined when there is no such machine. */
export function explain(estate: Estate, key: string): Explanation | undefined {
  const machine = estate.machines.find((m) => m.key === key);
  if (!machine) return undefined;
  return {
    machine: key,
    ...(machine.host ? { host: machine.host } : {}),
    policies: policiesOf(estate, machine).map((policy) => ({
      name: policy.metadata.name,
      goal: goalNow(indexOf(estate).aimOf(policy)),
    })),
    ...movesOf(estate, machine),
    ...(machine.host ? { use: useOf(machine) } : {}),
    hosts: judge(estate, machine).map((of) => judged(of, machine)),
  };
}
