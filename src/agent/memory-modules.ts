/** The host's memory modules, and which NUMA node each is near, as far as its firmware tells (SMBIOS type 17). No I/O. */
import type { HostFacts } from "../compute/hosts/kinds.ts";
import type { NumaNodes } from "./qemu/topology.ts";

type Module = HostFacts["memory"]["modules"][number];

export interface ToldModule extends Module {
  /** The number that the firmware has for the processor whose it is, from 0 or from 1 on. */
  socket?: number;
}

/** A whole number, or 0 for what is none: the API would refuse anything else. */
const whole = (value: number): number => (Number.isSafeInteger(value) && value > 0 ? value : 0);

const SIZES: Record<string, number> = { MB: 2 ** 20, GB: 2 ** 30, TB: 2 ** 40 };

/** From `dmidecode -t memory`; empty slots are left out. */
export function parseMemoryModules(text: string): ToldModule[] {
  return text.split(/\n\n+/).flatMap((block) => {
    if (!/^\s*Memory Device/m.test(block)) return [];
    const field = (name: string) => new RegExp(`^\\s*${name}:\\s*(.+)$`, "m").exec(block)?.[1] ?? "";
    const size = /^(\d+) (MB|GB|TB)/.exec(field("Size"));
    if (!size) return [];
    const locator = field("Locator");
    return [
      {
        locator,
        sizeBytes: whole(Number(size[1]) * (SIZES[size[2] ?? ""] ?? 0)),
        type: field("Type"),
        speedMTs: whole(Number(/^(\d+)/.exec(field("Speed"))?.[1])),
        ...eccOf(field("Total Width"), field("Data Width")),
        ...(socketIn(locator) ?? socketIn(field("Bank Locator"))),
      },
    ];
  });
}

/** The bits beyond those of data are for correction. */
function eccOf(total: string, data: string): { ecc?: boolean } {
  const [all, own] = [total, data].map((text) => whole(Number(/^(\d+) bits/.exec(text)?.[1])));
  return all && own ? { ecc: all > own } : {};
}

/** "P1-DIMMA1", "PROC 2 DIMM 3", "CPU0_DIMM_B1", "DIMM_P1_A0", "P0 CHANNEL A": vendors agree on no more. */
function socketIn(text: string): { socket: number } | undefined {
  const socket = /(?:^|[^A-Za-z0-9])(?:P|CPU|PROC)[ _]?(\d{1,3})(?!\d)/i.exec(text)?.[1];
  return socket === undefined ? undefined : { socket: Number(socket) };
}

/** Firmware and kernel keep so much of a node's modules for themselves at most. */
const KEPT = 0.2;

/**
 * With their nodes where that is certain: there is one node, or one for each processor that has modules (no clusters within a processor), in the same order,
 * and the memory that Linux found on each is what its modules have. Nothing is said of any else.
 */
export function onNodes(told: readonly ToldModule[], nodes: NumaNodes): Module[] {
  const modules = told.map(({ socket: _socket, ...module }) => module);
  const [only, ...more] = nodes;
  if (only && more.length === 0) return modules.map((module) => ({ ...module, numaNode: only.id }));
  const sockets = [...new Set(told.map(({ socket }) => socket))].sort((a = -1, b = -1) => a - b);
  const withMemory = nodes.filter(({ memoryBytes }) => memoryBytes > 0);
  if (sockets.includes(undefined) || sockets.length !== withMemory.length) return modules;
  const fits = withMemory.every(({ memoryBytes }, i) => {
    const own = told.filter(({ socket }) => socket === sockets[i]);
    const all = own.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    return memoryBytes <= all && memoryBytes >= all * (1 - KEPT);
  });
  if (!fits) return modules;
  const nodeOf = new Map(sockets.map((socket, i) => [socket, withMemory[i]?.id ?? 0]));
  return modules.map((module, i) => ({ ...module, numaNode: nodeOf.get(told[i]?.socket) ?? 0 }));
}
