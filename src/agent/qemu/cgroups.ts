/**
 * Each machine's QEMU in a control group of its own, version 1 or 2, whichever the host has: CPU weight and limit, and a limit of memory, so that one
 * gone wild ends itself and nobody else.
 *
 *   v2: ROOT/vireo/<12 digits>/{cpu.weight,cpu.max,memory.max,cgroup.procs}
 *   v1: ROOT/cpu/vireo/<12 digits>/{cpu.shares,cpu.cfs_quota_us,cgroup.procs}
 *       ROOT/memory/vireo/<12 digits>/{memory.limit_in_bytes,cgroup.procs}
 *
 * All machines are in one, also those without wishes: else two machines with as many threads as they like would not share evenly. Under systemd
 * ROOT/vireo is beside system.slice, which systemd leaves alone.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";

export interface CpuShare {
  /** 1 to 10000; 100 is that of everybody. */
  cpuWeight?: number;
  /** Processors at most. */
  cpuLimit?: number;
}

const ROOT = "/sys/fs/cgroup";
const GROUP = "vireo";
const DEFAULT_WEIGHT = 100;
/**
 * Of all machines together, shared out among the processors by the kernel: on each as much as one process beside them. With more, guests that spin kept the host's agent
 * from saying that it is there; with the same number on hosts of any size, a single process beside them would take a processor of many from all guests.
 */
const ALL_WEIGHT = Math.min(10_000, DEFAULT_WEIGHT * availableParallelism());
const PERIOD_US = 100_000;

/** v1 counts 1024 where v2 counts 100. */
const shares = (weight: number) => String(Math.max(2, Math.round((weight * 1024) / 100)));
const quota = (limit: number) => Math.round(limit * PERIOD_US);

export class Cgroups {
  readonly #root: string;

  constructor(root = ROOT) {
    this.#root = root;
  }

  /**
   * Puts the process into its group and sets what is asked for; what is not goes back to what everybody has. Idempotent.
   * @param memoryBytes that it takes at most; where the host has no such groups, there is no limit
   * @returns why it cannot be, for users; undefined when all is as asked
   */
  apply(name: string, pid: number, share: CpuShare, memoryBytes?: number): string | undefined {
    const { cpuWeight = DEFAULT_WEIGHT, cpuLimit } = share;
    const controllers = this.#controllers();
    const two = controllers.includes("cpu");
    const all = two ? join(this.#root, GROUP) : this.#versionOne();
    if (!all) return "its host has no control groups for processors (cgroup v1 or v2 with cpu)";
    const own = join(all, name);
    try {
      if (two) {
        const both = ["cpu", ...(controllers.includes("memory") ? ["memory"] : [])];
        allow(this.#root, both);
        mkdirSync(own, { recursive: true });
        allow(all, both);
        if (both.includes("memory")) set(own, "memory.max", String(memoryBytes ?? "max"));
        set(all, "cpu.weight", String(ALL_WEIGHT));
        set(own, "cpu.weight", String(cpuWeight));
        set(own, "cpu.max", `${cpuLimit === undefined ? "max" : quota(cpuLimit)} ${PERIOD_US}`);
      } else {
        mkdirSync(own, { recursive: true });
        set(all, "cpu.shares", shares(ALL_WEIGHT));
        set(own, "cpu.shares", shares(cpuWeight));
        set(own, "cpu.cfs_period_us", String(PERIOD_US));
        set(own, "cpu.cfs_quota_us", String(cpuLimit === undefined ? -1 : quota(cpuLimit)));
        this.#limitMemory(name, pid, memoryBytes ?? -1);
      }
      set(own, "cgroup.procs", String(pid));
      return undefined;
    } catch (error) {
      const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
      return `its host does not let the agent set it (${own}: ${code}); the agent has to be root, and to see ${this.#root} writable`;
    }
  }

  /** How many processes of the group the kernel has killed for want of memory; undefined when it does not tell. */
  oomKills(name: string): number | undefined {
    const files = [
      join(this.#root, GROUP, name, "memory.events"),
      join(this.#root, "memory", GROUP, name, "memory.oom_control"),
    ];
    for (const file of files)
      try {
        const kills = /^oom_kill (\d+)$/m.exec(readFileSync(file, "utf8"))?.[1];
        if (kills !== undefined) return Number(kills);
      } catch {
        // There is none.
      }
    return undefined;
  }

  /** Once nothing is in it any more. No-op when there is none. */
  remove(name: string): void {
    const folders = [
      join(this.#root, GROUP, name),
      join(this.#versionOne() ?? this.#root, name),
      join(this.#root, "memory", GROUP, name),
    ];
    for (const folder of folders)
      try {
        rmdirSync(folder);
      } catch {
        // There is none, or something is in it still: it costs nothing.
      }
  }

  /** Version 1. */
  #limitMemory(name: string, pid: number, bytes: number): void {
    const memory = join(this.#root, "memory");
    if (!existsSync(join(memory, "memory.limit_in_bytes"))) return;
    const own = join(memory, GROUP, name);
    mkdirSync(own, { recursive: true });
    set(own, "memory.limit_in_bytes", String(bytes));
    set(own, "cgroup.procs", String(pid));
  }

  /** Of version 2. */
  #controllers(): string[] {
    try {
      return readFileSync(join(this.#root, "cgroup.controllers"), "utf8").split(/\s+/);
    } catch {
      return [];
    }
  }

  #versionOne(): string | undefined {
    const found = ["cpu", "cpu,cpuacct"].find((name) => existsSync(join(this.#root, name, "cpu.shares")));
    return found && join(this.#root, found, GROUP);
  }
}

function set(folder: string, file: string, value: string): void {
  writeFileSync(join(folder, file), value);
}

/** Lets the groups inside have weights of their own. */
function allow(folder: string, controllers: readonly string[]): void {
  set(folder, "cgroup.subtree_control", controllers.map((name) => `+${name}`).join(" "));
}
