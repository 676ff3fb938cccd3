/**
 * Whether all machines of a host can go elsewhere for its wake test, one after the other: where they like it best of what has room and stays calm, as a plan moves them (planning/plan.ts), and only if their
 * policies have the director move them by itself, and now. Pure.
 */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import { acceptOf, isSettled, PLAN_DEFAULTS, type PlanOptions } from "../planning/draft.ts";
import { automationOf, Budget } from "../planning/limits.ts";
import { obstacle } from "../rules/rules.ts";

/** Of machines that wait for a place so many are looked at. */
const WAITING = 20;
/** A host is not begun to be emptied so long after one of its machines could not be moved: what the others were moved for may well come to nothing. */
const FORGET_MS = 24 * 3_600_000;
/** A machine that could not be moved so many times in a row is not waited for. */
const GIVE_UP = 3;

/** Why the host is needed for machines that wait for a place; undefined: for none. @param waiting their keys */
export function cannotTake(estate: Estate, host: HostView, waiting: readonly string[]): string | undefined {
  const index = indexOf(estate);
  for (const key of waiting.slice(0, WAITING)) {
    const machine = index.get(key);
    if (!machine || obstacle(estate, machine, host)) continue;
    const isElsewhere = (other: HostView) =>
      other !== host && other.closed === undefined && !obstacle(estate, machine, other);
    if (!estate.hosts.some(isElsewhere)) return `because ${key} finds a place on no other host`;
  }
  return undefined;
}

/**
 * Moves them in the index of the estate.
 * @returns why one of them cannot, and then all are where they were; or what takes them back
 */
export function moveAllOff(
  estate: Estate,
  host: HostView,
  now: number,
): { why: string } | { takeBack(): void } {
  const index = indexOf(estate);
  const options: PlanOptions = { ...PLAN_DEFAULTS, now, released: new Set() };
  // Large ones first: those find a place less easily.
  const there = index
    .machinesOn(host.name)
    .map((at) => ({ at, machine: index.machines[at] as MachineView }))
    .sort((a, b) => b.machine.memoryBytes - a.machine.memoryBytes || a.at - b.at);
  for (const { at } of there) {
    const why = whyKept(index, at, options);
    if (why) return { why };
  }
  const limit = new Budget(estate, now).refuses(there.map(({ machine }) => machine));
  if (limit) return { why: `because ${limit}` };
  const moved: typeof there = [];
  const takeBack = () => {
    for (const { at, machine } of moved.splice(0).reverse()) index.restore(at, machine);
  };
  const here = index.hostNumber(host.name);
  for (const each of there) {
    const { at, machine } = each;
    const accept = acceptOf(estate, index, machine, options, false);
    const to = index.likings.best(
      index.likings.seekAt(at, machine),
      Number.NEGATIVE_INFINITY,
      (h) => h !== here && (!accept || accept(h)),
    );
    const target = index.hostOf(to);
    if (!target) {
      takeBack();
      return { why: `because ${machine.key} finds no other host (by its rules, room and measured load)` };
    }
    index.move(machine.key, target.name);
    moved.push(each);
  }
  return { takeBack };
}

/** Why the director does not move it by itself now; undefined: it may. */
function whyKept(index: EstateIndex, at: number, options: PlanOptions): string | undefined {
  const machine = index.machines[at] as MachineView;
  const { key, failed, movable, movingTo } = machine;
  const policies = index.policiesAt(at);
  const never = policies.find(({ spec }) => spec.moves?.never);
  if (never) return `because policy ${never.metadata.name} lets ${key} not be moved while it runs`;
  const { automation, policy } = automationOf(policies);
  if (automation !== "act")
    return `because policy ${policy?.metadata.name} has ${key} not be moved by itself (automation: ${automation})`;
  if (movingTo !== undefined) return `until ${key} has moved`;
  if (!movable) return `because ${key} does not run, or something else is being done with it`;
  const refused = refusesToGo(machine);
  if (refused) return refused;
  if (failed && options.now - failed.at < FORGET_MS)
    return `because ${key} could not be moved lately: ${failed.why}`;
  return isSettled(index, at, options)
    ? undefined
    : `because ${key} came there lately (minimumStayMinutes), or a user wants it there (undo, or a plan rejected)`;
}

/** Why one of the machines will most likely never go: neither is its host emptied for that, nor any longer. What a migration needs, only the migration itself looks at. */
export const refusesToGo = ({ key, failed }: MachineView): string | undefined =>
  failed && failed.times >= GIVE_UP
    ? `because ${key} could not be moved ${failed.times} times in a row, the last time since ${failed.why}; one move of it that succeeds (vireo migrate) has it tried again`
    : undefined;
