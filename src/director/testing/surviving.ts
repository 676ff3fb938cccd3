/** Small estates that are to survive losses, for tests. */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { failoverFaults } from "../failover/failover.ts";
import type { Policy } from "../kinds.ts";
import { obstacle } from "../rules/rules.ts";
import { estateOf as estateOfViews, GiB, hostView, machineView, policyOf } from "./views.ts";

export { GiB };

export const host = (name: string, more: Partial<HostView> = {}): HostView =>
  hostView(name, {
    ...{ cpus: 16, cores: 16, memoryBytes: 4 * GiB, mhz: 2000, accelerator: "tcg", ssd: true },
    ...{ idleWatts: 50, maxWatts: 100 },
    ...more,
  });
export const machine = (
  name: string,
  gib: number,
  on?: string,
  more: Partial<MachineView> = {},
): MachineView => machineView(name, on, { labels: { app: "web" }, memoryBytes: gib * GiB, ...more });
export const policy = (spec: Partial<Policy["spec"]>, name = "web"): Policy =>
  policyOf(name, {
    selector: { matchLabels: { app: "web" } },
    goals: [{ goal: "balanced", weight: 1 }],
    failover: { per: "host", losses: 1 },
    ...spec,
  });
export const estateOf = (hosts: HostView[], machines: MachineView[], ...policies: Policy[]): Estate =>
  estateOfViews(hosts, machines, policies);
/** Whether the machines of those chosen that are on hosts which are lost find room elsewhere: every way is tried. */
export function findsRoom(
  estate: Estate,
  lost: ReadonlySet<string>,
  chosen: (machine: MachineView) => boolean,
): boolean {
  const isLost = (one: MachineView) => lost.has(one.host ?? "");
  const must = estate.machines.filter((one) => isLost(one) && chosen(one));
  const hosts = estate.hosts.filter(({ name }) => !lost.has(name));
  const go = (machines: MachineView[], i: number): boolean => {
    const next = must[i];
    if (!next) return true;
    const { host: _, ...homeless } = next;
    return hosts.some((to) => {
      const now = { ...estate, hosts, machines: [...machines, homeless] };
      return !obstacle(now, homeless, to) && go([...machines, { ...homeless, host: to.name }], i + 1);
    });
  };
  return go(
    estate.machines.filter((one) => !isLost(one)),
    0,
  );
}
export const faultsOf = (estate: Estate, i = 0) =>
  failoverFaults(estate).get(estate.policies[i] as Policy) ?? [];
