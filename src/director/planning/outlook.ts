/** The hosts, and the estate in all, before a plan and as it is to leave them: what approving it changes. Pure. */
import type { Estate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { applyTo } from "../estate/moved.ts";
import { NO_TARIFFS } from "../estate/tariffs.ts";
import { obstacle } from "../rules/rules.ts";
import { hostFigures } from "./figures.ts";
import { round } from "./forecast.ts";
import type { EstateFigures, HostFigures, Outlook } from "./kinds.ts";
import type { Move } from "./plan.ts";

/** So many hosts are told one by one; of a plan that the planner makes that is nearly always all of them. */
const HOSTS = 60;

/** Machines looked at between two rests: a few milliseconds of work. */
const AT_ONCE = 1000;

/** Of the hosts that its moves leave and reach, those first that it changes most. @param estate nobody else may look at it: the moves are made in it @param rest has others go first */
export async function outlookOf(
  estate: Estate,
  moves: readonly Pick<Move, "namespace" | "vm" | "from" | "to">[],
  rest: () => Promise<void>,
): Promise<Outlook> {
  const { hosts } = indexOf(estate);
  const touched = [...new Set(moves.flatMap(({ from, to }) => [from, to]))].flatMap(
    (name) => hosts.get(name) ?? [],
  );
  const figures = () => touched.map((host) => hostFigures(estate, host));
  const [first, before] = [figures(), await estateFigures(estate, rest)];
  for (const { namespace, vm, to } of moves) applyTo(estate, `${namespace}/${vm}`, to);
  const then = figures();
  const all = touched.flatMap(({ name, cpus, memoryBytes, maxWatts }, i) => {
    const [was, will] = [first[i], then[i]];
    const capacity = { cpus, memoryBytes, ...(maxWatts === undefined ? {} : { watts: maxWatts }) };
    return was && will ? [{ name, capacity, before: was, after: will }] : [];
  });
  all.sort((a, b) => changeOf(b) - changeOf(a) || (a.name < b.name ? -1 : 1));
  return {
    before,
    after: await estateFigures(estate, rest),
    hosts: all.slice(0, HOSTS),
    ...(all.length > HOSTS ? { moreHosts: all.length - HOSTS } : {}),
  };
}

/** Hosts that become empty or are taken into use go first: they are what is switched. */
function changeOf({
  capacity,
  before,
  after,
}: {
  capacity: { cpus: number; memoryBytes: number };
  before: HostFigures;
  after: HostFigures;
}): number {
  const share = (now: number, was: number, most: number) => Math.abs(now - was) / Math.max(1, most);
  return (
    ((before.machines === 0) === (after.machines === 0) ? 0 : 10) +
    Math.max(
      share(after.cpus, before.cpus, capacity.cpus),
      share(after.memoryBytes, before.memoryBytes, capacity.memoryBytes),
    )
  );
}

async function estateFigures(estate: Estate, rest: () => Promise<void>): Promise<EstateFigures> {
  const { sites = NO_TARIFFS } = estate;
  const sums = { watts: 0, cost: 0, carbon: 0 };
  let [hostsInUse, untold, priced, weighed] = [0, 0, false, false];
  for (const host of estate.hosts) {
    const { machines, watts } = hostFigures(estate, host);
    if (machines > 0) hostsInUse++;
    if (watts === undefined) {
      if (machines > 0) untold++;
      continue;
    }
    sums.watts += watts;
    const { pue = 1, price, carbon } = sites.get(host.site) ?? {};
    priced ||= price !== undefined;
    weighed ||= carbon !== undefined;
    sums.cost += ((watts * pue) / 1000) * (price ?? 0);
    sums.carbon += ((watts * pue) / 1000) * (carbon ?? 0);
  }
  const told = untold < hostsInUse || (hostsInUse === 0 && estate.hosts.length > 0);
  return {
    hostsInUse,
    ...(told ? { watts: round(sums.watts, 1) } : {}),
    ...(untold > 0 ? { hostsWithoutWatts: untold } : {}),
    ...(priced ? { costPerHour: round(sums.cost, 4) } : {}),
    ...(weighed ? { carbonGramsPerHour: round(sums.carbon, 1) } : {}),
    rulesBroken: await rulesBroken(estate, rest),
  };
}

/** Of each policy those of its machines that may not be where they are; neither machines without a host nor what `failover` reserves, which the policy's condition Satisfied tells of, too. */
async function rulesBroken(estate: Estate, rest: () => Promise<void>): Promise<number> {
  const index = indexOf(estate);
  let [broken, looked] = [0, 0];
  for (const policy of estate.policies)
    for (const at of index.membersOf(policy)) {
      if (++looked % AT_ONCE === 0) await rest();
      const machine = index.machines[at];
      const host = machine && index.hosts.get(machine.host ?? "");
      if (host && obstacle(estate, machine, host, [policy])) broken++;
    }
  return broken;
}
