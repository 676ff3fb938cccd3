/** Which plans are kept when they are over, and with them (by owner reference) their Migrations. Pure. */
import { isFinalPlan, type Plan } from "../kinds.ts";

/** So long the director itself does not move again what a user has had moved back; and so long it is known what was done. */
export const HOLD_MS = 24 * 3_600_000;
/** For people to look at: the newest of these many plans. */
const KEEP = 20;
/** Of those that did something lately. */
const KEEP_DONE = 200;

/** The oldest first. */
export const byAge = (a: Plan, b: Plan): number =>
  (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? "") ||
  (a.metadata.name < b.metadata.name ? -1 : 1);

/** Those that may go. */
export function outdated(plans: readonly Plan[], nowMs: number): Plan[] {
  // What was moved back or rejected, where machines came from and what failed has a say in later plans.
  const counts = ({ metadata, status }: Plan) =>
    nowMs - Date.parse(metadata.creationTimestamp ?? "") < HOLD_MS &&
    (status?.phase === "Rejected" ||
      (status?.moves ?? []).some(({ phase }) => phase === "Succeeded" || phase === "Failed"));
  const ended = plans.filter(isFinalPlan).sort(byAge);
  return [
    ...ended.filter(counts).slice(0, -KEEP_DONE),
    ...ended.filter((plan) => !counts(plan)).slice(0, -KEEP),
  ];
}
