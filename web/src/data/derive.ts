/** What the pages make of several kinds at once. Pure. */
import { parseBytes } from "../../../src/resource/quantity.ts";
import { selects } from "../../../src/resource/selector.ts";
import type { Tone } from "../../ui/basics.tsx";
import type { Host, Migration, Policy, VirtualMachine } from "./kinds.ts";

export const bytesOf = (quantity: string | undefined): number => {
  try {
    return quantity === undefined ? 0 : parseBytes(quantity);
  } catch {
    return 0;
  }
};

const RANKS: Readonly<Record<string, [Tone, boolean]>> = {
  Running: ["ok", false],
  Succeeded: ["ok", false],
  Ready: ["ok", false],
  Pending: ["idle", true],
  Preparing: ["info", true],
  Starting: ["info", true],
  Migrating: ["info", true],
  Building: ["info", true],
  Taking: ["info", true],
  Deleting: ["info", true],
  Stopping: ["info", true],
  Suspending: ["info", true],
  Paused: ["warn", false],
  Unknown: ["warn", false],
  Proposed: ["info", false],
  Failed: ["bad", false],
};
/** How a phase is shown, and whether something is going on. Phases that are not known here are shown all the same. */
export const toneOf = (phase: string): [Tone, boolean] => RANKS[phase] ?? ["idle", false];

export const phaseOf = (vm: VirtualMachine): string =>
  vm.metadata.deletionTimestamp ? "Deleting" : (vm.status?.phase ?? "Pending");

interface Conditioned {
  status?: { conditions?: { type: string; status: string; reason: string; message: string }[] };
}
export const conditionOf = (object: Conditioned, type: string) =>
  object.status?.conditions?.find((condition) => condition.type === type);

export const hostState = (host: Host): string => {
  const ready = conditionOf(host, "Ready")?.status;
  if (host.status?.power?.task) return `Power: ${host.status.power.task.kind}`;
  if (host.status?.power?.state === "Off") return "Off";
  if (ready !== "True") return "Unknown";
  if (host.spec.maintenance) return "Maintenance";
  return host.spec.unschedulable ? "Cordoned" : "Ready";
};
export const hostTone = (state: string): Tone =>
  state === "Ready" ? "ok" : state === "Unknown" ? "warn" : state.startsWith("Power") ? "info" : "idle";

const priorityOf = ({ spec }: Policy): number => spec.priority ?? 0;

/** Policies that choose a machine, the one that decides first; as the director orders them. */
export function policiesOf(vm: VirtualMachine, policies: readonly Policy[]): Policy[] {
  return policies
    .filter(
      ({ metadata, spec }) =>
        metadata.namespace === vm.metadata.namespace && selects(spec.selector, vm.metadata.labels ?? {}),
    )
    .sort((a, b) => priorityOf(b) - priorityOf(a) || (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** Twelve hues that are told apart on light and dark ground, neighbours most of all. */
const HUES = [188, 28, 262, 142, 340, 215, 50, 300, 100, 5, 240, 165];
/** Of machines that no policy chooses. */
export const plainColor = (dark: boolean): string => (dark ? "hsl(215 10% 52%)" : "hsl(215 10% 58%)");

/** Each policy's colour, the same on all pages: by the order of their names. */
export function policyColors(policies: readonly Policy[], dark: boolean): ReadonlyMap<string, string> {
  const names = [...new Set(policies.map(({ metadata }) => metadata.name))].sort();
  return new Map(
    names.map((name, i) => [name, `hsl(${HUES[i % HUES.length]} 45% ${dark ? 58 : 42}%)`] as const),
  );
}

export interface HostLoad {
  machines: VirtualMachine[];
  cpus: number;
  memoryBytes: number;
  usedCpus: number;
  usedMemoryBytes: number;
  diskBytesPerSecond: number;
  networkBytesPerSecond: number;
  watts: number | undefined;
}

/** What machines are given and use of each host. A stopped machine takes nothing. */
export function loadOf(hosts: readonly Host[], machines: readonly VirtualMachine[]): Map<string, HostLoad> {
  const loads = new Map<string, HostLoad>();
  for (const { metadata } of hosts)
    loads.set(metadata.name, {
      machines: [],
      cpus: 0,
      memoryBytes: 0,
      usedCpus: 0,
      usedMemoryBytes: 0,
      diskBytesPerSecond: 0,
      networkBytesPerSecond: 0,
      watts: undefined,
    });
  for (const vm of machines) {
    const load = loads.get(vm.status?.host ?? "");
    if (!load || ["Stopped", "Suspended", "Failed"].includes(phaseOf(vm))) continue;
    load.machines.push(vm);
    load.cpus += vm.spec.cpus;
    load.memoryBytes += bytesOf(vm.spec.memory);
    const usage = vm.status?.usage;
    load.usedCpus += usage?.cpus ?? 0;
    load.usedMemoryBytes += usage?.hostMemoryBytes ?? 0;
    if (!usage) continue;
    load.diskBytesPerSecond += usage.disk.readBytesPerSecond + usage.disk.writtenBytesPerSecond;
    load.networkBytesPerSecond += usage.network.receivedBytesPerSecond + usage.network.sentBytesPerSecond;
  }
  for (const host of hosts) {
    const load = loads.get(host.metadata.name);
    const power = host.status?.facts?.power;
    const all = host.status?.capacity?.cpus ?? 0;
    // By the host's power figures and the CPUs in use: as the director reckons, from what is given out.
    if (load && power && all > 0)
      load.watts = power.idleWatts + (power.maxWatts - power.idleWatts) * Math.min(1, load.cpus / all);
  }
  return loads;
}

export const isOver = ({ status }: Migration): boolean =>
  ["Succeeded", "Failed", "Cancelled"].includes(status?.phase ?? "");
