/** `vireo plan stop`: a plan that is being carried out goes no further. */
import { type Client, modify } from "../client/client.ts";
import { isFinalPlan, isGoingOn, Plan } from "../director/planning/kinds.ts";
import { missing } from "./missing.ts";
import { onlyPlan } from "./only-plan.ts";
import { namesOf } from "./plan-show.ts";
import { openSession, type Place, parseName } from "./resources.ts";
import { UserError } from "./user-error.ts";

type Print = (line: string) => void;

/** @throws UserError when there is no such plan, or it is not being carried out */
export async function stopPlan(place: Place, word: string | undefined, print: Print): Promise<void> {
  const { client, kinds } = await openSession(place);
  await stopWith(client, word === undefined ? undefined : parseName(kinds, "plan", word).name, print);
}

/** The same with a client that is open. */
export async function stopWith(client: Client, word: string | undefined, print: Print): Promise<void> {
  const name = word ?? onlyOpen((await client.list(Plan)).items);
  const plan = await modify(client, Plan, { name }, "object", (now) => {
    const why = unstoppable(now);
    if (why) throw new UserError(`plan/${name} ${why}`);
    return { ...now, spec: { ...now.spec, approval: "Rejected" as const } };
  });
  if (!plan) throw missing("plan", name);
  const nameOf = namesOf(plan.spec.moves);
  let again = false;
  for (const [i, move] of plan.spec.moves.entries()) {
    const { phase = "Waiting" } = plan.status?.moves?.[i] ?? {};
    if (phase !== "Running" && phase !== "Waiting") continue;
    again ||= move.needed === true;
    print(
      `  ${nameOf(move)} from ${move.from} to ${move.to} is ${phase === "Running" ? "cancelled" : "not made"}`,
    );
  }
  if (again)
    print(
      "what has to go (a host in maintenance, a broken rule) is planned anew: `vireo uncordon` the host, or have the policy ask, to keep it there",
    );
  print(`plan/${name} is being stopped; \`vireo plan show ${name}\` tells what came of it`);
}

const onlyOpen = (plans: readonly Plan[]) =>
  onlyPlan(plans.filter(isGoingOn), "are being carried out", "no plan is being carried out");

/** What keeps it from being stopped; undefined: nothing. */
function unstoppable(plan: Plan): string | undefined {
  if (isFinalPlan(plan)) return `is ${plan.status?.phase}: there is nothing to stop`;
  if (plan.spec.approval === "Rejected") return "was stopped or rejected already";
  return isGoingOn(plan)
    ? undefined
    : `is not carried out; \`vireo plan reject ${plan.metadata.name}\` rejects it`;
}
