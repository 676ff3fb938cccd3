/** Which of a host's CPUs, and which NUMA node, become a machine's own. Pure: from what the records of the others say. */
import { lackOfReserved, type Resources, reservedBy } from "../../compute/resources/kinds.ts";
import { formatBytes } from "../../resource/quantity.ts";
import { dedicatable, parseList, reservableOf, type Topology } from "./topology.ts";

/** Kept in the machine's record. */
export interface Place {
  /** The host's CPUs that are its own, one for each virtual CPU. */
  cpus?: number[];
  /** The node that all of `cpus` are of. */
  node?: number;
  /** Whether its memory is of that node, too. */
  bound?: boolean;
}

export interface Placed {
  cpus: number;
  memoryBytes: number;
  resources: Resources;
  place: Place;
}

type Wants = Omit<Placed, "place">;

/** Undefined of a machine that asks for nothing of its own. @returns a text for users when there is not enough left */
export function choosePlace(
  topology: Topology,
  wants: Wants,
  others: readonly Placed[],
): Place | string | undefined {
  const reserved = reservedBy(specOf(wants));
  if (!reserved) return undefined;
  const taken = others.flatMap((other) => reservedBy(specOf(other), other.place.node) ?? []);
  const lack = lackOfReserved(reservableOf(topology), reserved, taken);
  if (lack) return `its host ${lack}`;
  const { dedicated, singleNode } = reserved;
  if (!dedicated && !singleNode) return {};
  const used = new Set(others.flatMap(({ place }) => place.cpus ?? []));
  const free = dedicatable(topology).filter((cpu) => !used.has(cpu));
  for (const { id, cpus: list } of nodesToTry(topology, wants, others)) {
    const here = free.filter((cpu) => parseList(list).includes(cpu));
    if (dedicated && here.length < wants.cpus) continue;
    return {
      ...(dedicated ? { cpus: pick(topology, here, wants.cpus) } : {}),
      node: id,
      ...(singleNode ? { bound: true } : {}),
    };
  }
  if (singleNode || free.length < wants.cpus)
    return "its host has no CPUs left to give to this machine alone (spec.resources)";
  return { cpus: pick(topology, free, wants.cpus) };
}

const specOf = ({ cpus, memoryBytes, resources }: Wants) => ({
  cpus,
  memory: formatBytes(memoryBytes),
  resources,
});

/** The nodes with room, the emptiest first. */
function nodesToTry(topology: Topology, wants: Wants, others: readonly Placed[]) {
  const spec = { ...specOf(wants), resources: { ...wants.resources, singleNumaNode: true } };
  const reserved = reservedBy(spec);
  const taken = others.flatMap((other) => reservedBy(specOf(other), other.place.node) ?? []);
  const { numaNodes } = reservableOf(topology);
  const load = (id: number) => others.filter(({ place }) => place.node === id).length;
  return topology.nodes
    .filter(({ id }) => {
      const only = { ...reservableOf(topology), numaNodes: numaNodes.filter((node) => node.id === id) };
      return reserved && !lackOfReserved(only, reserved, taken);
    })
    .sort((a, b) => load(a.id) - load(b.id) || a.id - b.id);
}

/** Whole cores before parts of them, so that two machines seldom share one. */
function pick({ cores }: Topology, free: readonly number[], count: number): number[] {
  const left = cores
    .map((core) => ({ core, free: core.filter((cpu) => free.includes(cpu)) }))
    .filter(({ free: some }) => some.length > 0);
  const whole = left.filter(({ core, free: some }) => some.length === core.length);
  const parts = left.filter((each) => !whole.includes(each));
  // What is left of a core over goes first to whoever needs just that.
  const order = count < (whole[0]?.core.length ?? 1) ? [...parts, ...whole] : [...whole, ...parts];
  return order.flatMap(({ free: some }) => some).slice(0, count);
}

/** The CPUs of all machines that have none of their own, and of QEMU's threads that run no guest. */
export function sharedCpus({ cores }: Topology, others: readonly Place[]): number[] {
  const used = new Set(others.flatMap(({ cpus }) => cpus ?? []));
  return cores.flat().filter((cpu) => !used.has(cpu));
}

/** Where the threads may run that are not pinned to one CPU: on the machine's node when its memory is bound to one. */
export function floatingCpus(topology: Topology, place: Place, shared: readonly number[]): number[] {
  const node = place.bound ? topology.nodes.find(({ id }) => id === place.node) : undefined;
  const near = node ? parseList(node.cpus).filter((cpu) => shared.includes(cpu)) : [];
  return near.length > 0 ? near : [...shared];
}
