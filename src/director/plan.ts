/**
 * Moves that are worth it, in an order in which every state between is allowed. Pure.
 *
 * One move at a time is chosen, the one with the greatest gain, broken rules first; it is applied to the estate, and the next one is judged
 * there. All machines are looked at once for many moves: a gain that has become less since waits for its turn (lazy greedy), one that
 * has become more is found by the next look; when a look finds nothing, that is all. A machine moves at most once a plan, so a plan ends. Against ping-pong: a move must
 * gain clearly, and a machine that came to its host recently stays, unless a rule is broken or policies changed since; and it never goes
 * back within that time to a host that it was moved away from.
 */
import type { Estate, MachineView } from "./estate.ts";
import { apply, indexOf } from "./index.ts";
import type { Plan } from "./kinds.ts";
import { judge, reasonFor } from "./place.ts";
import { obstacle, policiesOf } from "./rules.ts";
import { frameOf, score, totalOf } from "./score.ts";

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
  move: Move;
  to: string;
  gain: number;
}

/** The moves, in order; none: there is no useful move. */
export function planMoves(estate: Estate, options: PlanOptions): Move[] {
  let state = estate;
  const moves: Move[] = [];
  const moved = new Set<string>();
  for (let found = true; found && moves.length < options.maxMoves; ) {
    found = false;
    // The gain that each had when it was looked at; before it is taken, it is looked at again on what there is by then.
    const queue = gainsOf(state, options, moved);
    for (let next = queue.pop(); next && moves.length < options.maxMoves; next = queue.pop()) {
      const machine = indexOf(state).get(next.key);
      const candidate = machine && candidateFor(state, machine, options);
      if (!candidate) continue;
      if (candidate.gain < (queue.at(-1)?.gain ?? 0)) {
        insert(queue, { key: next.key, gain: candidate.gain });
        continue;
      }
      moves.push(candidate.move);
      moved.add(next.key);
      state = apply(state, next.key, candidate.to);
      found = true;
    }
  }
  return moves;
}

interface Gain {
  key: string;
  gain: number;
}

/** Of the machines that could gain by a move, the greatest last. */
function gainsOf(estate: Estate, options: PlanOptions, moved: ReadonlySet<string>): Gain[] {
  const gains: Gain[] = [];
  for (const machine of estate.machines) {
    if (!machine.movable || moved.has(machine.key)) continue;
    const gain = gainOf(estate, machine, options);
    if (gain !== undefined) gains.push({ key: machine.key, gain });
  }
  // The sort is stable: of equal ones the first of the estate comes last, to be taken first.
  return gains.reverse().sort((a, b) => a.gain - b.gain);
}

/** Behind all that gain less. */
function insert(queue: Gain[], gain: Gain): void {
  const at = queue.findLastIndex((each) => each.gain < gain.gain) + 1;
  queue.splice(at, 0, gain);
}

/** Why a machine may be moved: a rule is broken where it is, or it has been there long enough. Undefined: it stays. */
function reasonToMove(estate: Estate, machine: MachineView, options: PlanOptions) {
  const here = indexOf(estate).hosts.get(machine.host ?? "");
  // A host that is silent keeps its machines: nobody can move them, and they may well run.
  if (!here?.ready) return undefined;
  const broken = here.closed === "it is marked unschedulable" ? undefined : obstacle(estate, machine, here);
  const settled = options.now - machine.since >= options.stayMs || options.released.has(machine.key);
  return broken || settled ? { here, broken } : undefined;
}

/** What the best move of the machine gains; a mended rule counts more than anything else. Undefined: not enough, or it must stay. */
function gainOf(estate: Estate, machine: MachineView, options: PlanOptions): number | undefined {
  const why = reasonToMove(estate, machine, options);
  if (!why) return undefined;
  const { here, broken } = why;
  const frame = frameOf(estate, machine);
  const now = totalOf(estate, machine, here, frame);
  let best: number | undefined;
  for (const host of estate.hosts) {
    if (host.name === here.name) continue;
    const gain = totalOf(estate, machine, host, frame) - now;
    if ((!broken && gain < options.threshold) || (best !== undefined && gain <= best)) continue;
    if (leftLately(machine, host.name, options) || obstacle(estate, machine, host)) continue;
    best = gain;
  }
  return best === undefined ? undefined : broken ? MENDED + best : best;
}

const MENDED = 10;

/** Not even to mend a rule: what is mended there breaks what it was moved away for, and so on. */
function leftLately(
  { key, left = [] }: MachineView,
  host: string,
  { now, stayMs, released }: PlanOptions,
): boolean {
  return !released.has(key) && left.some((one) => one.host === host && now - one.at < stayMs);
}

function candidateFor(estate: Estate, machine: MachineView, options: PlanOptions): Candidate | undefined {
  const why = reasonToMove(estate, machine, options);
  if (!why) return undefined;
  const { here, broken } = why;
  const possible = judge(estate, machine).filter(
    (verdict) =>
      verdict.score && verdict.host.name !== here.name && !leftLately(machine, verdict.host.name, options),
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
    to: there.host.name,
    gain: broken ? MENDED + gain : gain,
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
