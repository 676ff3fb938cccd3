/** What the hosts of each PowerPolicy that are on, or coming, have to give out, and whether that is enough for what is forecast. Pure. */
import type { PowerPolicy } from "../../power/policies/kinds.ts";
import type { HostView } from "../estate/estate.ts";
import { type Given, inGib } from "./demand.ts";
import type { Powered } from "./standing.ts";

const MiB = 2 ** 20;

/** The most that is forecast to be given out of the hosts of a policy within some time; undefined: nobody knows. */
export type Ahead = (policy: string, aheadMs: number) => (Given & { by: number }) | undefined;

export class Room {
  private readonly ahead: Ahead | undefined;
  private readonly byPolicy = new Map<PowerPolicy, { on: number; cpus: number; memoryMiB: number }>();

  constructor(ahead: Ahead | undefined) {
    this.ahead = ahead;
  }

  /** How many of its hosts are on. */
  onOf(policy: PowerPolicy): number {
    return this.byPolicy.get(policy)?.on ?? 0;
  }

  /** @param sign 1: it takes machines from now on; -1: it does not any more */
  count({ policy, state, view }: Pick<Powered, "policy" | "state" | "view">, sign: 1 | -1): void {
    const sum = this.byPolicy.get(policy) ?? { on: 0, cpus: 0, memoryMiB: 0 };
    this.byPolicy.set(policy, sum);
    if (state === "on") sum.on += sign;
    if (view.closed !== undefined && state === "other") return;
    sum.cpus += sign * view.cpus;
    sum.memoryMiB += (sign * view.memoryBytes) / MiB;
  }

  /** What is forecast and will have no room on the policy's hosts that are on, without one; undefined: there is room. */
  lackOf(policy: PowerPolicy, aheadMs: number, without?: HostView): string | undefined {
    const expected = this.ahead?.(policy.metadata.name, aheadMs);
    if (!expected) return undefined;
    let { cpus = 0, memoryMiB = 0 } = this.byPolicy.get(policy) ?? {};
    cpus -= without?.cpus ?? 0;
    memoryMiB -= (without?.memoryBytes ?? 0) / MiB;
    const by = new Date(expected.by).toISOString();
    if (expected.memoryMiB > memoryMiB)
      return `by ${by} machines usually have ${inGib(expected.memoryMiB)} memory, those that are on have ${inGib(memoryMiB)}`;
    return expected.cpus > cpus
      ? `by ${by} machines usually have ${expected.cpus} CPUs, those that are on have ${cpus}`
      : undefined;
  }
}
