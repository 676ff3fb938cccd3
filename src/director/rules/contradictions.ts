/**
 * Two rules, or several, that no host can keep together, whatever the estate; found where they compare attributes with constants, or one says the opposite of another (ranges.ts). Anybody who may write a policy decides how many rules
 * there are and how long: all rules of a policy are merged, so that of most policies two need not be compared rule by rule, and all that is looked at is counted. Pure.
 */
import { type Expression, expressionOf, isAtHand, passing } from "./expressions.ts";
import {
  meet,
  merged,
  onlyValue,
  type Ranges,
  type Reading,
  readingOf,
  sizeOf,
  type Work,
} from "./ranges.ts";

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
  /** Of each rule (ranges.ts, Reading). */
  choices: readonly Reading["choices"][];
  all: Ranges;
}

/** Found once for each rule, and for the rules of each policy as it was read. */
const known = new WeakMap<Expression, Reading>();
const knownOfAll = new WeakMap<readonly string[], Said>();

const DEDICATED = "host.dedicatedTo";
const NOTHING: Ranges = new Map();

function readOf(expression: Expression): Reading {
  const before = known.get(expression);
  if (before) return before;
  const reading = expression.ast ? readingOf(expression.ast) : { ranges: NOTHING, choices: [] };
  known.set(expression, reading);
  return reading;
}

function saidBy(rules: readonly string[], work: Work, find = expressionOf): Said {
  const before = knownOfAll.get(rules);
  if (before) return before;
  const read = rules.map((rule) => {
    work.left -= TO_FIND + (isAtHand(rule) ? 0 : TO_READ * rule.length);
    const expression = find(rule);
    if (!known.has(expression)) work.left -= TO_GO_THROUGH * rule.length;
    return readOf(expression);
  });
  const each = read.map(({ ranges }) => ranges);
  const said = { each, choices: read.map(({ choices }) => choices), all: merged(each) };
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

/** Rules that exclude each other, by their numbers: pairs (a pair may be one rule twice), and where there is none, more of which all are needed. */
export function contradictions(
  rules: readonly string[],
  work: Work = { left: WORK_OF_A_WRITE },
): (readonly number[])[] {
  const said = saidBy(rules, work, passing);
  const { each } = said;
  const never = each.map((ranges) => new Set(excluded(ranges.keys(), ranges, ranges, work)));
  const found: number[][] = [];
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
  return found.length > 0 ? found : several(said, work);
}

/** Of which no two exclude each other. */
function several({ each, choices, all }: Said, work: Work): number[][] {
  const numbers = each.map((_, i) => i);
  const take = (of: readonly number[]) => {
    const some = of.map((i) => each[i] ?? NOTHING);
    for (const one of some) work.left -= sizeOf(one);
    return merged(some);
  };
  const found = excluded(all.keys(), all, all, work).map((attribute) =>
    fewest(
      numbers.filter((i) => each[i]?.has(attribute)),
      (of) => {
        const rest = take(of);
        return excluded([attribute], rest, rest, work).length > 0;
      },
      work,
    ),
  );
  for (const [i, own] of choices.entries())
    for (const branches of own) {
      if (found.length >= MOST_TOLD || work.left < 0) return found;
      const none = (rest: Ranges) =>
        branches.every(
          (branch) =>
            work.left >= 0 &&
            excluded(branch.keys(), branch, branch, work).length +
              excluded(branch.keys(), branch, rest, work).length >
              0,
        );
      if (!none(all)) continue;
      const others = fewest(
        numbers.filter((j) => j !== i),
        (of) => none(take([...of, i])),
        work,
      );
      found.push(others.length === 0 ? [i, i] : [...others, i].sort((a, b) => a - b));
    }
  return found;
}

/** Those without which it is not so, of some of which it is; perhaps more where too little work is left. */
function fewest(of: readonly number[], isSo: (some: readonly number[]) => boolean, work: Work): number[] {
  let needed = [...of];
  for (const each of of) {
    if (work.left < 0) break;
    const rest = needed.filter((one) => one !== each);
    if (isSo(rest)) needed = rest;
  }
  return needed;
}

/** The one value of an attribute that all of the rules allow, and which rule says so; undefined: they allow others, too. */
export function onlyOne(
  rules: readonly string[],
  attribute: string,
  work: Work = { left: WORK_OF_A_WRITE },
): { value: unknown; nth: number } | undefined {
  const { each, all } = saidBy(rules, work, passing);
  const value = onlyValue(all.get(attribute));
  if (value === undefined) return undefined;
  const nth = each.findIndex((ranges) => onlyValue(ranges.get(attribute)) === value);
  return {
    value,
    nth: nth < 0 ? each.findIndex((ranges) => ranges.get(attribute)?.only !== undefined) : nth,
  };
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
