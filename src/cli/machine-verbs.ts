/** Verbs on one machine (snapshot, rollback, migrate): their arguments and options. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { durationMs, type PlaceOptions, withPlace } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";

type Common = PlaceOptions & { timeout: number };

/** Adds the verbs. */
export function addMachineVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  const withMachine = (command: Command) =>
    withPlace(command)
      .argument("<vm>", "vm/web-1")
      .option("--timeout <time>", "how long to wait for its end", durationMs, 600_000);
  const common = (machine: string, options: Common) => ({
    ...placeOf(options),
    machine,
    timeoutMs: options.timeout,
    signal: stopSignal(),
  });

  withMachine(program.command("snapshot"))
    .description("keep the state of all disks of a machine as it is now")
    .option("--name <name>", "of the Snapshot; by default the machine's with the time")
    .option("--memory", "keep the memory, too: a rollback goes on from this very moment", false)
    .option("--no-quiesce", "do not have the guest write out its file systems first")
    .action(
      async (machine: string, options: Common & { name?: string; quiesce: boolean; memory: boolean }) => {
        const { snapshot } = await import("./machine-actions.ts");
        const { name, quiesce, memory } = options;
        await snapshot({ ...common(machine, options), ...(name ? { name } : {}), quiesce, memory }, print);
      },
    );

  withMachine(program.command("rollback"))
    .description("take a machine's disks back to a snapshot; what they hold now becomes one, too")
    .requiredOption("--to <snapshot>", "the Snapshot")
    .option("--no-keep", "lose what they hold now")
    .option("--no-memory", "boot, also when the snapshot has memory")
    .action(async (machine: string, options: Common & { to: string; keep: boolean; memory: boolean }) => {
      const { rollback } = await import("./machine-actions.ts");
      const { to, keep, memory } = options;
      await rollback({ ...common(machine, options), to, keep, memory }, print);
    });

  withPlace(program.command("exec"))
    .argument("<vm>", "vm/web-1")
    .argument("<command...>", "the program and its arguments; after --")
    .description("run a program in a machine's guest (by its guest agent); ends with its exit code")
    .option("-i, --stdin", "hand our standard input to it, up to 64 KiB", false)
    .option("--timeout <time>", "how long it may take", durationMs, 60_000)
    .action(async (machine: string, command: string[], options: Common & { stdin: boolean }) => {
      const { exec } = await import("./machine-actions.ts");
      const input = options.stdin ? readFileSync(0, "utf8") : undefined;
      const runSeconds = Math.max(1, Math.ceil(options.timeout / 1000));
      process.exitCode = await exec({
        ...common(machine, { ...options, timeout: options.timeout + 60_000 }),
        command,
        runSeconds,
        ...(input === undefined ? {} : { input }),
      });
    });

  withMachine(program.command("migrate"))
    .description("move a running machine to another host")
    .requiredOption("--to <host>", "the host")
    .action(async (machine: string, options: Common & { to: string }) => {
      const { migrate } = await import("./machine-actions.ts");
      await migrate({ ...common(machine, options), to: options.to }, print);
    });
}
