/**
 * Room on a host: capacity without what the runs there take. A run takes what its Instance says, whatever the VirtualMachine says by
 * now, and whether or not that still exists. Pure.
 */
import { formatBytes, parseBytes } from "../resource/quantity.ts";
import { memoryNow } from "./changes/kinds.ts";
import { isLive } from "./custody.ts";
import type { Host } from "./hosts/kinds.ts";
import type { Instance } from "./kinds.ts";
import { givenOutBy } from "./overcommit/given-out.ts";
import {
  cpusOf,
  lackOfReserved,
  memoryOf,
  type Reserved,
  type Resources,
  reservedBy,
} from "./resources/kinds.ts";

/** What one run of a machine takes. */
export interface Demand {
  cpus: number;
  /** A quantity: "512Mi". */
  memory: string;
  resources?: Resources;
  /** Runs of this machine take nothing more beside it: only one of them at a time has the disks. */
  vmUid: string;
}

const MiB = 2 ** 20;
/** Rounded down to whole MiB, so that it never promises more than there is. */
const shown = (bytes: number) => formatBytes(Math.max(0, Math.floor(bytes / MiB) * MiB));

/**
 * Why the host has no room for the run; undefined when it has, or has not told its capacity yet. Instances may be of any shape: of one that
 * is odd, what can be read counts.
 */
export function lackOfRoom(
  host: Host,
  demand: Demand,
  instances: readonly Partial<Instance>[],
): string | undefined {
  const { name } = host.metadata;
  const given = givenOutBy(host);
  if (!given) return undefined;
  // The greatest run of each machine: a successor that waits for the disks runs only when its predecessor is gone.
  const taken = new Map<string, { cpus: number; memory: number; reserved: Reserved | undefined }>();
  for (const instance of instances) {
    const { spec, metadata } = instance;
    if (!spec || spec.host !== name || !isLive({ status: instance.status }) || spec.vmUid === demand.vmUid)
      continue;
    const machine = typeof spec.vmUid === "string" ? spec.vmUid : (metadata?.uid ?? "");
    const before = taken.get(machine);
    // Its guest may have more than it is to have by now, and not let go of it.
    const { has } = instance.status ?? {};
    const takes = {
      cpus: typeof spec.cpus === "number" ? spec.cpus : 0,
      memory: sizeOf(spec.memory),
      ...(spec.resources ? { resources: spec.resources } : {}),
    };
    taken.set(machine, {
      cpus: Math.max(before?.cpus ?? 0, cpusOf(takes), numberOf(has?.cpus?.now)),
      memory: Math.max(before?.memory ?? 0, memoryOf(takes), has?.memory ? memoryNow(has.memory) : 0),
      reserved: reservedBy(takes, instance.status?.numaNode) ?? before?.reserved,
    });
  }
  let { cpus, memoryBytes: memory } = given;
  for (const each of taken.values()) {
    cpus -= each.cpus;
    memory -= each.memory;
  }
  const wants = reservedBy(demand);
  const others = [...taken.values()].flatMap(({ reserved }) => reserved ?? []);
  const lack = wants && lackOfReserved(given.reservable, wants, others);
  if (lack) return `host ${name} ${lack}`;
  if (memoryOf(demand) > memory)
    return `host ${name} has ${shown(memory)} of ${shown(given.memoryBytes)} memory free, the machine needs ${demand.memory}${given.short ? `; ${given.short}` : ""}`;
  if (cpusOf(demand) > cpus)
    return `host ${name} has ${Math.max(0, cpus)} of ${given.cpus} CPUs free, the machine needs ${cpusOf(demand)}`;
  return undefined;
}

const numberOf = (value: unknown) => (typeof value === "number" ? value : 0);

/** "0Mi" for what is none. */
function sizeOf(memory: unknown): string {
  try {
    return formatBytes(parseBytes(memory));
  } catch {
    return "0Mi";
  }
}
