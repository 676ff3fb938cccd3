/** Rules of policies and plans that the schema cannot say. Pure. */
import type { Cause } from "../resource/errors.ts";
import type { Lookup } from "../resource/kind.ts";
import { type Attribute, describeRule, NUMERIC, numberIn, type Rule } from "./attributes.ts";
import { DOMAINS, type Policy } from "./kinds.ts";

const invalid = (field: string, value: unknown, why: string): Cause => ({
  field,
  reason: "FieldValueInvalid",
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
});

function checkRule(rule: Rule, field: string): Cause[] {
  const { attribute, operator, values } = rule;
  const numeric = NUMERIC.includes(attribute);
  if (operator !== "AtLeast" && operator !== "AtMost") return [];
  if (!numeric)
    return [
      invalid(
        `${field}.operator`,
        operator,
        `${attribute} is not a number; use In or NotIn (numbers are ${NUMERIC.join(", ")})`,
      ),
    ];
  if (values.length !== 1) return [invalid(`${field}.values`, values, `${operator} takes one number`)];
  const [text = ""] = values;
  return numberIn(attribute, text) === undefined
    ? [
        invalid(
          `${field}.values[0]`,
          text,
          `must be a number${attribute === "memory.bytes" ? " or a size such as 64Gi" : ""}`,
        ),
      ]
    : [];
}

/** Two rules that no host can keep together, whatever the estate. */
function contradictions(rules: readonly Rule[], field: string): Cause[] {
  const causes: Cause[] = [];
  const limit = (rule: Rule) => numberIn(rule.attribute as Attribute, rule.values[0] ?? "") ?? Number.NaN;
  for (const [i, a] of rules.entries())
    for (const [j, b] of rules.entries()) {
      if (a.attribute !== b.attribute) continue;
      const never =
        (a.operator === "AtLeast" && b.operator === "AtMost" && limit(a) > limit(b)) ||
        (i < j &&
          a.operator === "In" &&
          b.operator === "In" &&
          !a.values.some((value) => b.values.includes(value))) ||
        (a.operator === "In" &&
          b.operator === "NotIn" &&
          a.values.every((value) => b.values.includes(value)));
      if (never)
        causes.push(
          invalid(
            `${field}[${j}]`,
            describeRule(b),
            `can never hold together with ${field}[${i}], ${describeRule(a)}`,
          ),
        );
    }
  return causes;
}

/** All in one place, and only some of them in it. */
function neverTogether({ spec: { atMost, keepTogether } }: Policy): Cause[] {
  if (!atMost || !keepTogether || DOMAINS.indexOf(keepTogether) > DOMAINS.indexOf(atMost.per)) return [];
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

export function checkPolicy(policy: Policy, _old: Policy | undefined, _lookup: Lookup): Cause[] {
  const { required = [], preferred = [] } = policy.spec;
  const causes = [
    ...required.flatMap((rule, i) => checkRule(rule, `spec.required[${i}]`)),
    ...preferred.flatMap(({ rule }, i) => checkRule(rule, `spec.preferred[${i}].rule`)),
  ];
  if (causes.length === 0)
    causes.push(...contradictions(required, "spec.required"), ...neverTogether(policy));
  return causes;
}
