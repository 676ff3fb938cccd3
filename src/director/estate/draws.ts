/**
 * How far the machines on each host are expected to use its processors, all together: by that its watts are reckoned (watts.ts). Kept with each move; in whole numbers, so that what is taken back
 * is as it was. Pure.
 */
import type { State } from "../solver/state.ts";
import type { HostView, MachineView } from "./estate.ts";
import { expectedOf, processorsOf } from "./use.ts";

/** Of a share of 1. */
const UNITS = 2 ** 30;

export class Draws {
  /** Of each item what it is expected to use, in processors, not a number where nobody has measured it; and its CPUs (use.ts, drawOn). One that stands for none is on no host. */
  private readonly use: Float64Array;
  private readonly cpus: Float64Array;
  /** Of each host of the estate what these are shares of; of those that are only known by name 0. */
  private readonly processors: Float64Array;
  private readonly givenOut: Float64Array;
  /** By host. */
  private readonly taken: Float64Array;

  /** @param shadows of a machine that is moving, the item that stands for it where it goes */
  constructor(
    hosts: readonly HostView[],
    machines: readonly MachineView[],
    shadows: ReadonlyMap<number, number>,
    { at, model }: Pick<State, "at" | "model">,
  ) {
    this.use = new Float64Array(model.items);
    this.cpus = new Float64Array(model.items);
    this.processors = new Float64Array(model.hosts);
    this.givenOut = new Float64Array(model.hosts);
    for (const [h, host] of hosts.entries()) {
      this.processors[h] = processorsOf(host);
      this.givenOut[h] = host.cpus;
    }
    for (const [i, machine] of machines.entries()) this.become(i, machine);
    for (const [i, shadow] of shadows) this.become(shadow, machines[i] as MachineView);
    this.taken = new Float64Array(model.hosts);
    for (const [item, h] of at.entries()) this.moved(item, -1, h);
  }

  /** The item stands for this machine from now on; it is on no host. */
  become(item: number, machine: MachineView): void {
    this.use[item] = machine.use ? expectedOf(machine.use) : Number.NaN;
    this.cpus[item] = machine.cpus;
  }

  /** -1: it was, or is, nowhere. */
  moved(item: number, from: number, to: number): void {
    if (from >= 0) this.taken[from] = (this.taken[from] as number) - this.unitsOf(item, from);
    if (to >= 0) this.taken[to] = (this.taken[to] as number) + this.unitsOf(item, to);
  }

  /** The share of the host's processors' time, without an item that is there; -1: with all. */
  shareOf(h: number, without: number): number {
    return ((this.taken[h] as number) - (without >= 0 ? this.unitsOf(without, h) : 0)) / UNITS;
  }

  private unitsOf(item: number, h: number): number {
    const processors = this.processors[h] as number;
    if (processors === 0) return 0;
    const use = this.use[item] as number;
    const share = Number.isNaN(use)
      ? (this.cpus[item] as number) / (this.givenOut[h] as number)
      : use / processors;
    return Math.round(share * UNITS);
  }
}
