/** The verbs on objects of whatever kind (get, apply, delete, edit, wait, events, explain): their arguments and options. */
import type { Command } from "commander";
import { collect, duration, type PlaceOptions, withPlace } from "./place.ts";
import type { Place } from "./resources.ts";
import { stopSignal } from "./stop-signal.ts";

/** Adds the verbs. */
export function addResourceVerbs(
  program: Command,
  placeOf: (options: PlaceOptions) => Place,
  print: (line: string) => void,
): void {
  withPlace(program.command("get"), { all: true })
    .description("show objects: a table, or whole; and follow how they change")
    .argument("<kind...>", "vm, vm,hosts, vm web-1, vm/web-1, or all")
    .option("-o, --output <form>", "table, wide, yaml, json, name or jsonpath=TEMPLATE")
    .option("-l, --selector <selector>", "only those with these labels")
    .option("--field-selector <selector>", "only those with these fields")
    .option("-w, --watch", "go on with what changes", false)
    .option("--no-headers", "a table without its first line")
    .option("--show-managed-fields", "with -o yaml and json: who owns which field")
    .action(
      async (
        words: string[],
        options: PlaceOptions & {
          output?: string;
          selector?: string;
          fieldSelector?: string;
          watch: boolean;
          headers: boolean;
          showManagedFields?: boolean;
        },
      ) => {
        const { get } = await import("./get.ts");
        await get(words, { ...options, ...placeOf(options), signal: stopSignal() }, print);
      },
    );

  withPlace(program.command("apply"))
    .description("make objects what manifests say (server-side apply)")
    .requiredOption(
      "-f, --file <file>",
      "manifest, folder of them, or - ; may be given several times",
      collect,
    )
    .option("--dry-run", "let the server check it, and change nothing", false)
    .option("--force-conflicts", "take over fields that somebody else set", false)
    .action(async (options: PlaceOptions & { file: string[]; dryRun: boolean; forceConflicts: boolean }) => {
      const { apply } = await import("./apply.ts");
      await apply({ ...options, ...placeOf(options), files: options.file }, print);
    });

  withPlace(program.command("delete"), { all: true })
    .description("delete the objects that are named; several by label or --all only with --yes")
    .argument("[kind...]", "vm/web-1, or vm web-1 web-2")
    .option("-f, --file <file>", "what this manifest names; may be given several times", collect, [])
    .option("-l, --selector <selector>", "those with these labels (needs --yes)")
    .option("--all", "all of the kind (needs --yes)", false)
    .option("--yes", "delete what was listed", false)
    .option("--dry-run", "let the server check it, and change nothing", false)
    .option("--ignore-not-found", "what is not there is no error", false)
    .option("--no-wait", "do not wait until they are gone")
    .addOption(duration("--timeout <time>", "how long to wait", "5m"))
    .action(
      async (
        words: string[],
        options: PlaceOptions & {
          file: string[];
          selector?: string;
          all: boolean;
          yes: boolean;
          dryRun: boolean;
          ignoreNotFound: boolean;
          wait: boolean;
          timeout: number;
        },
      ) => {
        const { deleteObjects } = await import("./delete.ts");
        const { file: files, timeout: timeoutMs } = options;
        await deleteObjects(
          words,
          { ...options, ...placeOf(options), files, timeoutMs, signal: stopSignal() },
          print,
        );
      },
    );

  withPlace(program.command("edit"))
    .description("change one object in $EDITOR")
    .argument("<kind...>", "vm/web-1, or vm web-1")
    .action(async (words: string[], options: PlaceOptions) => {
      const { edit } = await import("./edit.ts");
      await edit(words, placeOf(options), print);
    });

  withPlace(program.command("wait"))
    .description("wait until objects are as wanted")
    .argument("<kind...>", "vm/web-1, vm web-1, or vm (all of them)")
    .requiredOption("--for <goal>", "condition=Ready, jsonpath='{.status.phase}'=Running, create or delete")
    .option("-l, --selector <selector>", "those with these labels")
    .addOption(duration("--timeout <time>", "how long to wait", "30s"))
    .action(
      async (
        words: string[],
        options: PlaceOptions & { for: string; selector?: string; timeout: number },
      ) => {
        const { wait } = await import("./wait.ts");
        await wait(
          words,
          { ...options, ...placeOf(options), timeoutMs: options.timeout, signal: stopSignal() },
          print,
        );
      },
    );

  withPlace(program.command("events"), { all: true })
    .description("what happened and why, the newest last")
    .option("--for <object>", "only of vm/web-1, or of a kind")
    .option("--warnings", "only warnings", false)
    .option("-w, --watch", "go on with what happens", false)
    .action(async (options: PlaceOptions & { for?: string; warnings: boolean; watch: boolean }) => {
      const { events } = await import("./events.ts");
      await events({ ...options, ...placeOf(options), signal: stopSignal() }, print);
    });

  withPlace(program.command("explain"))
    .description(
      "vm/NAME: why a machine is on its host. host/NAME: why a host is on or off. KIND[.FIELD…]: what a kind's fields mean",
    )
    .argument("<what>", "vm/web-1, host/a, or vm.spec.memory")
    .option("--recursive", "of a kind: all fields below, by name and type", false)
    .action(async (what: string, options: PlaceOptions & { recursive: boolean }) => {
      if (what.includes("/")) {
        const { explain } = await import("./explain.ts");
        await explain(placeOf(options), what, print);
        return;
      }
      const { explainFields } = await import("./explain-fields.ts");
      await explainFields(what, { ...options, ...placeOf(options) }, print);
    });
}
