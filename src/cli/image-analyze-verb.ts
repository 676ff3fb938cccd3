/** `vireo image analyze`: its arguments and options. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { VERSIONS } from "../images/analyze/needs.ts";
import { DEFAULT_RELEASE } from "../images/shared.ts";
import type { AnalyzeRequest } from "./image-analyze.ts";
import { duration } from "./place.ts";
import { stopSignal } from "./stop-signal.ts";

function processId(text: string): number {
  if (!/^[1-9]\d{0,9}$/.test(text)) throw new InvalidArgumentError("the number of a process is needed");
  return Number(text);
}

/** Adds the verb. */
export function addAnalyzeVerb(image: Command, print: (line: string) => void): void {
  image
    .command("analyze")
    .description("find the packages that an application needs, and why; write a recipe of them")
    .argument("[application]", "a file, a folder, an archive (tar, zip, deb), or a URL of one")
    .option("--run <command>", "run this and watch which files it opens and programs it starts (strace)")
    .addOption(duration("--for <time>", "how long the run may take; Ctrl-C ends it, too", "30s"))
    .option("--pid <n>", "look at this process and its children", processId)
    .addOption(
      new Option("--release <release>", "of Debian")
        .choices(Object.keys(VERSIONS))
        .default(DEFAULT_RELEASE.release),
    )
    .option("-o, --output <file>", "the recipe, for vireo image build")
    .option(
      "--minimize",
      "with --run: the recipe leaves out what neither the run nor what is kept needs of packages; the build lists it",
      false,
    )
    .option("--evidence", "show all that speaks for each package", false)
    .action(async (what: string | undefined, options: Omit<AnalyzeRequest, "what" | "signal">) => {
      const { analyze } = await import("./image-analyze.ts");
      await analyze({ ...options, ...(what === undefined ? {} : { what }), signal: stopSignal() }, print);
    });
}
