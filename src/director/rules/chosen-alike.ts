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
export function chosenAlike(
  index: EstateIndex,
  policies: readonly Policy[],
): { all: readonly Alike[]; of: ReadonlyMap<Policy, Alike[]> } {
  const marks = new Int32Array(index.machines.length);
  for (const [i, policy] of policies.entries())
    for (const at of index.membersOf(policy)) marks[at] = Math.imul((marks[at] ?? 0) + i + 1, 0x9e3779b1);
  const all: Alike[] = [];
  const of = new Map<Policy, Alike[]>();
  const marked = new Map<number, Alike[]>();
  for (let at = 0; at < marks.length; at++) {
    const chosenBy = index.policiesAt(at);
    if (chosenBy.length === 0) continue;
    // Few others have the same mark by chance.
    const mark = (marks[at] ?? 0) >> 2;
    const alike = marked.get(mark) ?? [];
    const known = alike.find((group) => areSame(group.policies, chosenBy));
    if (known) {
      known.at.push(at);
      continue;
    }
    const group = { nth: all.length, policies: chosenBy, at: [at] };
    all.push(group);
    alike.push(group);
    marked.set(mark, alike);
    for (const policy of chosenBy) {
      const own = of.get(policy);
      if (own) own.push(group);
      else of.set(policy, [group]);
    }
  }
  return { all, of };
}

const areSame = (some: readonly Policy[], others: readonly Policy[]) =>
  some.length === others.length && some.every((policy, i) => policy === others[i]);

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
