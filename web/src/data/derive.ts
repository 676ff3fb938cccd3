/** What the pages make of several kinds at once. Pure. */
import { type GivenOut, givenOutBy, OVERCOMMIT } from "../../../src/compute/overcommit/given-out.ts";
import { curveOf, powerFiguresOf, shareOn, wattsAt } from "../../../src/director/estate/watts.ts";
import { isBeingStopped } from "../../../src/director/planning/plan-standing.ts";
import { parseBytes } from "../../../src/resource/quantity.ts";
import { selects } from "../../../src/resource/selector.ts";
import type { Tone } from "../../ui/basics.tsx";
import type { HostBrief, Machine, Migration, Plan, Policy } from "./kinds.ts";

/** Machines have one of a few sizes, and there may be tens of thousands. */
const known = new Map<string, number>();
export function bytesOf(quantity: string | undefined): number {
  if (quantity === undefined) return 0;
  let bytes = known.get(quantity);
  if (bytes !== undefined) return bytes;
  try {
    bytes = parseBytes(quantity);
  } catch {
    bytes = 0;
  }
  if (known.size < 1000) known.set(quantity, bytes);
  return bytes;
}

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
  "Being stopped": ["info", true],
  Paused: ["warn", false],
  Unknown: ["warn", false],
  Proposed: ["info", false],
  Held: ["idle", false],
  Failed: ["bad", false],
};
/** How a phase is shown, and whether something is going on. Phases that are not known here are shown all the same. */
export const toneOf = (phase: string): [Tone, boolean] => RANKS[phase] ?? ["idle", false];

export const phaseOf = (vm: Machine): string =>
  vm.metadata.deletionTimestamp ? "Deleting" : (vm.status?.phase ?? "Pending");

/** A plan goes on to be Running, or Held, until the executor has ended its moves. */
export const phaseOfPlan = (plan: Plan): string =>
  isBeingStopped(plan) ? "Being stopped" : (plan.status?.phase ?? "Pending");

export interface Conditioned {
  status?: { conditions?: { type: string; status: string; reason: string; message: string }[] };
}
export const conditionOf = (object: Conditioned, type: string) =>
  object.status?.conditions?.find((condition) => condition.type === type);

export const hostState = (host: HostBrief): string => {
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

interface Chosen {
  /** By the metadata of a machine that has not changed since. */
  byMetadata: WeakMap<object, readonly Policy[]>;
  /** By namespace and labels, of which very many machines have the same. */
  byLabels: Map<string, readonly Policy[]>;
}
const knownOf = new WeakMap<readonly Policy[], Chosen>();

/** Policies that choose a machine, the one that decides first; as the director orders them. */
export function policiesOf(
  vm: { metadata: Pick<Machine["metadata"], "namespace" | "labels"> },
  policies: readonly Policy[],
): readonly Policy[] {
  const kept = knownOf.get(policies) ?? { byMetadata: new WeakMap(), byLabels: new Map() };
  knownOf.set(policies, kept);
  const { byMetadata, byLabels } = kept;
  const { metadata } = vm;
  const known = byMetadata.get(metadata);
  if (known) return known;
  const key = `${metadata.namespace} ${JSON.stringify(metadata.labels ?? {})}`;
  const chosen =
    byLabels.get(key) ??
    policies
      .filter(
        (policy) =>
          policy.metadata.namespace === metadata.namespace &&
          selects(policy.spec.selector, metadata.labels ?? {}),
      )
      .sort((a, b) => priorityOf(b) - priorityOf(a) || (a.metadata.name < b.metadata.name ? -1 : 1));
  byLabels.set(key, chosen);
  byMetadata.set(metadata, chosen);
  return chosen;
}

/** The machines that a policy chooses. */
export function chosenBy<T extends { metadata: Pick<Machine["metadata"], "namespace" | "labels"> }>(
  policy: Policy,
  machines: readonly T[],
): T[] {
  // The same list for all: what is known of labels is kept with it.
  const own = [policy];
  return machines.filter((vm) => policiesOf(vm, own).length > 0);
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
  machines: Machine[];
  /** Given out to its machines. */
  cpus: number;
  memoryBytes: number;
  /** What the host gives out in all; 0: it has not told yet what it has. */
  allCpus: number;
  allMemoryBytes: number;
  usedCpus: number;
  usedMemoryBytes: number;
  diskBytesPerSecond: number;
  networkBytesPerSecond: number;
  /** What it takes by its power figures and what its machines use now, as the director reckons (director/estate/watts.ts); undefined: it has no figures. */
  watts: number | undefined;
}

/** Undefined: it has not told yet what it has, or nobody can read that. */
function givenBy(host: HostBrief): GivenOut | undefined {
  try {
    return givenOutBy(host);
  } catch {
    return undefined;
  }
}

/** How much of what the host gives out machines there have, 0 to 1. */
export const cpuShare = ({ cpus, allCpus }: HostLoad): number => cpus / Math.max(1, allCpus);
export const memoryShare = ({ memoryBytes, allMemoryBytes }: HostLoad): number =>
  memoryBytes / Math.max(1, allMemoryBytes);

const RESTS: ReadonlySet<string> = new Set(["Stopped", "Suspended", "Failed"]);

/** What machines are given and use of each host. A stopped machine takes nothing. */
export function loadOf(hosts: readonly HostBrief[], machines: readonly Machine[]): Map<string, HostLoad> {
  const loads = new Map<string, HostLoad>();
  for (const host of hosts) {
    const all = givenBy(host);
    loads.set(host.metadata.name, {
      machines: [],
      cpus: 0,
      memoryBytes: 0,
      allCpus: all?.cpus ?? 0,
      allMemoryBytes: all?.memoryBytes ?? 0,
      usedCpus: 0,
      usedMemoryBytes: 0,
      diskBytesPerSecond: 0,
      networkBytesPerSecond: 0,
      watts: undefined,
    });
  }
  for (const vm of machines) {
    const load = loads.get(vm.status?.host ?? "");
    if (!load || RESTS.has(phaseOf(vm))) continue;
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
    const curve = curveOf(powerFiguresOf(host));
    if (!load || !curve) continue;
    const processors = (host.status?.capacity?.cpus ?? 0) / OVERCOMMIT;
    const share = load.machines.reduce(
      (sum, vm) => sum + shareOn(vm.spec.cpus, vm.status?.usage?.cpus, load.allCpus || 1, processors || 1),
      0,
    );
    load.watts = host.status?.power?.state === "Off" ? 0 : wattsAt(curve, share);
  }
  return loads;
}

export const isOver = ({ status }: Migration): boolean =>
  ["Succeeded", "Failed", "Cancelled"].includes(status?.phase ?? "");
