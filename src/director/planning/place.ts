/** Chooses a host for a machine, or says of every host why not. Deterministic: ties go to the first name. Pure. */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { failoverObstacle, survivalOf } from "../failover/failover.ts";
import { brokenRules, isSpecial, obstacle, policiesOf } from "../rules/rules.ts";
import { whoSays } from "./goals.ts";
import { type Score, score } from "./score.ts";

export interface Verdict {
  host: HostView;
  /** Why it may not be there. */
  obstacle?: string;
  /** It would be too busy with it, by what is measured: hosts that would not go first. */
  busy?: boolean;
  /** How good it would be there, when it may. */
  score?: Score;
}

/** Of so many hosts it is looked at what would be left for losses; in a great estate that is full, more would take too long. */
const SURVIVAL_LOOKS = 200;

/** Why it may not be there, failover capacity included. @param looks how many hosts that may still be asked of */
function whyNot(
  estate: Estate,
  machine: MachineView,
  host: HostView,
  looks: { left: number },
): string | undefined {
  const why = obstacle(estate, machine, host);
  if (why || !survivalOf(estate)) return why;
  if (looks.left-- > 0) return failoverObstacle(estate, machine, host);
  return "not looked at: of many others failover capacity did not allow one";
}

/** More than any score. */
const BUSY = 10;

/** Every host in words, the best first, those that are ruled out last. */
export function judge(estate: Estate, machine: MachineView): Verdict[] {
  const looks = { left: SURVIVAL_LOOKS };
  const index = indexOf(estate);
  const rank = ({ score: of, busy }: Verdict) => (of?.total ?? -2 * BUSY) - (busy ? BUSY : 0);
  return estate.hosts
    .map((host): Verdict => {
      const why = whyNot(estate, machine, host, looks);
      if (why) return { host, obstacle: why };
      const busy = !index.load.staysCalm(machine, index.hostNumber(host.name));
      return { host, score: score(estate, machine, host), ...(busy ? { busy } : {}) };
    })
    .sort((a, b) => rank(b) - rank(a) || (a.host.name < b.host.name ? -1 : 1));
}

interface Choice {
  best: Verdict | undefined;
  /** How many hosts could run it. */
  possible: number;
}

/** Without words for all the others. @param but a host that it is to leave */
export function choose(estate: Estate, machine: MachineView, but?: string): Choice {
  const index = indexOf(estate);
  // Of another view of it than the estate's, the index knows neither its group nor its place.
  const seek = index.get(machine.key) === machine ? index.seek(machine) : undefined;
  if (!seek) {
    const possible = judge(estate, machine).filter(({ host, score: of }) => of && host.name !== but);
    return { best: possible[0], possible: possible.length };
  }
  const { shelves } = index;
  const leave = but === undefined ? -1 : index.hostNumber(but);
  const special = isSpecial(machine);
  const accept = (h: number): boolean => {
    const host = index.hostOf(h);
    return h !== leave && host !== undefined && !(special && obstacle(estate, machine, host));
  };
  const survival = survivalOf(estate);
  let looks = SURVIVAL_LOOKS;
  const survives = (h: number): boolean => {
    const host = index.hostOf(h);
    return accept(h) && host !== undefined && looks-- > 0 && !failoverObstacle(estate, machine, host);
  };
  const last = survival ? survives : special || leave >= 0 ? accept : undefined;
  const lowest = Number.NEGATIVE_INFINITY;
  const calm = index.best(seek, lowest, (to) => index.load.staysCalm(machine, to) && (!last || last(to)));
  const host = index.hostOf(calm < 0 ? index.best(seek, lowest, last) : calm);
  return {
    best: host && { host, score: score(estate, machine, host), ...(calm < 0 ? { busy: true } : {}) },
    possible: shelves.countOf(seek.want, special ? accept : undefined, leave),
  };
}

/** So many hosts, or reasons, are told one by one. */
const EACH = 8;

export type Placement =
  | { host: string; reason: string; policy?: string }
  | { host?: undefined; reason: string };

/** "policy web (energy): 20 W more, the best of 2 possible hosts" */
export function reasonFor(estate: Estate, machine: MachineView, best: Verdict, possible: number): string {
  const [policy] = policiesOf(estate, machine);
  const details = (best.score?.parts ?? [])
    .filter((part) => part.weight >= 0.1 || part.name === "preferred")
    .map((part) => part.detail);
  const rank = possible > 1 ? `, the best of ${possible} possible hosts` : ", the only possible host";
  return `${whoSays(policy, indexOf(estate).aimOf(policy))}: ${details.join(", ")}${rank}`;
}

/** @param but a host that it is to leave */
export function place(estate: Estate, machine: MachineView, but?: string): Placement {
  const { best, possible } = choose(estate, machine, but);
  if (!best) {
    const others = estate.hosts.filter(({ name }) => name !== but);
    if (others.length === 0)
      return { reason: but === undefined ? "there is no host yet" : `there is no host but ${but}` };
    const looks = { left: SURVIVAL_LOOKS };
    const told = refusal(others.map((host) => [host.name, whyNot(estate, machine, host, looks) ?? "?"]));
    return { reason: [told, ...relaxation(estate, machine, others)].join("; ") };
  }
  const [policy] = policiesOf(estate, machine);
  return {
    host: best.host.name,
    reason: reasonFor(estate, machine, best, possible),
    ...(policy ? { policy: policy.metadata.name } : {}),
  };
}

/** The fewest rules without which some host could run it, and which hosts; nothing when it is not for rules of policies. */
function relaxation(estate: Estate, machine: MachineView, hosts: readonly HostView[]): string[] {
  const free = hosts
    .filter((host) => obstacle(estate, machine, host, []) === undefined)
    .map((host) => ({ host, broken: brokenRules(estate, machine, host) }))
    .filter(({ broken }) => broken.length > 0);
  const fewest = Math.min(...free.map(({ broken }) => broken.length));
  const wordsOf = ({ policy, rule }: (typeof free)[number]["broken"][number]) =>
    `${rule} (policy ${JSON.stringify(policy.metadata.name)})`;
  const sets = Map.groupBy(
    free.filter(({ broken }) => broken.length === fewest),
    ({ broken }) => broken.map(wordsOf).join(" and "),
  );
  // The one that opens most hosts.
  const [best] = [...sets].sort(([, a], [, b]) => b.length - a.length);
  if (!best) return [];
  const [rules, opened] = best;
  const names = opened.slice(0, 2).map(({ host }) => host.name);
  const more = opened.length > 2 ? `, … (${opened.length} hosts)` : "";
  return [`without ${rules} it could run on ${names.join(", ")}${more}`];
}

/** What each host says, or when there are many, how many say the same. */
function refusal(all: readonly (readonly [host: string, why: string])[]): string {
  if (all.length <= EACH) return all.map(([host, why]) => `${host}: ${why}`).join("; ");
  const byReason = [...Map.groupBy(all, ([, why]) => why)].sort(([, a], [, b]) => b.length - a.length);
  const told = byReason.slice(0, EACH).map(([why, of]) => {
    const [first = ["?", ""], second] = of;
    if (!second) return `${first[0]}: ${why}`;
    return `${of.length} hosts (${first[0]}, ${second[0]}${of.length > 2 ? ", …" : ""}): ${why}`;
  });
  const rest = byReason.slice(EACH).reduce((sum, [, of]) => sum + of.length, 0);
  return [...told, ...(rest > 0 ? [`${rest} more hosts for other reasons`] : [])].join("; ");
}
