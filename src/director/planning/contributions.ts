/** What each policy of a machine contributes to where it is: its part of the score, and each of its rules with the figures by which it is kept or broken. Pure. */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { baseOf, capacityOf, demandOf, type GroupRule } from "../estate/estate-model.ts";
import type { Aim } from "../estate/goals.ts";
import { failoverFaults } from "../failover/failover.ts";
import type { Policy } from "../kinds.ts";
import { expressionOf, readingOf } from "../rules/expressions.ts";
import { mostGivenOut, TOLD } from "../rules/overcommit.ts";
import { type Obstacle, policiesOf } from "../rules/rules.ts";
import { type Score, score } from "./score.ts";

export interface Contribution {
  name: string;
  /** What it aims at now. */
  goal: string;
  /** Its part of the score of the host. */
  score?: number;
  /** Its goals, what it prefers, and its rules, each with its figures on the host. */
  says?: string[];
}

/** So many rules of a kind are told one by one, the broken ones first. */
const EACH = 10;

const goalNow = ({ words, because }: Aim): string => (because ? `${words}, since it is ${because}` : words);

/** @param host that is told of; without one, only what they aim at @param against all that stands against it there */
export function contributions(
  estate: Estate,
  machine: MachineView,
  host: HostView | undefined,
  against: readonly Obstacle[],
): Contribution[] {
  const policies = policiesOf(estate, machine);
  const index = indexOf(estate);
  const parts = host ? score(estate, machine, host).parts : [];
  return policies.map((policy) => {
    const { name } = policy.metadata;
    const about = { name, goal: goalNow(index.aimOf(policy)) };
    if (!host) return about;
    const own = parts.filter((part) => part.policy === name);
    const broken = new Set(against.flatMap((of) => (of.policy === policy && of.rule ? [of.rule] : [])));
    const kept = (rule: string) => (broken.has(rule) ? "broken" : "kept");
    const at: At = { estate, machine, host, policy, kept };
    return {
      ...about,
      score: own.reduce((sum, { value, weight }) => sum + value * weight, 0),
      says: [
        ...goalsOf(policies, policy, about.goal, own),
        ...few(own.filter(({ rule }) => rule).map((part) => `prefers ${part.detail}, ${product(part)}`)),
        ...few(requiredOf(at)),
        ...placesOf(at),
        ...givenOutOf(at),
        ...reservedOf(at),
        ...(policy.spec.moves?.never ? ["moves.never: it is not moved while it runs"] : []),
      ],
    };
  });
}

interface At {
  estate: Estate;
  machine: MachineView;
  host: HostView;
  policy: Policy;
  kept: (rule: string) => string;
}

const few = (all: readonly string[]) =>
  all.length > EACH + 1 ? [...all.slice(0, EACH), `${all.length - EACH} more`] : all;

/** "0.71 × 0.95 = 0.67" */
export const product = ({ value, weight }: Pick<Score["parts"][number], "value" | "weight">): string =>
  `${value.toFixed(2)} × ${weight.toFixed(2)} = ${(value * weight).toFixed(2)}`;

function goalsOf(
  [first]: readonly Policy[],
  policy: Policy,
  goal: string,
  own: readonly Score["parts"][number][],
): string[] {
  if (policy === first) {
    const terms = own
      .filter(({ rule }) => !rule)
      .map((part) => `${part.name} ${product(part)} (${part.detail})`);
    return [`goals: ${terms.join(", ")}`];
  }
  return policy.spec.goals?.length
    ? [`its goals (${goal}) do not count beside those of policy ${JSON.stringify(first?.metadata.name)}`]
    : [];
}

function requiredOf({ machine, host, policy, kept }: At): string[] {
  const told = (policy.spec.required ?? []).map((rule) => {
    const { text } = expressionOf(rule);
    const reading = readingOf(rule, host, machine).join(", ");
    return { standing: kept(text), text, reading: reading && ` (${reading})` };
  });
  return told
    .sort((a, b) => (a.standing < b.standing ? -1 : a.standing > b.standing ? 1 : 0))
    .map(({ standing, text, reading }) => `requires ${text}: ${standing}${reading}`);
}

const others = (here: number) =>
  here === 0 ? "no other there" : `${here} other${here > 1 ? "s" : ""} there`;

/** Of its other machines. */
function placesOf({ estate, machine, host, policy, kept }: At): string[] {
  const { keepApart, keepTogether, spread, atMost } = policy.spec;
  const group = (rule: GroupRule) => indexOf(estate).group(policy, rule, machine, host);
  const said: string[] = [];
  const say = (
    rule: string,
    of: ReturnType<typeof group>,
    figures: (of: NonNullable<ReturnType<typeof group>>) => string,
  ) => {
    if (of) said.push(`${rule}: ${kept(rule)}, ${figures(of)}`);
  };
  if (keepApart) say(`keepApart: ${keepApart}`, group("keepApart"), ({ here }) => others(here));
  if (keepTogether)
    say(
      `keepTogether: ${keepTogether}`,
      group("keepTogether"),
      ({ here, elsewhere }) => `${others(here)}, ${elsewhere} elsewhere`,
    );
  if (atMost)
    say(
      `atMost per ${atMost.per}`,
      group("atMost"),
      ({ here, most }) => `${here + 1} with it, ${most} at most`,
    );
  if (spread)
    say(
      `spread: ${spread}`,
      group("spread"),
      (of) => `${others(of.here)}, ${of.fewest()} where the fewest are`,
    );
  return said;
}

function givenOutOf({ estate, machine, host, policy, kept }: At): string[] {
  const { overcommit = {} } = policy.spec;
  const taken = indexOf(estate).taken(host.name, machine.key);
  const [needs, has, base] = [demandOf(machine), capacityOf(host), baseOf(host)];
  return TOLD.flatMap(({ field, what, amount }, r) => {
    const share = overcommit[field];
    if (share === undefined) return [];
    const rule = `overcommit.${field}: ${share}`;
    const given = amount((taken[r] ?? 0) + (needs[r] ?? 0));
    const most = amount(mostGivenOut(share, has[r] ?? 0, base[r] ?? 0));
    return [`${rule}: ${kept(rule)}, ${given} ${what} given out, ${most} at most`];
  });
}

function reservedOf({ estate, policy }: At): string[] {
  const { failover } = policy.spec;
  if (!failover) return [];
  const lost = `${failover.losses} ${failover.per}${failover.losses > 1 ? "s" : ""}`;
  const faults = failoverFaults(estate).get(policy) ?? [];
  return [
    `failover per ${failover.per}: ${faults.length === 0 ? `the loss of any ${lost} is survived` : faults.join("; ")}`,
  ];
}
