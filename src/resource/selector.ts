/** Label selectors, as Kubernetes has them (LabelSelector): what labels they choose. Pure. */

import type { LabelSelector } from "./selector-schema.ts";

export type { LabelSelector };

/** Whether all that it asks for holds; an empty one chooses everything. */
export function selects(selector: LabelSelector, labels: Record<string, string>): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every((expression) => holds(expression, labels))
  );
}

type Requirement = NonNullable<LabelSelector["matchExpressions"]>[number];

function holds({ key, operator, values = [] }: Requirement, labels: Record<string, string>): boolean {
  const value = labels[key];
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

/** What a selector says of one label. */
interface Bounds {
  exists: boolean;
  absent: boolean;
  /** Undefined: any value. */
  values: ReadonlySet<string> | undefined;
  not: ReadonlySet<string>;
}
const ANY: Bounds = { exists: false, absent: false, values: undefined, not: new Set() };

function within(a: Bounds, b: Bounds): Bounds {
  const { values } = a;
  const both = values && b.values ? new Set([...values].filter((value) => b.values?.has(value))) : undefined;
  return {
    exists: a.exists || b.exists,
    absent: a.absent || b.absent,
    values: both ?? values ?? b.values,
    not: new Set([...a.not, ...b.not]),
  };
}

function boundsOf({ matchLabels = {}, matchExpressions = [] }: LabelSelector): Map<string, Bounds> {
  const bounds = new Map<string, Bounds>();
  const add = (key: string, more: Partial<Bounds>) =>
    bounds.set(key, within(bounds.get(key) ?? ANY, { ...ANY, ...more }));
  for (const [key, value] of Object.entries(matchLabels))
    add(key, { exists: true, values: new Set([value]) });
  for (const { key, operator, values = [] } of matchExpressions)
    if (operator === "In") add(key, { exists: true, values: new Set(values) });
    else if (operator === "NotIn") add(key, { not: new Set(values) });
    else add(key, operator === "Exists" ? { exists: true } : { absent: true });
  return bounds;
}

const possible = ({ values, not }: Bounds) => values && [...values].filter((value) => !not.has(value));

/** Whether no labels are chosen by both. */
export function excludes(a: LabelSelector, b: LabelSelector): boolean {
  const [own, others] = [boundsOf(a), boundsOf(b)];
  const keys = new Set([...own.keys(), ...others.keys()]);
  return [...keys].some((key) => {
    const both = within(own.get(key) ?? ANY, others.get(key) ?? ANY);
    return (both.exists && both.absent) || possible(both)?.length === 0;
  });
}

/** Whether all labels that one chooses are chosen by the other, too; also of one that chooses none. */
export function implies(narrow: LabelSelector, wide: LabelSelector): boolean {
  if (excludes(narrow, narrow)) return true;
  const own = boundsOf(narrow);
  return [...boundsOf(wide)].every(([key, { exists, absent, values, not }]) => {
    const has = own.get(key) ?? ANY;
    const mine = possible(has);
    return (
      (!exists || has.exists) &&
      (!absent || has.absent) &&
      (!values || mine?.every((value) => values.has(value))) &&
      [...not].every((value) => has.absent || has.not.has(value) || (mine && !mine.includes(value)))
    );
  });
}
