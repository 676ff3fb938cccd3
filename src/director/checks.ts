/** Rules of policies and plans that the schema cannot say. Pure. */
import { isDeepStrictEqual } from "node:util";
import { type Cause, forbiddenField, invalidField, invalidValue } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import type { Policy } from "./kinds.ts";
import { isFinalPlan, type Plan } from "./planning/kinds.ts";
import { checkWindows, warnWindows } from "./planning/window-checks.ts";
import { againstOthers } from "./rules/against-others.ts";
import { contradictions } from "./rules/contradictions.ts";
import { passing, plain, problemOf } from "./rules/expressions.ts";
import { brokenIn, onlyOnePlace } from "./rules/one-place.ts";

function checkRule(rule: string, field: string): Cause[] {
  const problem = problemOf(rule);
  return problem === undefined ? [] : [invalidField(field, problem)];
}

/** Rules that no host can keep together, whatever the estate. */
function neverKept(rules: readonly string[], field: string): Cause[] {
  const named = (i: number) => `${field}[${i}], ${plain(rules[i] ?? "")}`;
  return contradictions(rules).map((all) => {
    const last = all.at(-1) ?? 0;
    const others = all.filter((i) => i !== last);
    return invalidValue(
      `${field}[${last}]`,
      plain(rules[last] ?? ""),
      others.length === 0
        ? "can never hold"
        : `can never hold together with ${others.map(named).join(" and ")}`,
    );
  });
}

/** All in one place, and only some of them in it, however many there are. One that was stored before is not held against who changes something else. */
function neverTogether({ spec }: Policy, old: Policy | undefined): Cause[] {
  const broken = (of: Policy["spec"]) => brokenIn(1, of);
  const before = new Set(
    old ? broken(old.spec).map(({ fields, texts }) => JSON.stringify([fields, texts])) : [],
  );
  return broken(spec)
    .filter(({ fields, texts }) => !before.has(JSON.stringify([fields, texts])))
    .map(({ fields: [, field] }) =>
      invalidValue(
        field,
        Reflect.get(spec, field.slice("spec.".length)),
        `can never hold together with spec.keepTogether, which puts all on one ${spec.keepTogether}`,
      ),
    );
}

/** Nobody is to believe that a plan which is over is carried out because it was approved. */
export function checkPlan({ spec }: Plan, old: Plan | undefined): Cause[] {
  const { phase } = old?.status ?? {};
  return spec.approval && old && spec.approval !== old.spec.approval && isFinalPlan(old)
    ? [
        forbiddenField(
          "spec.approval",
          `the plan is ${phase}; kubectl get plans lists those that are Proposed`,
        ),
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

/** Other policies are not held against it (warnPolicy): who writes two of them again, as from files, could not have the one that comes last. */
export function checkPolicy(policy: Policy, old: Policy | undefined): Cause[] {
  const { required = [], preferred = [] } = policy.spec;
  const { required: hadRequired = [], preferred: hadPreferred = [] } = old?.spec ?? {};
  const had = new Set([...hadRequired, ...hadPreferred.map(({ rule }) => rule)]);
  const isNew = (rule: string) => !had.has(rule);
  const causes = [
    ...tooMany(required, hadRequired, "spec.required"),
    ...tooMany(preferred, hadPreferred, "spec.preferred"),
    ...checkWindows(policy, old),
    ...required.flatMap((rule, i) => (isNew(rule) ? checkRule(rule, `spec.required[${i}]`) : [])),
    ...preferred.flatMap(({ rule }, i) => (isNew(rule) ? checkRule(rule, `spec.preferred[${i}].rule`) : [])),
  ];
  if (causes.length > 0) return causes;
  return [
    ...(required.some(isNew) ? neverKept(required, "spec.required") : []),
    ...neverTogether(policy, old),
  ];
}

/** Spreading over one place is no more than being there. */
const onlyWhereOneIs = ({ spec }: Policy): string[] => {
  const never = brokenIn(1, spec).map(({ fields: [, field] }) => field);
  return brokenIn(2, spec)
    .filter(({ fields: [, field] }) => !never.includes(field))
    .map(
      ({ fields: [own, field], texts: [together, level] }) =>
        `${field} (${level}) can hold together with ${own} (${together}) only where there is but one ${level}`,
    );
};

/** Rules that are the same on all hosts and for all machines: nobody writes one on purpose. Those that were there before are not told again. */
function sayingNothing({ spec }: Policy, old: Policy | undefined): string[] {
  const had = new Set([
    ...(old?.spec.required ?? []),
    ...(old?.spec.preferred ?? []).map(({ rule }) => rule),
  ]);
  return [
    ...(spec.required ?? []).map((rule, i) => ({ rule, field: `spec.required[${i}]` })),
    ...(spec.preferred ?? []).map(({ rule }, i) => ({ rule, field: `spec.preferred[${i}].rule` })),
  ].flatMap(({ rule, field }) => {
    if (had.has(rule)) return [];
    const { host, machine } = passing(rule).paths;
    return host.length + machine.length > 0
      ? []
      : [
          `${field}: ${plain(rule)} speaks of no attribute of host or machine, so that it is the same everywhere`,
        ];
  });
}

/** What a policy has against others, or against itself in most estates, and is written all the same. */
export function warnPolicy(policy: Policy, old: Policy | undefined, lookup: Lookup): string[] {
  const asked = ({
    selector,
    required,
    keepTogether,
    keepApart,
    spread,
    atMost,
    failover,
  }: Policy["spec"]) => [selector, required, keepTogether, keepApart, spread, atMost, failover];
  const times = [...warnWindows(policy, old, lookup), ...sayingNothing(policy, old)];
  if (old && isDeepStrictEqual(asked(policy.spec), asked(old.spec))) return times;
  return [
    ...times,
    ...onlyWhereOneIs(policy),
    ...onlyOnePlace(policy.spec),
    ...againstOthers(policy, lookup),
  ];
}
