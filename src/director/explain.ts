/** Why a machine is where it is: for every host what ruled it out, or how it scored. Pure. */
import type { Estate } from "./estate.ts";
import type { Aim } from "./goals.ts";
import { indexOf } from "./index.ts";
import { judge } from "./place.ts";
import { policiesOf } from "./rules.ts";

export interface Explanation {
  machine: string;
  host?: string;
  policies: { name: string; goal: string }[];
  hosts: { name: string; chosen: boolean; verdict: string }[];
}

const goalNow = ({ words, because }: Aim): string => (because ? `${words}, since it is ${because}` : words);

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
    hosts: judge(estate, machine).map(({ host, obstacle, score, busy }) => ({
      name: host.name,
      chosen: host.name === machine.host,
      verdict:
        host.maintenance && host.name === machine.host
          ? "to be left: it is in maintenance"
          : obstacle
            ? `ruled out: ${obstacle}`
            : `score ${(score?.total ?? 0).toFixed(2)} (${(score?.parts ?? []).map((part) => `${part.name} ${part.value.toFixed(2)} × ${part.weight.toFixed(2)}: ${part.detail}`).join("; ")})${busy ? "; it would be too busy, by what its machines are measured to use" : ""}`,
    })),
  };
}
