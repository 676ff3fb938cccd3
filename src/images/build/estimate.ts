/** How far a build is, by how long its stages took before. The memory is a small file beside the downloads; a damaged or missing one only means no estimate. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isFields } from "../../resource/fields.ts";
import type { Mode } from "../releases/release.ts";
import { STAGES, type Stage } from "./builder.ts";

export interface FinishedStage {
  name: Stage;
  seconds: number;
}

export interface Estimate {
  percent: number;
  secondsLeft?: number;
}

/** Pure. @param before seconds of each stage of an earlier build @param at the stage that begins @param stages of this build */
export function estimate(
  before: ReadonlyMap<string, number>,
  at: Stage,
  stages: readonly Stage[] = STAGES,
): Estimate {
  const index = stages.indexOf(at);
  if (stages.some((stage) => !before.has(stage)))
    return { percent: Math.floor((100 * index) / stages.length) };
  const seconds = stages.map((stage) => before.get(stage) ?? 0);
  const sum = (list: readonly number[]) => list.reduce((total, each) => total + each, 0);
  const left = sum(seconds.slice(index));
  return {
    percent: Math.floor(100 * (1 - left / Math.max(sum(seconds), 0.001))),
    secondsLeft: Math.ceil(left),
  };
}

const fileOf = (cache: string, mode: Mode) =>
  join(cache, mode === "slim" ? "stage-seconds.json" : `stage-seconds-${mode}.json`);

export async function stageSeconds(cache: string, mode: Mode = "slim"): Promise<Map<string, number>> {
  try {
    const value: unknown = JSON.parse(await readFile(fileOf(cache, mode), "utf8"));
    if (!isFields(value)) return new Map();
    return new Map(
      Object.entries(value).flatMap(([stage, n]) => (typeof n === "number" ? [[stage, n]] : [])),
    );
  } catch {
    return new Map();
  }
}

export async function keepStageSeconds(
  cache: string,
  stages: readonly FinishedStage[],
  mode: Mode = "slim",
): Promise<void> {
  const all = {
    ...Object.fromEntries(await stageSeconds(cache, mode)),
    ...Object.fromEntries(stages.map(({ name, seconds }) => [name, seconds])),
  };
  await writeFile(fileOf(cache, mode), JSON.stringify(all)).catch(() => undefined);
}
