/** Hosts of which more is expected than they can do, and which no host that is on can relieve. Pure. */
import type { Estate } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import { obstacle } from "../rules/rules.ts";

interface Unrelieved {
  name: string;
  /** Whether the host, by its number, could take a machine of it. */
  helps: (to: number) => boolean;
}

/** One after the other, by who is off when it is asked. @param isAsleep by number: it is off */
export function* unrelieved(
  estate: Estate,
  index: EstateIndex,
  isAsleep: (h: number) => boolean,
): Generator<Unrelieved> {
  for (const { name, ready, cordoned } of estate.hosts) {
    const h = index.hostNumber(name);
    // Of a cordoned one the planner moves nothing for that.
    if (!ready || cordoned || isAsleep(h)) continue;
    const heat = index.load.heat(h);
    if (!heat) continue;
    // Only who would be moved for that: else the host would come on, and go off again.
    const movable = index.machinesOn(name).flatMap((at) => {
      const machine = index.machines[at];
      return machine?.movable && index.load.cools(at, machine, heat) > 0 ? [machine] : [];
    });
    const helps = (to: number) => {
      const host = index.hostOf(to);
      if (!host || to === h) return false;
      return movable.some(
        (machine) => index.load.staysCalm(machine, to) && obstacle(estate, machine, host) === undefined,
      );
    };
    if (!estate.hosts.keys().some((to) => !isAsleep(to) && helps(to))) yield { name, helps };
  }
}
