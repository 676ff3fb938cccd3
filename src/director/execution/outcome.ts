/** What came of a move, in figures and in a sentence, beside what was predicted. Pure. */
import type { Migration } from "../../compute/migrations/kinds.ts";
import type { BothHosts, Effect } from "../kinds.ts";
import type { Move } from "../planning/plan.ts";
import { describeEffect } from "./effect-words.ts";
import { gainOf } from "./figures.ts";
import { round } from "./forecast.ts";

/** What a Migration that is over took, and what has changed on both hosts since it began; of one that failed nothing has. */
export function actualOf({ status }: Migration, before: BothHosts | undefined, after: BothHosts): Effect {
  const { startedTime, finishedTime, memory, disks, downtimeMs } = status ?? {};
  const ms = Date.parse(finishedTime ?? "") - Date.parse(startedTime ?? "");
  const sent = [memory, disks].flatMap((each) => each?.transferredBytes ?? []);
  return {
    ...(Number.isFinite(ms) ? { seconds: round(ms / 1000, 3) } : {}),
    ...(sent.length === 0 ? {} : { bytes: sent.reduce((sum, bytes) => sum + bytes, 0) }),
    ...(disks?.transferredBytes ? { diskBytes: disks.transferredBytes } : {}),
    ...(downtimeMs === undefined ? {} : { downtimeMs }),
    ...(before ? gainOf(before, after) : {}),
  };
}

/** "runs on b: 12 s, 1.1Gi sent, score +0.1 (predicted: 10 s, 1Gi sent, score +0.1)" */
export function outcome({ to, predicted }: Pick<Move, "to" | "predicted">, actual: Effect): string {
  const was = predicted && describeEffect(predicted);
  return [
    `runs on ${to}: ${describeEffect(actual) || "nothing was measured"}`,
    ...(was ? [`(predicted: ${was})`] : []),
  ].join(" ");
}
