/**
 * CPUs and memory that come (and, where the guest lets go of them, go) while it runs, over QMP. CPUs are numbered from 0 without a gap, memory modules are a
 * stack: what came last goes first, so that the target of a migration, which gets them in this order, has each at the same address.
 */
import { cpuDevice, memoryModule, moduleObject } from "./devices.ts";
import { isFields, type Qmp } from "./qmp.ts";
import type { Ram } from "./ram.ts";
import { deviceIds, letGo, quietly } from "./unplug.ts";

/** Why the host has not so much. What the guest has it keeps, and gives back all the same. */
export interface LackingMemory {
  memory?: string;
  memoryTarget?: string;
}

export interface WantedMemory {
  /** Whether the machine has room for more; else only its balloon changes. */
  hasRoom: boolean;
  /** In all. */
  cpus: number;
  /** Bytes, of those that the machine began with. */
  begunWith: number;
  /** Bytes in all. */
  memory: number;
  /** Bytes that the guest is to make do with; all when absent. */
  target?: number;
  ram?: Ram;
  /** What it began with is shared with others: nothing of it can be given back to the host. */
  isShared?: boolean;
  /** Whether CPUs can go: QEMU's TCG (7.2) frees what it still uses when one does, and ends itself later. */
  cpusGo: boolean;
  lacking?: LackingMemory;
}

export interface Amounts {
  cpus: number;
  /** Bytes of each module, in the order they came. */
  modules: number[];
}

/** How long a guest may take to give back a module: all that is in it has to move. */
const MODULE_MS = 5000;
/** Linux takes memory in blocks of this size. */
export const BLOCK = 128 * 2 ** 20;

/** @returns why there are not as many as wanted; undefined when there are. @throws QmpError */
export async function adjustCpus(qmp: Qmp, { cpus, cpusGo }: WantedMemory): Promise<string | undefined> {
  const all = await hotCpus(qmp);
  const there = all.filter(({ isThere }) => isThere).length;
  if (there > cpus && !cpusGo)
    return "under TCG CPUs cannot go while the machine runs: QEMU would end; at the next start it has as many as asked for";
  for (let i = there; i < cpus; i++) {
    const free = all.find(({ core, isThere }) => core === i && !isThere);
    if (!free) return `the run has room for ${all.length} CPUs`;
    await qmp.execute("device_add", cpuDevice(free.driver, i));
  }
  for (let i = there - 1; i >= cpus; i--)
    if (!(await letGo(qmp, `cpu${i}`)))
      return "the guest has not let go of a CPU yet; it is asked again and again";
  return undefined;
}

/** @returns why there is not as much as wanted; undefined when there is. @throws QmpError */
export async function adjustModules(qmp: Qmp, wanted: WantedMemory): Promise<string | undefined> {
  const { begunWith, memory, ram, lacking } = wanted;
  let modules = await modulesOf(qmp);
  const total = () => begunWith + modules.reduce((sum, size) => sum + size, 0);
  while (total() > memory) {
    const last = modules.at(-1);
    if (last === undefined || total() - last < memory)
      return last === undefined
        ? "the machine began with more, which cannot go while it runs"
        : "memory goes a whole module at a time; this one is larger than what is to go";
    const id = modules.length - 1;
    if (!(await letGo(qmp, `dimm${id}`, MODULE_MS)))
      return "the guest has not let go of a memory module, something in it cannot be moved; it is asked again and again";
    await quietly(qmp.execute("object-del", { id: `memory${id}` }));
    modules = await modulesOf(qmp);
  }
  const size = memory - total();
  if (size === 0) return undefined;
  if (size % BLOCK !== 0)
    return "guests take memory in steps of 128Mi while they run; the next start has it exactly";
  if (lacking?.memory) return lacking.memory;
  const id = modules.length;
  // Of an attempt that was cut short.
  await quietly(qmp.execute("object-del", { id: `memory${id}` }));
  await qmp.execute("object-add", moduleObject(id, size, ram));
  try {
    await qmp.execute("device_add", memoryModule(id));
  } catch (error) {
    await quietly(qmp.execute("object-del", { id: `memory${id}` }));
    throw error;
  }
  return undefined;
}

/** Has the guest's balloon take what is above the target; all is the guest's without one. @throws QmpError */
export async function adjustBalloon(
  qmp: Qmp,
  { begunWith, target, isShared, lacking }: WantedMemory,
): Promise<string | undefined> {
  const total = begunWith + (await modulesOf(qmp)).reduce((sum, size) => sum + size, 0);
  if (!(await deviceIds(qmp)).includes("balloon"))
    return target === undefined ? undefined : "its board has no balloon";
  if (isShared && target !== undefined)
    return "it began with the memory of its template, which it shares with others: it can give back some from its next start or move on";
  const balloon = await qmp.execute("query-balloon");
  const actual = isFields(balloon) ? Number(balloon.actual) : total;
  // A guest that was never asked for less is left alone.
  if (target === undefined && actual === total) return undefined;
  const value = Math.min(target ?? total, total);
  if (value > actual && lacking?.memoryTarget) return lacking.memoryTarget;
  await qmp.execute("balloon", { value });
  return undefined;
}

/** What there is now. @throws QmpError */
export async function amounts(qmp: Qmp): Promise<Amounts> {
  return {
    cpus: (await hotCpus(qmp)).filter(({ isThere }) => isThere).length,
    modules: await modulesOf(qmp),
  };
}

interface HotCpu {
  driver: string;
  core: number;
  isThere: boolean;
}

async function hotCpus(qmp: Qmp): Promise<HotCpu[]> {
  // Boards without it refuse the question.
  const listed: unknown = await qmp.execute("query-hotpluggable-cpus").catch(() => []);
  return (Array.isArray(listed) ? listed : []).filter(isFields).map(({ type, props, ...cpu }) => ({
    driver: String(type),
    core: isFields(props) ? Number(props["core-id"]) : 0,
    isThere: cpu["qom-path"] !== undefined,
  }));
}

async function modulesOf(qmp: Qmp): Promise<number[]> {
  const listed: unknown = await qmp.execute("query-memory-devices");
  const modules = (Array.isArray(listed) ? listed : [])
    .filter(isFields)
    .flatMap(({ data }) =>
      isFields(data) && String(data.id).startsWith("dimm")
        ? [{ id: Number(String(data.id).slice(4)), size: Number(data.size) }]
        : [],
    );
  return modules.sort((a, b) => a.id - b.id).map(({ size }) => size);
}
