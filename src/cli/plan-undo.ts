/** `vireo plan undo`: a new Plan that takes back what an earlier one did, as the server says that it can be now. */
import type { Client } from "../client/client.ts";
import { pathOf } from "../client/paths.ts";
import { type Undoing, undoingFrom } from "../director/planning/answers.ts";
import { describeEffect } from "../director/planning/effect-words.ts";
import { isFinalPlan, isPlanUnderWay, Plan } from "../director/planning/kinds.ts";
import { lastToUndo, madeBy } from "../director/planning/undo.ts";
import { missing } from "./missing.ts";
import { carryOut, type Standing } from "./operation.ts";
import { namesOf } from "./plan-show.ts";
import { openSession, type Place, parseName } from "./resources.ts";
import { UserError } from "./user-error.ts";

interface UndoOptions extends Place {
  /** The newest that can be undone when absent. */
  name?: string;
  dryRun: boolean;
  wait: boolean;
  timeoutMs: number;
  signal: AbortSignal;
}
type Print = (line: string) => void;

/** @throws UserError when there is nothing to undo, or not all of it went back */
export async function undoPlan(options: UndoOptions, print: Print): Promise<void> {
  const { client, kinds } = await openSession(options);
  const { name, ...rest } = options;
  const named = name === undefined ? {} : { name: parseName(kinds, "plan", name).name };
  const ask = async (of: string) =>
    undoingFrom(await client.raw("GET", `${pathOf(Plan, { name: of })}/undo`));
  await undoWith(client, ask, { ...rest, ...named }, print);
}

/** The same with a client that is open. @param ask what an undo of the plan of that name would be */
export async function undoWith(
  client: Client,
  ask: (name: string) => Promise<Undoing>,
  options: Omit<UndoOptions, keyof Place>,
  print: Print,
): Promise<void> {
  const plans = (await client.list(Plan)).items;
  const plan = planOf(plans, options.name);
  const { name } = plan.metadata;
  if (isPlanUnderWay(plan))
    throw new UserError(
      `plan/${name} is under way; undo when it has ended (\`vireo get plan/${name} -w\` shows how it goes, \`vireo plan stop ${name}\` stops it)`,
    );
  const { plan: undo, kept } = await ask(name);
  const moves = undo?.spec.moves ?? [];
  const nameOf = namesOf([...moves, ...kept]);
  const stays = kept.map((one) => `  ${nameOf(one)} stays: ${one.why}`);
  if (!undo) throw new UserError([`nothing of plan/${name} can be taken back:`, ...stays].join("\n"));
  print(`undo of plan/${name} (${plan.spec.trigger}):`);
  for (const move of moves)
    print(`  ${nameOf(move)} from ${move.from} to ${move.to}: ${describeEffect(move.predicted ?? {})}`);
  for (const line of stays) print(line);
  if (options.dryRun) return;
  if (!options.wait) {
    await client.create(Plan, undo);
    print(`plan/${undo.metadata.name} created`);
    return;
  }
  await carryOut(client, Plan, undo, { ...options, standing }, print);
  if (kept.length > 0)
    throw new UserError(
      `${kept.length} of ${kept.length + moves.length} machines stay where plan/${name} brought them`,
    );
}

/** @throws UserError when it cannot be undone */
function planOf(plans: readonly Plan[], name: string | undefined): Plan {
  if (name === undefined) {
    const plan = lastToUndo(plans);
    if (plan) return plan;
    throw new UserError(
      "there is no plan that moved something and is not undone; `vireo get plans` lists those that are kept",
    );
  }
  const plan = plans.find(({ metadata }) => metadata.name === name);
  if (!plan) throw missing("plan", name);
  if (isFinalPlan(plan) && madeBy(plan).length === 0)
    throw new UserError(`plan/${name} moved nothing: there is nothing to undo`);
  return plan;
}

function standing({ spec, status }: Plan): Standing {
  const { phase = "Pending", moves = [] } = status ?? {};
  const nameOf = namesOf(spec.moves);
  const told = spec.moves.flatMap((move, i) => {
    const { phase: of, message } = moves[i] ?? {};
    return of && of !== "Waiting" && message ? [`${nameOf(move)} ${message}`] : [];
  });
  const ended = phase === "Rejected" ? "was stopped" : isFinalPlan({ status }) ? "ended" : "is under way";
  const line = `${phase === "Succeeded" ? "succeeded" : ended}: ${told.join("; ") || "nothing has been moved yet"}`;
  if (phase === "Succeeded") return { line, over: "done" };
  return isFinalPlan({ status }) ? { line, over: "failed" } : { line };
}
