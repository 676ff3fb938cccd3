/**
 * What a host gives out to machines: what it has (status.capacity, as its agent tells), as often as its administrator says (spec.overcommit). Pure.
 *
 * CPUs are shared by time, so that many may be given out; memory that is given out has to be somewhere when all of it is used. Merging (KSM) and guests that give
 * memory back cannot be counted on: guests may write to it again at any moment. So memory is given out beyond what there is only as far as the host has swap for it,
 * as vSphere keeps a swap file for each machine; and the agent looks once more before each start (agent/memory-left.ts).
 */
import { type Static, Type } from "typebox";
import { AS_ONE, rules } from "../../resource/kind.ts";
import { formatBytes, parseBytes } from "../../resource/quantity.ts";
import { OVERCOMMIT, type Reservable } from "../resources/kinds.ts";

export const HostOvercommit = Type.Object(
  {
    cpu: Type.Optional(
      Type.Number({
        minimum: 0.25,
        maximum: 16,
        description: `Virtual CPUs for each logical processor; ${OVERCOMMIT} by default. A host with more gives none to one machine alone (spec.resources.dedicatedCpus).`,
      }),
    ),
    memory: Type.Optional(
      Type.Number({
        minimum: 0.25,
        maximum: 2,
        description:
          "Share of the memory that it has for machines; 1 by default. Beyond 1 as far as the host has swap, on a disk: no machine starts there whose memory would be nowhere.",
      }),
    ),
  },
  {
    ...AS_ONE,
    ...rules({ rule: "has(self.cpu) || has(self.memory)", message: "say cpu or memory" }),
    description:
      "How much the host gives out of what it has. Policies of machines there may say less for it (Policy.spec.overcommit), never more.",
  },
);
export type HostOvercommit = Static<typeof HostOvercommit>;

export interface GivenOut {
  cpus: number;
  memoryBytes: number;
  reservable: Reservable;
  /** Why it is not as much memory as spec.overcommit says. */
  short?: string;
}

const MiB = 2 ** 20;

/** What of a Host says it. */
interface Giver {
  spec?: { overcommit?: HostOvercommit };
  status?: {
    capacity?: { cpus: number; memory: string } & Reservable;
    facts?: { memory: { swapBytes?: number } };
  };
}

/** Undefined: its agent has not told yet what it has. */
export function givenOutBy({ spec, status }: Giver): GivenOut | undefined {
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
