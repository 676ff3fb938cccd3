/**
 * Two rules that no host can keep together, whatever the estate; found where they compare attributes with constants (ranges.ts). Anybody who may write a policy decides how many rules
 * there are and how long: all rules of a policy are merged, so that of most policies two need not be compared rule by rule, and all that is looked at is counted. Pure.
 */
import { type Expression, expressionOf, isAtHand, passing } from "./expressions.ts";
import { meet, merged, type Ranges, rangesIn, type Work } from "./ranges.ts";

/** What may be looked at while a policy is written: some ten milliseconds. */
export const WORK_OF_A_WRITE = 400_000;
/** So many contradictions of two policies are told. */
const EACH = 5;
/** Of what is refused so much is told. */
const MOST_TOLD = 50;
/** To read a character of a rule, to go through it when it was read, and to find one, against looking at a value. */
const TO_READ = 12;
const TO_GO_THROUGH = 2;
const TO_FIND = 4;

/** What the rules of a policy say, each and all together. */
interface Said {
  each: readonly Ranges[];
  all: Ranges;
}

/** Found once for each rule, and for the rules of each policy as it was read. */
const known = new WeakMap<Expression, Ranges>();
const knownOfAll = new WeakMap<readonly string[], Said>();

const DEDICATED = "host.dedicatedTo";
const NOTHING: Ranges = new Map();

function rangesOf(expression: Expression): Ranges {
  const before = known.get(expression);
  if (before) return before;
  const ranges = expression.ast ? rangesIn(expression.ast) : NOTHING;
  known.set(expression, ranges);
  return ranges;
}

function saidBy(rules: readonly string[], work: Work, find = expressionOf): Said {
  const before = knownOfAll.get(rules);
  if (before) return before;
  const each = rules.map((rule) => {
    work.left -= TO_FIND + (isAtHand(rule) ? 0 : TO_READ * rule.length);
    const expression = find(rule);
    if (!known.has(expression)) work.left -= TO_GO_THROUGH * rule.length;
    return rangesOf(expression);
  });
  const said = { each, all: merged(each) };
  knownOfAll.set(rules, said);
  return said;
}

/** Before anything else is asked of rules that are only written yet, and perhaps never stored: they are not kept (expressions.ts). Their own length is bounded. */
export const readWritten = (rules: readonly string[]): void => {
  saidBy(rules, { left: 0 }, passing);
};

/** Of these attributes, those that both speak of and of which no value keeps both. */
function excluded(of: Iterable<string>, a: Ranges, b: Ranges, work: Work): string[] {
  const found: string[] = [];
  for (const attribute of of) {
    const [one, other] = [a.get(attribute), b.get(attribute)];
    if (one && other && !meet(one, other, work)) found.push(attribute);
  }
  return found;
}

/** Pairs of rules (a pair may be one rule twice) of which one excludes the other. */
export function contradictions(
  rules: readonly string[],
  work: Work = { left: WORK_OF_A_WRITE },
): [first: number, second: number][] {
  const { each } = saidBy(rules, work, passing);
  const never = each.map((ranges) => new Set(excluded(ranges.keys(), ranges, ranges, work)));
  const found: [number, number][] = [];
  for (const [i, one] of each.entries())
    for (let j = i; j < each.length; j++) {
      // A policy has few rules: it is looked at whole, unless those of an older version are many.
      if (found.length >= MOST_TOLD || work.left < 0) return found;
      const other = each[j] ?? NOTHING;
      // What a rule says of one that can never hold by itself is of no use.
      const of =
        i === j ? one.keys() : [...one.keys()].filter((key) => !never[i]?.has(key) && !never[j]?.has(key));
      if (excluded(of, one, other, work).length > 0) found.push([i, j]);
    }
  return found;
}

export interface Excluded {
  /** Their numbers. */
  first: number;
  second: number;
  /** Attributes of which no value keeps both. */
  attributes: readonly string[];
}

/** When no two of them exclude each other. */
export const NONE: readonly never[] = [];

const ANY = () => true;

/**
 * Pairs of a rule of some and one of others of which one excludes the other, the first few.
 * @param isMeant attributes that are looked at
 */
export function contradictionsBetween(
  some: readonly string[],
  others: readonly string[],
  work: Work,
  isMeant: (attribute: string) => boolean = ANY,
): readonly Excluded[] {
  const [a, b] = [saidBy(some, work), saidBy(others, work)];
  work.left--;
  const apart = excluded(a.all.keys(), a.all, b.all, work).filter(
    (attribute) =>
      isMeant(attribute) &&
      // Rules of one policy that exclude each other have nothing to do with another.
      excluded([attribute], a.all, a.all, work).length + excluded([attribute], b.all, b.all, work).length ===
        0,
  );
  if (apart.length === 0) return NONE;
  const found: Excluded[] = [];
  for (const [first, one] of a.each.entries()) {
    const own = apart.filter((attribute) => one.has(attribute));
    if (own.length === 0) continue;
    for (const [second, other] of b.each.entries()) {
      const attributes = excluded(own, one, other, work);
      work.left--;
      if (attributes.length > 0) found.push({ first, second, attributes });
      if (found.length === EACH || work.left < 0) return found;
    }
  }
  return found;
}

export interface Dedication {
  /** The rule's number. */
  nth: number;
  /** Policies ("namespace/name") to one of which a host has to be dedicated for the rule to hold. */
  owners: ReadonlySet<string>;
}

/** Of the rules that want hosts which are dedicated. */
export function dedicationsIn(rules: readonly string[], work: Work): readonly Dedication[] {
  const { each, all } = saidBy(rules, work);
  if (!all.has(DEDICATED)) return NONE;
  return each.flatMap((ranges, nth) => {
    const range = ranges.get(DEDICATED);
    if (!range?.only || range.takes("")) return [];
    const owners = [...range.only]
      .filter((each) => typeof each === "string")
      .filter((each) => range.takes(each));
    work.left -= range.only.size;
    return owners.length > 0 ? [{ nth, owners: new Set(owners) }] : [];
  });
}
