/**
 * Moves that restore reserved failover capacity (Policy.spec.failover): when hosts were lost or filled, there may be room enough for all machines of a loss, but not where they would need
 * it. One move at a time is sought, of a machine that makes such room or that need not find any, after which the loss is survived, and all others are that were. Pure.
 */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import { DECLARED, RESOURCES } from "../estate/estate-model.ts";
import { survivalOf } from "../failover/failover.ts";
import type { Fault, Survival } from "../failover/survival.ts";
import { acceptOf, type Draft, mayMove, type PlanOptions } from "./draft.ts";

/** So many losses are looked at in one plan, and so many ways for each: a proof takes milliseconds. */
const FAULTS = 8;
const TRIALS = 24;
/** Of one machine so many destinations. */
const DESTINATIONS = 4;

/** @returns whether there was such a move */
export function restoreReserve(draft: Draft, options: PlanOptions): boolean {
  const survival = survivalOf(draft.estate);
  if (!survival) return false;
  let found = false;
  const tried = new Set<number>();
  while (tried.size < FAULTS && draft.moves.length < options.maxMoves) {
    // Anew each time: one move may mend several.
    const fault = survival.faults().find(({ event }) => !tried.has(event));
    if (!fault) break;
    tried.add(fault.event);
    found = mend(draft, survival, fault, options) || found;
  }
  return found;
}

function mend(draft: Draft, survival: Survival, fault: Fault, options: PlanOptions): boolean {
  const { estate, index, moved } = draft;
  const left = index.machines[fault.machine];
  // No room helps what is lost with its host's disks.
  if (!left || left.localDisks) return false;
  let trials = TRIALS;
  for (const at of candidates(index, survival, fault)) {
    const machine = index.machines[at] as MachineView;
    const here = index.hosts.get(machine.host ?? "");
    if (!here?.ready || here.cordoned || moved.has(at) || !draft.allows(machine)) continue;
    if (!mayMove(index, at, options)) continue;
    const to = destination(estate, index, machine, options, (h) => {
      if (trials-- <= 0) return false;
      return survival.mends(fault, at, index.hostOf(h)?.name ?? "");
    });
    if (to) {
      draft.make(at, to, true, inWords(fault, left, machine, here));
      return true;
    }
    if (trials <= 0) return false;
  }
  return false;
}

function inWords({ loss, demands }: Fault, left: MachineView, machine: MachineView, here: HostView): string {
  const [demand] = demands;
  const helps =
    machine.host === left.host
      ? `on ${here.name} fewer machines are to find room elsewhere`
      : `leaves room on ${here.name} for ${left.name}`;
  return `${demand?.name ?? "a policy"} wants to survive the loss of ${loss}: ${helps}`;
}

/** What may help, the likeliest first: machines whose host has room for the one that found none once they are gone, the smallest of them; then those that are lost with it. */
function candidates(index: EstateIndex, survival: Survival, fault: Fault): number[] {
  const { state } = index;
  const { demand } = state.model;
  const lost = survival.lostIn(fault);
  const need = (item: number, r: number) => demand[item * RESOURCES + r] as number;
  const makers: { at: number; bytes: number }[] = [];
  for (const name of index.hosts.keys()) {
    const h = index.hostNumber(name);
    if (lost.has(h)) continue;
    for (const at of index.machinesOn(name)) {
      let enough = true;
      for (let r = 0; r < DECLARED; r++)
        if (need(fault.machine, r) > (state.free[h * RESOURCES + r] as number) + need(at, r)) enough = false;
      if (enough) makers.push({ at, bytes: need(at, 1) });
    }
  }
  makers.sort((a, b) => a.bytes - b.bytes || a.at - b.at);
  const own = [...lost].flatMap((h) => index.machinesOn(index.hostOf(h)?.name ?? ""));
  return [
    ...makers.slice(0, TRIALS).map(({ at }) => at),
    fault.machine,
    ...own.filter((at) => at !== fault.machine),
  ];
}

function destination(
  estate: Estate,
  index: EstateIndex,
  machine: MachineView,
  options: PlanOptions,
  mends: (h: number) => boolean,
): HostView | undefined {
  const seek = index.likings.seek(machine);
  if (!seek?.now) return undefined;
  const accept = acceptOf(estate, index, machine, options, false);
  let looks = DESTINATIONS;
  const to = index.likings.best(
    seek,
    Number.NEGATIVE_INFINITY,
    (h) => (!accept || accept(h)) && looks-- > 0 && mends(h),
  );
  return index.hostOf(to);
}
