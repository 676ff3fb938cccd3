/** How busy hosts are, and would be, by what is measured and expected (use.ts), and what gives out too much. Pure. */
import type { State } from "../solver/state.ts";
import type { MachineView } from "./estate.ts";
import { BUSY, DECLARED, NOISE, RESOURCES } from "./estate-model.ts";
import { busyOf, FULL, HOT, MARGIN, noiseOf } from "./use.ts";

export class Load {
  private readonly state: State;
  /** Where each machine is in the estate's list, by its key. */
  private readonly position: ReadonlyMap<string, number>;

  constructor(state: State, position: ReadonlyMap<string, number>) {
    this.state = state;
    this.position = position;
  }

  /** What is expected of a host, in thousandths of a processor (busyOf). @param with one more machine; its own counts once, also where it is already */
  expected(h: number, machine?: MachineView): number {
    const { free, model, at } = this.state;
    const taken = (r: number) =>
      (model.capacity[h * RESOURCES + r] as number) - (free[h * RESOURCES + r] as number);
    let [busy, noise] = [taken(BUSY), taken(NOISE)];
    if (machine) {
      const item = this.position.get(machine.key) ?? -1;
      const own = item >= 0 && at[item] === h ? item : -1;
      busy += busyOf(machine) - (own < 0 ? 0 : (model.demand[own * RESOURCES + BUSY] as number));
      noise += noiseOf(machine) - (own < 0 ? 0 : (model.demand[own * RESOURCES + NOISE] as number));
    }
    return busy + MARGIN * Math.sqrt(Math.max(0, noise));
  }

  /** Whether the host is not too busy with the machine, by what is measured. */
  staysCalm(machine: MachineView, h: number): boolean {
    return this.expected(h, machine) <= (this.state.model.capacity[h * RESOURCES + BUSY] as number);
  }

  /** Thousandths of a processor (busyOf) that are to leave a host of which too much is expected; 0 of others. */
  excess(h: number): number {
    const room = this.state.model.capacity[h * RESOURCES + BUSY] as number;
    const expected = this.expected(h);
    return expected * FULL > room * HOT ? expected - room : 0;
  }

  /** Where the host gives out more than it may: how much of what is too much the machine there takes with it when it leaves, 1 at most; 0 elsewhere. */
  relief(at: number, h: number): number {
    const { free, model } = this.state;
    let least = Number.POSITIVE_INFINITY;
    for (let r = 0; r < DECLARED; r++) {
      const lack = -(free[h * RESOURCES + r] as number);
      if (lack > 0) least = Math.min(least, (model.demand[at * RESOURCES + r] as number) / lack);
    }
    return least === Number.POSITIVE_INFINITY ? 0 : Math.min(1, least);
  }
}
