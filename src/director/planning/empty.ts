/**
 * Hosts that are worth emptying: none of their machines would gain by itself, but the last that leaves takes the watts with it that the host needs when it does
 * nothing. All or none: when not all of them find room on hosts that are in use, or their moves together do not gain enough for each, they stay. Pure.
 */

import type { HostView, MachineView } from "../estate/estate.ts";
import { survivalOf } from "../failover/failover.ts";
import { policiesOf } from "../rules/rules.ts";
import { acceptOf, type Draft, isSettled, mayMove, type PlanOptions } from "./draft.ts";
import { whoSays } from "./goals.ts";

/** With more the idle watts are never worth the moves. */
const MOST = 8;

/** @returns whether there was one; the least loaded are tried first */
export function emptyHosts(draft: Draft, options: PlanOptions): boolean {
  const { index } = draft;
  const hosts = [...index.hosts.values()].flatMap((host) => {
    const machines = host.ready && !host.cordoned ? machinesToMove(draft, host, options) : undefined;
    return machines ? { host, machines } : [];
  });
  hosts.sort((a, b) => a.machines.length - b.machines.length || (a.host.name < b.host.name ? -1 : 1));
  let found = false;
  for (const { host, machines } of hosts) {
    if (draft.moves.length + machines.length > options.maxMoves) break;
    if (!draft.allows(...machines.map((at) => index.machines[at] as MachineView))) continue;
    // A machine may have come since.
    if (index.use(host.name).machines === machines.length && empty(draft, host, machines, options))
      found = true;
  }
  return found;
}

/** Of a host with two to a few, the largest first. Undefined: one of them stays. */
function machinesToMove(draft: Draft, host: HostView, options: PlanOptions): number[] | undefined {
  const { estate, index, moved } = draft;
  const { machines } = index.use(host.name);
  if (machines < 2 || machines > MOST) return undefined;
  const there = index.machinesOn(host.name);
  const movable = there.filter((at) => {
    const machine = index.machines[at];
    return (
      machine && !moved.has(at) && mayMove(estate, machine, options) && isSettled(estate, machine, options)
    );
  });
  if (movable.length < machines || !draft.allows(...movable.map((at) => index.machines[at] as MachineView)))
    return undefined;
  const sizeOf = (at: number) => index.machines[at]?.memoryBytes ?? 0;
  return movable.sort((a, b) => sizeOf(b) - sizeOf(a) || a - b);
}

function empty(draft: Draft, host: HostView, machines: readonly number[], options: PlanOptions): boolean {
  const { estate, index } = draft;
  const { itemsOn } = index.state;
  const left: [at: number, before: MachineView, to: HostView][] = [];
  let gain = 0;
  for (const at of machines) {
    const machine = index.machines[at] as MachineView;
    const seek = index.seek(machine);
    const accept = acceptOf(estate, index, machine, options, false);
    const inUse = (h: number) => (itemsOn[h] as number) > 0 && (!accept || accept(h));
    const to = seek?.now ? index.best(seek, Number.NEGATIVE_INFINITY, inUse) : -1;
    const there = index.hostOf(to);
    if (!seek?.now || !there) break;
    gain += index.liking(seek, to) - seek.now.like;
    left.push([at, machine, there]);
    index.move(machine.key, there.name);
  }
  const worth =
    left.length === machines.length &&
    gain >= options.threshold * machines.length &&
    !survivalOf(estate)?.worse();
  for (const [at, before] of [...left].reverse()) index.restore(at, before);
  if (!worth) return false;
  const saved = host.idleWatts === undefined ? "watts unknown" : `${Math.round(host.idleWatts)} W less`;
  for (const [at, before, to] of left) {
    const [policy] = policiesOf(estate, before);
    draft.make(
      at,
      to,
      `${whoSays(policy, index.aimOf(policy))}: ${machines.length} moves leave ${host.name} empty, ${saved}`,
    );
  }
  return true;
}
