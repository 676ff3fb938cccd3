/** `vireo plan undo`: a new Plan that takes back what an earlier one did, by the director's own rules on the estate as it is now. */
import type { Client } from "../client/client.ts";
import { readEstate } from "../director/estate/read-estate.ts";
import { describeEffect } from "../director/execution/effect-words.ts";
import { predict } from "../director/execution/figures.ts";
import { type Kept, lastToUndo, madeBy, planUndo, undoing } from "../director/execution/undo.ts";
import { isCarriedOut, isFinalPlan, Plan } from "../director/kinds.ts";
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
  await undoWith(client, { ...rest, ...named }, print);
}

/** The same with a client that is open. */
export async function undoWith(
  client: Client,
  options: Omit<UndoOptions, keyof Place>,
  print: Print,
  now = new Date(),
): Promise<void> {
  const plans = (await client.list(Plan)).items;
  const plan = planOf(plans, options.name);
  const busy = plans.find((one) => isCarriedOut(one) && !isFinalPlan(one));
  if (busy)
    throw new UserError(
      `plan/${busy.metadata.name} is under way; undo when it has ended (\`vireo get plan/${busy.metadata.name} -w\` shows how it goes)`,
    );
  const estate = await readEstate(client);
  const { moves, kept } = planUndo(estate, plan);
  const { name } = plan.metadata;
  const nameOf = namesOf([...moves, ...kept]);
  const stays = kept.map((one: Kept) => `  ${nameOf(one)} stays: ${one.why}`);
  if (moves.length === 0)
    throw new UserError([`nothing of plan/${name} can be taken back:`, ...stays].join("\n"));
  const predicted = predict(estate, moves, plans);
  print(`undo of plan/${name} (${plan.spec.trigger}):`);
  for (const move of predicted)
    print(`  ${nameOf(move)} from ${move.from} to ${move.to}: ${describeEffect(move.predicted ?? {})}`);
  for (const line of stays) print(line);
  if (options.dryRun) return;
  const undo = undoing(plan, predicted, now.getTime());
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
  if (!plan)
    throw new UserError(
      `there is no plan ${JSON.stringify(name)}; \`vireo get plans\` lists those that are kept`,
    );
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
  const line = `${phase === "Succeeded" ? "succeeded" : phase === "Failed" ? "ended" : "is under way"}: ${told.join("; ") || "nothing has been moved yet"}`;
  if (phase === "Succeeded") return { line, over: "done" };
  return phase === "Failed" ? { line, over: "failed" } : { line };
}
