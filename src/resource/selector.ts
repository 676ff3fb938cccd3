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
