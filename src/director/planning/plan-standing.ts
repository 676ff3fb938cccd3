/** How a plan stands, and whose word it waits for. Pure, and without the kind's schema: the web UI asks, too. */
import type { Plan } from "./kinds.ts";

const FINAL_PLAN = ["Succeeded", "Failed", "Superseded", "Rejected"];
/** Nothing of it is done any more. */
export const isFinalPlan = ({ status }: Pick<Plan, "status">): boolean =>
  FINAL_PLAN.includes(status?.phase ?? "");

/** When it was over, ms since the epoch; of one that is not: never yet. It may have waited long for a user. */
export function endOf(plan: Pick<Plan, "metadata" | "status">): number {
  if (!isFinalPlan(plan)) return Number.POSITIVE_INFINITY;
  // Older versions did not write it.
  return Date.parse(plan.status?.endedTime ?? plan.metadata.creationTimestamp ?? "") || 0;
}

/** Its moves are made, or will be: nobody has to be asked any more. */
export const isCarriedOut = ({ spec: { automation, approval } }: Pick<Plan, "spec">): boolean =>
  approval === undefined ? automation === "act" : approval === "Approved";

/** A user said no: before it began, or while it goes on. */
export const isRejected = ({ spec }: Pick<Plan, "spec">): boolean => spec.approval === "Rejected";

/** Approved, and all that is left of it waits for the end of quiet hours. */
export const isHeld = ({ status }: Pick<Plan, "status">): boolean => status?.phase === "Held";

/** Its moves are made, now or when quiet hours end: it is to go on, and a user may stop it. */
export const isGoingOn = (plan: Pick<Plan, "spec" | "status">): boolean =>
  isCarriedOut(plan) && !isFinalPlan(plan);

/** A user stopped it, and the executor has not ended it yet: moves that have begun are being cancelled. */
export const isBeingStopped = (plan: Pick<Plan, "spec" | "status">): boolean =>
  isRejected(plan) && plan.status?.moves !== undefined && !isFinalPlan(plan);

/** It goes on, or is being stopped. */
export const isPlanOpen = (plan: Pick<Plan, "spec" | "status">): boolean =>
  isGoingOn(plan) || isBeingStopped(plan);

/** Why moves of it that have not begun are not made any more; undefined: they are. */
export const calledOff = (plan: Pick<Plan, "spec" | "status">): string | undefined =>
  isRejected(plan)
    ? "a user stopped the plan"
    : plan.status?.superseded && `superseded: ${plan.status.superseded}`;

/** Nobody has decided on it, and nothing has overtaken it. */
export const isProposal = (plan: Pick<Plan, "spec" | "status">): boolean =>
  !isCarriedOut(plan) && !isRejected(plan) && !isFinalPlan(plan);

/** Its moves are being made, or about to be, or being cancelled. */
export const isPlanUnderWay = (plan: Pick<Plan, "spec" | "status">): boolean =>
  isPlanOpen(plan) && (!isHeld(plan) || isRejected(plan));

/** A user's word on a proposal. */
export interface Decision {
  /** For its spec.approval; written first, because it is refused when others have decided already. */
  approval: "Approved" | "Rejected";
  /** Another plan, to be made and carried out: of a part of it. It is one that asks and is approved: it waits for the end of quiet hours as any other. */
  instead?: { metadata: { name: string }; spec: Plan["spec"] };
}

/** What approving these moves of it means; of none: it is rejected. @param now ms since the epoch */
export function decide(
  { metadata, spec: { moves } }: Plan,
  chosen: Plan["spec"]["moves"],
  now: number,
): Decision {
  if (chosen.length === moves.length) return { approval: "Approved" };
  const trigger = `a user approved ${chosen.length} of ${moves.length} moves of ${metadata.name}`;
  const spec = { trigger, automation: "ask", approval: "Approved", moves: chosen } as const;
  return {
    approval: "Rejected",
    ...(chosen.length > 0 ? { instead: { metadata: { name: `approved-${now.toString(36)}` }, spec } } : {}),
  };
}
