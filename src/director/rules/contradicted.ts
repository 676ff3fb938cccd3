/** Rules of policies that machines which are there cannot keep, because of what other policies of theirs say: by policy, in words. Pure. */
import { keyOf } from "../../resource/object.ts";
import { domainOf, type Estate, type Level } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";
import { between, type Contradiction, inWords, turned } from "./between.ts";
import { type Alike, chosenAlike, countOf, namesOf } from "./chosen-alike.ts";
import { contradictionsBetween, dedicationIn } from "./contradictions.ts";
import { expressionOf } from "./expressions.ts";
import { nameOf } from "./rules.ts";

/** So many contradictions of a policy, and machines of one, are told. */
const EACH = 5;
const NAMES = 3;
/** Of more policies whose machines are kept together not all pairs are looked at. */
const MOST_TOGETHER = 50;

/** What is the same of all hosts in one of these. */
const SAME: Record<Exclude<Level, "host">, readonly string[]> = {
  rack: ["host.rack", "host.row", "host.site"],
  row: ["host.row", "host.site"],
  feed: ["host.feed", "host.site"],
  site: ["host.site"],
};

type Told = Map<Policy, string[]>;

/** Of policies that are not in it nothing is known that no machines could keep. */
export function contradicted(estate: Estate): Told {
  const told: Told = new Map();
  const tell = (policy: Policy, words: string) => {
    const known = told.get(policy);
    if (!known) told.set(policy, [words]);
    else if (known.length < EACH) known.push(words);
  };
  const index = indexOf(estate);
  const alike = chosenAlike(index, estate.policies);
  const named = namer(index);
  const places = placesOf(estate);
  for (const { policy, other, found: all, groups } of sharing(alike.all, widestFirst(alike))) {
    const both = countOf(groups);
    for (const found of all) {
      const chosen = index.membersOf(found.counted === 0 ? policy : other).length;
      if (found.bears !== "always" && !found.bears({ both, chosen, places })) continue;
      const whom = named(groups);
      tell(policy, `${inWords(found, other)}, for ${whom}`);
      tell(other, `${inWords(turned(found), policy)}, for ${whom}`);
    }
  }
  for (const policy of estate.policies) {
    const own = alike.of.get(policy) ?? [];
    for (const words of dedicatedToOthers(policy, own, named)) tell(policy, words);
    if (policy.spec.keepTogether)
      for (const words of drawnApart(policy, policy.spec.keepTogether, own, named)) tell(policy, words);
  }
  return told;
}

type Named = (groups: readonly Alike[]) => string;

const namer =
  (index: EstateIndex): Named =>
  (groups) => {
    const count = countOf(groups);
    return `${namesOf(index, groups, NAMES).join(", ")}${count > NAMES ? `, … (${count} machines)` : ""}`;
  };

const saysMuch = ({ spec }: Policy) =>
  Boolean(spec.required?.length || spec.keepTogether || spec.keepApart || spec.spread || spec.atMost);

/** What two policies have against each other, and the machines that both choose. */
interface Shared {
  policy: Policy;
  other: Policy;
  found: readonly Contradiction[];
  groups: Alike[];
}

/** After these policies, and what they have against each other. */
interface Step {
  against: readonly Shared[];
  next?: Map<Policy, Step>;
}

/** Of each group the policies that say much, those that choose the most first. */
function widestFirst({ all, of }: ReturnType<typeof chosenAlike>): Policy[][] {
  const sorted = [...of].filter(([policy]) => saysMuch(policy)).sort(([, a], [, b]) => b.length - a.length);
  const saying = all.map((): Policy[] => []);
  for (const [policy, groups] of sorted) for (const { nth } of groups) saying[nth]?.push(policy);
  return saying;
}

/** Each two policies that choose the same machines and have something against each other. What many groups have in common at the beginning is compared once. */
function sharing(all: readonly Alike[], saying: readonly Policy[][]): Iterable<Shared> {
  const pairs: Shared[] = [];
  // Of the same two it is the same list each time (between.ts).
  const known = new Map<readonly Contradiction[], Shared>();
  const against = (policy: Policy, others: readonly Policy[]): Shared[] =>
    others.flatMap((other) => {
      const found = between(other, policy);
      if (found.length === 0) return [];
      const before = known.get(found);
      if (before) return before;
      const pair = { policy: other, other: policy, found, groups: [] };
      known.set(found, pair);
      pairs.push(pair);
      return pair;
    });
  const start: Step = { against: [] };
  for (const group of all) {
    const policies = saying[group.nth] ?? [];
    let step = start;
    for (const [i, policy] of policies.entries()) {
      step.next ??= new Map();
      let next = step.next.get(policy);
      if (!next) {
        const found = against(policy, policies.slice(0, i));
        next = { against: found.length > 0 ? [...step.against, ...found] : step.against };
        step.next.set(policy, next);
      }
      step = next;
    }
    for (const { groups } of step.against) groups.push(group);
  }
  return pairs;
}

/** How many of these there are that take machines. */
function placesOf({ hosts }: Estate): (level: Level) => number {
  const open = hosts.filter(({ closed }) => closed === undefined);
  const known = new Map<Level, number>();
  return (level) => {
    const count = known.get(level) ?? new Set(open.map((host) => domainOf(host, level))).size;
    known.set(level, count);
    return count;
  };
}

interface Dedication {
  field: string;
  text: string;
  owners: readonly string[];
}

const dedicationsOf = ({ spec }: Policy): Dedication[] =>
  (spec.required ?? []).flatMap((rule, i) => {
    const owners = dedicationIn(rule);
    return owners ? [{ field: `spec.required[${i}]`, text: expressionOf(rule).text, owners }] : [];
  });

/** Machines that the owners of those hosts do not choose. */
const strangers = (groups: readonly Alike[], { owners }: Dedication) =>
  groups.filter(({ policies }) => !policies.some((policy) => owners.includes(keyOf(policy))));

function dedicatedToOthers(policy: Policy, members: readonly Alike[], named: Named): string[] {
  return dedicationsOf(policy).flatMap((dedication) => {
    const { field, text, owners } = dedication;
    const others = strangers(members, dedication);
    return others.length > 0
      ? [
          `${field} (${text}) can never hold for ${named(others)}: hosts dedicated to ${owners.join(" or ")} take only machines that it chooses`,
        ]
      : [];
  });
}

/** Machines that are kept together, of which other policies want what no one place has. */
function drawnApart(policy: Policy, level: Level, members: readonly Alike[], named: Named): string[] {
  const own = `spec.keepTogether (${level})`;
  const byOther = new Map<Policy, Alike[]>();
  for (const group of members)
    for (const other of group.policies) {
      if (other === policy || !other.spec.required?.length) continue;
      const known = byOther.get(other);
      if (known) known.push(group);
      else byOther.set(other, [group]);
    }
  const others = [...byOther].slice(0, MOST_TOGETHER);
  const said: string[] = [];
  for (const [i, [first, some]] of others.entries()) {
    if (level === "host")
      for (const dedication of dedicationsOf(first)) {
        const its = new Set(some);
        const left = strangers(members, dedication).filter((group) => !its.has(group));
        if (left.length > 0)
          said.push(
            `${own} can never hold together with ${dedication.field} (${dedication.text}) of ${nameOf(first)}, for ${named(some)} and ${named(left)}: those hosts do not take the latter`,
          );
      }
    for (const [second, more] of others.slice(i + 1)) {
      const [a, b] = [first.spec.required ?? [], second.spec.required ?? []];
      const found = contradictionsBetween(a, b).filter(({ attributes }) => attributes.some(isSame(level)));
      // Of machines that both choose it is told already.
      if (found.length === 0 || haveCommon(some, more)) continue;
      for (const { first: x, second: y } of found)
        said.push(
          `${own} can never hold: ${nameOf(first)} wants ${textOf(a, x)} for ${named(some)}, and ${nameOf(second)} ${textOf(b, y)} for ${named(more)}`,
        );
    }
  }
  return said;
}

function haveCommon(some: readonly Alike[], others: readonly Alike[]): boolean {
  const all = new Set(some);
  return others.some((group) => all.has(group));
}

/** Whether an attribute is the same for all machines in one such place: those of machines themselves never are. */
const isSame = (level: Level) => (attribute: string) =>
  level === "host" ? attribute.startsWith("host.") : SAME[level].includes(attribute);

const textOf = (rules: readonly string[], i: number) =>
  `${expressionOf(rules[i] ?? "").text} (spec.required[${i}])`;
