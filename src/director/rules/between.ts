/**
 * Rules of two policies that contradict each other for machines that both choose: rules about hosts that no host keeps together, and places that machines
 * are kept together in by one and are not to share by the other. What a policy says by itself is looked at in the same way. Pure.
 */
import type { Level } from "../estate/estate.ts";
import { isWithin, mostOf, type Policy } from "../kinds.ts";
import { contradictionsBetween, NONE } from "./contradictions.ts";
import { plain } from "./expressions.ts";
import type { Work } from "./ranges.ts";
import { nameOf } from "./rules.ts";

/** How many machines are meant. */
export interface Bearing {
  /** That both choose. */
  both: number;
  /** That the one of the two chooses whose number counts. */
  chosen: number;
  /** How many such places there are. */
  places: (level: Level) => number;
}

export interface Contradiction {
  /** "spec.required[0]", of the first and of the second policy. */
  fields: readonly [string, string];
  /** What they say. */
  texts: readonly [string, string];
  /** It is about one machine alone: no host is one for it. Else about several, and whether it bears on so many. */
  bears: "always" | ((on: Bearing) => boolean);
  /** Which of the two does not keep them together. */
  counted: 0 | 1;
  /** Attributes of hosts that it is about. */
  attributes?: readonly string[];
}

type Spec = Pick<Policy["spec"], "required" | "keepTogether" | "keepApart" | "spread" | "atMost">;

/** Of the first few. */
function ofRules({ required: a }: Spec, { required: b }: Spec, work: Work): readonly Contradiction[] {
  if (!a?.length || !b?.length) return NONE;
  const found = contradictionsBetween(a, b, work);
  if (found === NONE) return NONE;
  return found.map(({ first, second, attributes }) => ({
    fields: [`spec.required[${first}]`, `spec.required[${second}]`],
    texts: [plain(a[first] ?? ""), plain(b[second] ?? "")],
    bears: "always",
    counted: 1,
    attributes,
  }));
}

/** Of machines that the first keeps together. */
export function ofPlaces({ keepTogether }: Spec, { keepApart, spread, atMost }: Spec): Contradiction[] {
  if (!keepTogether) return [];
  const found: Contradiction[] = [];
  const add = (field: string, text: string, level: Level, bears: (on: Bearing) => boolean) => {
    // Who is in one of these is in one of those, too.
    if (isWithin(keepTogether, level))
      found.push({
        fields: ["spec.keepTogether", `spec.${field}`],
        texts: [keepTogether, text],
        bears,
        counted: 1,
      });
  };
  if (keepApart) add("keepApart", keepApart, keepApart, ({ both }) => both > 1);
  if (atMost) {
    const most = atMost.machines === undefined ? `${atMost.percent} %` : String(atMost.machines);
    add(
      "atMost",
      `${most} per ${atMost.per}`,
      atMost.per,
      ({ both, chosen }) => both > mostOf(atMost, chosen),
    );
  }
  // Where some are in one place, all others have one fewer at least.
  if (spread)
    add(
      "spread",
      spread,
      spread,
      ({ both, chosen, places }) => chosen < both + (both - 1) * (places(spread) - 1),
    );
  return found;
}

/** As the other one sees it. */
export const turned = ({ fields: [a, b], texts: [x, y], ...rest }: Contradiction): Contradiction => ({
  ...rest,
  fields: [b, a],
  texts: [y, x],
  counted: rest.counted === 0 ? 1 : 0,
});

/** Of policies as they were read, what is not told at a glance: each round of planning asks for all pairs of them, which hardly ever change. */
const KNOWN = new WeakMap<Policy, WeakMap<Policy, readonly Contradiction[]>>();

/** Most of two need not be looked at. */
const mayContradict = (a: Spec, b: Spec) =>
  Boolean((a.required?.length && b.required?.length) || a.keepTogether || b.keepTogether);

/**
 * What the first policy's rules and the second's have against each other, of rules the first few; what one has against itself is not asked. Where the same is found again it is the same list.
 * @param work where none is left when it is done, something may have been left out
 */
export function between(first: Policy, second: Policy, work: Work): readonly Contradiction[] {
  work.left--;
  const { spec: a } = first;
  const { spec: b } = second;
  if (!mayContradict(a, b)) return NONE;
  const known = KNOWN.get(first)?.get(second);
  if (known) return known;
  const rules = ofRules(a, b, work);
  const places = a.keepTogether || b.keepTogether ? [...ofPlaces(a, b), ...ofPlaces(b, a).map(turned)] : NONE;
  if (rules === NONE && places.length === 0) return NONE;
  const found = [...rules, ...places];
  if (work.left < 0) return found;
  const ofFirst = KNOWN.get(first) ?? new WeakMap<Policy, readonly Contradiction[]>();
  KNOWN.set(first, ofFirst);
  ofFirst.set(second, found);
  return found;
}

/** 'spec.required[0] (host.disk.ssd) can never hold together with spec.required[1] (!host.disk.ssd) of policy "b"' */
export const inWords = ({ fields, texts }: Contradiction, policy: Policy): string =>
  `${fields[0]} (${texts[0]}) can never hold together with ${fields[1]} (${texts[1]}) of ${nameOf(policy)}`;
