/** Verbs on the director's plans: their arguments and options. */
import type { Command } from "commander";
import { durationMs, type PlaceOptions, withControlPlane } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";

interface UndoOptions extends PlaceOptions {
  dryRun: boolean;
  wait: boolean;
  timeout: number;
}

/** Adds the verbs. */
export function addPlanVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  const plan = program.command("plan").description("what the director means to do, and has done");
  withControlPlane(plan.command("undo"))
    .description("move back what a plan moved, as far as the required rules allow it")
    .argument("[plan]", "its name; by default the newest one that moved something and is not undone")
    .option("--dry-run", "only tell what would be moved back, and what cannot be", false)
    .option("--no-wait", "do not wait for its end")
    .option("--timeout <time>", "how long to wait for its end", durationMs, 1_800_000)
    .action(async (name: string | undefined, { dryRun, wait, timeout, ...options }: UndoOptions) => {
      const { undoPlan } = await import("./plan-undo.ts");
      const asked = { ...placeOf(options), dryRun, wait, timeoutMs: timeout, signal: stopSignal() };
      await undoPlan({ ...asked, ...(name === undefined ? {} : { name }) }, print);
    });
}
