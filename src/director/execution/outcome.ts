/** What came of a move, in figures and in a sentence, beside what was predicted. Pure. */
import type { Migration } from "../../compute/migrations/kinds.ts";
import { describeEffect } from "../planning/effect-words.ts";
import { tookOf } from "../planning/experience.ts";
import { gainOf } from "../planning/figures.ts";
import type { BothHosts, Effect } from "../planning/kinds.ts";
import type { Move } from "../planning/plan.ts";

/** What a Migration that is over took, and what has changed on both hosts since it began; of one that failed nothing has. */
export const actualOf = (migration: Migration, before: BothHosts | undefined, after: BothHosts): Effect => ({
  ...tookOf(migration),
  ...(before ? gainOf(before, after) : {}),
});

/** "runs on b: 12 s, 1.1Gi sent, score +0.1 (predicted: 10 s, 1Gi sent, score +0.1)" */
export function outcome({ to, predicted }: Pick<Move, "to" | "predicted">, actual: Effect): string {
  const was = predicted && describeEffect(predicted);
  return [
    `runs on ${to}: ${describeEffect(actual) || "nothing was measured"}`,
    ...(was ? [`(predicted: ${was})`] : []),
  ].join(" ");
}
