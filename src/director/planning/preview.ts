/** What would be planned now: a dry run, of which nothing is written. */
import { API_VERSION } from "../../resource/kind.ts";
import type { Estate } from "../estate/estate.ts";
import { inPieces, othersFirst } from "../estate/read-estate.ts";
import { failoverFaults, proveSurvival } from "../failover/failover.ts";
import type { Previewed } from "./answers.ts";
import { experienceOf } from "./experience.ts";
import { predict } from "./figures.ts";
import { Forecaster } from "./forecast.ts";
import { AUTOMATIONS, isHeld, isPlanUnderWay, Plan } from "./kinds.ts";
import { outlookOf } from "./outlook.ts";
import { satisfied } from "./policy-status.ts";
import { holdForApproved, Planning } from "./under-way.ts";
import { holdForUsers } from "./undo.ts";

/**
 * Minimum stays count here for all: that a policy has just changed, which lets its machines move sooner, only the planner has seen.
 * @param plans all that are kept @param now ms since the epoch
 */
export async function previewOf(estate: Estate, plans: readonly Plan[], now: number): Promise<Previewed> {
  const free = { now, released: new Set<string>(), forecaster: new Forecaster(experienceOf(plans, estate)) };
  const state = holdForApproved(holdForUsers(estate, plans, free), plans);
  const planning = new Planning(state, plans, free);
  if (!planning.isBusy) await inPieces(proveSurvival(state));
  const made: Plan[] = [];
  const superseded: string[] = [];
  for (const automation of AUTOMATIONS) {
    await othersFirst();
    const { moves, supersedes } = planning.movesOf(automation);
    superseded.push(...supersedes.map(({ metadata }) => metadata.name));
    if (moves.length === 0) continue;
    // Of an estate of its own: the moves are made in it.
    const outlook = await outlookOf({ ...estate, machines: [...estate.machines] }, moves, othersFirst);
    made.push({
      apiVersion: `${Plan.group}/${Plan.version}`,
      kind: "Plan",
      metadata: { name: `preview-${automation}` },
      spec: { trigger: "it was asked for", automation, moves: predict(estate, moves, plans) },
      status: { outlook },
    });
  }
  await inPieces(proveSurvival(estate));
  const lost = failoverFaults(estate);
  const broken: Previewed["broken"] = [];
  for (const policy of estate.policies) {
    await othersFirst();
    const { status, message } = await satisfied(estate, policy, lost.get(policy) ?? []);
    const { name, namespace = "default" } = policy.metadata;
    if (status === "False") broken.push({ namespace, policy: name, message });
  }
  const underWay = plans.find(isPlanUnderWay)?.metadata.name;
  const held = plans.find(isHeld)?.metadata.name;
  return {
    kind: "PlanPreview",
    apiVersion: API_VERSION,
    plans: made,
    broken,
    ...(underWay === undefined ? {} : { underWay }),
    ...(held === undefined ? {} : { held }),
    ...(superseded.length === 0 ? {} : { superseded }),
  };
}
