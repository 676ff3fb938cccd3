/** What a policy wants, in words: for people who look at it, in a terminal or a browser. Pure, and without the kind's schema. */

import type { Window } from "../../resource/window.ts";
import type { Policy } from "../kinds.ts";

type Spec = Policy["spec"];
type Goals = NonNullable<Spec["goals"]>;

/** "08:00-18:00 Mon, Tue (Europe/Berlin), price above 0.3" */
export function describeWindow({ hours, days, timeZone, price, carbon }: Window): string {
  const threshold = (what: string, of: Window["price"]) =>
    of
      ? [
          [
            what,
            ...(of.site ? [`at ${of.site}`] : []),
            ...(of.above === undefined ? [] : [`above ${of.above}`]),
            ...(of.below === undefined ? [] : [`below ${of.below}`]),
          ].join(" "),
        ]
      : [];
  const time = [hours, days?.join(", ")].filter(Boolean).join(" ");
  return [
    ...(time ? [`${time} ${timeZone ?? "UTC"}`] : []),
    ...threshold("price", price),
    ...threshold("carbon", carbon),
  ].join(", ");
}

/** Goals that count at the same time: "performance", or "performance 67 %, energy 33 %". */
export function describeGoals(goals: Goals): string {
  const total = goals.reduce((sum, { weight }) => sum + weight, 0);
  const share = (weight: number) => (goals.length > 1 ? ` ${Math.round((100 * weight) / total)} %` : "");
  return goals.map(({ goal, weight }) => `${goal}${share(weight)}`).join(", ");
}

/** "balanced", or "energy while 22:00-06:00 UTC; performance otherwise" */
function allGoals(goals: Goals | undefined): string {
  if (!goals?.length) return "balanced";
  const byWindow = Map.groupBy(goals, ({ during }) => (during ? describeWindow(during) : ""));
  const always = byWindow.get("");
  byWindow.delete("");
  const timely = [...byWindow].map(([window, some]) => `${describeGoals(some)} while ${window}`);
  if (timely.length === 0) return describeGoals(always ?? []);
  return [...timely, `${always ? describeGoals(always) : "balanced"} otherwise`].join("; ");
}

const AUTOMATION: Record<Spec["automation"], string> = {
  act: "moves machines by itself",
  ask: "asks before it moves machines",
  advise: "only advises",
  off: "leaves machines where they were placed",
};

const one = (domain: string) => `${domain === "host" ? "on" : "in"} one ${domain}`;
const count = (number: number, what: string) => `${number} ${what}${number === 1 ? "" : "s"}`;

function moveLimits({ perHour, concurrent, minimumStayMinutes, quiet, never }: NonNullable<Spec["moves"]>) {
  return [
    ...(never ? ["never moved while they run"] : []),
    ...(perHour === undefined ? [] : [`at most ${count(perHour, "move")} an hour`]),
    ...(concurrent === undefined ? [] : [`at most ${concurrent} at once`]),
    ...(minimumStayMinutes === undefined
      ? []
      : [`each stays at least ${count(minimumStayMinutes, "minute")}`]),
    ...(quiet ?? []).map((window) => `none while ${describeWindow(window)}`),
  ];
}

function sent({ bandwidth, downtimeMs, postCopy }: NonNullable<Spec["transfer"]>) {
  return [
    ...(bandwidth === undefined ? [] : [`at most ${bandwidth} a second`]),
    ...(downtimeMs === undefined ? [] : [`standing still ${downtimeMs} ms at most`]),
    ...(postCopy ? ["going on before all of the memory is there"] : []),
  ];
}

function givenOut({ cpu, memory, iops, diskBandwidth, networkBandwidth }: NonNullable<Spec["overcommit"]>) {
  const share = (of: number | undefined, what: string) =>
    of === undefined ? [] : [`at most ${Math.round(of * 100)} % of their ${what}`];
  return [
    ...(cpu === undefined ? [] : [`at most ${count(cpu, "CPU")} for each of their processors`]),
    ...share(memory, "memory"),
    ...share(iops, "disk requests a second"),
    ...share(diskBandwidth, "disk bandwidth"),
    ...share(networkBandwidth, "network bandwidth"),
  ];
}

export interface Want {
  what: string;
  /** One for each thing that is wanted. */
  wants: string[];
  /** They are expressions. */
  areRules?: boolean;
}

/** All that the policy says, but for whom it chooses; what it does not say is not there. */
export function describePolicy({ spec }: Pick<Policy, "spec">): Want[] {
  const { keepTogether, keepApart, spread, atMost, failover, required = [], preferred = [] } = spec;
  const places = [
    ...(keepTogether ? [`all ${one(keepTogether)}`] : []),
    ...(keepApart ? [`no two ${one(keepApart)}`] : []),
    ...(spread ? [`spread evenly over ${spread}s`] : []),
    ...(atMost
      ? [
          `at most ${atMost.machines === undefined ? `${atMost.percent} % of them` : count(atMost.machines, "machine")} ${one(atMost.per)}`,
        ]
      : []),
    ...(failover
      ? [
          `room elsewhere when any ${count(failover.losses, failover.per)} ${failover.losses === 1 ? "is" : "are"} lost`,
        ]
      : []),
  ];
  const all: Want[] = [
    { what: "Goal", wants: [allGoals(spec.goals)] },
    { what: "Where", wants: places },
    { what: "Its hosts give out", wants: givenOut(spec.overcommit ?? {}) },
    { what: "Required", wants: [...required], areRules: true },
    {
      what: "Preferred",
      wants: preferred.map(({ rule, weight }) => `${rule}  (weight ${weight})`),
      areRules: true,
    },
    { what: "Moves", wants: [AUTOMATION[spec.automation], ...moveLimits(spec.moves ?? {})] },
    { what: "Sent", wants: sent(spec.transfer ?? {}) },
    { what: "Priority", wants: spec.priority ? [String(spec.priority)] : [] },
  ];
  return all.filter(({ wants }) => wants.length > 0);
}

type Expression = NonNullable<Spec["selector"]["matchExpressions"]>[number];
const OPERATORS: Record<Expression["operator"], (key: string, values: string) => string> = {
  In: (key, values) => `${key} in ${values}`,
  NotIn: (key, values) => `${key} not in ${values}`,
  Exists: (key) => `with ${key}`,
  DoesNotExist: (key) => `without ${key}`,
};

/** "tier = web; app in shop, bakery", or "all of the namespace" */
export function describeSelector({ matchLabels = {}, matchExpressions = [] }: Spec["selector"]): string {
  const words = [
    ...Object.entries(matchLabels).map(([key, value]) => `${key} = ${value}`),
    ...matchExpressions.map(({ key, operator, values = [] }) => OPERATORS[operator](key, values.join(", "))),
  ];
  return words.join("; ") || "all of the namespace";
}
