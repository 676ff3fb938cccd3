/** `vireo host power`: its arguments and options. */
import type { Command } from "commander";
import { duration, type PlaceOptions, withControlPlane } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";

interface Options extends PlaceOptions {
  timeout: number;
  wait: boolean;
  force?: boolean;
}

/** Adds the verbs. */
export function addPowerVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  const power = program
    .command("host")
    .description("hosts of the estate")
    .command("power")
    .description("switch a host on and off through its BMC (spec.bmc)");
  const verb = (name: string) => withControlPlane(power.command(name)).argument("<host>", "host/a");
  const switching = (name: "on" | "off") =>
    verb(name)
      .addOption(duration("--timeout <time>", "how long to wait for it", "10m"))
      .option("--no-wait", "do not wait for it")
      .action(async (host: string, options: Options) => {
        const { switchPower } = await import("./host-power.ts");
        const { timeout: timeoutMs, wait, force = false } = options;
        const all = { ...placeOf(options), host, timeoutMs, wait, force, signal: stopSignal() };
        await switchPower(name, all, print);
      });
  switching("on").description("switch a host on");
  switching("off")
    .description(
      "close a host for new machines and, once none is on it, have its system shut down and switch itself off",
    )
    .option(
      "--force",
      "cut its power instead of asking its system; machines on it are waited for all the same",
    );
  verb("status")
    .description("what the host's BMC says, what is being done, and what was done last")
    .action(async (host: string, options: PlaceOptions) => {
      const { powerStatus } = await import("./host-power.ts");
      await powerStatus({ ...placeOf(options), host }, print);
    });
  verb("acknowledge")
    .description("that a host failed its wake test has been looked after: it may be shut down again")
    .action(async (host: string, options: PlaceOptions) => {
      const { acknowledge } = await import("./host-power.ts");
      await acknowledge({ ...placeOf(options), host }, print);
    });
}
