/** An estate after a machine was moved or started, or while it moves: its index goes on with it. */
import type { Policy } from "../kinds.ts";
import type { Estate, MachineView } from "./estate.ts";
import { EstateIndex, handOver, indexOf, useIndex } from "./estate-index.ts";

/** The estate with one machine on another host. The index goes on to it; asked about the estate before, it is made anew. */
export function apply(estate: Estate, key: string, to: string): Estate {
  const index = indexOf(estate);
  const at = index.position.get(key);
  const moved = index.move(key, to);
  if (at === undefined || !moved) return estate;
  const after: Estate = { ...estate, machines: estate.machines.with(at, moved) };
  handOver(estate, after);
  return after;
}

/** The same for an estate that nobody else looks at, in place: without a copy of its list. */
export function applyTo(estate: Estate, key: string, to: string): void {
  const index = indexOf(estate);
  const at = index.position.get(key);
  const moved = index.move(key, to);
  if (at !== undefined && moved) estate.machines[at] = moved;
}

/** The estate with an index in which so many more machines may depart. */
export function forDepartures(estate: Estate, machines: number): Estate {
  useIndex(estate, new EstateIndex(estate, machines));
  return estate;
}

/** Changes an estate that nobody else looks at: the machine is on its way there, as it is where a Migration says so. @returns false: it has to be made anew for that */
export function depart(estate: Estate, key: string, to: string): boolean {
  const index = indexOf(estate);
  const at = index.position.get(key);
  const machine = at === undefined ? undefined : estate.machines[at];
  if (at === undefined || !machine) return false;
  const leaving: MachineView = { ...machine, movable: false, movingTo: to };
  if (!index.become(at, leaving)) return false;
  estate.machines[at] = leaving;
  return true;
}

/** The estate with the machine to run; as it is where nothing counts on that. */
export function started(estate: Estate, key: string): Estate {
  const index = indexOf(estate);
  const at = index.position.get(key);
  const machine = at === undefined ? undefined : estate.machines[at];
  const isCounted = ({ spec: { atMost } }: Policy) => atMost?.percent !== undefined;
  if (at === undefined || !machine?.off || !index.policiesAt(at).some(isCounted)) return estate;
  const { off: _, ...on } = machine;
  return { ...estate, machines: estate.machines.with(at, on) };
}
