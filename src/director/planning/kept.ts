/** Which plans are kept when they are over, and with them (by owner reference) their Migrations. Pure. */

import { byAge } from "../../resource/object.ts";
import type { Estate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { endOf, isFinalPlan, isRejected, type Plan } from "./kinds.ts";

/** So long the director itself does not move again what a user has had moved back; and so long it is known what was done. */
export const HOLD_MS = 24 * 3_600_000;
/** For people to look at: the newest of these many plans. */
const KEEP = 20;
/** Of those that did something lately. */
const KEEP_DONE = 200;

/** The oldest that is over first; those that are not last. */
export const byEnd = (a: Plan, b: Plan): number => {
  const [x, y] = [endOf(a), endOf(b)];
  return x === y ? byAge(a, b) : x - y;
};

/** How long policies have machines stay where they came to, ms, by "namespace/name"; of those of which one says so. */
export function staysOf(estate: Estate): Map<string, number> {
  const index = indexOf(estate);
  const stays = new Map<string, number>();
  for (const policy of estate.policies) {
    const stayMs = (policy.spec.moves?.minimumStayMinutes ?? 0) * 60_000;
    if (stayMs === 0) continue;
    for (const i of index.membersOf(policy)) {
      const key = index.machines[i]?.key ?? "";
      stays.set(key, Math.max(stayMs, stays.get(key) ?? 0));
    }
  }
  return stays;
}

/** Those that tell of a host that a machine left last by them, and may not come back to yet. @param ended the oldest first */
function remembered(
  ended: readonly Plan[],
  nowMs: number,
  stays: ReadonlyMap<string, number>,
): ReadonlySet<Plan> {
  const needed = new Set<Plan>();
  const seen = new Set<string>();
  for (const plan of ended.toReversed())
    for (const [i, { namespace, vm, from }] of plan.spec.moves.entries()) {
      const stayMs = stays.get(`${namespace}/${vm}`);
      if (stayMs === undefined || plan.status?.moves?.[i]?.phase !== "Succeeded") continue;
      const isOver = nowMs - endOf(plan) >= stayMs;
      const left = `${namespace}/${vm} ${from}`;
      if (!isOver && !seen.has(left)) needed.add(plan);
      seen.add(left);
    }
  return needed;
}

/** A user's word on where machines are to be (holdForUsers). */
const isWord = (plan: Plan): boolean => plan.spec.undoes !== undefined || isRejected(plan);

/** Those that may go. @param stays staysOf */
export function outdated(
  plans: readonly Plan[],
  nowMs: number,
  stays: ReadonlyMap<string, number> = new Map(),
): Plan[] {
  const isLate = (plan: Plan) => nowMs - endOf(plan) < HOLD_MS;
  // Where machines came from and what failed has a say in later plans.
  const counts = (plan: Plan) =>
    isLate(plan) &&
    (plan.status?.moves ?? []).some(({ phase }) => phase === "Succeeded" || phase === "Failed");
  const all = plans.filter(isFinalPlan).sort(byEnd);
  const needed = remembered(all, nowMs, stays);
  const ended = all.filter((plan) => !needed.has(plan) && !(isWord(plan) && isLate(plan)));
  return [
    ...ended.filter(counts).slice(0, -KEEP_DONE),
    ...ended.filter((plan) => !counts(plan)).slice(0, -KEEP),
  ];
}
