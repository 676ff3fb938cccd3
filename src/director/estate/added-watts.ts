/**
 * What a kind of machine adds to the watts of each kind of host, by their dearness. What it adds to one in use depends on how far others use it, which is told in levels (watts.ts). Pure.
 */

import type { HostView, MachineView } from "./estate.ts";
import { addedWatts } from "./goals.ts";
import { drawOn } from "./use.ts";
import { addedByLevel, curveOf, LEVELS } from "./watts.ts";

/** Its curve is told, not only the two ends: what a machine adds depends on what the others there do. */
export const isCurved = ({ wattsCurve }: HostView): boolean => wattsCurve !== undefined;

export class AddedWatts {
  /** By shelf (2 * kind of host, and 1 more for hosts in use); NaN: unknown. On hosts in use as on average from idle to full load. */
  readonly even: Float64Array;
  /** The same where it adds least and most. */
  readonly least: Float64Array;
  readonly most: Float64Array;
  /** By kind of host: what one needs when it does nothing. */
  readonly idle: Float64Array;
  /** By kind and level: so much more than the least it adds to a host in use; undefined: no curve is told. */
  readonly beyond: Float64Array | undefined;

  /** @param dear of each kind of host, what a watt counts there */
  constructor(example: MachineView, hosts: readonly HostView[], dear: Float64Array) {
    this.even = new Float64Array(2 * hosts.length).fill(Number.NaN);
    this.idle = new Float64Array(hosts.length).fill(Number.NaN);
    for (const [kind, host] of hosts.entries()) {
      const curve = curveOf(host);
      if (!curve) continue;
      const factor = dear[kind] as number;
      const [idle = 0, full = idle] = [curve[0], curve.at(-1)];
      this.idle[kind] = idle * factor;
      this.even[2 * kind] = (addedWatts(example, host, undefined) ?? Number.NaN) * factor;
      this.even[2 * kind + 1] = (full - idle) * drawOn(example, host) * factor;
    }
    this.least = this.even.slice();
    this.most = this.even.slice();
    this.beyond = hosts.some(isCurved) ? new Float64Array(LEVELS * hosts.length) : undefined;
    if (!this.beyond) return;
    for (const [kind, host] of hosts.entries()) {
      const { wattsCurve } = host;
      if (!wattsCurve) continue;
      const watts = addedByLevel(wattsCurve, drawOn(example, host));
      const least = Math.min(...watts);
      this.least[2 * kind + 1] = least * (dear[kind] as number);
      this.most[2 * kind + 1] = Math.max(...watts) * (dear[kind] as number);
      for (let level = 0; level < LEVELS; level++)
        this.beyond[LEVELS * kind + level] = ((watts[level] as number) - least) * (dear[kind] as number);
    }
  }
}
