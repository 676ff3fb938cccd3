/** Verbs on a machine's consoles (console, vnc, screenshot, logs): their arguments and options. */
import { type Command, InvalidArgumentError } from "commander";
import { type PlaceOptions, withPlace } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";

function lines(text: string): number {
  if (/^\d{1,7}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("a number of lines is needed");
}

function port(text: string): number {
  const value = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (value >= 0 && value < 65536) return value;
  throw new InvalidArgumentError("a port is needed, from 1 to 65535");
}

/** Adds the verbs. */
export function addConsoleVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  const withMachine = (command: Command) => withPlace(command).argument("<vm>", "vm/web-1");
  const common = (machine: string, options: PlaceOptions) => ({
    ...placeOf(options),
    machine,
    signal: stopSignal(),
  });
  const say = (line: string) => process.stderr.write(`${line}\n`);

  withMachine(program.command("console"))
    .description("be at a machine's serial port, also while it moves or starts again; ^] leaves")
    .option("--tail <lines>", "begin with the last lines that it has said", lines, 20)
    .action(async (machine: string, options: PlaceOptions & { tail: number }) => {
      const { console } = await import("./console.ts");
      await console({ ...common(machine, options), tail: options.tail }, say);
    });

  withMachine(program.command("vnc"))
    .description(
      "show a machine's screen to VNC viewers on this machine, also while it moves or starts again",
    )
    .option("--port <port>", "of 127.0.0.1; by default any free one", port, 0)
    .action(async (machine: string, options: PlaceOptions & { port: number }) => {
      const { vnc } = await import("./console.ts");
      await vnc({ ...common(machine, options), port: options.port }, print);
    });

  withMachine(program.command("screenshot"))
    .description("write a picture of a machine's screen as it is now")
    .option("-o, --output <file>", "where to; - is standard output; by default NAME.png")
    .action(async (machine: string, options: PlaceOptions & { output?: string }) => {
      const { screenshot } = await import("./console.ts");
      const { output } = options;
      await screenshot({ ...common(machine, options), ...(output === undefined ? {} : { output }) }, print);
    });

  withMachine(program.command("logs"))
    .description("print what a machine has said last on its serial port")
    .option("-f, --follow", "and what it goes on saying", false)
    .option("--tail <lines>", "so many lines", lines, 100)
    .action(async (machine: string, options: PlaceOptions & { tail: number; follow: boolean }) => {
      const { logs } = await import("./console.ts");
      const { tail, follow } = options;
      await logs({ ...common(machine, options), tail, follow });
    });
}
