/**
 * Moves that are worth it, in an order in which every state between is allowed. Pure.
 *
 * One move at a time is chosen: of all machines and hosts the one with the greatest gain, broken rules first; it is applied to the
 * estate, and the next one is looked for there. A machine moves at most once a plan, so a plan ends. Against ping-pong: a move must
 * gain clearly, and a machine that came to its host recently stays, unless a rule is broken or policies changed since.
 */
import type { Estate, MachineView } from "./estate.ts";
import { apply } from "./index.ts";
import type { Plan } from "./kinds.ts";
import { judge, reasonFor } from "./place.ts";
import { obstacle, policiesOf } from "./rules.ts";
import { score } from "./score.ts";

export type Move = Plan["spec"]["moves"][number];

export interface PlanOptions {
  /** Now, ms since the epoch. */
  now: number;
  /** A machine stays at least this long where it came to. */
  stayMs: number;
  /** Of the score (0 … 1): what a move must gain at least. */
  threshold: number;
  /** Machines whose policies changed since they were placed need not stay. */
  released: ReadonlySet<string>;
  maxMoves: number;
}

export const PLAN_DEFAULTS = { stayMs: 300_000, threshold: 0.08, maxMoves: 50 } as const;

interface Candidate {
  machine: MachineView;
  move: Move;
  to: string;
  gain: number;
}

/** The moves, in order; none: there is no useful move. */
export function planMoves(estate: Estate, options: PlanOptions): Move[] {
  let state = estate;
  const moves: Move[] = [];
  const moved = new Set<string>();
  while (moves.length < options.maxMoves) {
    const best = bestMove(state, options, moved);
    if (!best) break;
    moves.push(best.move);
    moved.add(best.machine.key);
    state = apply(state, best.machine.key, best.to);
  }
  return moves;
}

function bestMove(estate: Estate, options: PlanOptions, moved: ReadonlySet<string>): Candidate | undefined {
  let best: Candidate | undefined;
  for (const machine of estate.machines) {
    if (!machine.movable || moved.has(machine.key)) continue;
    const candidate = candidateFor(estate, machine, options);
    if (candidate && (!best || candidate.gain > best.gain)) best = candidate;
  }
  return best;
}

function candidateFor(estate: Estate, machine: MachineView, options: PlanOptions): Candidate | undefined {
  const here = estate.hosts.find((host) => host.name === machine.host);
  // A host that is silent keeps its machines: nobody can move them, and they may well run.
  if (!here?.ready) return undefined;
  const broken = here.closed === "it is marked unschedulable" ? undefined : obstacle(estate, machine, here);
  const settled = options.now - machine.since >= options.stayMs || options.released.has(machine.key);
  if (!broken && !settled) return undefined;
  const possible = judge(estate, machine).filter(
    (verdict) => verdict.score && verdict.host.name !== here.name,
  );
  const [there] = possible;
  if (!there?.score) return undefined;
  const now = score(estate, machine, here);
  const gain = there.score.total - now.total;
  if (!broken && gain < options.threshold) return undefined;
  const [policy] = policiesOf(estate, machine);
  const expected = there.score.parts
    .filter((part) => part.weight >= 0.1)
    .map(
      (part) =>
        `${part.name}: ${now.parts.find((p) => p.name === part.name)?.detail ?? "?"} -> ${part.detail}`,
    )
    .join("; ");
  return {
    machine,
    to: there.host.name,
    gain: broken ? 10 + gain : gain,
    move: {
      namespace: machine.namespace,
      vm: machine.name,
      from: here.name,
      to: there.host.name,
      reason: broken
        ? `on ${here.name} ${broken}`
        : `${reasonFor(estate, machine, there, possible.length + 1)}; score ${now.total.toFixed(2)} -> ${there.score.total.toFixed(2)}`,
      ...(policy ? { policy: policy.metadata.name } : {}),
      expected,
    },
  };
}
