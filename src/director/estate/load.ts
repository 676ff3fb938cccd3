/** How busy hosts are, and would be, by what is measured and expected (use.ts): their processors, disks, links, and memory that is given out more than once; and what gives out too much. Pure. */
import type { State } from "../solver/state.ts";
import type { MachineView } from "./estate.ts";
import { BUSY, DECLARED, FLOWS, measuredOf, NOISE, RESOURCES, SENSITIVE, UNSURE } from "./estate-model.ts";
import { FULL, HOT, MARGIN, SENSITIVE_FULL, SENSITIVE_HOT } from "./use.ts";

/** A host of which more is expected than it can do. */
export interface Heat {
  /** Of which of its resources (estate-model.ts), the one that is furthest beyond. */
  of: number;
  /** So much of it is to leave. */
  excess: number;
}

/** Of what is too much on a host, a machine takes at least so much with it that is moved for that. */
const LEAST_COOLED = 0.02;

const MEASURED = [BUSY, ...FLOWS.map(({ measured }) => measured)];

export class Load {
  private readonly state: State;
  /** Where each machine is in the estate's list, by its key. */
  private readonly position: ReadonlyMap<string, number>;

  constructor(state: State, position: ReadonlyMap<string, number>) {
    this.state = state;
    this.position = position;
  }

  /**
   * What is expected of a host, of processors in thousandths (busyOf), of the others as demandOf has it: 1 / FULL of it. @param r BUSY, or one of FLOWS
   * @param machine with one more; its own counts once, also where it is already
   */
  expected(h: number, r: number, machine?: MachineView): number {
    const mean = this.taken(h, r, machine);
    return r === BUSY ? mean + MARGIN * Math.sqrt(Math.max(0, this.taken(h, NOISE, machine))) : mean;
  }

  /** The same where machines that were not measured use one standard deviation more than they are taken to. */
  private expectedAtMost(h: number, machine: MachineView): number {
    const noise = this.taken(h, NOISE, machine) + this.taken(h, UNSURE, machine);
    return this.taken(h, BUSY, machine) + MARGIN * Math.sqrt(Math.max(0, noise));
  }

  private taken(h: number, r: number, machine: MachineView | undefined): number {
    const { free, model, at } = this.state;
    const i = h * RESOURCES + r;
    const taken = (model.capacity[i] as number) - (free[i] as number);
    if (!machine) return taken;
    const item = this.position.get(machine.key) ?? -1;
    const own = item >= 0 && at[item] === h ? (model.demand[item * RESOURCES + r] as number) : 0;
    return taken + measuredOf(machine, r) - own;
  }

  private room(h: number, r: number): number {
    return this.state.model.capacity[h * RESOURCES + r] as number;
  }

  /** Whether a machine there has high latency sensitivity. @param machine with one more */
  isSensitive(h: number, machine?: MachineView): boolean {
    return this.taken(h, SENSITIVE, machine) > 0;
  }

  /** What of a host's room its machines may fill (full), and beyond which it is too busy (hot). */
  private limits(h: number, r: number, machine?: MachineView): { full: number; hot: number } {
    const room = this.room(h, r);
    return r === BUSY && this.isSensitive(h, machine)
      ? { full: (room * SENSITIVE_FULL) / FULL, hot: (room * SENSITIVE_HOT) / FULL }
      : { full: room, hot: (room * HOT) / FULL };
  }

  /** Whether the host is not too busy with the machine, by what is measured; nor would have to be relieved soon, as far as that is not known yet. */
  staysCalm(machine: MachineView, h: number): boolean {
    const { full, hot } = this.limits(h, BUSY, machine);
    if (this.expected(h, BUSY, machine) > full) return false;
    // Alone there it is in nobody's way.
    const isAlone = this.taken(h, BUSY, machine) <= measuredOf(machine, BUSY);
    if (!isAlone && this.expectedAtMost(h, machine) > hot) return false;
    // What it does not use is never in its way.
    return FLOWS.every(
      ({ measured: r }) => this.taken(h, r, machine) <= this.room(h, r) || measuredOf(machine, r) === 0,
    );
  }

  /** Undefined of a host of which not too much is expected. */
  heat(h: number): Heat | undefined {
    let hottest: Heat | undefined;
    let most = 1;
    for (const r of MEASURED) {
      const [{ full, hot }, expected] = [this.limits(h, r), this.expected(h, r)];
      if (expected <= hot * most) continue;
      most = expected / hot;
      hottest = { of: r, excess: expected - full };
    }
    return hottest;
  }

  /**
   * How much of what is too much a machine there takes with it when it leaves, 1 at most; 0 of one that is not moved for that: next to nothing, or nobody knows what
   * it uses. Who moves machines and who wakes hosts for them ask the same. @param at where it is in the estate's list
   */
  cools(at: number, machine: MachineView, { of, excess }: Heat): number {
    if (!machine.use) return 0;
    const cooled = Math.min(1, (this.state.model.demand[at * RESOURCES + of] as number) / excess);
    return cooled >= LEAST_COOLED ? cooled : 0;
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
