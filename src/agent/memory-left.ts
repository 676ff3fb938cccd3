/**
 * The agent's last word on memory, where its host gives out more than there is (Host.spec.overcommit): a machine starts, or is taken in, only when all of its memory
 * would be somewhere now. What is given out was counted when it was bound (compute/capacity.ts); what else runs on the host, and whether its swap is still on, was not.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "../compute/hosts/kinds.ts";
import type { Instance } from "../compute/kinds.ts";
import { memoryOf } from "../compute/resources/kinds.ts";
import { formatBytes } from "../resource/quantity.ts";

const KiB = 1024;
const MiB = KiB ** 2;

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
};

/** Swap on disks: what is compressed in memory (zram) is none that would be left when memory is not. @param proc where procfs is mounted */
export function readSwap(proc = "/proc"): { totalBytes: number; freeBytes: number } {
  const swap = { totalBytes: 0, freeBytes: 0 };
  for (const line of read(join(proc, "swaps")).split("\n")) {
    const [, name = "", size, used] = /^(\S+)\s+\S+\s+(\d+)\s+(\d+)\s/.exec(line) ?? [];
    if (size === undefined || used === undefined || /zram\d*$/.test(name)) continue;
    swap.totalBytes += Number(size) * KiB;
    swap.freeBytes += (Number(size) - Number(used)) * KiB;
  }
  return swap;
}

/** Why the host has not the memory for a machine that is about to start; undefined: it has, or gives out no more than there is. @param proc where procfs is mounted */
export function memoryLack(
  host: Pick<Host, "spec" | "metadata"> | undefined,
  { spec }: Pick<Instance, "spec">,
  proc = "/proc",
): string | undefined {
  const share = host?.spec?.overcommit?.memory ?? 1;
  const needs = memoryOf(spec);
  if (!host || share <= 1 || needs === 0) return undefined;
  const available = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(read(join(proc, "meminfo")))?.[1] ?? 0) * KiB;
  const left = available + readSwap(proc).freeBytes;
  if (needs <= left) return undefined;
  const shown = formatBytes(Math.floor(left / MiB) * MiB);
  return `host ${host.metadata.name} has ${shown} of memory and swap left, the machine may take ${spec.memory}: it gives out more memory than it has (spec.overcommit.memory: ${share}); it starts when so much is free, or elsewhere when it is stopped and started`;
}
