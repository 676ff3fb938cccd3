/**
 * What the rules of a policy that is written have against those of others in its namespace, as far as selectors alone tell that machines of one are the other's, too:
 * what machines there are is looked at afterwards (contradicted.ts). Pure.
 */
import { invalidity } from "../../resource/invalid.ts";
import type { Lookup } from "../../resource/kind.ts";
import { keyOf } from "../../resource/object.ts";
import { excludes, implies } from "../../resource/selector.ts";
import { Policy } from "../kinds.ts";
import { between, type Contradiction } from "./between.ts";
import { dedicationIn } from "./contradictions.ts";
import { expressionOf } from "./expressions.ts";
import { nameOf } from "./rules.ts";

/** Of a rule so much is told: answers have little room for warnings. */
const SHORT = 50;
const short = (text: string) => {
  const line = text.replace(/\s+/g, " ");
  return line.length > SHORT ? `${line.slice(0, SHORT - 1)}…` : line;
};

/** In words, each beginning with what there is to look at. */
export function againstOthers(policy: Policy, lookup: Lookup): string[] {
  const others = lookup
    .list(Policy, policy.metadata.namespace)
    .filter(
      (other) =>
        other.metadata.name !== policy.metadata.name &&
        !other.metadata.deletionTimestamp &&
        !invalidity(other),
    );
  return [...others.flatMap((other) => againstOne(policy, other)), ...dedicatedToOthers(policy, others)];
}

function againstOne(policy: Policy, other: Policy): string[] {
  const [own, its] = [policy.spec.selector, other.spec.selector];
  if (excludes(own, its)) return [];
  const [within, around] = [implies(own, its), implies(its, own)];
  if (!within && !around) return [];
  const name = nameOf(other);
  const whose = within
    ? "it chooses all machines that this policy does"
    : "this policy chooses all of its machines";
  return between(policy, other)
    .filter((found) => bearsOnTwo(found, [around, within]))
    .map(({ fields: [own, its], texts: [text, other], bears }) => {
      const so =
        bears === "always" ? "there is no host for any of them" : "two of them cannot both be placed";
      return `${name}, ${its} (${short(other)}): can never hold together with ${own} (${short(text)}) of this policy; ${whose}, and ${so}`;
    });
}

/** @param only of each of the two policies whether the other chooses all of its machines */
function bearsOnTwo(
  { bears, counted }: Contradiction,
  [around, within]: readonly [boolean, boolean],
): boolean {
  if (bears === "always") return true;
  // The one that counts may choose any number of others, too.
  const chosen = (counted === 0 ? within : around) ? 2 : Number.POSITIVE_INFINITY;
  return bears({ both: 2, chosen, places: () => 2 });
}

/** Rules that want a host for themselves that takes only machines of others. One that there is not yet may choose them. */
function dedicatedToOthers(policy: Policy, others: readonly Policy[]): string[] {
  const { required = [], selector } = policy.spec;
  const namespace = policy.metadata.namespace ?? "default";
  const byKey = new Map(others.map((other) => [keyOf(other), other]));
  const isOthers = (key: string) => {
    const other = byKey.get(key);
    return (
      !key.startsWith(`${namespace}/`) || (other !== undefined && excludes(other.spec.selector, selector))
    );
  };
  return required.flatMap((rule, i) => {
    const owners = dedicationIn(rule);
    return owners && owners.length > 0 && owners.every(isOthers)
      ? [
          `policy ${owners.join(" or ")}: hosts dedicated to it take only machines that it chooses, and it chooses none of this policy's: spec.required[${i}] (${short(expressionOf(rule).text)}) can never hold`,
        ]
      : [];
  });
}
