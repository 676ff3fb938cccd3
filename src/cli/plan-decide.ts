/** `vireo plan approve` and `vireo plan reject`: a user's word on a Plan that asks for it. */
import { type Client, modify } from "../client/client.ts";
import { describeEffect } from "../director/execution/effect-words.ts";
import { changesOf } from "../director/execution/outlook-words.ts";
import { isFinalPlan, Plan } from "../director/kinds.ts";
import { namesOf } from "./plan-show.ts";
import { openSession, type Place, parseName } from "./resources.ts";
import { UserError } from "./user-error.ts";

type Decision = NonNullable<Plan["spec"]["approval"]>;
type Print = (line: string) => void;

/** @throws UserError when there is no such plan, or it does not ask (any more) */
export async function decidePlan(
  place: Place,
  word: string | undefined,
  decision: Decision,
  print: Print,
): Promise<void> {
  const { client, kinds } = await openSession(place);
  const name = word === undefined ? undefined : parseName(kinds, "plan", word).name;
  await decideWith(client, name, decision, print);
}

/** The same with a client that is open. */
export async function decideWith(
  client: Client,
  word: string | undefined,
  decision: Decision,
  print: Print,
): Promise<void> {
  const name = word ?? (await onlyOne(client));
  const plan = await modify(client, Plan, { name }, "object", (now) => {
    const { automation, approval } = now.spec;
    if (automation !== "ask")
      throw new UserError(
        `plan/${name} does not ask: its automation is ${automation}${automation === "advise" ? "; vireo migrate moves machines by hand" : ""}`,
      );
    if (approval) throw new UserError(`plan/${name} was ${approval.toLowerCase()} already`);
    if (isFinalPlan(now))
      throw new UserError(`plan/${name} is ${now.status?.phase}: the estate is another by now; ${LIST}`);
    return { ...now, spec: { ...now.spec, approval: decision } };
  });
  if (!plan) throw new UserError(`there is no plan ${JSON.stringify(name)}; ${LIST}`);
  const nameOf = namesOf(plan.spec.moves);
  for (const move of plan.spec.moves) {
    const { from, to, reason, predicted } = move;
    print(
      `  ${nameOf(move)} from ${from} to ${to}: ${describeEffect(predicted ?? {}) || "nothing predicted"} (${reason})`,
    );
  }
  for (const { name: what, before, after, text } of plan.status?.outlook
    ? changesOf(plan.status.outlook)
    : [])
    if (before !== after) print(`  ${what}: ${text(before)} -> ${text(after)}`);
  print(
    decision === "Approved"
      ? `plan/${name} approved; \`vireo get plan/${name} -w\` shows how it goes`
      : `plan/${name} rejected`,
  );
}

const LIST = "`vireo get plans` lists those that are Proposed";

async function onlyOne(client: Client): Promise<string> {
  const asking = (await client.list(Plan)).items.filter(
    (plan) => plan.spec.automation === "ask" && !plan.spec.approval && !isFinalPlan(plan),
  );
  const [first, second] = asking;
  if (!first) throw new UserError("no plan asks for approval");
  if (second)
    throw new UserError(
      `several plans ask: ${asking.map(({ metadata }) => metadata.name).join(", ")}; name one`,
    );
  return first.metadata.name;
}
