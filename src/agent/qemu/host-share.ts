/**
 * What each machine's QEMU has of this host: a control group with limits, its place in the order in which the kernel ends processes when
 * memory runs out, and the CPUs that its threads may use. QEMU's sandbox forbids it to do any of this itself.
 *
 * Which CPUs are whose stands in the machines' records alone, so an agent that was killed at any point finds it again; what the kernel has been told
 * is looked at before it is changed.
 */
import { readdirSync, readFileSync } from "node:fs";
import { totalmem } from "node:os";
import type { Resources } from "../../compute/resources/kinds.ts";
import type { Qmp } from "../../qemu/qmp.ts";
import { vcpuThreads } from "../../qemu/vcpus.ts";
import { formatBytes } from "../../resource/quantity.ts";
import { setOomScore } from "../../system/oom.ts";
import { isSame } from "../../system/process.ts";
import { CommandError, run } from "../../system/run.ts";
import { HypervisorError, type MachineConfig } from "../hypervisor.ts";
import { Cgroups } from "./cgroups.ts";
import { choosePlace, floatingCpus, type Place, type Placed, sharedCpus } from "./own-place.ts";
import type { MachineRecord } from "./qemu-record.ts";
import { formatList, pageBytes, readTopology, type Topology } from "./topology.ts";

const MiB = 2 ** 20;

/**
 * What QEMU may take beside the guest's memory before it is taken for gone wild: itself and its devices, caches of each disk's qcow2 tables (32 MiB at most,
 * and another for a snapshot that is being merged), stacks and bookkeeping of each virtual CPU, dirty bitmaps and page tables (a hundredth of the memory, twice
 * over), and under TCG what it has translated (at most 1 GiB).
 */
export function memoryLimitOf({ accelerator, ports = 0, more, ...config }: MachineConfig): number {
  // What it may become while it runs.
  const disks = Math.max(config.disks.length, ports);
  const memory = Math.max(config.memory, more?.maxMemory ?? 0);
  const cpus = Math.max(config.cpus, more?.maxCpus ?? 0);
  const overhead = 256 + disks * 64 + cpus * 16 + (accelerator === "tcg" ? 1024 : 0);
  return Math.ceil((memory * 1.02) / MiB + overhead) * MiB;
}

const ORDER = { first: 1000, normal: 600, last: 200 } as const;

/**
 * oom_score_adj. The kernel ends whoever has the most points: thousandths of the host's memory that it uses, and this. What a machine may use is taken
 * off, so that the order is that of `oomOrder` and not of the sizes.
 */
export function oomScoreOf(order: keyof typeof ORDER = "normal", memory: number, total = totalmem()): number {
  return Math.max(-800, ORDER[order] - Math.round((1000 * memory) / total));
}

/** The lists are compared as text: both are Linux's. */
function allowedCpus(pid: number, thread: number | string = pid): string | undefined {
  try {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8");
    return /^Cpus_allowed_list:\s*(\S+)/m.exec(status)?.[1];
  } catch {
    return undefined;
  }
}

/** QEMU names them: "CPU 0/KVM". */
function floatingThreads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`).filter(
      (thread) => !readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").startsWith("CPU "),
    );
  } catch {
    return [];
  }
}

export class HostShare {
  readonly #cgroups = new Cgroups();
  readonly #topology: () => Topology;
  /** Whether any machine had CPUs of its own when we last looked; before the first look that is not known. */
  #anyOwn = true;

  constructor(topology: () => Topology = readTopology) {
    this.#topology = topology;
  }

  /** @param others records of machines that run or are being started. @throws HypervisorError when it cannot have what it is to have alone */
  place(config: MachineConfig, others: readonly MachineRecord[]): Place | undefined {
    const { cpus, memory, resources = {} } = config;
    const topology = this.#topology();
    const place = choosePlace(topology, { cpus, memoryBytes: memory, resources }, others.map(placedOf));
    if (typeof place === "string") throw new HypervisorError(place);
    const { hugepages: size } = resources;
    if (!size) return place;
    const nodes = topology.nodes.filter(({ id }) => !place?.bound || id === place.node);
    const free = nodes
      .flatMap(({ hugepages }) => hugepages)
      .reduce((sum, pages) => sum + (pages.size === size ? pages.free : 0), 0);
    if (free * pageBytes(size) < memory)
      throw new HypervisorError(
        `its host has ${formatBytes(free * pageBytes(size))} free in huge pages of ${size}, the machine needs ${formatBytes(memory)} (spec.resources.hugepages)`,
      );
    return place;
  }

  /** At once after the spawn, before it has taken any memory: what it takes before is not counted as its own. */
  begin(name: string, pid: number, config: MachineConfig): void {
    this.#limit(name, pid, config, config.resources ?? {});
  }

  /** All that may be changed while it runs, and its CPUs. Idempotent. @returns why it cannot be, for users */
  async apply(
    name: string,
    pid: number,
    record: MachineRecord,
    resources: Resources,
    qmp: () => Promise<Qmp>,
    others: readonly MachineRecord[],
  ): Promise<string | undefined> {
    const why = this.#limit(name, pid, record.config, resources);
    return (await this.settle(pid, record, qmp, others)) ?? why;
  }

  #limit(name: string, pid: number, config: MachineConfig, resources: Resources): string | undefined {
    const score = oomScoreOf(resources.oomOrder, config.memory);
    // Below zero only with CAP_SYS_RESOURCE.
    if (!setOomScore(pid, score)) setOomScore(pid, Math.max(0, score));
    return this.#cgroups.apply(name, pid, resources, memoryLimitOf(config));
  }

  /** Pins it, and has all others keep off what is its own, or come back to what nobody has any more. @returns why not, for users */
  async settle(
    pid: number,
    record: MachineRecord,
    qmp: () => Promise<Qmp>,
    others: readonly MachineRecord[],
  ): Promise<string | undefined> {
    const places = [record, ...others].flatMap(({ place }) => place ?? []);
    const own = record.place?.cpus;
    if (!record.place && !this.#anyOwn && !places.some(({ cpus }) => cpus)) return undefined;
    try {
      await this.#float(pid, record, places);
      if (own) await pinVcpus(pid, await vcpuThreads(await qmp()), own);
      if (own || this.#anyOwn) await this.rebalance(others, places);
      return undefined;
    } catch (error) {
      const said =
        error instanceof CommandError ? error.message : "it did not say on which threads its CPUs run";
      return `its host does not let the agent pin it to CPUs: ${said}`;
    }
  }

  /** After a start, or an end. @param running records of machines that run @param places of all of them */
  async rebalance(
    running: readonly MachineRecord[],
    places = running.flatMap(({ place }) => place ?? []),
  ): Promise<void> {
    if (!this.#anyOwn && !places.some(({ cpus }) => cpus)) return;
    for (const record of running)
      if (record.process && isSame(record.process)) await this.#float(record.process.pid, record, places);
    this.#anyOwn = places.some(({ cpus }) => cpus);
  }

  /** Its threads that are pinned to no CPU of their own. */
  async #float(pid: number, { place = {} }: MachineRecord, places: readonly Place[]): Promise<void> {
    const topology = this.#topology();
    const list = formatList(floatingCpus(topology, place, sharedCpus(topology, places)));
    if (!place.cpus) {
      if (allowedCpus(pid) !== list) await run("taskset", ["-a", "-c", "-p", list, `${pid}`]);
      return;
    }
    for (const thread of floatingThreads(pid))
      if (allowedCpus(pid, thread) !== list) await run("taskset", ["-c", "-p", list, thread]);
  }

  /** How many processes of it the kernel has killed for want of memory; undefined when that is not known. */
  oomKills(name: string): number | undefined {
    return this.#cgroups.oomKills(name);
  }

  remove(name: string): void {
    this.#cgroups.remove(name);
  }
}

/** One thread for each CPU; where QEMU has one for all of them (some guests under TCG), it has all the CPUs. */
async function pinVcpus(pid: number, threads: readonly number[], cpus: readonly number[]): Promise<void> {
  const each = new Set(threads).size === cpus.length;
  for (const [index, thread] of threads.entries()) {
    const list = each ? `${cpus[index]}` : formatList(cpus);
    if (allowedCpus(pid, thread) !== list) await run("taskset", ["-c", "-p", list, `${thread}`]);
  }
}

const placedOf = ({ config, place = {} }: MachineRecord): Placed => ({
  cpus: config.cpus,
  memoryBytes: config.memory,
  resources: config.resources ?? {},
  place,
});
