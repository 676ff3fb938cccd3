/** Verbs on one machine (snapshot, rollback, migrate, insert, …): their arguments and options. */
import { readFileSync } from "node:fs";
import type { Command } from "commander";
import type { RollbackOptions } from "./machine-actions.ts";
import { duration, type PlaceOptions, wholeNumber, withPlace } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";
import { UserError } from "./user-error.ts";

type Common = PlaceOptions & { timeout: number };
interface CloneOptions {
  name: string;
  full: boolean;
  instant: boolean;
  count?: number;
  start: boolean;
}

/** Adds the verbs. */
export function addMachineVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  const withMachine = (command: Command) =>
    withPlace(command)
      .argument("<vm>", "vm/web-1")
      .addOption(duration("--timeout <time>", "how long to wait for its end", "10m"));
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
    .option("--keep-memory", "keep the memory of now, too: a rollback to that goes on just here")
    .option("--no-keep-memory", "do not, also when the snapshot has memory")
    .option("--no-memory", "boot, also when the snapshot has memory")
    .action(async (machine: string, options: Common & RollbackOptions) => {
      const { rollback } = await import("./machine-actions.ts");
      const { to, keep, keepMemory, memory } = options;
      const kept = keepMemory === undefined ? {} : { keepMemory };
      await rollback({ ...common(machine, options), to, keep, ...kept, memory }, print);
    });

  withPlace(program.command("clone"))
    .argument("<object>", "vm/web-1 or snapshot/golden")
    .description("make another machine whose disks begin as those of a machine or snapshot")
    .requiredOption("--name <name>", "of the new machine")
    .option("--full", "with a copy of the disks: needs nothing of its source afterwards", false)
    .option(
      "--instant",
      "goes on with the source's memory instead of booting, under its own name and address",
      false,
    )
    .option("--count <number>", "that many, called NAME-1, NAME-2, …", wholeNumber(1000))
    .option("--no-start", "do not start it")
    .addOption(duration("--timeout <time>", "how long to wait until it runs", "10m"))
    .action(async (object: string, options: Common & CloneOptions) => {
      const { clone } = await import("./clone-action.ts");
      const { name, full, instant, count, start, timeout } = options;
      if (full && instant) throw new UserError("--full and --instant exclude each other; say one of them");
      await clone(
        {
          ...placeOf(options),
          object,
          name,
          ...(count === undefined ? {} : { count }),
          mode: full ? "Full" : instant ? "Instant" : "Linked",
          running: start,
          timeoutMs: timeout,
          signal: stopSignal(),
        },
        print,
      );
    });

  withPlace(program.command("exec"))
    .argument("<vm>", "vm/web-1")
    .argument("<command...>", "the program and its arguments; after --")
    .description("run a program in a machine's guest (by its guest agent); ends with its exit code")
    .option("-i, --stdin", "hand our standard input to it, up to 64 KiB", false)
    .addOption(duration("--timeout <time>", "how long it may take", "1m"))
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

  withMachine(program.command("set-password"))
    .argument("<user>", "the user, in the guest")
    .description(
      "give a user of a machine's guest a password, which is asked for, or read from standard input",
    )
    .action(async (machine: string, user: string, options: Common) => {
      const { setPassword } = await import("./machine-actions.ts");
      const { readPassword } = await import("./read-password.ts");
      const password = await readPassword(`new password of ${user} in ${machine}: `);
      await setPassword({ ...common(machine, options), user, password }, print);
    });

  const changeCd = async (
    machine: string,
    options: Common & { drive?: string; force?: boolean },
    image?: string,
  ) => {
    const { changeCd } = await import("./cd.ts");
    const { drive, force = false } = options;
    const which = { ...(drive === undefined ? {} : { drive }), ...(image === undefined ? {} : { image }) };
    await changeCd({ ...common(machine, options), ...which, force }, print);
  };
  const withDrive = (command: Command) =>
    withPlace(command)
      .argument("<vm>", "vm/web-1")
      .option("--drive <name>", "which of its drives, when it has several")
      .option("--force", "also when its guest has locked the drive, as with a paper clip")
      .addOption(duration("--timeout <time>", "how long to wait for its guest", "1m"));
  withDrive(program.command("insert"))
    .argument("<image>", "the Image, a plain file (ISO)")
    .description("put a CD into a machine's drive, instead of what is in it")
    .action((machine: string, image: string, options: Common & { drive?: string; force?: boolean }) =>
      changeCd(machine, options, image),
    );
  withDrive(program.command("eject"))
    .description("take out what is in a machine's CD drive")
    .action((machine: string, options: Common & { drive?: string; force?: boolean }) =>
      changeCd(machine, options),
    );

  withMachine(program.command("migrate"))
    .description("move a running machine to another host")
    .option("--to <host>", "the host; by default the best one that its policies allow")
    .action(async (machine: string, options: Common & { to?: string }) => {
      const { migrate } = await import("./machine-actions.ts");
      await migrate({ ...common(machine, options), ...(options.to ? { to: options.to } : {}) }, print);
    });
}
