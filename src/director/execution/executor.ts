/**
 * Carries plans out, as Migrations. It decides nothing: each move is checked again before it (recheck.ts), begins when those
 * before it and the hosts' links allow it (pace.ts), and one that no longer fits is skipped with the reason; the others go on. What each was to take and gain, and what it
 * did, is written beside each other.
 *
 * The Migration's name comes from the plan and the move's place in it, so a replay after a crash finds it instead of making another; the
 * figures before it are written before it is made.
 */
import { isDeepStrictEqual } from "node:util";
import { modify } from "../../client/client.ts";
import {
  isFinal,
  isUnderWay,
  Migration,
  memoryToSend,
  transferBy,
  wayOf,
} from "../../compute/migrations/kinds.ts";
import { Controller } from "../../reconcile/controller.ts";
import { Informer } from "../../reconcile/informer.ts";
import { isApiError } from "../../resource/errors.ts";
import { requestOf } from "../../telemetry/request-id.ts";
import type { Estate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { depart, forDepartures } from "../estate/moved.ts";
import { othersFirst, readEstate } from "../estate/read-estate.ts";
import { Policy } from "../kinds.ts";
import { figuresOf } from "../planning/figures.ts";
import { calledOff, endOf, isFinalPlan, isPlanOpen, isRejected, Plan } from "../planning/kinds.ts";
import { outlookOf } from "../planning/outlook.ts";
import { keyOf, type Move } from "../planning/plan.ts";
import type { DirectorContext } from "../planning/scheduler.ts";
import { policiesOf } from "../rules/rules.ts";
import { measuredOf } from "./measured.ts";
import { actualOf, outcome } from "./outcome.ts";
import { type UnderWay, waitsFor } from "./pace.ts";
import { hindrance, overLimits, overtaken, quietHours } from "./recheck.ts";

type MoveStatus = NonNullable<NonNullable<Plan["status"]>["moves"]>[number];

/** While moves wait or run: hosts and rules may change. A Migration that ends wakes us at once. */
const LOOK_AGAIN_MS = 3000;
/** So long after a plan is over it is looked at what its machines use then; and so long after that at most: later it says little of the moves. */
const MEASURED_AFTER_MS = 5 * 60_000;
const MEASURED_WITHIN_MS = 25 * 60_000;
/** So often as long while all that is left waits for the end of quiet hours. */
const HELD_TIMES = 20;
/** So many moves are begun at most by one reading of the estate, which is no small thing to read; the second and those after it only while it is no older than that. */
const BEGUN_AT_ONCE = 8;
const OLDEST_MS = 1000;

/** When it is looked at again: others may begin by a new reading; hosts and rules may change; what is left waits for the end of quiet hours. */
type Next = "more" | "wait" | "held";

export async function runPlanExecutor(
  context: DirectorContext,
  lookAgainMs = LOOK_AGAIN_MS,
  measuredAfterMs = MEASURED_AFTER_MS,
): Promise<void> {
  const { client, log, signal } = context;
  const plans = new Informer(client, Plan, { log });
  const controller = new Controller({
    name: "plan-executor",
    log,
    // Each time it reads the whole estate.
    rest: 3,
    // One plan after the other: each has to see what another has begun, or they exceed the limits of both together.
    workers: 1,
    reconcile: async (name) => {
      const next = await step(context, name);
      if (next === "over") return measure(context, name, measuredAfterMs);
      return { requeueAfterMs: { more: 1, wait: lookAgainMs, held: lookAgainMs * HELD_TIMES }[next] };
    },
    requestOf: (name) => requestOf(plans.get(name)),
  });
  const migrations = new Informer(client, Migration, { log });
  plans.onChange((name, plan, old) => {
    // It may have been over before we began.
    if (plan && !old && isUnmeasured(plan)) controller.enqueue(name);
    // Not for what it writes itself.
    const said = (of: Plan | undefined) => JSON.stringify([of?.metadata.generation, of?.status?.superseded]);
    if (plan && !isFinalPlan(plan) && said(plan) !== said(old)) controller.enqueue(name);
  });
  migrations.onChange((_key, now) => {
    // Not each time when it tells how far it is. Whoever asked for it: its hosts have room for others by now.
    if (now && !isFinal(now)) return;
    for (const open of plans.list()) if (!isFinalPlan(open)) controller.enqueue(open.metadata.name);
  });
  await Promise.all([plans.run(signal), migrations.run(signal), controller.run(signal)]);
}

async function step(context: DirectorContext, name: string): Promise<Next | "over"> {
  const { client } = context;
  const plan = await client.get(Plan, { name });
  if (!plan || isFinalPlan(plan)) return "over";
  // One that was begun is stopped first.
  if (!isPlanOpen(plan)) {
    const phase = isRejected(plan) ? "Rejected" : "Proposed";
    if (plan.status?.phase !== phase)
      await write(context, name, { phase, ...(phase === "Proposed" ? await outlook(context, plan) : {}) });
    return "over";
  }
  // While nothing of it is begun: later nobody could tell what was before. What was told when it was proposed may be long ago.
  if (!plan.status?.moves && (!plan.status?.outlook || plan.status.phase === "Proposed")) {
    await write(context, name, { phase: "Running", ...(await outlook(context, plan)) });
    return "more";
  }
  const migrations = (await client.list(Migration)).items;
  const { moves } = plan.spec;
  const off = calledOff(plan);
  const states = moves.map((move, i): MoveStatus => {
    const state: MoveStatus = plan.status?.moves?.[i] ?? { phase: "Waiting" };
    const own = ownOf(migrations, move, nameOf(name, i));
    const now = isOpen(state) ? follow(state, nameOf(name, i), own) : state;
    return off !== undefined && now.phase === "Waiting" ? { ...now, phase: "Skipped", message: off } : now;
  });
  if (isRejected(plan)) await cancel(context, plan, states);
  const ended = states.flatMap(({ phase, actual }, i) => (phase === "Succeeded" && !actual ? [i] : []));
  const waits = states.some(({ phase }) => phase === "Waiting");
  let next: Next = "wait";
  if (ended.length > 0 || waits) {
    // Read after the Migrations: what has ended is in it. And it is no small thing to read.
    const readMs = performance.now();
    const read = await readEstate(client, context);
    await othersFirst();
    const estate = forDepartures(read, BEGUN_AT_ONCE);
    for (const i of ended) states[i] = told(estate, migrations, plan, states, i);
    if (waits) next = await beginThose(context, plan, states, { estate, readMs }, migrations);
  }
  const done = states.filter(({ phase }) => phase === "Succeeded").length;
  if (states.some(isOpen)) {
    await write(context, name, { phase: next === "held" ? "Held" : "Running", done, moves: states });
    return next;
  }
  // Nothing went wrong with a plan that the world has overtaken before any move of it: the next one is made of what is now.
  const isOvertaken = states.every(({ phase }) => phase === "Skipped") && !plan.spec.undoes;
  const otherwise = isOvertaken || plan.status?.superseded !== undefined ? "Superseded" : "Failed";
  const phase = done === states.length ? "Succeeded" : isRejected(plan) ? "Rejected" : otherwise;
  await write(context, name, { phase, done, moves: states });
  return "over";
}

/** Moves that have begun end where the machine runs: a Migration that is past that says so, and ends well. */
async function cancel({ client }: DirectorContext, plan: Plan, states: readonly MoveStatus[]): Promise<void> {
  for (const [i, { namespace }] of plan.spec.moves.entries())
    if (states[i]?.phase === "Running")
      await modify(client, Migration, { name: nameOf(plan.metadata.name, i), namespace }, "object", (now) =>
        isFinal(now) || now.spec.cancel ? undefined : { ...now, spec: { ...now.spec, cancel: true } },
      );
}

/** Moves that were made, of a plan that is over, of which nobody has looked yet at what came of them. */
const isUnmeasured = (plan: Plan): boolean =>
  isFinalPlan(plan) &&
  (plan.status?.moves ?? []).some(
    ({ phase, after, measured }) => phase === "Succeeded" && after && !measured,
  );

/** Some minutes after it is over: what machines use by then, beside what was expected. Once; of what is not measured then nothing is told. */
async function measure(
  context: DirectorContext,
  name: string,
  afterMs: number,
): Promise<{ requeueAfterMs: number } | undefined> {
  const { client, clock } = context;
  const plan = await client.get(Plan, { name });
  if (!plan || !isUnmeasured(plan)) return undefined;
  const now = clock.now().getTime();
  const due = endOf(plan) + afterMs;
  if (now < due) return { requeueAfterMs: due - now };
  if (now > due + MEASURED_WITHIN_MS) return undefined;
  const estate = await readEstate(client, context);
  await othersFirst();
  const moves = (plan.status?.moves ?? []).map((state, i) => {
    const move = plan.spec.moves[i];
    if (!move || state.phase !== "Succeeded" || state.measured) return state;
    const measured = measuredOf(estate, move, state.after, now);
    return measured ? { ...state, measured } : state;
  });
  await modify(client, Plan, { name }, "status", (current) =>
    isDeepStrictEqual(current.status?.moves, plan.status?.moves)
      ? { ...current, status: { ...current.status, moves } }
      : undefined,
  );
  return undefined;
}

async function outlook(context: DirectorContext, { spec }: Plan) {
  const estate = await readEstate(context.client, context);
  await othersFirst();
  return { outlook: await outlookOf(estate, spec.moves, othersFirst) };
}

const isOpen = ({ phase }: MoveStatus) => phase === "Waiting" || phase === "Running";

const nameOf = (plan: string, move: number) => `${plan}-${move}`;

const ownOf = (migrations: readonly Migration[], move: Move, name: string) =>
  migrations.find(
    ({ metadata }) => metadata.name === name && (metadata.namespace ?? "default") === move.namespace,
  );

/** How a move stands by its Migration; it may be one that a dead leader made and did not write down. */
function follow(state: MoveStatus, name: string, migration: Migration | undefined): MoveStatus {
  if (!migration)
    return state.phase === "Running"
      ? { ...state, phase: "Failed", message: "its Migration was deleted" }
      : state;
  const { phase, message } = migration.status ?? {};
  const now = { ...state, migration: name, ...(message ? { message } : {}) };
  if (phase === "Succeeded") return { ...now, phase };
  if (phase !== "Failed" && phase !== "Cancelled") return { ...now, phase: "Running" };
  // What it took for nothing; it has changed nothing that could be told besides.
  return { ...now, phase: "Failed", actual: actualOf(migration, undefined, {}) };
}

/** A move that has just ended well, with what came of it. */
function told(
  estate: Estate,
  migrations: readonly Migration[],
  plan: Plan,
  states: readonly MoveStatus[],
  i: number,
): MoveStatus {
  const [move, state] = [plan.spec.moves[i] as Move, states[i] as MoveStatus];
  const migration = ownOf(migrations, move, nameOf(plan.metadata.name, i));
  if (!migration) return state;
  const after = figuresOf(estate, move);
  const actual = actualOf(migration, state.before, after);
  return { ...state, after, actual, message: outcome(move, actual) };
}

/** Begins the moves that may; of all that wait it is said what for. */
async function beginThose(
  context: DirectorContext,
  plan: Plan,
  states: MoveStatus[],
  { estate, readMs }: { estate: Estate; readMs: number },
  migrations: readonly Migration[],
): Promise<Next> {
  const { moves } = plan.spec;
  const isAny = (phase: MoveStatus["phase"]) => states.some((state) => state.phase === phase);
  const underWay = migrations
    .filter((migration) => isUnderWay(migration) || (migration.spec.plan && !isFinal(migration)))
    .map((migration) => underWayOf(estate, migration));
  const quiet = moves.map((move, i) =>
    states[i]?.phase === "Waiting" ? quietHours(estate, move, plan.spec) : undefined,
  );
  const isHeld = quiet.some((why) => why !== undefined);
  /** In the way of a move that waits is nothing but one that is held. */
  let onlyHeld = isHeld;
  let begun = 0;
  for (const [i, move] of moves.entries()) {
    const state = states[i];
    if (state?.phase !== "Waiting") continue;
    if (quiet[i] !== undefined) {
      const why = overtaken(estate, move);
      states[i] = why ? { ...state, phase: "Skipped", message: why } : { ...state, message: quiet[i] };
      continue;
    }
    const hinders =
      hindrance(estate, move) ?? (plan.spec.undoes ? undefined : overLimits(estate, move, plan.spec));
    // What is in its way may go with a move that has begun, or is held.
    if (hinders && (hinders.forGood || !(isAny("Running") || isHeld))) {
      states[i] = { ...state, phase: "Skipped", message: hinders.why };
      continue;
    }
    const before = moves
      .slice(0, i)
      .filter((_, j) => states[j]?.phase === "Waiting" && quiet[j] === undefined);
    const message = hinders?.why ?? waitsFor(estate, move, { before, underWay });
    if (message) {
      states[i] = { ...state, message };
      onlyHeld &&= hinders !== undefined;
      continue;
    }
    // To read a large estate takes long: the first, too.
    if ((begun > 0 && performance.now() - readMs > OLDEST_MS) || !(await isAsRead(context, plan, move)))
      return "more";
    const now = await begin(context, plan, i, states, estate);
    states[i] = now;
    if (now.phase !== "Running") continue;
    underWay.push(move);
    if (++begun === BEGUN_AT_ONCE || !depart(estate, keyOf(move), move.to)) return "more";
  }
  return onlyHeld && !isAny("Running") && isAny("Waiting") ? "held" : "wait";
}

/** Whether the plan and the policy of a move are what they were when the estate was read, and it is still ours to carry out. */
async function isAsRead({ client, signal }: DirectorContext, plan: Plan, move: Move): Promise<boolean> {
  const now = await client.get(Plan, { name: plan.metadata.name });
  if (signal.aborted || !now || isFinalPlan(now) || calledOff(now) !== undefined) return false;
  if (now.metadata.uid !== plan.metadata.uid || now.metadata.generation !== plan.metadata.generation)
    return false;
  if (move.policy === undefined || move.policyGeneration === undefined) return true;
  const policy = await client.get(Policy, { name: move.policy, namespace: move.namespace });
  return policy?.metadata.generation === move.policyGeneration;
}

function underWayOf(estate: Estate, { metadata, spec, status }: Migration): UnderWay {
  const { namespace = "default" } = metadata;
  const machine = indexOf(estate).get(`${namespace}/${spec.vm}`);
  return { namespace, vm: spec.vm, from: status?.from ?? machine?.host ?? "", to: spec.to ?? "" };
}

async function begin(
  context: DirectorContext,
  plan: Plan,
  i: number,
  states: MoveStatus[],
  estate: Estate,
): Promise<MoveStatus> {
  const { client } = context;
  const move = plan.spec.moves[i] as Move;
  const migration = nameOf(plan.metadata.name, i);
  const { hosts } = indexOf(estate);
  const machine = indexOf(estate).get(keyOf(move));
  const way =
    machine &&
    wayOf(machine, transferBy(policiesOf(estate, machine)), hosts.get(move.from), hosts.get(move.to));
  const figures: Partial<MoveStatus> = {
    migration,
    before: figuresOf(estate, move),
    ...(way && {
      linkMbps: way.mbps,
      memoryBytes: machine.memoryBytes,
      toSendBytes: memoryToSend(machine, way),
    }),
  };
  // Afterwards they could not be told any more.
  await write(context, plan.metadata.name, {
    phase: "Running",
    moves: states.with(i, { phase: "Waiting", ...figures }),
  });
  try {
    await client.create(Migration, {
      metadata: {
        name: migration,
        namespace: move.namespace,
        ownerReferences: [
          {
            apiVersion: plan.apiVersion,
            kind: "Plan",
            name: plan.metadata.name,
            uid: plan.metadata.uid ?? "",
          },
        ],
      },
      spec: {
        vm: move.vm,
        to: move.to,
        reason: move.reason,
        ...(move.policy ? { policy: move.policy } : {}),
        plan: plan.metadata.name,
      },
    });
  } catch (error) {
    if (isApiError(error, "Invalid")) return { phase: "Skipped", message: error.message };
    if (!isApiError(error, "AlreadyExists")) throw error;
  }
  return { phase: "Running", ...figures };
}

async function write(
  context: DirectorContext,
  name: string,
  status: NonNullable<Plan["status"]>,
): Promise<void> {
  await modify(context.client, Plan, { name }, "status", (plan) => {
    // The planner may have superseded it while it was looked at.
    if (isFinalPlan(plan)) return undefined;
    const now = { ...plan.status, ...status };
    if (isFinalPlan({ status: now })) now.endedTime = context.clock.now().toISOString();
    return isDeepStrictEqual(now, plan.status) ? undefined : { ...plan, status: now };
  });
}
