/** Why a machine is where it is: what each policy contributes there, and of every other host all that rules it out, or by how much and by whose terms it is worse. Pure. */

import { converges, transferBy, wayOf } from "../../compute/migrations/kinds.ts";
import type { Estate, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { started } from "../estate/moved.ts";
import { type Demand, FULL, SENSITIVE_FULL, SENSITIVE_HOT } from "../estate/use.ts";
import { policiesOf } from "../rules/rules.ts";
import { fixedBy, fixedWords } from "../rules/suits.ts";
import { type Contribution, contributions } from "./contributions.ts";
import { leastGain, PLAN_DEFAULTS } from "./draft.ts";
import type { Forecaster } from "./forecast.ts";
import { judge, type Verdict } from "./judge.ts";
import { automationOf, Budget, stayOf } from "./limits.ts";
import type { Score } from "./score.ts";

export interface Explanation {
  machine: string;
  host?: string;
  /** Of this host it is told what each policy contributes: the one that it is on, else the best for it; absent: there is none. */
  about?: string;
  /** Those that choose it; the first gives the goals. */
  policies: Contribution[];
  /** Why the director does not move it by itself now, or at all; absent: it may. */
  moves?: string;
  /** What its latency sensitivity means for it; absent: it is normal. */
  latency?: string;
  /** What it uses, and is expected to; absent: it runs nowhere. */
  use?: string;
  /** The best first, and in any case the one that it is on; those that are ruled out last, those with the least against them first. */
  hosts: Judged[];
  /** Hosts that are not among them; absent: there are none. */
  others?: Others;
}

/** What a host would be to it. */
export interface Judged {
  name: string;
  chosen: boolean;
  /** It could not be there. */
  ruledOut: boolean;
  verdict: string;
  /** All that would have to change for it to be there; absent: nothing stands against it. */
  against?: { why: string; policy?: string; rule?: string }[];
  /** How much better or worse it scores than where it is (else: than the best), and by which terms of which policies. */
  compared?: string;
}

export interface Others {
  /** How many might have it. */
  possible: number;
  ruledOut: number;
  /** Those that are ruled out by the same, most first; a few of them by name. */
  alike?: { hosts: number; names: string[]; against: string[] }[];
}

/** So many hosts are told one by one when nothing else is asked for. */
const HOSTS = 50;
/** So many groups of others. */
const ALIKE = 8;
const NAMES = 3;

const percent = (share: number) => `${Math.round(share * 100)} %`;

function movesOf(estate: Estate, machine: MachineView): { moves?: string } {
  const policies = policiesOf(estate, machine);
  const fixed = fixedBy(policies);
  if (fixed) return { moves: `never: ${fixedWords(fixed)}` };
  const { automation, policy } = automationOf(policies);
  const name = policy && JSON.stringify(policy.metadata.name);
  switch (automation) {
    case "off":
      return { moves: `by hand only: policy ${name} moves nothing` };
    case "advise":
      return { moves: `by hand only: policy ${name} only advises` };
    case "ask":
      return { moves: `once a plan is approved: policy ${name} asks` };
  }
  const here = indexOf(estate).hosts.get(machine.host ?? "");
  const way = wayOf(machine, transferBy(policies), here, here);
  if (here && !converges(machine, way))
    return {
      moves: `only when it has to leave its host: it writes ${inMiB(machine.dirtyBytesPerSecond ?? 0)} a second to its memory, of which ${way.mbps} Mbit/s can be sent`,
    };
  const { now } = estate;
  if (now === undefined) return {};
  const limited = new Budget(estate, now).refuses([machine]);
  if (limited) return { moves: `not now: ${limited}` };
  const until = machine.since + stayOf(policiesOf(estate, machine), PLAN_DEFAULTS.stayMs);
  return machine.host !== undefined && now < until
    ? {
        moves: `not before ${new Date(until).toISOString()}, unless a rule is broken or a policy of its changes: it came here lately`,
      }
    : {};
}

const LATENCY = {
  low: "low: it may stand still while it is moved, for as long as that takes",
  normal: undefined,
  high: `high: a host that has it is full at ${percent(SENSITIVE_FULL)} of its processors, not at ${percent(FULL)}, and is relieved beyond ${percent(SENSITIVE_HOT)}, by its other machines first; the time that it stands still while it is moved counts four times`,
} as const;
const latencyOf = ({ latencySensitivity = "normal" }: MachineView): { latency?: string } => {
  const latency = LATENCY[latencySensitivity];
  return latency ? { latency } : {};
};

function useOf({ use, cpus, dirtyBytesPerSecond }: MachineView): string {
  if (!use) return `not measured for five minutes yet; it is taken to be a quarter of its ${cpus} CPUs`;
  const { cpus: now, expected, deviation, usualAt, demand } = use;
  const around = deviation === undefined ? "" : `, give or take ${deviation.toFixed(2)}`;
  const why =
    usualAt === undefined
      ? "as in the last while"
      : `usual in the hour of the week from ${new Date(usualAt).toISOString()}`;
  const besides = demand ? `; besides ${demandWords(demand)}` : "";
  const written =
    dirtyBytesPerSecond === undefined
      ? ""
      : `; it writes ${inMiB(dirtyBytesPerSecond)} a second to its memory`;
  return `${now.toFixed(2)} of its ${cpus} CPUs; expected ${expected.toFixed(2)}${around}, ${why}${besides}${written}`;
}

const demandWords = ({ iops, diskBytes, networkBytes, memoryBytes }: Demand) =>
  `${inMiB(memoryBytes)} of its host's memory, of its disks ${Math.round(iops)} requests and ${inMiB(diskBytes)} a second, of the network ${inMiB(networkBytes)} a second`;
const inMiB = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

/** Where it is, or else the best for it: what others are compared to. */
const referenceOf = (verdicts: readonly Verdict[], machine: MachineView): Verdict | undefined =>
  verdicts.find(({ host }) => host.name === machine.host) ??
  verdicts.find(({ against }) => against.length === 0);

/** @param least what a move of the machine must gain */
function judged(
  { host, against, score, busy }: Verdict,
  machine: MachineView,
  reference: Verdict | undefined,
  least: number,
): Judged {
  const about = { name: host.name, chosen: host.name === machine.host, ruledOut: false };
  if ((host.maintenance || host.emptied) && about.chosen)
    return { ...about, verdict: `to be left: ${host.closed}` };
  if (against.length > 0)
    return {
      ...about,
      ruledOut: true,
      verdict: `ruled out: ${against.map(({ why }) => why).join("; ")}`,
      against: against.map(({ why, policy, rule }) => ({
        why,
        ...(policy && rule ? { policy: policy.metadata.name, rule } : {}),
      })),
    };
  const parts = (score?.parts ?? []).map(
    ({ name, value, weight, detail }) => `${name} ${value.toFixed(2)} × ${weight.toFixed(2)}: ${detail}`,
  );
  const tooBusy = busy ? "; it would be too busy, by what its machines are measured to use" : "";
  const compared =
    score && reference?.score && reference.host !== host
      ? comparison(machine, score, { name: reference.host.name, score: reference.score }, least)
      : undefined;
  return {
    ...about,
    verdict: `score ${(score?.total ?? 0).toFixed(2)} (${parts.join("; ")})${tooBusy}`,
    ...(compared ? { compared } : {}),
  };
}

/** "0.70 less than on a, by policy "web": watts -0.67, room -0.03" */
function comparison(
  machine: MachineView,
  score: Score,
  reference: { name: string; score: Score },
  least: number,
): string {
  const gain = score.total - reference.score.total;
  const words =
    Math.abs(gain) < LEAST_TOLD
      ? `as good as on ${reference.name}`
      : `${Math.abs(gain).toFixed(2)} ${gain < 0 ? "less" : "more"} than on ${reference.name}`;
  const terms = differences(score, reference.score);
  const byPolicy = [...Map.groupBy(terms, ({ policy }) => policy)].map(([policy, of]) => {
    const each = of.map(({ what, by }) => `${what} ${by < 0 ? "-" : "+"}${Math.abs(by).toFixed(2)}`);
    return `by ${policy === undefined ? "no policy" : `policy ${JSON.stringify(policy)}`}: ${each.join(", ")}`;
  });
  const tooLittle =
    gain >= LEAST_TOLD && reference.name === machine.host && gain < least
      ? [`a move has to gain about ${least.toFixed(2)}`]
      : [];
  return [[words, ...byPolicy].join(", "), ...tooLittle].join("; ");
}

/** What is not seen with two digits is not told. */
const LEAST_TOLD = 0.005;

/** Terms that count differently, those that matter most first. */
function differences(a: Score, b: Score): { what: string; policy: string | undefined; by: number }[] {
  const keyOf = ({ name, policy, rule }: Score["parts"][number]) => JSON.stringify([name, policy, rule]);
  const other = new Map(b.parts.map((part) => [keyOf(part), part.value * part.weight]));
  return a.parts
    .map((part) => ({
      what: part.rule ?? part.name,
      policy: part.policy,
      by: part.value * part.weight - (other.get(keyOf(part)) ?? 0),
    }))
    .filter(({ by }) => Math.abs(by) >= LEAST_TOLD)
    .sort((x, y) => Math.abs(y.by) - Math.abs(x.by));
}

/** Those that are not told one by one, by what stands against them. */
function othersOf(verdicts: readonly Verdict[]): { others?: Others } {
  if (verdicts.length === 0) return {};
  const ruledOut = verdicts.filter(({ against }) => against.length > 0);
  const groups = Map.groupBy(ruledOut, ({ against }) => against.map(({ about }) => about).join("\0"));
  const alike = [...groups.values()]
    .sort((a, b) => b.length - a.length)
    .slice(0, ALIKE)
    .map((of) => ({
      hosts: of.length,
      names: of.slice(0, NAMES).map(({ host }) => host.name),
      against: (of[0]?.against ?? []).map(({ about }) => about),
    }));
  return {
    others: {
      possible: verdicts.length - ruledOut.length,
      ruledOut: ruledOut.length,
      ...(alike.length > 0 ? { alike } : {}),
    },
  };
}

/** Of one that is off: where it would run now. Undefined when there is no such machine. @param limit so many hosts one by one @param forecaster what moves take */
export function explain(
  now: Estate,
  key: string,
  limit = HOSTS,
  forecaster: Forecaster = PLAN_DEFAULTS.forecaster,
): Explanation | undefined {
  const estate = started(now, key);
  const machine = indexOf(estate).get(key);
  if (!machine) return undefined;
  const verdicts = judge(estate, machine);
  const reference = referenceOf(verdicts, machine);
  const least = leastGain(estate, machine, { ...PLAN_DEFAULTS, now: 0, released: new Set(), forecaster });
  const isTold = ({ host }: Verdict, i: number) => i < limit || host.name === machine.host;
  return {
    machine: key,
    ...(machine.host ? { host: machine.host } : {}),
    ...(reference ? { about: reference.host.name } : {}),
    policies: contributions(estate, machine, reference?.host, reference?.against ?? []),
    ...movesOf(estate, machine),
    ...latencyOf(machine),
    ...(machine.host ? { use: useOf(machine) } : {}),
    hosts: verdicts.filter(isTold).map((of) => judged(of, machine, reference, least)),
    ...othersOf(verdicts.filter((of, i) => !isTold(of, i))),
  };
}
