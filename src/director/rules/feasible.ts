/** Whether any host keeps the required rules of a policy, and if none does, which rule or which two are at fault. Pure. */

import type { EstateIndex } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";
import { expressionOf } from "./expressions.ts";

/** Undefined: there is nothing to tell. */
export function feasibility(
  index: EstateIndex,
  policy: Policy,
): { feasible: boolean; message: string } | undefined {
  const kinds = index.kindsOfHosts();
  const [first] = index.membersOf(policy);
  const machine = first === undefined ? undefined : index.machines[first];
  // What is about machines is told by one of them, if there is any.
  const rules = (policy.spec.required ?? [])
    .map(expressionOf)
    .filter(({ paths }) => machine || paths.machine.length === 0);
  if (rules.length === 0 || kinds.length === 0) return undefined;
  const subject = machine ?? { name: "", namespace: "", labels: {}, cpus: 0, memoryBytes: 0 };
  const kept = kinds.map(({ example, hosts }) => ({
    hosts,
    of: rules.map((rule) => rule.decide(example, subject) === true),
  }));
  const countOf = (wanted: (of: readonly boolean[]) => boolean) =>
    kept.reduce((sum, { hosts, of }) => sum + (wanted(of) ? hosts : 0), 0);
  const all = countOf((of) => of.every(Boolean));
  const hosts = countOf(() => true);
  if (all > 0) return { feasible: true, message: `${all} of ${hosts} hosts keep its required rules` };
  for (const [i, rule] of rules.entries())
    if (countOf((of) => of[i] === true) === 0)
      return { feasible: false, message: `none of ${hosts} hosts keeps ${rule.text}` };
  for (const [i, one] of rules.entries())
    for (const [j, other] of rules.entries())
      if (i < j && countOf((of) => of[i] === true && of[j] === true) === 0)
        return {
          feasible: false,
          message: `${countOf((of) => of[i] === true)} of ${hosts} hosts keep ${one.text}, ${countOf((of) => of[j] === true)} keep ${other.text}, and none keeps both`,
        };
  return { feasible: false, message: `none of ${hosts} hosts keeps all of its required rules` };
}
