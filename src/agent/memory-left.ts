/**
 * The agent's last word on memory, where its host gives out more than there is (Host.spec.overcommit): a machine starts, is taken in, or gets more while it runs, only when
 * all of its memory would be somewhere, and what the others there have been promised and have not touched yet, too. What is given out was counted when it was bound
 * (compute/capacity.ts); what else runs on the host, and whether its swap is still on, was not. It is one look: what else runs there may take more afterwards.
 */
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { memoryNow } from "../compute/changes/kinds.ts";
import type { Host } from "../compute/hosts/kinds.ts";
import type { Instance } from "../compute/kinds.ts";
import { memoryOf } from "../compute/resources/kinds.ts";
import type { LackingMemory } from "../qemu/hot-memory.ts";
import { invalidity } from "../resource/invalid.ts";
import { formatBytes, parseBytes } from "../resource/quantity.ts";

const KiB = 1024;
const MiB = KiB ** 2;
/** Of KSM. */
const PAGE = 4096;

const shown = (bytes: number) => formatBytes(Math.floor(bytes / MiB) * MiB);

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

/** Of a file of memory, what it has in memory or in swap; `file` is the same of the same one. */
const allocatedIn = (path: string): { file: string; bytes: number } => {
  const { dev, ino, blocks } = statSync(path);
  return { file: `${dev} ${ino}`, bytes: blocks * 512 };
};

/** Memory of guests that is a file of their QEMU (memfd): RssShmem has neither what of it is in swap, nor whether it is a template's. */
function inFilesOf(pid: number, proc: string, allocated: typeof allocatedIn): number {
  const files = new Map<string, number>();
  try {
    const folder = join(proc, String(pid), "fd");
    for (const path of readdirSync(folder).map((fd) => join(folder, fd))) {
      if (!readlinkSync(path).startsWith("/memfd:memory-backend-memfd")) continue;
      const { file, bytes } = allocated(path);
      files.set(file, bytes);
    }
  } catch {
    // It is gone, or one that we may not look into: then all of it counts as still to come.
  }
  return files.values().reduce((sum, bytes) => sum + bytes, 0);
}

/**
 * What a machine's process has of memory that is its own, in memory or in swap; undefined: there is none. Pages that KSM has merged are not counted: they may be
 * written to again at any moment. What QEMU has for itself is counted, as if it were its guest's.
 */
export function heldBy(pid: number, proc = "/proc", allocated = allocatedIn): number | undefined {
  const status = read(join(proc, String(pid), "status"));
  if (!status) return undefined;
  const sizeOf = (field: string) =>
    Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? 0) * KiB;
  const merged = Number(read(join(proc, String(pid), "ksm_merging_pages"))) * PAGE;
  return sizeOf("RssAnon") + sizeOf("VmSwap") + inFilesOf(pid, proc, allocated) - merged;
}

/** Who has been let through is remembered here: two that start at the same moment must not be told of the same memory. */
export class MemoryLeft {
  readonly #proc: string;
  readonly #allocated: typeof allocatedIn;
  /** By uid, as long as they are live: until its process is known such a run counts whole. */
  readonly #begun = new Map<string, Instance>();
  /** Of running ones, by uid: to how many bytes they may grow, which they need not have done yet. */
  readonly #growing = new Map<string, number>();

  /** @param proc where procfs is mounted @param allocated what is there of a file of memory */
  constructor(proc = "/proc", allocated = allocatedIn) {
    this.#proc = proc;
    this.#allocated = allocated;
  }

  /**
   * Why the host has not the memory for a machine that is about to start, beside what the others may still come to use; undefined: it has, or gives out no more than there
   * is, and the machine is counted from now on. @param runs of this host
   */
  lack(
    host: Pick<Host, "spec" | "metadata"> | undefined,
    instance: Instance,
    runs: readonly Instance[],
  ): string | undefined {
    const uid = instance.metadata.uid ?? "";
    const lack = this.#lack(host, instance, memoryOf(instance.spec), runs);
    if (lack === undefined) this.#begun.set(uid, instance);
    else this.#begun.delete(uid);
    return lack && `${lack}; it starts when so much is free, or elsewhere when it is stopped and started`;
  }

  /** The same of one that runs: why it may not have the memory that it is to have, or its guest not as much of it back from its balloon as it is to use. */
  lackToGrow(
    host: Pick<Host, "spec" | "metadata"> | undefined,
    instance: Instance,
    runs: readonly Instance[],
  ): LackingMemory {
    const { metadata, spec, status } = instance;
    const uid = metadata.uid ?? "";
    const wanted = parseBytes(spec.memory);
    const now = status?.has?.memory ? memoryNow(status.has.memory) : wanted;
    const held = (status?.pid && heldBy(status.pid, this.#proc, this.#allocated)) || 0;
    const lackOf = (bytes: number) => {
      const lack = this.#lack(host, instance, Math.max(0, bytes - held), runs);
      return lack && `${lack}; it gets more when so much is free, or on another host`;
    };
    const memory = wanted > now ? lackOf(wanted) : undefined;
    if (wanted > now && memory === undefined) this.#growing.set(uid, wanted);
    else this.#growing.delete(uid);
    const all = memory === undefined ? wanted : now;
    const target = spec.memoryTarget ? parseBytes(spec.memoryTarget) : all;
    const memoryTarget = lackOf(Math.min(target, all));
    return { ...(memory ? { memory } : {}), ...(memoryTarget ? { memoryTarget } : {}) };
  }

  /** It did not start, or has ended. */
  letGo({ metadata }: Pick<Instance, "metadata">): void {
    this.#begun.delete(metadata.uid ?? "");
    this.#growing.delete(metadata.uid ?? "");
  }

  /** @param needs what the machine may take beyond what it has */
  #lack(
    host: Pick<Host, "spec" | "metadata"> | undefined,
    instance: Instance,
    needs: number,
    runs: readonly Instance[],
  ): string | undefined {
    const share = host?.spec?.overcommit?.memory ?? 1;
    // It has its huge pages from the beginning, and they are none of what is left.
    if (!host || share <= 1 || needs === 0 || memoryOf(instance.spec) === 0) return undefined;
    const meminfo = read(join(this.#proc, "meminfo"));
    const available = Number(/^MemAvailable:\s+(\d+) kB$/m.exec(meminfo)?.[1] ?? 0) * KiB;
    const left = available + readSwap(this.#proc).freeBytes;
    const owed = this.#owed(instance, runs);
    if (needs + owed <= left) return undefined;
    const others = owed > 0 ? `the others there may still take ${shown(owed)}, ` : "";
    return `host ${host.metadata.name} has ${shown(left)} of memory and swap left, ${others}the machine may take ${shown(needs)}: it gives out more memory than it has (spec.overcommit.memory: ${share})`;
  }

  /** Of a run that begins or goes on, all that its guest may come to use. Of one that is to grow and may not yet, what it has: as below. */
  #promisedTo({ spec, status, metadata }: Instance): number {
    const promised = memoryOf(spec);
    if (promised === 0 || !status?.has?.memory) return promised;
    return Math.max(memoryNow(status.has.memory), this.#growing.get(metadata.uid ?? "") ?? 0);
  }

  /** What the others may come to use beyond what they have. One that only waits for its start counts nothing: two of them would wait for one another. */
  #owed({ metadata }: Instance, runs: readonly Instance[]): number {
    const others = new Map(this.#begun);
    for (const run of runs) {
      const uid = run.metadata.uid ?? "";
      if (run.status?.custody === "Released" || invalidity(run)) others.delete(uid);
      else if (run.status?.pid !== undefined || others.has(uid)) others.set(uid, run);
    }
    others.delete(metadata.uid ?? "");
    let owed = 0;
    for (const [uid, run] of others) {
      const pid = run.status?.pid;
      const held = pid === undefined ? undefined : heldBy(pid, this.#proc, this.#allocated);
      // Its process has ended: the news of that is on its way.
      if (held === undefined && !this.#begun.has(uid)) continue;
      owed += Math.max(0, this.#promisedTo(run) - (held ?? 0));
    }
    return owed;
  }
}
