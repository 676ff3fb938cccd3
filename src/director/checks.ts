/** Rules of policies and plans that the schema cannot say. Pure. */
import type { Cause } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import { isFinalPlan, isWithin, type Plan, type Policy } from "./kinds.ts";
import { windowFault } from "./planning/windows.ts";
import { contradictions } from "./rules/contradictions.ts";
import { expressionOf, problemOf } from "./rules/expressions.ts";

const invalid = (field: string, value: unknown, why: string): Cause => ({
  field,
  reason: "FieldValueInvalid",
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
});

function checkRule(rule: string, field: string): Cause[] {
  const problem = problemOf(rule);
  return problem === undefined
    ? []
    : [{ field, reason: "FieldValueInvalid", message: `Invalid value: ${problem}` }];
}

/** Rules that no host can keep together, whatever the estate. */
function neverKept(rules: readonly string[], field: string): Cause[] {
  return contradictions(rules).map(([first, second]) =>
    invalid(
      `${field}[${second}]`,
      expressionOf(rules[second] ?? "").text,
      first === second
        ? "can never hold"
        : `can never hold together with ${field}[${first}], ${expressionOf(rules[first] ?? "").text}`,
    ),
  );
}

/** All in one place, and only some of them in it. */
function neverTogether({ spec: { atMost, keepTogether } }: Policy): Cause[] {
  if (!atMost || !keepTogether || !isWithin(keepTogether, atMost.per)) return [];
  const { machines, percent = 100 } = atMost;
  return (machines === undefined ? percent < 100 : machines === 1)
    ? [
        invalid(
          "spec.atMost",
          atMost,
          `can never hold together with spec.keepTogether, which puts all on one ${keepTogether}`,
        ),
      ]
    : [];
}

/** Nobody is to believe that a plan which is over is carried out because it was approved. */
export function checkPlan({ spec }: Plan, old: Plan | undefined): Cause[] {
  const { phase } = old?.status ?? {};
  return spec.approval && !old?.spec.approval && old && isFinalPlan(old)
    ? [
        {
          field: "spec.approval",
          reason: "FieldValueForbidden",
          message: `Forbidden: the plan is ${phase}; kubectl get plans lists those that are Proposed`,
        },
      ]
    : [];
}

const MOST_RULES = 50;

/** Not more than there are already: those of older versions are held against nobody. */
function tooMany(now: readonly unknown[], before: readonly unknown[], field: string): Cause[] {
  return now.length <= Math.max(MOST_RULES, before.length)
    ? []
    : [
        {
          field,
          reason: "FieldValueInvalid",
          message: `Too many: ${now.length}: must have at most ${MOST_RULES} items`,
        },
      ];
}

export function checkPolicy(policy: Policy, old: Policy | undefined, _lookup: Lookup): Cause[] {
  const { required = [], preferred = [], goals = [] } = policy.spec;
  const { quiet = [] } = policy.spec.moves ?? {};
  const { required: hadRequired = [], preferred: hadPreferred = [] } = old?.spec ?? {};
  const had = new Set([...hadRequired, ...hadPreferred.map(({ rule }) => rule)]);
  const isNew = (rule: string) => !had.has(rule);
  const causes = [
    ...tooMany(required, hadRequired, "spec.required"),
    ...tooMany(preferred, hadPreferred, "spec.preferred"),
    ...quiet.flatMap((window, i) => {
      const fault = windowFault(window);
      return fault ? [invalid(`spec.moves.quiet[${i}].timeZone`, window.timeZone, fault)] : [];
    }),
    ...goals.flatMap(({ during }, i) => {
      const fault = during && windowFault(during);
      return fault ? [invalid(`spec.goals[${i}].during.timeZone`, during.timeZone, fault)] : [];
    }),
    ...required.flatMap((rule, i) => (isNew(rule) ? checkRule(rule, `spec.required[${i}]`) : [])),
    ...preferred.flatMap(({ rule }, i) => (isNew(rule) ? checkRule(rule, `spec.preferred[${i}].rule`) : [])),
  ];
  if (causes.length > 0) return causes;
  return [...(required.some(isNew) ? neverKept(required, "spec.required") : []), ...neverTogether(policy)];
}
