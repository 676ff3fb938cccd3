/** Rules of policies that machines which are there cannot keep, because of what other policies of theirs, or the same, say: by policy, in words. Pure. */
import { keyOf } from "../../resource/object.ts";
import { domainOf, type Estate, type Level } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";
import { between, type Contradiction, inWords, turned } from "./between.ts";
import { type Alike, chosenAlike, countOf, namesOf } from "./chosen-alike.ts";
import { contradictionsBetween, type Dedication, dedicationsIn } from "./contradictions.ts";
import { plain } from "./expressions.ts";
import { onlyOnePlace } from "./one-place.ts";
import type { Work } from "./ranges.ts";
import { nameOf } from "./rules.ts";

/** What may be looked at in a round: some hundred milliseconds, and eight times what 10,000 policies of the benchmark (bench/director.ts) take. What two policies have against each other is found once, so the rest has its turn in the next one. */
const WORK_OF_A_ROUND = 1_500_000;

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

/** Told with the last of what is told of a policy. */
const NOT_ALL = "policies have too many rules to compare them all, so this may be not all that contradicts";

/** Of policies that are not in it nothing is known that no machines could keep. @param work where it does not suffice, that is told with what was found */
export function contradicted(estate: Estate, work: Work = { left: WORK_OF_A_ROUND }): Told {
  const told: Told = new Map();
  const tell = (policy: Policy, words: () => string) => {
    const known = told.get(policy);
    if (!known) told.set(policy, [words()]);
    else if (known.length < EACH) known.push(words());
  };
  const index = indexOf(estate);
  const alike = chosenAlike(index);
  const named = namer(index);
  const places = placesOf(estate);
  for (const { policy, other, found: all, groups } of sharing(alike.all, widestFirst(alike), work)) {
    const both = countOf(groups);
    for (const found of all) {
      const chosen = index.membersOf(found.counted === 0 ? policy : other).length;
      if (found.bears !== "always" && !found.bears({ both, chosen, places })) continue;
      const whom = named(groups);
      tell(policy, () => `${inWords(found, other)}, for ${whom}`);
      tell(other, () => `${inWords(turned(found), policy)}, for ${whom}`);
    }
  }
  for (const policy of estate.policies) {
    if (work.left < 0) break;
    const own = alike.of.get(policy) ?? [];
    if (countOf(own) > 1) for (const words of onlyOnePlace(policy.spec, work)) tell(policy, () => words);
    for (const words of dedicatedToOthers(policy, own, named, work)) tell(policy, () => words);
    if (policy.spec.keepTogether)
      for (const words of drawnApart(policy, policy.spec.keepTogether, own, named, work))
        tell(policy, () => words);
  }
  if (work.left < 0) for (const words of told.values()) words.push(NOT_ALL);
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
function sharing(all: readonly Alike[], saying: readonly Policy[][], work: Work): Iterable<Shared> {
  const pairs: Shared[] = [];
  // Of the same two it is the same list each time (between.ts).
  const known = new Map<readonly Contradiction[], Shared>();
  // Contradictions that are told whatever else there is.
  const counts = new Map<Policy, number>();
  const isFull = (policy: Policy) => (counts.get(policy) ?? 0) >= EACH;
  const against = (policies: readonly Policy[], i: number): Shared[] => {
    const policy = policies[i];
    const shared: Shared[] = [];
    for (let j = 0; policy && j < i && work.left >= 0; j++) {
      const other = policies[j] as Policy;
      const found = between(other, policy, work);
      if (found.length === 0) continue;
      const before = known.get(found);
      if (before) {
        shared.push(before);
        continue;
      }
      // Nothing would be told of it.
      if (isFull(policy) && isFull(other)) continue;
      const pair = { policy: other, other: policy, found, groups: [] };
      for (const each of [policy, other])
        counts.set(each, (counts.get(each) ?? 0) + found.filter(({ bears }) => bears === "always").length);
      known.set(found, pair);
      pairs.push(pair);
      shared.push(pair);
    }
    return shared;
  };
  const start: Step = { against: [] };
  for (const group of all) {
    const policies = saying[group.nth] ?? [];
    let step = start;
    for (const [i, policy] of policies.entries()) {
      step.next ??= new Map();
      let next = step.next.get(policy);
      if (!next) {
        if (work.left < 0) break;
        const found = against(policies, i);
        if (found.length > 0) work.left -= step.against.length + found.length;
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

/** Machines that the owners of those hosts do not choose. */
function strangers(groups: readonly Alike[], { owners }: Dedication, work: Work): Alike[] {
  return groups.filter(({ policies }) => {
    work.left -= policies.length;
    return !policies.some((policy) => owners.has(keyOf(policy)));
  });
}

const namesIn = ({ owners }: Dedication) => [...owners].join(" or ");

function dedicatedToOthers(policy: Policy, members: readonly Alike[], named: Named, work: Work): string[] {
  const rules = policy.spec.required;
  if (!rules?.length) return [];
  const said: string[] = [];
  for (const dedication of dedicationsIn(rules, work)) {
    if (said.length >= EACH || work.left < 0) break;
    const others = strangers(members, dedication, work);
    if (others.length > 0)
      said.push(
        `${fieldOf(rules, dedication.nth)} can never hold for ${named(others)}: hosts dedicated to ${namesIn(dedication)} take only machines that it chooses`,
      );
  }
  return said;
}

/** Machines that are kept together, of which other policies want what no one place has. */
function drawnApart(
  policy: Policy,
  level: Level,
  members: readonly Alike[],
  named: Named,
  work: Work,
): string[] {
  const own = `spec.keepTogether (${level})`;
  const others = [...byPolicy(members, policy, work)].slice(0, MOST_TOGETHER);
  const said: string[] = [];
  for (const [i, [first, some]] of others.entries()) {
    const a = first.spec.required ?? [];
    // Of most nothing is found.
    let its: ReadonlySet<Alike> | undefined;
    const isIts = (group: Alike) => {
      its ??= new Set(some);
      return its.has(group);
    };
    if (level === "host")
      for (const dedication of dedicationsIn(a, work)) {
        if (said.length >= EACH || work.left < 0) return said;
        const left = strangers(members, dedication, work).filter((group) => !isIts(group));
        if (left.length > 0)
          said.push(
            `${own} can never hold together with ${fieldOf(a, dedication.nth)} of ${nameOf(first)}, for ${named(some)} and ${named(left)}: those hosts do not take the latter`,
          );
      }
    for (const [second, more] of others.slice(i + 1)) {
      if (said.length >= EACH || work.left < 0) return said;
      const b = second.spec.required ?? [];
      const found = contradictionsBetween(a, b, work, isSame(level));
      if (found.length === 0) continue;
      work.left -= more.length;
      // Of machines that both choose it is told already.
      if (more.some(isIts)) continue;
      for (const { first: x, second: y } of found)
        said.push(
          `${own} can never hold: ${nameOf(first)} wants ${textOf(a, x)} for ${named(some)}, and ${nameOf(second)} ${textOf(b, y)} for ${named(more)}`,
        );
    }
  }
  return said;
}

/** Others that have rules about hosts, and those of the machines that they choose. */
function byPolicy(members: readonly Alike[], policy: Policy, work: Work): Map<Policy, Alike[]> {
  const found = new Map<Policy, Alike[]>();
  for (const group of members) {
    work.left -= group.policies.length;
    for (const other of group.policies) {
      if (other === policy || !other.spec.required?.length) continue;
      const known = found.get(other);
      if (known) known.push(group);
      else found.set(other, [group]);
    }
  }
  return found;
}

/** Whether an attribute is the same for all machines in one such place: those of machines themselves never are. */
const isSame = (level: Level) => (attribute: string) =>
  level === "host" ? attribute.startsWith("host.") : SAME[level].includes(attribute);

const textOf = (rules: readonly string[], i: number) => `${plain(rules[i] ?? "")} (spec.required[${i}])`;
const fieldOf = (rules: readonly string[], i: number) => `spec.required[${i}] (${plain(rules[i] ?? "")})`;
