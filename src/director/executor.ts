/**
 * Carries plans out, one move after the other, as Migrations. It decides nothing: each move is checked again just before it, and one
 * that no longer fits is skipped with the reason. The Migration's name comes from the plan and the move's place in it, so a replay
 * after a crash finds it instead of making another.
 */
import { modify } from "../client/client.ts";
import { Migration } from "../compute/migrations/kinds.ts";
import { Controller } from "../reconcile/controller.ts";
import { Informer } from "../reconcile/informer.ts";
import { isApiError } from "../resource/errors.ts";
import { requestOf } from "../telemetry/request-id.ts";
import { Plan } from "./kinds.ts";
import type { Move } from "./plan.ts";
import { FINAL_PLAN } from "./planner.ts";
import { obstacle } from "./rules.ts";
import type { DirectorContext } from "./scheduler.ts";
import { readEstate } from "./snapshot.ts";

type MoveStatus = NonNullable<NonNullable<Plan["status"]>["moves"]>[number];

const OPEN = ["Waiting", "Running"];
/** Migrations of plans are kept for people to look at; the newest of these many plans. */
const KEEP_PLANS = 20;

export async function runPlanExecutor(context: DirectorContext): Promise<void> {
  const { client, log, signal } = context;
  const plans = new Informer(client, Plan, { log });
  const controller = new Controller({
    name: "plan-executor",
    log,
    reconcile: (name) => step(context, name),
    requestOf: (name) => requestOf(plans.get(name)),
  });
  const migrations = new Informer(client, Migration, { log });
  plans.onChange((name, plan) => {
    if (plan && !FINAL_PLAN.includes(plan.status?.phase ?? "")) controller.enqueue(name);
  });
  migrations.onChange((_key, migration) => {
    if (migration?.spec.plan) controller.enqueue(migration.spec.plan);
  });
  await Promise.all([plans.run(signal), migrations.run(signal), controller.run(signal)]);
}

async function step(context: DirectorContext, name: string): Promise<{ requeueAfterMs: number } | undefined> {
  const { client } = context;
  const plan = await client.get(Plan, { name });
  if (!plan || FINAL_PLAN.includes(plan.status?.phase ?? "")) return undefined;
  const { moves, automation } = plan.spec;
  if (automation === "advise") {
    if (plan.status?.phase !== "Proposed") await write(context, name, { phase: "Proposed" });
    return undefined;
  }
  const states: MoveStatus[] = moves.map((_, i) => plan.status?.moves?.[i] ?? { phase: "Waiting" });
  const index = states.findIndex((state) => OPEN.includes(state.phase));
  const move = moves[index];
  const state = states[index];
  if (!move || !state) {
    const failed = states.filter(({ phase }) => phase === "Failed" || phase === "Skipped").length;
    await write(context, name, {
      phase: failed === 0 ? "Succeeded" : "Failed",
      done: states.length - failed,
      moves: states,
    });
    await forgetOld(context);
    return undefined;
  }
  states[index] = await advance(context, plan, move, `${name}-${index}`, state);
  const done = states.filter(({ phase }) => phase === "Succeeded").length;
  await write(context, name, { phase: "Running", done, moves: states });
  // The next move begins at once; a running one wakes us when its Migration changes.
  return { requeueAfterMs: OPEN.includes(states[index]?.phase ?? "") ? 5000 : 1 };
}

async function advance(
  context: DirectorContext,
  plan: Plan,
  move: Move,
  migration: string,
  state: MoveStatus,
): Promise<MoveStatus> {
  const { client } = context;
  const at = { name: migration, namespace: move.namespace };
  const existing = await client.get(Migration, at);
  if (existing) {
    const { phase, message } = existing.status ?? {};
    const said = message ? { message } : {};
    if (phase === "Succeeded") return { phase, migration, ...said };
    if (phase === "Failed" || phase === "Cancelled") return { phase: "Failed", migration, ...said };
    return { phase: "Running", migration, ...said };
  }
  if (state.phase === "Running") return { phase: "Failed", migration, message: "its Migration was deleted" };
  const why = await noLongerFits(context, move);
  if (why) return { phase: "Skipped", message: why };
  try {
    await client.create(Migration, {
      metadata: {
        ...at,
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
  return { phase: "Running", migration };
}

/** The world may have changed since the plan was made. */
async function noLongerFits(context: DirectorContext, move: Move): Promise<string | undefined> {
  const estate = await readEstate(context.client);
  const machine = estate.machines.find((m) => m.key === `${move.namespace}/${move.vm}`);
  if (!machine) return `machine ${move.vm} is gone`;
  if (machine.host !== move.from)
    return `machine ${move.vm} is on ${machine.host ?? "no host"}, not on ${move.from}`;
  if (!machine.movable) return `machine ${move.vm} is not running, or is being moved or stopped`;
  const host = estate.hosts.find((h) => h.name === move.to);
  if (!host) return `host ${move.to} is gone`;
  const why = obstacle(estate, machine, host);
  return why ? `host ${move.to}: ${why}` : undefined;
}

async function write(
  context: DirectorContext,
  name: string,
  status: NonNullable<Plan["status"]>,
): Promise<void> {
  await modify(context.client, Plan, { name }, "status", (plan) => ({
    ...plan,
    status: { ...plan.status, ...status },
  }));
}

/** Old plans go, and with them (by owner reference) their Migrations. */
async function forgetOld({ client }: DirectorContext): Promise<void> {
  const ended = (await client.list(Plan)).items
    .filter((plan) => FINAL_PLAN.includes(plan.status?.phase ?? ""))
    .sort((a, b) => (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? ""));
  for (const plan of ended.slice(0, -KEEP_PLANS)) await client.delete(Plan, { name: plan.metadata.name });
}
