/** Which machines of a policy are in a domain (a host, a rack, …), one of them by name: for what people are told of groups. Pure. */
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

/** Of each domain the first two, in the order of the policy's machines: whoever asks may be one of them. */
type Firsts = ReadonlyMap<number, readonly MachineView[]>;

export class Neighbours {
  private readonly index: Parts;
  /** Grows with each move. */
  private version = 0;
  /** By tally. */
  private readonly known = new Map<number, { version: number; firsts: Firsts }>();

  constructor(index: Parts) {
    this.index = index;
  }

  /** Some machine is elsewhere from now on. */
  changed(): void {
    this.version++;
  }

  /** Another machine of the policy that the domain has. @param t the policy's tally */
  oneIn(policy: Policy, t: number, domain: number, { key }: MachineView): MachineView | undefined {
    return this.of(policy, t)
      .get(domain)
      ?.find((other) => other.key !== key);
  }

  /** One that is in another domain. */
  oneOutside(policy: Policy, t: number, domain: number, { key }: MachineView): MachineView | undefined {
    for (const [each, machines] of this.of(policy, t)) {
      const other = each === domain ? undefined : machines.find((machine) => machine.key !== key);
      if (other) return other;
    }
    return undefined;
  }

  private of(policy: Policy, t: number): Firsts {
    const known = this.known.get(t);
    if (known?.version === this.version) return known.firsts;
    const { state, machines, membersOf, itemsOf } = this.index;
    const { domains, level } = state.model.tallies;
    const first = (level[t] as number) * state.model.hosts;
    const firsts = new Map<number, MachineView[]>();
    for (const i of membersOf(policy)) {
      const machine = machines[i] as MachineView;
      for (const item of itemsOf(machine.key)) {
        const h = state.at[item] as number;
        if (h < 0) continue;
        const domain = domains[first + h] as number;
        const before = firsts.get(domain);
        if (!before) firsts.set(domain, [machine]);
        else if (before.length < 2 && before[0] !== machine) before.push(machine);
      }
    }
    this.known.set(t, { version: this.version, firsts });
    return firsts;
  }
}
