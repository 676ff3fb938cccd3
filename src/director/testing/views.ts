/** Hosts, machines, policies and estates as the director sees them, for tests and bench/: what a test is about it says itself. */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";

export const GiB = 2 ** 30;

export const hostView = (name: string, more: Partial<HostView> = {}): HostView => ({
  name,
  ready: true,
  site: "",
  rack: name,
  cpus: 8,
  memoryBytes: 8 * GiB,
  mhz: 3000,
  cores: 4,
  cpuModel: "x",
  accelerator: "kvm",
  ssd: false,
  linkMbps: 1000,
  ...more,
});

/** @param on the host that it is on; none: it waits for one */
export const machineView = (
  name: string,
  on: string | undefined,
  more: Partial<MachineView> = {},
): MachineView => ({
  key: `default/${name}`,
  namespace: "default",
  name,
  labels: {},
  cpus: 1,
  memoryBytes: GiB,
  ...(on ? { host: on } : {}),
  movable: true,
  since: 0,
  ...more,
});

export const policyOf = (name: string, spec: Partial<Policy["spec"]> = {}): Policy => ({
  apiVersion: "vireo.dev/v2",
  kind: "Policy",
  metadata: { name, namespace: "default" },
  spec: { selector: {}, automation: "act", priority: 0, ...spec },
});

export const estateOf = (
  hosts: HostView[],
  machines: MachineView[],
  policies: Policy[] = [],
  more: Partial<Estate> = {},
): Estate => ({ hosts, machines, policies, odd: [], ...more });
