/** What each host would be to a machine: all that stands against it there, or how good it would be. Pure. */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { failoverAgainst, survivalOf } from "../failover/failover.ts";
import { type Obstacle, obstacles, plain } from "../rules/rules.ts";
import { type Score, score } from "./score.ts";

export interface Verdict {
  host: HostView;
  /** All that stands against it; empty: it may be there. */
  against: readonly Obstacle[];
  /** It would be too busy with it, by what is measured: hosts that would not go first. */
  busy?: boolean;
  /** How good it would be there, when it may. */
  score?: Score;
}

/** Of so many hosts it is looked at what would be left for losses; in a great estate that is full, more would take too long. */
export const SURVIVAL_LOOKS = 200;

/** Whether it may not take what policies reserve for losses: it may when it has to leave its host. */
export const isReservedFrom = (estate: Estate, { host }: MachineView): boolean =>
  survivalOf(estate) !== undefined && !indexOf(estate).hosts.get(host ?? "")?.maintenance;

const NOT_LOOKED_AT = plain("not looked at: of many others failover capacity did not allow one");

type Against = ReadonlyMap<HostView, readonly Obstacle[]>;

/** What stands against the machine on each of the hosts, but for what failover reserves. */
export const againstEach = (estate: Estate, machine: MachineView, hosts: readonly HostView[]): Against =>
  new Map(hosts.map((host) => [host, [...obstacles(estate, machine, host)]]));

/** Against which nothing stands but rules of policies. */
export const onlyRules = (against: readonly Obstacle[]): boolean => against.every(({ policy }) => policy);

/**
 * With what failover reserves. It is asked of those hosts first against which nothing else stands, then of those against which only rules do: what would be left of
 * one that has not the room cannot be known.
 */
export function withFailover(estate: Estate, machine: MachineView, all: Against): Against {
  if (!isReservedFrom(estate, machine)) return all;
  let looks = SURVIVAL_LOOKS;
  const ask = (host: HostView): Obstacle[] => {
    const found = looks-- > 0 ? failoverAgainst(estate, machine, host) : NOT_LOOKED_AT;
    return found ? [found] : [];
  };
  const more = new Map(all);
  for (const [host, against] of all) if (against.length === 0) more.set(host, ask(host));
  for (const [host, against] of all)
    if (looks > 0 && against.length > 0 && onlyRules(against)) more.set(host, [...against, ...ask(host)]);
  return more;
}

/** More than any score. */
const BUSY = 10;

/** Every host, the best first; those that are ruled out last, those with the least against them first. */
export function judge(estate: Estate, machine: MachineView): Verdict[] {
  const index = indexOf(estate);
  const rank = ({ score: of, busy, against }: Verdict) =>
    (of?.total ?? -2 * BUSY - against.length) - (busy ? BUSY : 0);
  return [...withFailover(estate, machine, againstEach(estate, machine, estate.hosts))]
    .map(([host, against]): Verdict => {
      if (against.length > 0) return { host, against };
      const busy = !index.load.staysCalm(machine, index.hostNumber(host.name));
      return { host, against, score: score(estate, machine, host), ...(busy ? { busy } : {}) };
    })
    .sort((a, b) => rank(b) - rank(a) || (a.host.name < b.host.name ? -1 : 1));
}
