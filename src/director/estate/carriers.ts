/** Which hosts have machines of a policy, and how many: for what is licensed by the host. Pure. */
import type { Policy } from "../kinds.ts";
import type { State } from "../solver/state.ts";
import type { MachineView } from "./estate.ts";

/** Of the index. */
interface Parts {
  state: State;
  machines: readonly MachineView[];
  membersOf: (policy: Policy) => number[];
  /** One, or two while it moves. */
  itemsOf: (key: string | undefined) => number[];
}

export class Carriers {
  private readonly index: Parts;
  /** Grows with each move. */
  private version = 0;
  private readonly known = new Map<Policy, { version: number; counts: ReadonlyMap<number, number> }>();

  constructor(index: Parts) {
    this.index = index;
  }

  /** Some machine is elsewhere from now on. */
  changed(): void {
    this.version++;
  }

  /** How many of its machines but this one the host has. */
  others(policy: Policy, machine: MachineView, h: number): number {
    const own = this.index.itemsOf(machine.key).filter((item) => this.index.state.at[item] === h).length;
    return (this.of(policy).get(h) ?? 0) - own;
  }

  /** Hosts that have machines of the policy, and how many. */
  of(policy: Policy): ReadonlyMap<number, number> {
    const known = this.known.get(policy);
    if (known?.version === this.version) return known.counts;
    const counts = new Map<number, number>();
    for (const i of this.index.membersOf(policy))
      for (const item of this.index.itemsOf(this.index.machines[i]?.key)) {
        const h = this.index.state.at[item] as number;
        if (h >= 0) counts.set(h, (counts.get(h) ?? 0) + 1);
      }
    this.known.set(policy, { version: this.version, counts });
    return counts;
  }
}
