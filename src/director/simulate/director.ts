/** The real director, as a simulation asks it: placement as for a new machine, plans as each minute. Pure. */
import type { Estate, MachineView } from "../estate/estate.ts";
import { applyTo } from "../estate/moved.ts";
import { inBatchOrder } from "../planning/batch.ts";
import { place } from "../planning/place.ts";
import { PLAN_DEFAULTS, planMoves } from "../planning/plan.ts";
import type { Director } from "./run.ts";

export function vireo(name: string): Director {
  return {
    name,
    switchesOff: true,
    eachMinute: false,
    order: (machines) => inBatchOrder(machines, ({ name: called }) => called),
    place(estate: Estate, machine: MachineView) {
      const { host } = place(estate, machine);
      if (host !== undefined) applyTo(estate, machine.key, host);
      return host;
    },
    look: (estate, now) =>
      planMoves(estate, { ...PLAN_DEFAULTS, now, released: new Set() }).map(({ namespace, vm, to }) => ({
        key: `${namespace}/${vm}`,
        to,
      })),
  };
}
