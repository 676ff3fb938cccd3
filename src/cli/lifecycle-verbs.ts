/** Verbs that start, stop and pause a machine: their arguments and options. */
import type { Command } from "commander";
import type { LifecycleVerb } from "./lifecycle.ts";
import { duration, durationMs, type PlaceOptions, withPlace } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";

interface Options extends PlaceOptions {
  timeout: number;
  wait: boolean;
  grace?: number;
  force?: boolean;
  discardMemory?: boolean;
}

const ABOUT: Record<LifecycleVerb, string> = {
  start: "start a machine; one that is suspended goes on with its memory",
  stop: "have a machine's guest shut down; after its time limit it is switched off",
  restart: "stop a machine as stop does, and start it again",
  reset: "press a machine's reset button: its guest begins anew at once",
  pause: "have a machine's guest stand still; its memory stays in the host",
  resume: "let a paused machine's guest go on",
  suspend:
    "keep a machine's memory in its storage pool and end it; start goes on from there, on any host that can",
};

/** Adds the verbs. */
export function addLifecycleVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  const verb = (command: Command, name: LifecycleVerb) =>
    withPlace(command)
      .description(ABOUT[name])
      .argument("<vm>", "vm/web-1")
      .addOption(duration("--timeout <time>", "how long to wait for it", "5m"))
      .option("--no-wait", "do not wait for it")
      .action(async (machine: string, options: Options) => {
        const { lifecycle } = await import("./lifecycle.ts");
        const { grace, force, discardMemory, wait, timeout: timeoutMs } = options;
        await lifecycle(
          name,
          {
            ...placeOf(options),
            machine,
            timeoutMs,
            signal: stopSignal(),
            wait,
            ...(grace === undefined ? {} : { graceSeconds: Math.ceil(grace / 1000) }),
            ...(force === undefined ? {} : { force }),
            ...(discardMemory === undefined ? {} : { discardMemory }),
          },
          print,
        );
      });
  const withStop = (command: Command) =>
    command
      .option(
        "--grace <time>",
        "how long its guest may take, from now on (spec.stop.graceSeconds)",
        durationMs,
      )
      .option("--force", "switch it off without asking the guest");

  verb(program.command("start"), "start").option(
    "--discard-memory",
    "boot, also when it is suspended: the memory that is kept is lost",
  );
  withStop(verb(program.command("stop"), "stop"));
  withStop(verb(program.command("restart"), "restart"));
  verb(program.command("reset"), "reset");
  verb(program.command("pause"), "pause");
  verb(program.command("resume"), "resume");
  verb(program.command("suspend"), "suspend");
}
