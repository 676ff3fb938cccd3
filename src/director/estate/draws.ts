/**
 * How far the machines on each host are expected to use its processors, all together: by that its watts are reckoned (watts.ts). Kept with each move; in whole numbers, so that what is taken back
 * is as it was. Pure.
 */
import type { State } from "../solver/state.ts";
import type { HostView, MachineView } from "./estate.ts";
import { drawOn } from "./use.ts";

/** Of a share of 1. */
const UNITS = 2 ** 30;

export class Draws {
  private readonly hosts: readonly HostView[];
  /** Of each item its machine, as it is; one that stands for none is on no host. */
  private readonly machines: (MachineView | undefined)[];
  /** By host. */
  private readonly taken: Float64Array;

  /** @param shadows of a machine that is moving, the item that stands for it where it goes */
  constructor(
    hosts: readonly HostView[],
    machines: readonly MachineView[],
    shadows: ReadonlyMap<number, number>,
    { at, model }: Pick<State, "at" | "model">,
  ) {
    this.hosts = hosts;
    this.machines = [...machines];
    for (const [i, shadow] of shadows) this.machines[shadow] = machines[i];
    this.taken = new Float64Array(model.hosts);
    for (const [item, h] of at.entries()) this.moved(item, -1, h);
  }

  /** The item stands for this machine from now on; it is on no host. */
  become(item: number, machine: MachineView): void {
    this.machines[item] = machine;
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
    const [machine, host] = [this.machines[item], this.hosts[h]];
    return machine && host ? Math.round(drawOn(machine, host) * UNITS) : 0;
  }
}
