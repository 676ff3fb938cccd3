/** Verbs on the director's plans: their arguments and options. */
import { type Command, InvalidArgumentError } from "commander";
import { nearest } from "../resource/nearest.ts";
import { parseBytes } from "../resource/quantity.ts";
import { duration, type PlaceOptions, wholeNumber, withControlPlane, withPlace } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";

interface UndoOptions extends PlaceOptions {
  dryRun: boolean;
  wait: boolean;
  timeout: number;
}

interface SimulateFlags extends PlaceOptions {
  trace: string;
  policy: string[];
  estate?: string;
  days: number;
  cpus: number;
  memory: number;
  output: string;
}

function days(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 366))
    throw new InvalidArgumentError("a number above 0, 366 at most, is needed");
  return value;
}

function memory(text: string): number {
  try {
    return parseBytes(text);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : text);
  }
}

/** Adds the verbs. */
export function addPlanVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  const plan = withControlPlane(program.command("plan"))
    .description("what the director would move now, and why, with figures before and after: a dry run")
    .allowExcessArguments()
    .action(async (options: PlaceOptions, { args: [verb] }: Command) => {
      // A verb that is mistyped, as of a command that has only verbs.
      if (verb !== undefined) {
        const known = plan.commands.map((one) => one.name());
        const meant = nearest(verb, known);
        plan.error(`error: unknown command '${verb}'${meant ? `\n(Did you mean ${meant}?)` : ""}`);
      }
      const { previewPlan } = await import("./plan-show.ts");
      await previewPlan(placeOf(options), print);
    });
  withControlPlane(plan.command("show"))
    .description("what a plan does and why, and how hosts stand before and after it")
    .argument("[plan]", "its name; by default the newest that is not over, or else the newest")
    .action(async (name: string | undefined, options: PlaceOptions) => {
      const { showPlan } = await import("./plan-show.ts");
      await showPlan(placeOf(options), name, print);
    });
  withControlPlane(plan.command("undo"))
    .description("move back what a plan moved, as far as the required rules allow it")
    .argument("[plan]", "its name; by default the newest one that moved something and is not undone")
    .option("--dry-run", "only tell what would be moved back, and what cannot be", false)
    .option("--no-wait", "do not wait for its end")
    .addOption(duration("--timeout <time>", "how long to wait for its end", "30m"))
    .action(async (name: string | undefined, { dryRun, wait, timeout, ...options }: UndoOptions) => {
      const { undoPlan } = await import("./plan-undo.ts");
      const asked = { ...placeOf(options), dryRun, wait, timeoutMs: timeout, signal: stopSignal() };
      await undoPlan({ ...asked, ...(name === undefined ? {} : { name }) }, print);
    });
  withControlPlane(plan.command("approve"))
    .description("have a plan that asks carried out, or advice, or some of the moves of one")
    .argument("[plan]", "its name; by default the only one that asks")
    .option(
      "--move <machine>",
      "only the move of this machine (web-1, or NAMESPACE/web-1), of several each; the others are rejected",
      (value: string, list: string[] = []) => [...list, value],
    )
    .action(async (name: string | undefined, { move, ...options }: PlaceOptions & { move?: string[] }) => {
      const { decidePlan } = await import("./plan-decide.ts");
      const word = { decision: "Approved" as const, ...(move ? { moves: move } : {}) };
      await decidePlan(placeOf(options), name, word, print);
    });
  withControlPlane(plan.command("reject"))
    .description(
      "have a proposal, or a plan that waits for the end of quiet hours, not carried out, nor its machines moved for a day",
    )
    .argument("[plan]", "its name; by default the only one that asks")
    .action(async (name: string | undefined, options: PlaceOptions) => {
      const { decidePlan } = await import("./plan-decide.ts");
      await decidePlan(placeOf(options), name, { decision: "Rejected" }, print);
    });
  withControlPlane(plan.command("stop"))
    .description(
      "stop a plan that is being carried out: moves that have begun are cancelled, the others not made, nor these machines moved for a day",
    )
    .argument("[plan]", "its name; by default the only one that is being carried out")
    .action(async (name: string | undefined, options: PlaceOptions) => {
      const { stopPlan } = await import("./plan-stop.ts");
      await stopPlan(placeOf(options), name, print);
    });
  withPlace(program.command("simulate"))
    .description(
      "what policies would do with the recorded load of machines: energy, moves, overload; changes nothing",
    )
    .requiredOption(
      "--trace <file>",
      "what machines used: a folder, .tar.gz or .csv(.gz); docs/simulate.md tells the formats",
    )
    .requiredOption(
      "--policy <file>",
      "a file with policies, or the name of one on the server; several are compared",
      (value: string, list: string[] = []) => [...list, value],
    )
    .option("--estate <file>", "the hosts; by default those of the control plane as they are")
    .option("--days <n>", "how long; a shorter trace is repeated", days, 1)
    .option("--cpus <n>", "CPUs of machines of which the trace does not tell", wholeNumber(), 1)
    .option("--memory <size>", "memory of machines of which the trace does not tell", memory, 2 * 2 ** 30)
    .option("-o, --output <file>", "where the picture is written", "simulation.svg")
    .action(
      async ({
        trace,
        policy,
        estate,
        days: length,
        cpus: each,
        memory: size,
        output,
        ...options
      }: SimulateFlags) => {
        const { simulate } = await import("./simulate.ts");
        const { isTTY } = process.stderr;
        const note = (text: string) => isTTY && process.stderr.write(`\r\u001b[K${text}`);
        const asked = { trace, policies: policy, days: length, cpus: each, memoryBytes: size, out: output };
        try {
          await simulate(placeOf(options), { ...asked, ...(estate ? { estate } : {}) }, print, note);
        } finally {
          note("");
        }
      },
    );
}
