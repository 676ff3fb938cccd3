/** `vireo plan approve` and `vireo plan reject`: a user's word on a proposal, or a part of one. */
import { type Client, modify } from "../client/client.ts";
import { describeEffect } from "../director/planning/effect-words.ts";
import { isFinalPlan, isPlanUnderWay, isProposal, Plan } from "../director/planning/kinds.ts";
import { changesOf } from "../director/planning/outlook-words.ts";
import { type Decision, decide } from "../director/planning/plan-standing.ts";
import { missing } from "./missing.ts";
import { onlyPlan } from "./only-plan.ts";
import { namesOf } from "./plan-show.ts";
import { openSession, type Place, parseName } from "./resources.ts";
import { UserError } from "./user-error.ts";

interface Word {
  decision: NonNullable<Plan["spec"]["approval"]>;
  /** Machines ("web-1", or "NAMESPACE/NAME") whose moves are approved, and no others; all when there are none. */
  moves?: readonly string[];
}
type Print = (line: string) => void;

/** @throws UserError when there is no such plan or move, or nothing of it is to be decided (any more) */
export async function decidePlan(
  place: Place,
  word: string | undefined,
  decided: Word,
  print: Print,
): Promise<void> {
  const { client, kinds } = await openSession(place);
  const name = word === undefined ? undefined : parseName(kinds, "plan", word).name;
  await decideWith(client, name, decided, print);
}

/** The same with a client that is open. */
export async function decideWith(
  client: Client,
  word: string | undefined,
  { decision, moves = [] }: Word,
  print: Print,
): Promise<void> {
  const name = word ?? onlyAsking((await client.list(Plan)).items);
  const found = await client.get(Plan, { name });
  if (!found) throw missing("plan", name);
  const why = undecidable(found, decision);
  if (why) throw new UserError(`plan/${name} ${why}`);
  const chosen = decision === "Rejected" ? [] : movesOf(found, moves);
  const { approval, instead } = decide(found, chosen, Date.now());
  // Others may have decided, or superseded it, meanwhile.
  const plan = await modify(client, Plan, { name }, "object", (now) => {
    const late = undecidable(now, decision);
    if (late) throw new UserError(`plan/${name} ${late}`);
    return { ...now, spec: { ...now.spec, approval } };
  });
  if (!plan) throw new UserError(`plan/${name} was deleted meanwhile; ${LIST}`);
  describe(plan, decision === "Rejected" ? plan.spec.moves : chosen, print);
  if (decision === "Rejected") return print(`plan/${name} rejected`);
  if (instead) await make(client, name, instead);
  const made = instead?.metadata.name ?? name;
  const what = instead
    ? `${chosen.length} of ${plan.spec.moves.length} moves of plan/${name}`
    : `plan/${name}`;
  const as = instead ? `, as plan/${made}` : "";
  print(`${what} approved${as}; \`vireo get plan/${made} -w\` shows how it goes`);
}

/** What keeps it from being decided so; undefined: nothing. */
function undecidable(plan: Plan, decision: Word["decision"]): string | undefined {
  const { metadata, spec, status } = plan;
  const { approval } = spec;
  if (approval === "Rejected" || approval === decision) return `was ${approval.toLowerCase()} already`;
  if (isFinalPlan(plan)) return `is ${status?.phase}: the estate is another by now; ${LIST}`;
  if (decision === "Approved")
    return spec.automation === "act" ? "does not ask: its automation is act" : undefined;
  // One that only waits for the end of quiet hours may still be called off.
  return isPlanUnderWay(plan) ? `is under way; \`vireo plan stop ${metadata.name}\` stops it` : undefined;
}

/** Those of these machines, in the plan's order. @throws UserError when one has none in it, or several have its name */
function movesOf({ metadata, spec }: Plan, machines: readonly string[]): Plan["spec"]["moves"] {
  if (machines.length === 0) return spec.moves;
  const full = ({ namespace, vm }: { namespace: string; vm: string }) => `${namespace}/${vm}`;
  const chosen = new Set<string>();
  for (const machine of machines) {
    const found = spec.moves.filter((move) => [full(move), move.vm].includes(machine)).map(full);
    const [one, second] = found;
    const names = spec.moves.map(namesOf(spec.moves));
    if (one === undefined)
      throw new UserError(
        `plan/${metadata.name} does not move ${JSON.stringify(machine)}; it moves ${names.join(", ")}`,
      );
    if (second !== undefined)
      throw new UserError(
        `plan/${metadata.name} moves several machines ${machine}: say ${found.join(" or ")}`,
      );
    chosen.add(one);
  }
  return spec.moves.filter((move) => chosen.has(full(move)));
}

async function make(client: Client, of: string, part: NonNullable<Decision["instead"]>): Promise<void> {
  try {
    await client.create(Plan, part);
  } catch (error) {
    throw new UserError(
      `plan/${of} is settled, but the plan of the moves that were chosen could not be made, so nothing is moved: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

function describe({ spec, status }: Plan, moves: Plan["spec"]["moves"], print: Print): void {
  const nameOf = namesOf(moves);
  for (const move of moves) {
    const { from, to, reason, predicted } = move;
    print(
      `  ${nameOf(move)} from ${from} to ${to}: ${describeEffect(predicted ?? {}) || "nothing predicted"} (${reason})`,
    );
  }
  // The outlook is of all moves.
  if (!status?.outlook || moves.length < spec.moves.length) return;
  for (const { name, before, after, text } of changesOf(status.outlook))
    if (before !== after) print(`  ${name}: ${text(before)} -> ${text(after)}`);
}

const LIST = "`vireo get plans` lists those that are Proposed";

function onlyAsking(plans: readonly Plan[]): string {
  const open = plans.filter(isProposal);
  const [advice] = open;
  const hint = advice ? `; plan/${advice.metadata.name} advises: name it to have it carried out` : "";
  return onlyPlan(
    open.filter(({ spec }) => spec.automation === "ask"),
    "ask",
    `no plan asks for approval${hint}`,
  );
}
