/** This host's NUMA nodes, cores and huge pages, from sysfs; and which of it may be given to one machine alone. */
import { readdirSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import { join } from "node:path";
import type { HostFacts } from "../../compute/hosts/kinds.ts";
import { OVERCOMMIT } from "../../compute/overcommit/kinds.ts";
import type { HugePageSize, Reservable } from "../../compute/resources/kinds.ts";
import { formatBytes } from "../../resource/quantity.ts";

export type NumaNodes = NonNullable<HostFacts["numaNodes"]>;

export interface Topology {
  nodes: NumaNodes;
  /** The logical CPUs that we may use, each core's together, in the order of the cores. */
  cores: number[][];
}

const MiB = 2 ** 20;
const PAGES: Record<HugePageSize, { folder: string; bytes: number }> = {
  "2Mi": { folder: "hugepages-2048kB", bytes: 2 * MiB },
  "1Gi": { folder: "hugepages-1048576kB", bytes: 1024 * MiB },
};
export const pageBytes = (size: HugePageSize): number => PAGES[size].bytes;

/** "0-2,5" as Linux writes lists of CPUs; anything else is none. */
export function parseList(text: string): number[] {
  return text
    .trim()
    .split(",")
    .flatMap((part) => {
      const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
      if (first === undefined) return [];
      return Array.from({ length: Number(last) - Number(first) + 1 }, (_, i) => Number(first) + i);
    });
}

export function formatList(cpus: readonly number[]): string {
  const sorted = [...cpus].sort((a, b) => a - b);
  const runs: [number, number][] = [];
  for (const cpu of sorted) {
    const run = runs.at(-1);
    if (run && run[1] + 1 === cpu) run[1] = cpu;
    else runs.push([cpu, cpu]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(",");
}

const read = (...path: string[]): string => {
  try {
    return readFileSync(join(...path), "utf8");
  } catch {
    return "";
  }
};
const number = (...path: string[]) => Number(read(...path)) || 0;

function hugepagesIn(folder: string): NumaNodes[number]["hugepages"] {
  return (Object.keys(PAGES) as HugePageSize[]).flatMap((size) => {
    const at = join(folder, PAGES[size].folder);
    const count = number(at, "nr_hugepages");
    return count > 0 ? [{ size, count, free: number(at, "free_hugepages") }] : [];
  });
}

/** @param sys where sysfs is mounted @param allowed our own CPUs, as in /proc/self/status */
export function readTopology(
  sys = "/sys",
  allowed = parseList(/^Cpus_allowed_list:\s*(\S+)/m.exec(read("/proc/self/status"))?.[1] ?? ""),
): Topology {
  const system = join(sys, "devices/system");
  const online = parseList(read(system, "cpu/online")).filter((cpu) => allowed.includes(cpu));
  const cores = new Map<string, number[]>();
  for (const cpu of online) {
    const siblings = read(system, `cpu/cpu${cpu}/topology/thread_siblings_list`).trim() || `${cpu}`;
    cores.set(siblings, [...(cores.get(siblings) ?? []), cpu]);
  }
  return { nodes: readNodes(system, join(sys, "kernel/mm/hugepages"), online), cores: [...cores.values()] };
}

/** One that holds all where the kernel knows no nodes. */
function readNodes(system: string, hugepages: string, online: readonly number[]): NumaNodes {
  let names: string[] = [];
  try {
    names = readdirSync(join(system, "node")).filter((name) => /^node\d+$/.test(name));
  } catch {
    // A kernel without NUMA.
  }
  const nodes = names.map((name) => ({
    id: Number(name.slice("node".length)),
    cpus: formatList(parseList(read(system, "node", name, "cpulist")).filter((cpu) => online.includes(cpu))),
    memoryBytes: Number(/MemTotal:\s+(\d+) kB/.exec(read(system, "node", name, "meminfo"))?.[1] ?? 0) * 1024,
    hugepages: hugepagesIn(join(system, "node", name, "hugepages")),
  }));
  const one = { id: 0, cpus: formatList(online), memoryBytes: totalmem(), hugepages: hugepagesIn(hugepages) };
  return nodes.length > 0 ? nodes.sort((a, b) => a.id - b.id) : [one];
}

/** All but those of the first core: that one is the host's own, and of the threads of QEMU that run no guest. */
export const dedicatable = ({ cores }: Topology): number[] => cores.slice(1).flat();

/** What Host.status.capacity says of it. */
export function reservableOf(topology: Topology): Required<Reservable> {
  const own = dedicatable(topology);
  const inWhole = (bytes: number) => formatBytes(Math.floor(bytes / MiB) * MiB);
  const pagesOf = (pages: NumaNodes[number]["hugepages"]) =>
    pages.map(({ size, count }) => ({ size, memory: inWhole(count * PAGES[size].bytes) }));
  const numaNodes = topology.nodes.map(({ id, cpus, memoryBytes, hugepages }) => {
    const here = parseList(cpus);
    const huge = hugepages.reduce((sum, { size, count }) => sum + count * PAGES[size].bytes, 0);
    return {
      id,
      cpus: here.length * OVERCOMMIT,
      dedicatedCpus: here.filter((cpu) => own.includes(cpu)).length,
      memory: inWhole(Math.max(0, memoryBytes - huge)),
      hugepages: pagesOf(hugepages),
    };
  });
  const sizes = (Object.keys(PAGES) as HugePageSize[]).flatMap((size) => {
    const count = topology.nodes
      .flatMap(({ hugepages }) => hugepages)
      .reduce((sum, pages) => sum + (pages.size === size ? pages.count : 0), 0);
    return count > 0 ? [{ size, count, free: count }] : [];
  });
  return { dedicatedCpus: own.length, hugepages: pagesOf(sizes), numaNodes };
}

/** What all huge pages take of the memory: nothing else can have it. */
export const hugeBytes = ({ nodes }: Topology): number =>
  nodes
    .flatMap(({ hugepages }) => hugepages)
    .reduce((sum, { size, count }) => sum + count * PAGES[size].bytes, 0);
