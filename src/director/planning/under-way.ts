/**
 * What is planned while plans are being carried out. What only gains waits until they are over: they change the estate. What has to go (a host that is to be left, a broken rule, a host that is too
 * busy) does not: where no move that is under way brings it about, it is planned on the estate as it is. Machines that are on their way, which take room on both hosts, stay out of it, and so do those that
 * have to go by a plan already; should one of these find its place taken, the executor skips it, and it is planned anew. The director's own moves that only gain and have not begun are superseded for it.
 * Plans that users approved or asked for are left alone, and so are their machines. Pure.
 */
import type { Estate } from "../estate/estate.ts";
import { calledOff, isHeld, isPlanOpen, isPlanUnderWay, isProposal, type Plan } from "./kinds.ts";
import { keyOf, type Move, PLAN_DEFAULTS, type PlanOptions, planMoves } from "./plan.ts";

type Automation = Plan["spec"]["automation"];

interface Planned {
  moves: Move[];
  /** Plans under way whose moves that have not begun are not to be made any more. */
  supersedes: Plan[];
}

/** Its moves that are being made, or may be yet, with how they stand. */
const openOf = (plan: Plan) => {
  const { spec, status } = plan;
  const isOff = calledOff(plan) !== undefined;
  return spec.moves.flatMap((move, i) => {
    const { phase = "Waiting", message } = status?.moves?.[i] ?? {};
    return phase === "Running" || (phase === "Waiting" && !isOff) ? [{ move, phase, message }] : [];
  });
};

const waitingOf = (plan: Plan): Move[] =>
  openOf(plan).flatMap(({ move, phase }) => (phase === "Waiting" ? [move] : []));

/** A plan that the director made and carries out by itself. */
const isOwn = ({ spec }: Plan) => spec.automation === "act" && spec.undoes === undefined;

/** By machine: the open move of it by a plan that is being carried out, or held. */
export function movesUnderWay(
  plans: readonly Plan[],
): Map<string, { plan: string; to: string; now?: string }> {
  return new Map(
    plans
      .filter(isPlanOpen)
      .flatMap((plan) =>
        openOf(plan).map(({ move, message }) => [
          keyOf(move),
          { plan: plan.metadata.name, to: move.to, ...(message ? { now: message } : {}) },
        ]),
      ),
  );
}

/** The estate as the planner is to see it: machines whose moves users approved or asked for stay where they are until then. */
export function holdForApproved(estate: Estate, plans: readonly Plan[]): Estate {
  const waiting = plans
    .filter((plan) => isHeld(plan) || (isPlanUnderWay(plan) && !isOwn(plan)))
    .flatMap((plan) => openOf(plan).map(({ move }) => keyOf(move)));
  return waiting.length === 0 ? estate : onlyMovable(estate, new Set(waiting), false);
}

/** @param those whether it is these that may be moved, or all others */
const onlyMovable = (estate: Estate, keys: ReadonlySet<string>, those: boolean): Estate => ({
  ...estate,
  machines: estate.machines.map((machine) =>
    keys.has(machine.key) === those ? machine : { ...machine, movable: false },
  ),
});

/** As if these had been made. */
function afterAll(estate: Estate, moves: readonly Move[]): Estate {
  const goals = new Map(moves.map((move) => [keyOf(move), move.to]));
  const machines = estate.machines.map((machine) => {
    const to = goals.get(machine.key);
    if (to === undefined) return machine;
    const { movingTo: _, ...there } = machine;
    return { ...there, host: to, movable: false };
  });
  return { ...estate, machines };
}

/** Plans of one level of automation after the other, by the estate as the planner is to see it. */
export class Planning {
  private readonly estate: Estate;
  private readonly plans: readonly Plan[];
  private readonly free: Pick<PlanOptions, "now" | "released" | "forecaster">;
  /** The director's own that are under way. */
  private readonly own: readonly Plan[];
  /** Whether only what has to go is planned. */
  readonly isBusy: boolean;
  /** What is left when all that is under way has been done, but for moves that only gain and have not begun. What quiet hours hold is not done by then: that may be long. */
  private after: Estate | undefined;

  constructor(
    estate: Estate,
    plans: readonly Plan[],
    free: Pick<PlanOptions, "now" | "released" | "forecaster">,
  ) {
    this.estate = estate;
    this.plans = plans;
    this.free = free;
    this.isBusy = plans.some(isPlanUnderWay);
    this.own = plans.filter((plan) => isPlanUnderWay(plan) && isOwn(plan));
  }

  movesOf(automation: Automation): Planned {
    const { estate, free } = this;
    if (!this.isBusy)
      return { moves: planMoves(estate, { ...PLAN_DEFAULTS, ...free, automation }), supersedes: [] };
    const options = { ...PLAN_DEFAULTS, ...free, automation, needed: true };
    const none = { moves: [], supersedes: [] };
    const left = new Set(planMoves(this.unseen(this.afterOpen(automation)), options).map(keyOf));
    if (left.size === 0) return none;
    // Those whose moves are all needed go on: nothing of them is to come later.
    const supersedes =
      automation === "act"
        ? this.own.filter((plan) =>
            openOf(plan).some(({ move, phase }) => phase === "Waiting" && !move.needed),
          )
        : [];
    // What it takes the place of has to be in it, too: else each look would propose what the last one had not.
    const again = [...supersedes, ...this.proposalsOf(automation)].flatMap((plan) =>
      waitingOf(plan)
        .filter(({ needed }) => needed)
        .map(keyOf),
    );
    // No others: a host that a machine is leaving still looks too busy.
    const moves = planMoves(onlyMovable(estate, new Set([...left, ...again]), true), options);
    return moves.some((move) => left.has(keyOf(move))) ? { moves, supersedes } : none;
  }

  /**
   * Of a plan with as many moves as one has at most it is known that there is more to do. That comes when it is over; else each look would plan for what the last one had no place for. A host that is to
   * be left does not wait for it.
   */
  private unseen(after: Estate): Estate {
    const isFull = ({ spec }: Plan) => spec.moves.length >= PLAN_DEFAULTS.maxMoves;
    const needed = this.own.filter(isFull).flatMap((plan) => waitingOf(plan).filter((move) => move.needed));
    if (needed.length === 0) return after;
    const isLeft = new Set(this.own.flatMap((plan) => openOf(plan).map(({ move }) => move.from)));
    const hosts = new Set(
      after.hosts.filter(({ name, maintenance }) => maintenance && !isLeft.has(name)).map(({ name }) => name),
    );
    const there = after.machines.filter(({ host }) => hosts.has(host ?? "")).map(({ key }) => key);
    return onlyMovable(after, new Set(there), true);
  }

  private afterOpen(automation: Automation): Estate {
    const isSure = (plan: Plan, { needed }: Move) => !isHeld(plan) && (needed || !isOwn(plan));
    this.after ??= afterAll(
      this.estate,
      this.plans
        .filter(isPlanOpen)
        .flatMap((plan) =>
          openOf(plan).flatMap(({ move, phase }) =>
            phase === "Running" || isSure(plan, move) ? [move] : [],
          ),
        ),
    );
    const proposed = this.proposalsOf(automation).flatMap((plan) =>
      waitingOf(plan).filter(({ needed }) => needed),
    );
    return proposed.length > 0 ? afterAll(this.after, proposed) : this.after;
  }

  /** A new one supersedes them. */
  private proposalsOf(automation: Automation): Plan[] {
    return this.plans.filter((plan) => isProposal(plan) && plan.spec.automation === automation);
  }
}
