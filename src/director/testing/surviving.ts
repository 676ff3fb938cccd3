/** Small estates that are to survive losses, for tests. */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { failoverFaults } from "../failover/failover.ts";
import type { Policy } from "../kinds.ts";
import { obstacle } from "../rules/rules.ts";

export const GiB = 2 ** 30;

export const host = (name: string, more: Partial<HostView> = {}): HostView => ({
  name,
  ready: true,
  site: "",
  rack: name,
  cpus: 16,
  memoryBytes: 4 * GiB,
  mhz: 2000,
  cores: 16,
  cpuModel: "x",
  accelerator: "tcg",
  ssd: true,
  linkMbps: 1000,
  idleWatts: 50,
  maxWatts: 100,
  ...more,
});
export const machine = (
  name: string,
  gib: number,
  on?: string,
  more: Partial<MachineView> = {},
): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels: { app: "web" },
  cpus: 1,
  memoryBytes: gib * GiB,
  ...(on ? { host: on } : {}),
  movable: true,
  since: 0,
  ...more,
});
export const policy = (spec: Partial<Policy["spec"]>, name = "web"): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace: "default" },
  spec: {
    selector: { matchLabels: { app: "web" } },
    goals: [{ goal: "balanced", weight: 1 }],
    automation: "act",
    priority: 0,
    failover: { per: "host", losses: 1 },
    ...spec,
  },
});
export const estateOf = (hosts: HostView[], machines: MachineView[], ...policies: Policy[]): Estate => ({
  hosts,
  machines,
  policies,
  odd: [],
});
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
