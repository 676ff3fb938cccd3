/** Verbs on hosts (cordon, drain, uncordon), with kubectl's names: their arguments and options. */
import type { Command } from "commander";
import { duration, type PlaceOptions, withControlPlane } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";

/** Adds the verbs. */
export function addHostVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  withControlPlane(program.command("cordon"))
    .argument("<host>", "its name")
    .description("have no new machine placed on a host; those that run there stay")
    .action(async (host: string, options: PlaceOptions) => {
      const { cordon } = await import("./host-actions.ts");
      await cordon({ ...placeOf(options), host }, print);
    });
  withControlPlane(program.command("drain"))
    .argument("<host>", "its name")
    .description(
      "put a host into maintenance: its machines are moved elsewhere while they run; waits until it is empty",
    )
    .addOption(duration("--timeout <time>", "how long to wait", "1h"))
    .action(async (host: string, options: PlaceOptions & { timeout: number }) => {
      const { drain } = await import("./host-actions.ts");
      await drain({ ...placeOf(options), host, timeoutMs: options.timeout, signal: stopSignal() }, print);
    });
  withControlPlane(program.command("uncordon"))
    .argument("<host>", "its name")
    .description("end the maintenance of a host: machines may come again")
    .action(async (host: string, options: PlaceOptions) => {
      const { uncordon } = await import("./host-actions.ts");
      await uncordon({ ...placeOf(options), host }, print);
    });
}
