/** What machines have of the hosts of a PowerPolicy, and by which clock: for the shape of the week (demand.ts). Pure. */
import type { PowerPolicy } from "../../power/policies/kinds.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { capacityOf, DECLARED, demandOf } from "../estate/estate-model.ts";
import { policiesOf } from "../rules/rules.ts";
import { allows, lack, moveObstacle } from "../rules/suits.ts";
import type { Given } from "./demand.ts";
import type { PowerInput } from "./input.ts";
import { policyFor } from "./standing.ts";

const MiB = 2 ** 20;

/** Of hosts which of these machines one of them could have if it were on, with nothing else on it. */
function takers(estate: Estate, machines: readonly MachineView[], hosts: readonly HostView[]): MachineView[] {
  const index = indexOf(estate);
  const sized = hosts.map((host) => ({ host, has: capacityOf(host) }));
  // What rules say of one they say of all of its kind.
  const kinds = [...Map.groupBy(sized, ({ host }) => index.kindOfHost(index.hostNumber(host.name))).values()];
  return machines.filter((machine) => {
    const policies = policiesOf(estate, machine);
    const needs = demandOf(machine).slice(0, DECLARED);
    const { disksOn } = machine;
    const fits = ({ host, has }: (typeof sized)[number]) =>
      (disksOn === undefined || disksOn === host.name) && needs.every((need, r) => need <= (has[r] ?? 0));
    const suits = (host: HostView) =>
      !lack(machine, host) && !moveObstacle(machine, undefined, host) && allows(policies, host, machine);
    return kinds.some((alike) => alike[0] && suits(alike[0].host) && alike.some(fits));
  });
}

/**
 * What is given out of the hosts that a policy has the say over, with what waits for a place and could be there: what no host of its can take has none of them on. At most what
 * they have in all.
 */
export function givenOut({ estate, hosts, policies, waiting }: PowerInput, policy: PowerPolicy): Given {
  const index = indexOf(estate);
  const own = hosts
    .filter((host) => policyFor(policies, host) === policy)
    .flatMap(({ metadata }) => index.hosts.get(metadata.name) ?? []);
  const given = { cpus: 0, memoryMiB: 0 };
  const all = { cpus: 0, memoryMiB: 0 };
  for (const host of own) {
    const use = index.use(host.name);
    given.cpus += use.cpus;
    given.memoryMiB += use.memoryBytes / MiB;
    all.cpus += host.cpus;
    all.memoryMiB += host.memoryBytes / MiB;
  }
  const machines = waiting.flatMap((key) => index.get(key) ?? []);
  for (const machine of takers(estate, machines, own)) {
    given.cpus += machine.cpus;
    given.memoryMiB += machine.memoryBytes / MiB;
  }
  return { cpus: Math.min(given.cpus, all.cpus), memoryMiB: Math.min(given.memoryMiB, all.memoryMiB) };
}

/** Of the sites of its hosts the time zone of most; UTC where no Site tells. */
export function timeZoneOf({ estate, hosts, policies }: PowerInput, policy: PowerPolicy): string {
  const counts = new Map<string, number>();
  for (const host of hosts) {
    if (policyFor(policies, host) !== policy) continue;
    const { timeZone = "UTC" } = estate.sites?.get(host.spec.site ?? "") ?? {};
    counts.set(timeZone, (counts.get(timeZone) ?? 0) + 1);
  }
  return [...counts].reduce((most, each) => (each[1] > most[1] ? each : most), ["UTC", 0])[0];
}
