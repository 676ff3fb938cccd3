/**
 * How a machine shares its host with others, and what of it is its own: spec.resources. Shares may change while it runs (`KEPT` says what may
 * not); what is its own is counted (lackOfReserved) and given to it by the agent when a run starts.
 */
import { type Static, Type } from "typebox";
import { type Cause, invalidValue } from "../../resource/errors.ts";
import { keyedBy, Quantity, Words } from "../../resource/kind.ts";
import { formatBytes, parseBytes } from "../../resource/quantity.ts";
import { OVERCOMMIT } from "../overcommit/given-out.ts";

/** Sizes of huge pages, as Kubernetes writes them. */
export const HUGE_PAGES = ["2Mi", "1Gi"] as const;
export type HugePageSize = (typeof HUGE_PAGES)[number];

export const Resources = Type.Object(
  {
    cpuWeight: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 10000,
        description:
          "Its share of the host's processors when they are busy, against other machines; 100 by default.",
      }),
    ),
    cpuLimit: Type.Optional(
      Type.Number({
        minimum: 0.05,
        maximum: 512,
        description:
          "Processors of the host that it takes at most, 1.5 for one and a half; no limit by default.",
      }),
    ),
    oomOrder: Type.Optional(
      Words(["first", "normal", "last"], {
        description:
          "When its host has no memory left at all, the kernel ends a machine: those of `first` before those of `normal` (the default) before those of `last`.",
      }),
    ),
    dedicatedCpus: Type.Optional(
      Type.Boolean({
        description:
          "Each of its CPUs has one of the host's for itself, which no other machine uses. From its next start on.",
      }),
    ),
    singleNumaNode: Type.Optional(
      Type.Boolean({
        description:
          "Its CPUs and all of its memory, which it is given at its start, are of one NUMA node of the host. From its next start on.",
      }),
    ),
    hugepages: Type.Optional(
      Words(HUGE_PAGES, {
        description:
          "Its memory is made of huge pages of this size, which the host has set aside (vm.nr_hugepages). From its next start on.",
      }),
    ),
  },
  {
    description:
      "How it shares its host with other machines, and what of it is its own. Weight, limit and oomOrder may be changed while it runs.",
  },
);
export type Resources = Static<typeof Resources>;

/** What a run keeps from its start to its end. */
const KEPT = ["dedicatedCpus", "singleNumaNode", "hugepages"] as const;

const pick = (resources: Resources | undefined, kept: boolean): Resources =>
  Object.fromEntries(
    Object.entries(resources ?? {}).filter(([name]) => KEPT.some((each) => each === name) === kept),
  );

/** What a run has after its machine was changed: all of it but what it keeps. Undefined when it has nothing. */
export function adjusted(run: Resources | undefined, machine: Resources | undefined): Resources | undefined {
  const both = { ...pick(machine, false), ...pick(run, true) };
  return Object.keys(both).length > 0 ? both : undefined;
}

/** What a run keeps, to compare. */
export const keptOf = (resources: Resources | undefined): Resources => pick(resources, true);

/** What goes not together, by field. */
export function checkResources({ resources, memory }: { resources?: Resources; memory: string }): Cause[] {
  const { dedicatedCpus, cpuLimit, hugepages } = resources ?? {};
  const causes: Cause[] = [];
  const refuse = (field: string, value: unknown, why: string) =>
    causes.push(invalidValue(`spec.resources.${field}`, value, why));
  if (dedicatedCpus && cpuLimit !== undefined)
    refuse("cpuLimit", cpuLimit, "its CPUs are its own (dedicatedCpus): take one of the two away");
  const size = hugepages ? parseBytes(hugepages) : 1;
  const rest = parseBytes(memory) % size;
  if (hugepages && rest !== 0)
    refuse(
      "hugepages",
      hugepages,
      `spec.memory (${memory}) is no whole number of such pages; make it ${formatBytes(parseBytes(memory) - rest + size)}`,
    );
  return causes;
}

const HugePages = Type.Array(
  Type.Object({ size: Words(HUGE_PAGES), memory: Quantity({ description: "Of all such pages together." }) }),
  { ...keyedBy("size") },
);

const NumaNode = Type.Object({
  id: Type.Integer(),
  cpus: Type.Integer({ description: "Virtual CPUs that may be given out on it." }),
  dedicatedCpus: Type.Integer(),
  memory: Quantity({ description: "Memory of it that may be given to machines." }),
  hugepages: HugePages,
});

/** Of Host.status.capacity: what may be given to one machine alone. Absent: nothing. */
export const reservable = {
  dedicatedCpus: Type.Optional(
    Type.Integer({ description: "Its CPUs that machines may have for themselves (spec.resources)." }),
  ),
  hugepages: Type.Optional(HugePages),
  numaNodes: Type.Optional(Type.Array(NumaNode, { ...keyedBy("id") })),
};

interface Spec {
  cpus: number;
  memory: string;
  resources?: Resources;
}

/** What a machine counts of a host's CPUs: one of its own is the place of several that are shared. */
export const cpusOf = ({ cpus, resources }: Spec) => (resources?.dedicatedCpus ? cpus * OVERCOMMIT : cpus);
/** Huge pages are counted apart. */
export const memoryOf = ({ memory, resources }: Spec): number =>
  resources?.hugepages ? 0 : parseBytes(memory);

export interface Reserved {
  cpus: number;
  memoryBytes: number;
  dedicated: boolean;
  hugepages?: HugePageSize;
  singleNode: boolean;
  /** The node it is on; absent of one that is on none, or whose agent has not chosen yet. */
  node?: number;
}

/** Undefined of a machine that asks for nothing of its own. */
export function reservedBy({ cpus, memory, resources }: Spec, node?: number): Reserved | undefined {
  const { dedicatedCpus = false, hugepages, singleNumaNode = false } = resources ?? {};
  if (!dedicatedCpus && !hugepages && !singleNumaNode) return undefined;
  return {
    cpus,
    memoryBytes: parseBytes(memory),
    dedicated: dedicatedCpus,
    singleNode: singleNumaNode,
    ...(hugepages ? { hugepages } : {}),
    ...(node === undefined ? {} : { node }),
  };
}

type Pages = Static<typeof HugePages>;

/** Of Host.status.capacity. */
export interface Reservable {
  dedicatedCpus?: number;
  hugepages?: Pages;
  numaNodes?: Static<typeof NumaNode>[];
}

const total = (list: readonly Reserved[], of: (each: Reserved) => number) =>
  list.reduce((sum, each) => sum + of(each), 0);
const ownCpus = ({ dedicated, cpus }: Reserved) => (dedicated ? cpus : 0);
const pagesOf = (pages: Pages | undefined, size: HugePageSize): number =>
  parseBytes(pages?.find((each) => each.size === size)?.memory ?? "0Mi");

/** Why a host cannot give it to one more machine beside those that have something of it; undefined when it can. */
export function lackOfReserved(
  host: Reservable,
  wants: Reserved,
  taken: readonly Reserved[],
): string | undefined {
  const { dedicatedCpus = 0, hugepages, numaNodes = [] } = host;
  if (wants.dedicated) {
    if (dedicatedCpus === 0) return "has no CPUs to give to one machine alone (spec.resources.dedicatedCpus)";
    const free = dedicatedCpus - total(taken, ownCpus);
    if (wants.cpus > free)
      return `has ${Math.max(0, free)} of ${dedicatedCpus} CPUs left to give to one machine alone, the machine needs ${wants.cpus} (spec.resources.dedicatedCpus)`;
  }
  if (wants.hugepages) {
    const size = wants.hugepages;
    const all = pagesOf(hugepages, size);
    if (all === 0) return `has no huge pages of ${size}; ${setAside(size, wants.memoryBytes)}`;
    const free = all - total(taken, (each) => (each.hugepages === size ? each.memoryBytes : 0));
    if (wants.memoryBytes > free)
      return `has ${formatBytes(Math.max(0, free))} of ${formatBytes(all)} in huge pages of ${size} left, the machine needs ${formatBytes(wants.memoryBytes)} (spec.resources.hugepages)`;
  }
  if (!wants.singleNode) return undefined;
  if (numaNodes.length === 0) return "does not tell its NUMA nodes (spec.resources.singleNumaNode)";
  if (numaNodes.some((node) => fitsOn(node, wants, taken))) return undefined;
  return `has no NUMA node with room for all of the machine: ${wants.cpus} CPUs${wants.dedicated ? " of its own" : ""}, ${formatBytes(wants.memoryBytes)} memory (spec.resources.singleNumaNode)`;
}

/** "sysctl vm.nr_hugepages=512 there …" */
export const setAside = (size: HugePageSize, bytes: number) =>
  size === "2Mi"
    ? `sysctl vm.nr_hugepages=${Math.ceil(bytes / parseBytes(size))} there sets them aside; then start its agent anew`
    : "they are set aside by its kernel's options hugepagesz=1G hugepages=N";

/** What may be here counts as here: a machine whose node is not known yet, or whose CPUs or huge pages are of several. */
function fitsOn(
  node: NonNullable<Reservable["numaNodes"]>[number],
  wants: Reserved,
  taken: readonly Reserved[],
): boolean {
  const here = taken.filter((each) => each.node === node.id || each.node === undefined);
  const own = total(here, ownCpus);
  if (wants.dedicated && wants.cpus > node.dedicatedCpus - own) return false;
  const shared = total(here, (each) => (each.singleNode && !each.dedicated ? each.cpus : 0));
  if (!wants.dedicated && wants.cpus > node.cpus - shared - own * OVERCOMMIT) return false;
  const { hugepages } = wants;
  const memory = hugepages ? pagesOf(node.hugepages, hugepages) : parseBytes(node.memory);
  const same = taken.filter((each) =>
    each.singleNode
      ? here.includes(each) && each.hugepages === hugepages
      : hugepages && each.hugepages === hugepages,
  );
  return wants.memoryBytes <= memory - total(same, ({ memoryBytes }) => memoryBytes);
}
