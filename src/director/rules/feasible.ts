/** Whether any host keeps the required rules of a policy, and if none does, which rule or which two are at fault. Pure. */

import type { MachineView } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import type { Dear } from "../estate/sight.ts";
import type { Policy } from "../kinds.ts";
import { expressionOf } from "./expressions.ts";
import { dearWords } from "./rules.ts";

export interface Feasibility {
  /** Undefined: that cannot be said. */
  feasible: boolean | undefined;
  message: string;
}

/** Of the machines of one policy so many pairs with hosts are judged, a tenth of a second. */
const MOST_JUDGED = 50_000;

/** Of the machines of a policy, those that its rules see alike judged once; the first that no host suits tells why. Undefined: there is nothing to tell. */
export function feasibility(index: EstateIndex, policy: Policy): Feasibility | undefined {
  const { required = [] } = policy.spec;
  for (const rule of required) {
    const dear = index.sight.tooDear(policy, rule);
    if (dear) return { feasible: undefined, message: tooDear(expressionOf(rule).text, dear) };
  }
  const rules = required.map(expressionOf);
  if (rules.length === 0) return undefined;
  const kinds = index.kindsOfHosts();
  const alike = new Map<string, MachineView>();
  for (const at of index.membersOf(policy)) {
    const machine = index.machines[at] as MachineView;
    const seen = index.sight.ofMachine(policy, machine);
    if (!alike.has(seen)) alike.set(seen, machine);
  }
  // Without a machine what is about machines is not asked.
  if (alike.size === 0)
    return judge(
      kinds,
      rules.filter(({ paths }) => paths.machine.length === 0),
      NOBODY,
    );
  let scarce: ReturnType<typeof judge>;
  let judged = 0;
  for (const machine of alike.values()) {
    if (judged > 0 && judged * kinds.length * rules.length >= MOST_JUDGED) break;
    judged++;
    const of = judge(kinds, rules, machine);
    if (of?.feasible === false)
      return { ...of, message: alike.size > 1 ? `machine ${machine.name}: ${of.message}` : of.message };
    if (of && (!scarce || of.hosts < scarce.hosts)) scarce = of;
  }
  const part = judged < alike.size ? `; ${judged} of ${alike.size} kinds of its machines were looked at` : "";
  return scarce && { feasible: true, message: `${scarce.message}${part}` };
}

const tooDear = (rule: string, dear: Dear) =>
  `${rule}: ${dearWords(dear)}, so no machine of this policy comes to a host. Have it read what many hosts, or many machines, have alike (a label, the rack), or make a policy for each group of machines`;

const NOBODY = { name: "", namespace: "", labels: {}, cpus: 0, memoryBytes: 0 };

function judge(
  kinds: ReturnType<EstateIndex["kindsOfHosts"]>,
  rules: readonly ReturnType<typeof expressionOf>[],
  machine: Parameters<ReturnType<typeof expressionOf>["decide"]>[1],
): { feasible: boolean; message: string; hosts: number } | undefined {
  if (rules.length === 0 || kinds.length === 0) return undefined;
  const kept = kinds.map(({ example, hosts }) => ({
    hosts,
    of: rules.map((rule) => rule.decide(example, machine) === true),
  }));
  const countOf = (wanted: (of: readonly boolean[]) => boolean) =>
    kept.reduce((sum, { hosts, of }) => sum + (wanted(of) ? hosts : 0), 0);
  const all = countOf((of) => of.every(Boolean));
  const hosts = countOf(() => true);
  if (all > 0)
    return { feasible: true, hosts: all, message: `${all} of ${hosts} hosts keep its required rules` };
  const none = (message: string) => ({ feasible: false, hosts: 0, message });
  for (const [i, rule] of rules.entries())
    if (countOf((of) => of[i] === true) === 0) return none(`none of ${hosts} hosts keeps ${rule.text}`);
  for (const [i, one] of rules.entries())
    for (const [j, other] of rules.entries())
      if (i < j && countOf((of) => of[i] === true && of[j] === true) === 0)
        return none(
          `${countOf((of) => of[i] === true)} of ${hosts} hosts keep ${one.text}, ${countOf((of) => of[j] === true)} keep ${other.text}, and none keeps both`,
        );
  return none(`none of ${hosts} hosts keeps all of its required rules`);
}
