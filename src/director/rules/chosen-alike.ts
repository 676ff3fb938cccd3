/** Machines that are chosen by the very same policies, together: a great estate has far fewer such groups than machines. Pure. */
import type { EstateIndex } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";

export interface Alike {
  /** Its place among all groups. */
  nth: number;
  policies: readonly Policy[];
  /** Where they are in the estate's list, in its order. */
  at: number[];
}

/** In the order of their first machines; `of`: by policy, those that it chooses. */
export function chosenAlike(index: EstateIndex): { all: readonly Alike[]; of: ReadonlyMap<Policy, Alike[]> } {
  const all: Alike[] = [];
  const of = new Map<Policy, Alike[]>();
  // Machines that the same choose have the same list of them (estate/chosen.ts).
  const known = new Map<readonly Policy[], Alike>();
  let last: Alike | undefined;
  for (let at = 0; at < index.machines.length; at++) {
    const policies = index.policiesAt(at);
    if (policies.length === 0) continue;
    // Often they are those of the one before it.
    if (policies !== last?.policies) last = known.get(policies);
    if (last) {
      last.at.push(at);
      continue;
    }
    last = { nth: all.length, policies, at: [at] };
    all.push(last);
    known.set(policies, last);
    for (const policy of policies) {
      const own = of.get(policy);
      if (own) own.push(last);
      else of.set(policy, [last]);
    }
  }
  return { all, of };
}

export const countOf = (groups: readonly Alike[]): number =>
  groups.reduce((sum, { at }) => sum + at.length, 0);

/** The names of the first so many of them. */
export function namesOf(index: EstateIndex, groups: readonly Alike[], most: number): string[] {
  // As groups are in the order of their first machines, the first of all are not in later ones.
  const first = groups.slice(0, most).flatMap(({ at }) => at.slice(0, most));
  return first
    .sort((a, b) => a - b)
    .slice(0, most)
    .flatMap((at) => index.machines[at]?.name ?? []);
}
