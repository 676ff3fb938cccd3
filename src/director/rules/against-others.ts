/**
 * What the rules of a policy that is written have against those of others in its namespace, as far as selectors alone tell that machines of one are the other's, too:
 * what machines there are is looked at afterwards (contradicted.ts). Pure.
 */
import { invalidity } from "../../resource/invalid.ts";
import type { Lookup } from "../../resource/kind.ts";
import { keyOf } from "../../resource/object.ts";
import { excludes, implies, type LabelSelector } from "../../resource/selector.ts";
import { Policy } from "../kinds.ts";
import { between, type Contradiction } from "./between.ts";
import { dedicationsIn, readWritten, WORK_OF_A_WRITE } from "./contradictions.ts";
import { plain } from "./expressions.ts";
import type { Work } from "./ranges.ts";
import { nameOf } from "./rules.ts";

/** Of a rule so much is told: answers have little room for warnings. */
const SHORT = 50;
export const short = (text: string) => {
  const line = plain(text);
  return line.length > SHORT ? `${line.slice(0, SHORT - 1)}…` : line;
};

/** To make one, against looking at a value. */
const OF_A_WARNING = 200;
/** So many that were not looked at are named. */
const NAMES = 3;

/** In words, each beginning with what there is to look at. @param work more of it is not done, which is told */
export function againstOthers(
  policy: Policy,
  lookup: Lookup,
  work: Work = { left: WORK_OF_A_WRITE },
): string[] {
  const others = lookup
    .list(Policy, policy.metadata.namespace)
    .filter(
      (other) =>
        other.metadata.name !== policy.metadata.name &&
        !other.metadata.deletionTimestamp &&
        !invalidity(other),
    );
  readWritten(policy.spec.required ?? []);
  const told: string[] = [];
  for (const [i, other] of others.entries()) {
    told.push(...againstOne(policy, other, work));
    if (work.left < 0) return [...told, leftOut(others.slice(i))];
  }
  return [...told, ...dedicatedToOthers(policy, others, work)];
}

/** The first of them perhaps in part. */
function leftOut(others: readonly Policy[]): string {
  const names = others.slice(0, NAMES).map(nameOf).join(", ");
  const more = others.length > NAMES ? `, … (${others.length} policies)` : "";
  return `${names}${more}: too many rules to compare with this policy's while it is written, so they may contradict it untold; conditions of the policies (Contradicted) tell what does for machines that are there`;
}

function againstOne(policy: Policy, other: Policy, work: Work): string[] {
  const all = between(policy, other, work);
  if (all.length === 0) return [];
  const [own, its] = [policy.spec.selector, other.spec.selector];
  // Each value of one with each of the other at worst.
  work.left -= (sizeOf(own) + sizeOf(its)) ** 2 + OF_A_WARNING * all.length;
  if (work.left < 0 || excludes(own, its)) return [];
  const [within, around] = [implies(own, its), implies(its, own)];
  if (!within && !around) return [];
  const name = nameOf(other);
  const whose = within
    ? "it chooses all machines that this policy does"
    : "this policy chooses all of its machines";
  return all
    .filter((found) => bearsOnTwo(found, [around, within]))
    .map(({ fields: [own, its], texts: [text, other], bears }) => {
      const so =
        bears === "always" ? "there is no host for any of them" : "two of them cannot both be placed";
      return `${name}, ${its} (${short(other)}): can never hold together with ${own} (${short(text)}) of this policy; ${whose}, and ${so}`;
    });
}

/** How many labels and values it names. */
const sizeOf = ({ matchLabels = {}, matchExpressions = [] }: LabelSelector): number =>
  matchExpressions.reduce((sum, { values = [] }) => sum + 1 + values.length, Object.keys(matchLabels).length);

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
function dedicatedToOthers(policy: Policy, others: readonly Policy[], work: Work): string[] {
  const { required = [], selector } = policy.spec;
  const namespace = policy.metadata.namespace ?? "default";
  const dedications = dedicationsIn(required, work);
  if (dedications.length === 0) return [];
  const byKey = new Map(others.map((other) => [keyOf(other), other]));
  const known = new Map<string, boolean>();
  const isOthers = (key: string): boolean => {
    const before = known.get(key);
    if (before !== undefined) return before;
    const other = byKey.get(key);
    if (other) work.left -= (sizeOf(selector) + sizeOf(other.spec.selector)) ** 2;
    // Past that nothing is told.
    const is =
      !key.startsWith(`${namespace}/`) ||
      (other !== undefined && work.left >= 0 && excludes(other.spec.selector, selector));
    known.set(key, is);
    return is;
  };
  return dedications.flatMap(({ nth, owners }) =>
    [...owners].every(isOthers)
      ? [
          `policy ${[...owners].join(" or ")}: hosts dedicated to it take only machines that it chooses, and it chooses none of this policy's: spec.required[${nth}] (${short(required[nth] ?? "")}) can never hold`,
        ]
      : [],
  );
}
