/** The `vireo` command: parses arguments, calls one function of the verb's file, prints errors. */
import { existsSync } from "node:fs";
import { Argument, Command, Help, Option } from "commander";
import { describeError } from "../reconcile/log.ts";
import { ApiError } from "../resource/errors.ts";
import { addConsoleVerbs } from "./console-verbs.ts";
import { addHostVerbs } from "./host-verbs.ts";
import { addImageVerbs } from "./image-verbs.ts";
import { addLifecycleVerbs } from "./lifecycle-verbs.ts";
import { addMachineVerbs } from "./machine-verbs.ts";
import { type OidcFlags, withOidc } from "./oidc.ts";
import { statePaths } from "./paths.ts";
import { collect, duration, lifetimeMs, placeFrom, wholeNumber } from "./place.ts";
import { addPlanVerbs } from "./plan-verbs.ts";
import { addPowerVerbs } from "./power-verbs.ts";
import { addResourceVerbs } from "./resource-verbs.ts";
import { Stopped } from "./stop-signal.ts";
import { UserError } from "./user-error.ts";
import { version } from "./version.ts";

const print = (line: string) => process.stdout.write(`${line}\n`);

/** What people call it who come from elsewhere: the nearest verb by its letters would be another thing. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  create: "vireo apply -f FILE makes what a manifest says; examples/ has some",
  list: "vireo get KIND lists; vireo get vm: machines",
  ls: "vireo get KIND lists; vireo get vm: machines",
  status: "vireo get vm/NAME tells how a machine is, vireo doctor how all is",
  show: "vireo get KIND/NAME -o yaml shows an object, vireo explain vm/NAME why a machine is where it is",
  shutdown: "vireo stop VM has its guest shut down",
  destroy: "vireo stop VM --force pulls the plug, vireo delete vm/NAME removes a machine with its disks",
  set: "vireo edit vm/NAME changes a machine",
};

/** The message of an unknown verb that has another name here. */
function withWord(text: string): string {
  const word = /unknown command '(\w+)'/.exec(text)?.[1] ?? "";
  const told = Object.hasOwn(ELSEWHERE, word) ? ELSEWHERE[word] : undefined;
  return told === undefined ? text : `vireo: unknown command '${word}': ${told}\n`;
}

const program = new Command("vireo")
  .description("Runs the virtual machines of a whole data center by policy.")
  .option("--state <folder>", "where this installation lives (default: $VIREO_STATE or /var/lib/vireo)")
  .configureOutput({
    // As all other errors begin.
    outputError: (text, write) =>
      write(withWord(text.replace(/^error: /, "vireo: ").replace(" is invalid. ", " is invalid: "))),
  })
  .configureHelp({
    // Of a switch that is off, and of a list that is empty, the default tells nothing.
    optionDescription: (option) =>
      option.defaultValue === false ||
      (Array.isArray(option.defaultValue) && option.defaultValue.length === 0)
        ? option.description
        : new Help().optionDescription(option),
  })
  .version(version(), "--version", "print Vireo's version");

const paths = () => statePaths(program.opts<{ state?: string }>().state);

const upCommand = program
  .command("up")
  .description(
    "start everything on this machine, apply manifests, wait until all machines answer; then show events",
  )
  .option(
    "--hosts <n>",
    "development hosts in network namespaces, instead of this machine as the one host",
    wholeNumber(),
  )
  .option("-f, --file <file>", "manifest to apply; may be given several times", collect, [])
  .option(
    "--port <port>",
    "port of the API server (default: 6443); further control planes take the ones after it",
    wholeNumber(),
  )
  .option(
    "--address <ip>",
    "address of this machine by which hosts on other machines reach it; without it none do (127.0.0.1)",
  )
  .option("--store <address>", "etcd://HOST:PORT,…/PREFIX; by default SQLite in the state folder")
  .option(
    "--control-planes <n>",
    "how many control planes to start (default: 1); more than one needs --store",
    wholeNumber(),
  )
  .addOption(duration("--timeout <time>", "how long machines may take until they run", "10m"))
  .option("--detach", "end when all machines run instead of showing events", false)
  .action(
    async (
      options: OidcFlags & {
        hosts?: number;
        file: string[];
        port?: number;
        address?: string;
        store?: string;
        controlPlanes?: number;
        timeout: number;
        detach: boolean;
      },
    ) => {
      const { up } = await import("./up.ts");
      const { hosts, file: files, port, address, store, controlPlanes, timeout, detach, ...oidc } = options;
      await up(
        paths(),
        {
          ...(hosts === undefined ? {} : { hosts }),
          ...(port === undefined ? {} : { port }),
          ...(address === undefined ? {} : { address }),
          ...(store === undefined ? {} : { store }),
          ...(controlPlanes === undefined ? {} : { controlPlanes }),
          ...(Object.keys(oidc).length === 0 ? {} : { oidc }),
          files,
          timeoutMs: timeout,
          detach,
        },
        print,
      );
    },
  );
withOidc(upCommand);

program
  .command("down")
  .description(
    "stop everything; then destroy it (machines with their disks, images, keys), or keep it for the next up",
  )
  .option("--keep", "destroy nothing: objects, disks and images stay for the next up", false)
  .option("--yes", "really destroy it; without, what would be lost is only listed", false)
  .action(async (options: { keep: boolean; yes: boolean }) => {
    const { down } = await import("./down.ts");
    await down(paths(), options, print);
  });

const placeOf = placeFrom(paths);
addResourceVerbs(program, placeOf, print);
addLifecycleVerbs(program, placeOf, print);
addMachineVerbs(program, placeOf, print);
addHostVerbs(program, placeOf, print);
addConsoleVerbs(program, placeOf, print);
addPlanVerbs(program, placeOf, print);
addPowerVerbs(program, placeOf, print);

addImageVerbs(program, placeOf, print);

program
  .command("backup")
  .description("keep what the control plane knows")
  .command("state")
  .description("all objects and keys, in one file, while everything runs")
  .argument("<file>", "where to; must not exist")
  .action(async (file: string) => {
    const { backupState } = await import("./backup.ts");
    await backupState(paths(), file, print);
  });

program
  .command("restore")
  .description("bring back what was kept")
  .command("state")
  .description("all objects and keys, into an empty state folder")
  .argument("<file>", "made by vireo backup state")
  .option("--store <address>", "etcd://HOST:PORT,…/PREFIX; by default SQLite in the state folder")
  .action(async (file: string, options: { store?: string }) => {
    const { restoreState } = await import("./backup.ts");
    await restoreState(paths(), file, options, print);
  });

program
  .command("audit")
  .description("the log of who changed what")
  .command("verify")
  .description("whether no line of it was changed, taken out or moved")
  .argument("[file]", "one file; by default all of this installation")
  .action(async (file: string | undefined) => {
    const { auditVerify } = await import("./audit.ts");
    auditVerify(paths(), file, print);
  });

program
  .command("doctor")
  .description("look at every part, change nothing, and say what is wrong and what would mend it")
  .addOption(new Option("-o, --output <form>", "instead of lines for people").choices(["json"]))
  .action(async (options: { output?: "json" }) => {
    const { doctor } = await import("./doctor.ts");
    if (!(await doctor(paths(), options, print))) process.exitCode = 1;
  });

const token = program.command("token").description("bearer tokens of users");
token
  .command("create")
  .description("print a new token; it is shown this once")
  .argument("<user>", "whom it logs in")
  .option("--group <group>", "a group of the user; may be given several times", collect, [])
  .option(
    "--ttl <time>",
    "how long it is good, such as 30m, 12h or 7d; by default until it is revoked",
    lifetimeMs,
  )
  .action(async (user: string, { group, ttl }: { group: string[]; ttl?: number }) => {
    const { tokenCreate } = await import("./token.ts");
    tokenCreate(paths(), user, { group, ...(ttl === undefined ? {} : { ttlMs: ttl }) }, print);
  });
token
  .command("list")
  .description("users' tokens by id, with user, groups and end")
  .action(async () => {
    const { tokenList } = await import("./token.ts");
    tokenList(paths(), print);
  });
token
  .command("revoke")
  .description("refuse a token from now on")
  .argument("<id>", "its id, as vireo token list shows it")
  .action(async (id: string) => {
    const { tokenRevoke } = await import("./token.ts");
    tokenRevoke(paths(), id, print);
  });

program
  .command("enrol")
  .description(
    "write a file by which a host on another machine may come in (vireo agent); it is good for a day",
  )
  .argument("<file>", "where to; must not exist. It holds a secret: carry it to the host, then remove it")
  .action(async (file: string) => {
    const { enrolHosts } = await import("./enrol.ts");
    await enrolHosts(paths(), file, print);
  });

program
  .command("kubeconfig")
  .description("print the path of the kubeconfig: export KUBECONFIG=$(vireo kubeconfig)")
  .action(() => {
    print(paths().kubeconfig);
  });

const serverCommand = program
  .command("server")
  .description("run a control plane (up starts it)")
  .requiredOption("--listen <host:port>", "address of the API server")
  .option("--store <address>", "etcd://HOST:PORT,…/PREFIX; by default SQLite in the state folder")
  .option(
    "--follow",
    "another control plane of this state folder keeps the kubeconfig and the enrolment file",
    false,
  )
  .action(async (options: OidcFlags & { listen: string; store?: string; follow: boolean }) => {
    const { server } = await import("./server.ts");
    await server(paths(), options);
  });
withOidc(serverCommand);

program
  .command("agent")
  .description("run the agent of this host: up starts that of its own machine")
  .requiredOption("--join <url>", "an API server; may be given several times", collect)
  .requiredOption("--name <name>", "name of the host")
  .requiredOption("--address <ip>", "where other hosts reach this one")
  .requiredOption(
    "--enrolment <file>",
    "made by vireo enrol on the control plane's machine; needed until the host is in",
  )
  .option("--profile <file>", "declared hardware of a development host")
  .addOption(
    new Option(
      "--metrics <address>",
      "serve Prometheus metrics here to whoever reaches it: 127.0.0.1:9464",
    ).env("VIREO_AGENT_METRICS"),
  )
  .option("--vxlan-peer <ip>", "VXLAN end that is not a host; may be given several times", collect, [])
  .action(
    async (options: {
      join: string[];
      name: string;
      address: string;
      enrolment: string;
      profile?: string;
      metrics?: string;
      vxlanPeer: string[];
    }) => {
      const { agent } = await import("./agent.ts");
      await agent(paths(), options);
    },
  );

program
  .command("completion")
  .description("print what a shell loads to complete by Tab: source <(vireo completion bash)")
  .addArgument(new Argument("<shell>", "whose").choices(["bash", "zsh", "fish"]))
  .action(async (shell: "bash" | "zsh" | "fish") => {
    const { completionScript } = await import("./completion.ts");
    process.stdout.write(completionScript(shell));
  });
program
  .command("__complete", { hidden: true })
  .argument("[word...]", "those after vireo, the last up to the cursor")
  .action(async (words: string[]) => {
    const { answerCompletion } = await import("./completion.ts");
    await answerCompletion(program, words, print);
  });

program
  .command("test")
  .description("run the tests; the last line counts them")
  .option("--unit", "only those without guests, in seconds", false)
  .argument("[filter...]", "only test files whose path holds one of these")
  .action(async (filters: string[], options: { unit: boolean }) => {
    const { runTests } = await import("./test.ts");
    process.exitCode = await runTests({ ...options, filters });
  });

// Who reads no further (`vireo get vm | head`) has what he wants: the end that other programs have there, by SIGPIPE.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(141);
  throw error;
});

/** What to do when nobody listens where the control plane should be, or somebody else: nothing runs after `vireo down --keep`. */
function wayOut(error: unknown): string {
  let cause = error;
  while (cause instanceof UserError || cause instanceof ApiError) cause = cause.cause;
  const isRefused = cause instanceof Error && "code" in cause && cause.code === "ECONNREFUSED";
  if (isRefused) return "; `vireo doctor` tells what runs, `vireo up` starts what does not";
  const { state, kubeconfig, record } = paths();
  const isStopped = existsSync(kubeconfig) && !existsSync(record);
  const isAway = error instanceof Error && error.message.startsWith("cannot reach");
  return isAway && isStopped ? `; nothing is up in ${state}: \`vireo up\` starts it` : "";
}

/** What follows the error of a command names the help of that one. */
function nameHelp(command: Command, words: string): void {
  command.showHelpAfterError(`(${words} --help shows what there is)`);
  for (const below of command.commands) nameHelp(below, `${words} ${below.name()}`);
}
nameHelp(program, "vireo");

try {
  await program.parseAsync();
} catch (error) {
  const forUser = error instanceof UserError || error instanceof ApiError;
  process.stderr.write(`vireo: ${forUser ? error.message : describeError(error)}${wayOut(error)}\n`);
  if (!forUser && error instanceof Error && process.env.VIREO_DEBUG) process.stderr.write(`${error.stack}\n`);
  process.exitCode = error instanceof Stopped ? error.exitCode : 1;
}
