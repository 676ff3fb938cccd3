/**
 * What a host gives out to machines: what it has (status.capacity, as its agent tells), as often as its administrator says (spec.overcommit). Pure, and without what
 * is to check shapes: the pages in the browser show it.
 *
 * CPUs are shared by time, so that many may be given out; memory that is given out has to be somewhere when all of it is used. Merging (KSM) and guests that give
 * memory back cannot be counted on: guests may write to it again at any moment. So memory is given out beyond what there is only as far as the host has swap for it,
 * as vSphere keeps a swap file for each machine; and the agent looks once more before each start (agent/memory-left.ts).
 */
import { formatBytes, parseBytes } from "../../resource/quantity.ts";

/** Virtual CPUs that are given out for each CPU of a host, when it does not say: machines are rarely all busy. */
export const OVERCOMMIT = 2;

/** Host.status.capacity, as far as it is looked at here. */
interface Capacity {
  cpus: number;
  memory: string;
  dedicatedCpus?: number;
}

export interface GivenOut<C = Capacity> {
  cpus: number;
  memoryBytes: number;
  /** What of it may be given to one machine alone. */
  reservable: C;
  /** Why it is not as much memory as spec.overcommit says. */
  short?: string;
}

const MiB = 2 ** 20;

/** What of a Host says it. */
interface Giver<C> {
  spec?: { overcommit?: { cpu?: number; memory?: number } };
  status?: {
    capacity?: C;
    facts?: { memory: { swapBytes?: number } };
  };
}

/** Undefined: its agent has not told yet what it has. */
export function givenOutBy<C extends Capacity>({ spec, status }: Giver<C>): GivenOut<C> | undefined {
  const { capacity, facts } = status ?? {};
  if (!capacity) return undefined;
  const { cpu = OVERCOMMIT, memory = 1 } = spec?.overcommit ?? {};
  const has = parseBytes(capacity.memory);
  const [asked, backed] = [has * memory, has + (facts?.memory.swapBytes ?? 0)];
  const short = `its swap of ${formatBytes(backed - has)} backs no more of spec.overcommit.memory (${memory})`;
  return {
    cpus: Math.floor((capacity.cpus / OVERCOMMIT) * cpu),
    memoryBytes: Math.floor(Math.min(asked, Math.max(has, backed)) / MiB) * MiB,
    // A CPU of its own is counted as the place of so many shared ones (cpusOf).
    reservable: cpu > OVERCOMMIT ? { ...capacity, dedicatedCpus: 0 } : capacity,
    ...(asked > backed ? { short } : {}),
  };
}
