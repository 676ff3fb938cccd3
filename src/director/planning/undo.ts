/**
 * Takes a plan's moves back: those that were really made, the last first where that may be, else in whatever order keeps the required rules
 * at every step. What cannot go back is named with the reason. A stay time is no reason: a user asked for it. Pure.
 */
import type { Estate, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { apply } from "../estate/moved.ts";
import { failoverObstacle } from "../failover/failover.ts";
import { obstacle } from "../rules/rules.ts";
import { byEnd, HOLD_MS } from "./kept.ts";
import { endOf, isFinalPlan, isRejected, type Plan } from "./kinds.ts";
import { keyOf, type Move } from "./plan.ts";
import { score } from "./score.ts";

/** A machine that stays where the plan brought it. */
export interface Kept {
  namespace: string;
  vm: string;
  why: string;
}

export interface Undo {
  /** In the order in which they are to be made; none: nothing can go back. */
  moves: Move[];
  kept: Kept[];
}

/** The moves of a plan that were made, in their order. */
export const madeBy = ({ spec, status }: Plan): Move[] =>
  spec.moves.filter((_, i) => status?.moves?.[i]?.phase === "Succeeded");

/** The newest plan that moved something and is neither an undo nor undone. */
export function lastToUndo(plans: readonly Plan[]): Plan | undefined {
  const undone = new Set(plans.flatMap((plan) => (madeBy(plan).length > 0 ? (plan.spec.undoes ?? []) : [])));
  return plans
    .filter(
      (plan) =>
        isFinalPlan(plan) && !plan.spec.undoes && !undone.has(plan.metadata.name) && madeBy(plan).length > 0,
    )
    .sort(byEnd)
    .at(-1);
}

/** The Plan that makes these moves, for a user who asked for it. @param now ms since the epoch */
export const undoing = ({ metadata: { name } }: Plan, moves: Plan["spec"]["moves"], now: number) => ({
  metadata: { name: `undo-${now.toString(36)}` },
  spec: { trigger: `a user asked to undo ${name}`, undoes: name, automation: "act" as const, moves },
});

/** How to take back what `plan` did, in the estate as it is now. */
export function planUndo(estate: Estate, plan: Plan): Undo {
  const undo: Undo = { moves: [], kept: [] };
  let open: Move[] = [];
  for (const move of madeBy(plan).reverse()) {
    const why = cannotMove(estate, move);
    if (why) undo.kept.push({ namespace: move.namespace, vm: move.vm, why });
    else open.push(move);
  }
  let state = estate;
  for (let found = true; found && open.length > 0; ) {
    found = false;
    for (const move of open) {
      if (wayBack(state, move)) continue;
      undo.moves.push(inWords(state, plan, move));
      state = apply(state, keyOf(move), move.from);
      open = open.filter((other) => other !== move);
      found = true;
      break;
    }
  }
  for (const move of open)
    undo.kept.push({ namespace: move.namespace, vm: move.vm, why: wayBack(state, move) ?? "" });
  return undo;
}

const machineOf = (estate: Estate, move: Move): MachineView | undefined => indexOf(estate).get(keyOf(move));

/** Whatever the rules say. */
function cannotMove(estate: Estate, move: Move): string | undefined {
  const machine = machineOf(estate, move);
  if (!machine) return "the machine is gone";
  if (machine.host === move.from) return `it is back on ${move.from} already`;
  if (machine.host !== move.to)
    return `it has come to ${machine.host ?? "no host"} since, and is no longer on ${move.to}`;
  if (!machine.movable) return "it does not run, or is being moved or stopped";
  if (!indexOf(estate).hosts.get(move.from)) return `host ${move.from} is gone`;
  return undefined;
}

function wayBack(estate: Estate, move: Move): string | undefined {
  const [machine, host] = [machineOf(estate, move), indexOf(estate).hosts.get(move.from)];
  // As the executor asks (recheck.ts).
  const why = machine && host && (obstacle(estate, machine, host) ?? failoverObstacle(estate, machine, host));
  return why && `host ${move.from}: ${why}`;
}

function inWords(estate: Estate, plan: Plan, { namespace, vm, from, to, reason }: Move): Move {
  const { hosts } = indexOf(estate);
  const machine = indexOf(estate).get(`${namespace}/${vm}`);
  const of = (name: string) => {
    const host = hosts.get(name);
    return host && machine ? score(estate, machine, host).total.toFixed(2) : "?";
  };
  return {
    namespace,
    vm,
    from: to,
    to: from,
    reason: `undo of ${plan.metadata.name}, which moved it here: ${reason}`,
    expected: `it is where it was before; score ${of(to)} -> ${of(from)}`,
  };
}

/**
 * The estate as the planner is to see it: what an undo brought back, and what was to move by a plan that was rejected, has come there just now. So it stays
 * for HOLD_MS, unless a rule is broken or one of its policies changed.
 */
export function holdForUsers(
  estate: Estate,
  plans: readonly Plan[],
  { now, released }: { now: number; released: ReadonlySet<string> },
): Estate {
  const held = new Map<string, string>();
  const hold = (move: Move, host: string) => {
    if (!released.has(keyOf(move))) held.set(keyOf(move), host);
  };
  for (const plan of plans) {
    if (now - endOf(plan) >= HOLD_MS) continue;
    if (plan.spec.undoes) for (const move of madeBy(plan)) hold(move, move.to);
    if (isRejected(plan)) for (const move of plan.spec.moves) hold(move, move.from);
  }
  if (held.size === 0) return estate;
  const machines = estate.machines.map((machine) =>
    machine.host !== undefined && held.get(machine.key) === machine.host
      ? { ...machine, since: now }
      : machine,
  );
  return { ...estate, machines };
}
