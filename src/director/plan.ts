/**
 * Moves that are worth it, in an order in which every state between is allowed. Pure.
 *
 * One move at a time is chosen, the one with the greatest gain, broken rules first; it is applied to the index of the estate, and the next one is judged
 * there (afterwards all are taken back). All machines are looked at once for many moves: a gain that has become less since waits for its turn (lazy greedy), one that
 * has become more is found by the next look; when a look finds nothing, that is all. A machine moves at most once a plan, so a plan ends. Against ping-pong: a move must
 * gain clearly, and a machine that came to its host recently stays, unless a rule is broken or policies changed since; and it never goes
 * back within that time to a host that it was moved away from.
 */
import type { Estate, HostView, MachineView } from "./estate.ts";
import { type EstateIndex, indexOf } from "./index.ts";
import type { Plan } from "./kinds.ts";
import { choose, reasonFor } from "./place.ts";
import { isSpecial, obstacle, policiesOf } from "./rules.ts";
import { score } from "./score.ts";
import { Heap } from "./solver/heap.ts";

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

/** A mended rule counts more than anything else. */
const MENDED = 10;

interface Candidate {
  /** Where the machine is in the estate's list. */
  at: number;
  gain: number;
  to: number;
  broken: boolean;
}

/** The moves, in order; none: there is no useful move. */
export function planMoves(estate: Estate, options: PlanOptions): Move[] {
  const index = indexOf(estate);
  const moves: Move[] = [];
  const before: [number, MachineView][] = [];
  const moved = new Set<number>();
  try {
    for (let found = true; found && moves.length < options.maxMoves; ) {
      found = false;
      // The gain that each had when it was looked at; before it is taken, it is looked at again on what there is by then.
      const queue = new Heap<Candidate>((a, b) => b.gain - a.gain || a.at - b.at);
      for (const [at, machine] of index.machines.entries()) {
        if (!machine.movable || moved.has(at)) continue;
        const candidate = consider(estate, index, at, options);
        if (candidate) queue.push(candidate);
      }
      for (let next = queue.pop(); next && moves.length < options.maxMoves; next = queue.pop()) {
        const candidate = consider(estate, index, next.at, options);
        if (!candidate) continue;
        if (candidate.gain < (queue.first?.gain ?? 0)) {
          queue.push(candidate);
          continue;
        }
        const machine = index.machines[candidate.at] as MachineView;
        const to = index.hostOf(candidate.to) as HostView;
        moves.push(inWords(estate, machine, to, candidate.broken));
        moved.add(candidate.at);
        before.push([candidate.at, machine]);
        index.move(machine.key, to.name);
        found = true;
      }
    }
  } finally {
    for (const [at, machine] of before.reverse()) index.restore(at, machine);
  }
  return moves;
}

/** The best move of a machine, if it may be moved (a rule is broken where it is, or it has been there long enough) and gains enough. */
function consider(
  estate: Estate,
  index: EstateIndex,
  at: number,
  options: PlanOptions,
): Candidate | undefined {
  const machine = index.machines[at] as MachineView;
  const here = index.hosts.get(machine.host ?? "");
  // A host that is silent keeps its machines: nobody can move them, and they may well run.
  if (!here?.ready) return undefined;
  const seek = index.seek(machine);
  if (!seek?.now) return undefined;
  const { want, now } = seek;
  const special = isSpecial(machine);
  const broken =
    here.closed !== "it is marked unschedulable" &&
    (!now.stays || (special && obstacle(estate, machine, here) !== undefined));
  const settled = options.now - machine.since >= options.stayMs || options.released.has(machine.key);
  if (!broken && !settled) return undefined;
  const floor = broken ? Number.NEGATIVE_INFINITY : now.like + options.threshold;
  const accept = (h: number): boolean => {
    const host = index.hostOf(h) as HostView;
    return !leftLately(machine, host.name, options) && !(special && obstacle(estate, machine, host));
  };
  const picky = special || (machine.left !== undefined && machine.left.length > 0);
  const to = index.shelves.best(want, floor, picky ? accept : undefined);
  if (to < 0) return undefined;
  const gain = index.shelves.liking(want, to) - now.like;
  return { at, gain: broken ? MENDED + gain : gain, to, broken };
}

/** Not even to mend a rule: what is mended there breaks what it was moved away for, and so on. */
function leftLately(
  { key, left = [] }: MachineView,
  host: string,
  { now, stayMs, released }: PlanOptions,
): boolean {
  return !released.has(key) && left.some((one) => one.host === host && now - one.at < stayMs);
}

function inWords(estate: Estate, machine: MachineView, to: HostView, broken: boolean): Move {
  const here = indexOf(estate).hosts.get(machine.host ?? "") as HostView;
  const now = score(estate, machine, here);
  const there = score(estate, machine, to);
  const [policy] = policiesOf(estate, machine);
  const expected = there.parts
    .filter((part) => part.weight >= 0.1)
    .map(
      (part) =>
        `${part.name}: ${now.parts.find((p) => p.name === part.name)?.detail ?? "?"} -> ${part.detail}`,
    )
    .join("; ");
  // With its own.
  const possible = () => choose(estate, machine, here.name).possible + 1;
  return {
    namespace: machine.namespace,
    vm: machine.name,
    from: here.name,
    to: to.name,
    reason: broken
      ? `on ${here.name} ${obstacle(estate, machine, here)}`
      : `${reasonFor(estate, machine, { host: to, score: there }, possible())}; score ${now.total.toFixed(2)} -> ${there.total.toFixed(2)}`,
    ...(policy ? { policy: policy.metadata.name } : {}),
    expected,
  };
}
