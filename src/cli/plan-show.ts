/** `vireo plan` and `vireo plan show`: what a plan means to do, why, and how hosts and the estate stand before and after it. */
import { pathOf } from "../client/paths.ts";
import { type Previewed, previewedFrom } from "../director/planning/answers.ts";
import { describeEffect, describeMeasured } from "../director/planning/effect-words.ts";
import { isFinalPlan, type Outlook, Plan } from "../director/planning/kinds.ts";
import { changesOf, untoldOf } from "../director/planning/outlook-words.ts";
import { byAge } from "../resource/object.ts";
import { formatBytes } from "../resource/quantity.ts";
import { missing } from "./missing.ts";
import { openSession, type Place, parseName } from "./resources.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";

type Print = (line: string) => void;

/** @throws UserError when there is no such plan, or none at all */
export async function showPlan(place: Place, word: string | undefined, print: Print): Promise<void> {
  const { client, kinds } = await openSession(place);
  const plans = (await client.list(Plan)).items.sort(byAge);
  const name = word === undefined ? undefined : parseName(kinds, "plan", word).name;
  const plan =
    name === undefined
      ? (plans.findLast((one) => !isFinalPlan(one)) ?? plans.at(-1))
      : plans.find(({ metadata }) => metadata.name === name);
  if (!plan)
    throw name === undefined
      ? new UserError("there is no plan: the director has had nothing to do")
      : missing("plan", name);
  describePlan(plan, print);
}

/** `vireo plan`: what would be planned now; nothing is written. */
export async function previewPlan(place: Place, print: Print): Promise<void> {
  const { client } = await openSession(place);
  const path = `${pathOf(Plan, { name: "next" })}/preview`;
  describePreview(previewedFrom(await client.raw("GET", path)), print);
}

/** The same of what the server has answered. */
export function describePreview(
  { plans, underWay, held, superseded = [], broken = [] }: Previewed,
  print: Print,
): void {
  if (underWay) print(`plan/${underWay} is under way; until it is over only what has to go is planned`);
  for (const name of superseded)
    print(`plan/${name} would be superseded: its moves that have not begun would not be made`);
  if (held)
    print(
      `plan/${held} waits for the end of quiet hours; nothing else is planned for its machines until then`,
    );
  if (plans.length === 0) print(underWay ? "nothing else has to go now" : "no move is worth it now");
  for (const [i, plan] of plans.entries()) {
    if (i > 0) print("");
    print(WOULD[plan.spec.automation]);
    describeOutlook(plan, print);
  }
  if (broken.length > 0) print("");
  for (const { namespace, policy, message } of broken)
    print(`policy ${namespace}/${policy} does not hold now: ${message}`);
}

const WOULD = {
  act: "would be carried out:",
  ask: "would be proposed, for somebody to approve:",
  advise: "would be advised:",
} as const;

/** The same of a plan that is at hand. */
export function describePlan(plan: Plan, print: Print): void {
  const { metadata, spec, status } = plan;
  print(`plan/${metadata.name}  ${status?.phase ?? "Pending"}, because ${spec.trigger}`);
  if (status?.superseded) print(`superseded: ${status.superseded}`);
  describeOutlook(plan, print);
}

function describeOutlook({ spec, status }: Plan, print: Print): void {
  if (status?.outlook) printOutlook(status.outlook, print);
  print("");
  const nameOf = namesOf(spec.moves);
  for (const [i, move] of spec.moves.entries()) {
    const { from, to, reason, predicted } = move;
    const { phase, message, actual, after, measured } = status?.moves?.[i] ?? {};
    print(`${nameOf(move)} from ${from} to ${to}${phase ? `  ${phase}` : ""}`);
    print(`  why        ${reason}`);
    if (predicted) print(`  predicted  ${describeEffect(predicted)}`);
    if (actual) print(`  actual     ${describeEffect(actual)}`);
    else if (message) print(`  now        ${message}`);
    if (measured) print(`  later      ${describeMeasured(measured, after)}`);
  }
}

type Named = Pick<Plan["spec"]["moves"][number], "namespace" | "vm">;

/** How machines of these moves are called: with their namespaces, unless it is the same of all. */
export function namesOf(moves: readonly Named[]): (move: Named) => string {
  const several = new Set(moves.map(({ namespace }) => namespace)).size > 1;
  return ({ namespace, vm }) => (several ? `${namespace}/${vm}` : vm);
}

/** Before and after: the estate in all, then the hosts. */
function printOutlook(outlook: Outlook, print: Print): void {
  print("");
  print(
    table(
      ["IN ALL", "BEFORE", "AFTER"],
      changesOf(outlook).map(({ name, before, after, text }) => [name, text(before), text(after)]),
    ),
  );
  const untold = untoldOf(outlook);
  if (untold) print(untold);
  print("");
  const arrow = (was: string, will: string) => (was === will ? was : `${was} -> ${will}`);
  const watts = (value: number | undefined) => (value === undefined ? "?" : String(Math.round(value)));
  print(
    table(
      ["HOST", "MACHINES", "CPUS", "OF", "MEMORY", "OF", "WATTS"],
      outlook.hosts.map(({ name, capacity, before, after }) => [
        name,
        arrow(String(before.machines), String(after.machines)),
        arrow(String(before.cpus), String(after.cpus)),
        String(capacity.cpus),
        arrow(formatBytes(before.memoryBytes), formatBytes(after.memoryBytes)),
        formatBytes(capacity.memoryBytes),
        arrow(watts(before.watts), watts(after.watts)),
      ]),
    ),
  );
  if (outlook.moreHosts) print(`and ${outlook.moreHosts} hosts more, which change less`);
}
