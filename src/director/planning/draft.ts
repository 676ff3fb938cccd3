/** A plan while it is made: its moves, each in words, made in the index of the estate one after the other, and taken back in the end. Pure. */
import { converges, linkOf, transferBy, wayOf } from "../../compute/migrations/kinds.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import { BUSY, baseOf, FLOWS, measuredOf } from "../estate/estate-model.ts";
import { powerWeight } from "../estate/goals.ts";
import { FULL, processorsOf } from "../estate/use.ts";
import type { Policy } from "../kinds.ts";
import { TOLD } from "../rules/overcommit.ts";
import { isSpecial, obstacle, policiesOf } from "../rules/rules.ts";
import { Forecaster } from "./forecast.ts";
import type { Plan } from "./kinds.ts";
import { automationOf, Budget, stayOf } from "./limits.ts";
import { choose, reasonFor } from "./place.ts";
import { score } from "./score.ts";

export type Move = Plan["spec"]["moves"][number];
/** Of the machine that it moves. */
export const keyOf = ({ namespace, vm }: Pick<Move, "namespace" | "vm">): string => `${namespace}/${vm}`;

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
  /** Only what has to go is moved: rules are mended, hosts left and relieved. */
  needed?: boolean;
  /** Only machines whose policy says so are moved. */
  automation: Plan["spec"]["automation"];
  /** What moves take, by those that were made. */
  forecaster: Forecaster;
}

export const PLAN_DEFAULTS = {
  stayMs: 300_000,
  threshold: 0.08,
  maxMoves: 50,
  automation: "act",
  forecaster: new Forecaster([]),
} as const;

/** A move that takes so long must gain twice as much as one that takes no time: all the while it loads both hosts and their link, and what it was planned for may be over. */
const LONG_S = 600;

/** The same of one for which the guest stands still so long, where its policies do not say how long it may (transfer.downtimeMs): who uses it notices. At most as much: the rest no gain makes up for. */
const STILL_MS = 1000;

/** How often that counts. */
const STILL_WEIGHT = { low: 0, normal: 1, high: 4 } as const;

/** What each move of the machine that failed, since one did not, has the next one gain more, by the same measure: it may well be for nothing. */
const FAILED = 0.5;

/**
 * What a move of the machine must gain, in scores, for the time that it takes over its host's link (which host it goes to is not known yet), for that in which its guest stands still, as far as
 * that is known, and for what failed before.
 */
export function moveCost(
  estate: Estate,
  machine: MachineView,
  { threshold, forecaster }: PlanOptions,
): number {
  const here = indexOf(estate).hosts.get(machine.host ?? "");
  const transfer = transferBy(policiesOf(estate, machine));
  const way = wayOf(machine, transfer, here, here);
  const long = forecaster.secondsOf(machine, way) / LONG_S;
  const stillMs = forecaster.stillMsOf(machine, way);
  const still = stillMs === undefined ? 0 : Math.min(1, stillMs / (transfer.downtimeMs ?? STILL_MS));
  const weight = STILL_WEIGHT[machine.latencySensitivity ?? "normal"];
  return threshold * (long + weight * still + FAILED * (machine.failed?.times ?? 0));
}

/** Of what a move must gain so much more, where it is all in watts by what is measured: that changes again, and the move is not paid back. */
const FLEETING = 1;

/** Where only a part of such gains came true of other moves, a gain counts as that part; as so much at least. */
const LEAST_KEPT = 0.25;

/** What a move of the machine must gain at least. */
export function leastGain(estate: Estate, machine: MachineView, options: PlanOptions): number {
  const [policy] = policiesOf(estate, machine);
  return leastBesides(indexOf(estate), machine, policy, options) + moveCost(estate, machine, options);
}

/** The same but for what the move costs. @param policy the machine's first */
export function leastBesides(
  index: EstateIndex,
  machine: MachineView,
  policy: Policy | undefined,
  { threshold, released, forecaster }: PlanOptions,
): number {
  if (!machine.use || released.has(machine.key)) return threshold;
  const kept = Math.min(1, Math.max(LEAST_KEPT, forecaster.wattsKept));
  return threshold + threshold * ((1 + FLEETING) / kept - 1) * powerWeight(index.aimOf(policy).weights);
}

/** A machine that could not be moved is left alone so long, twice as long after each further time, and at most so long. */
const RETRY = { firstMs: 60_000, mostMs: 900_000 };

/** When it may be tried again, ms since the epoch. */
export const retryAt = ({ times, at }: NonNullable<MachineView["failed"]>): number =>
  at + Math.min(RETRY.mostMs, RETRY.firstMs * 2 ** (times - 1));

/** Whether a plan may move it at all. @param at where it is in the estate's list */
export function mayMove(index: EstateIndex, at: number, { automation, now }: PlanOptions): boolean {
  const machine = index.machines[at];
  if (!machine?.movable || (machine.failed && now < retryAt(machine.failed))) return false;
  return automationOf(index.policiesAt(at)).automation === automation;
}

/** Moves that are made in the index for as long as a plan is made, with their words. */
export class Draft {
  readonly estate: Estate;
  readonly index: EstateIndex;
  readonly moves: Move[] = [];
  /** Where machines that were moved are in the estate's list. */
  readonly moved = new Set<number>();
  private readonly before: [at: number, machine: MachineView][] = [];
  private readonly budget: Budget;

  constructor(estate: Estate, index: EstateIndex, { now, automation }: PlanOptions) {
    this.estate = estate;
    this.index = index;
    this.budget = new Budget(estate, now, automation);
  }

  /** Whether the limits of its policies let it move now, with those before; out of a host in maintenance it does in any case. */
  allows(...machines: MachineView[]): boolean {
    if (!this.budget.limited) return true;
    const bound = machines.filter(({ host }) => !this.index.hosts.get(host ?? "")?.maintenance);
    return this.budget.refuses(bound) === undefined;
  }

  /** The same of the machine at this place in the estate's list, for who asks it of all. */
  allowsAt(at: number): boolean {
    if (!this.budget.limited || !this.budget.isSpent(this.index.policiesAt(at))) return true;
    return this.index.hosts.get(this.index.machines[at]?.host ?? "")?.maintenance === true;
  }

  /** @param needed it has to go @param why when it is not for what the machine gains itself */
  make(at: number, to: HostView, needed: boolean, why?: string): void {
    const machine = this.index.machines[at] as MachineView;
    this.moves.push({ ...inWords(this.estate, machine, to, why), ...(needed ? { needed } : {}) });
    this.moved.add(at);
    this.budget.take(machine);
    this.before.push([at, machine]);
    this.index.move(machine.key, to.name);
  }

  takeBack(): void {
    for (const [at, machine] of this.before.splice(0).reverse()) {
      this.index.restore(at, machine);
      this.moved.delete(at);
    }
  }
}

function inWords(estate: Estate, machine: MachineView, to: HostView, why: string | undefined): Move {
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
    reason:
      why ??
      `${reasonFor(estate, machine, { host: to, score: there }, possible())}; score ${now.total.toFixed(2)} -> ${there.total.toFixed(2)}`,
    ...(policy ? { policy: policy.metadata.name } : {}),
    expected,
  };
}

/**
 * What else is looked at of hosts that a machine may go to; undefined: nothing.
 * @param must it has to go: then a host that becomes busy is better than none
 */
export function acceptOf(
  estate: Estate,
  index: EstateIndex,
  machine: MachineView,
  options: PlanOptions,
  must: boolean,
): ((h: number) => boolean) | undefined {
  const special = isSpecial(machine);
  // Who puts a host into maintenance wants its machines away, if need be where they came from.
  const back = machine.left?.length && !index.hosts.get(machine.host ?? "")?.maintenance;
  if (!special && !back && must) return undefined;
  const here = index.hosts.get(machine.host ?? "");
  // A guest that has to go is slowed down by QEMU, until the rest of its memory can be sent.
  const written = !must && machine.dirtyBytesPerSecond !== undefined;
  const way = written ? wayOf(machine, transferBy(policiesOf(estate, machine)), here, here) : undefined;
  return (h) => {
    if (!must && !index.load.staysCalm(machine, h)) return false;
    const host = index.hostOf(h) as HostView;
    if (way && !converges(machine, { ...way, mbps: Math.min(way.mbps, linkOf(here, host)) })) return false;
    return (
      !(back && leftLately(estate, machine, host.name, options)) &&
      !(special && obstacle(estate, machine, host))
    );
  };
}

/** It has been there long enough, or need not. */
export function isSettled(index: EstateIndex, at: number, options: PlanOptions): boolean {
  const { now, stayMs, released } = options;
  const { since, key } = index.machines[at] as MachineView;
  return now - since >= stayOf(index.policiesAt(at), stayMs) || released.has(key);
}

/** Not even to mend a rule: what is mended there breaks what it was moved away for, and so on. */
function leftLately(
  estate: Estate,
  machine: MachineView,
  host: string,
  { now, stayMs, released }: PlanOptions,
): boolean {
  const { key, left = [] } = machine;
  if (released.has(key)) return false;
  return left.some((one) => one.host === host && now - one.at < stayOf(policiesOf(estate, machine), stayMs));
}

/** Why it leaves its host, when it is not for what it gains itself. */
export function whyAway(
  estate: Estate,
  machine: MachineView,
  here: HostView,
  { broken, hot }: { broken: boolean; hot: boolean },
): string | undefined {
  if (broken)
    return here.maintenance
      ? `${here.name} is ${here.closed?.startsWith("it is ") ? here.closed.slice(6) : `to be left: ${here.closed}`}`
      : `on ${here.name} ${obstacle(estate, machine, here)}`;
  if (!hot) return undefined;
  const processors = processorsOf(here);
  const index = indexOf(estate);
  const h = index.hostNumber(here.name);
  const { of } = index.load.heat(h) ?? { of: BUSY };
  const expected = index.load.expected(h, of) * FULL;
  const flow = FLOWS.find(({ measured }) => measured === of);
  if (!flow) {
    const why = index.load.isSensitive(h) ? " for a machine with high latency sensitivity" : "";
    return `${here.name} is too busy${why}: its machines are expected to use ${(expected / 1000).toFixed(1)} of ${processors} processors, this one ${(machine.use?.expected ?? 0).toFixed(1)}`;
  }
  const { what, amount } = TOLD[flow.declared];
  const [all = 0, own] = [baseOf(here)[flow.declared], measuredOf(machine, of)];
  return `${here.name} is too busy: of ${amount(all)} ${what} its machines are expected to use ${amount(Math.round(expected))}, this one ${amount(Math.round(own * FULL))}`;
}
