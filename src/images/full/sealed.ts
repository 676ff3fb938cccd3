/**
 * How programs are run that need to be root in an image under construction: in namespaces of their own (mounts, processes, network), so that
 * nothing stays mounted, nothing runs on and nothing is fetched, however they end. With the control plane they die, too.
 */
import { spawn } from "node:child_process";
import { posix } from "node:path";
import { createInterface } from "node:readline";
import { STEP_MS, type Workshop } from "../build/workshop.ts";

/** What a failure shows of what was said. */
const LAST_LINES = 12;

const SEAL = [
  ["setpriv", "--pdeathsig", "KILL"],
  ["unshare", "--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "--kill-child=KILL", "--mount-proc"],
].flat();

/** Whatever this machine speaks: what is made does not depend on it, and nobody is asked anything. */
const QUIET = {
  LC_ALL: "C.UTF-8",
  LANGUAGE: "",
  DEBIAN_FRONTEND: "noninteractive",
  DEBCONF_NOWARNINGS: "yes",
};

/** Of the control plane's own: its others are settings and secrets, which are nothing to scripts of packages. */
const HANDED_ON = ["HOME", "PATH", "TMPDIR"];

export class SealedError extends Error {}

/** What it says goes into the log as it is said. @throws SealedError with its last lines, or the signal's reason */
export async function sealed(
  { log, signal }: Pick<Workshop, "log" | "signal">,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  signal?.throwIfAborted();
  const begin = performance.now();
  const shown = command.map((part) => (part.length > 200 ? `${part.slice(0, 200)}…` : part)).join(" ");
  log(`+ ${shown}`);
  const [first = "", ...rest] = [...SEAL, ...command];
  const child = spawn(first, rest, {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...Object.fromEntries(HANDED_ON.map((name) => [name, process.env[name]])),
      ...env,
      ...QUIET,
    },
    timeout: STEP_MS,
    // Only what cannot be put off ends a leader of namespaces, and all in them with it.
    killSignal: "SIGKILL",
    ...(signal ? { signal } : {}),
  });
  const last: string[] = [];
  for (const stream of [child.stdout, child.stderr])
    createInterface(stream).on("line", (line) => {
      // Of what is written over again, as progress is, the last.
      const text = line.split("\r").findLast((part) => part !== "") ?? "";
      log(`  ${text}`);
      if (last.push(text) > LAST_LINES) last.shift();
    });
  const how = await new Promise<string | undefined>((resolve) => {
    let missing: string | undefined;
    child.on("error", (error) => {
      missing ??= "code" in error && error.code === "ENOENT" ? "is not installed" : error.message;
      if (child.pid === undefined) resolve(missing);
    });
    // When nobody in the namespaces can write any more.
    child.on("close", (code, by) =>
      resolve(code === 0 ? undefined : (by ?? missing ?? `ended with code ${code}`)),
    );
  });
  signal?.throwIfAborted();
  if (how !== undefined)
    throw new SealedError(
      `${posix.basename(command[0] ?? "")} ${how}: ${last.join("\n") || "it said nothing"}`,
      { cause: new Error(shown) },
    );
  log(`  (${((performance.now() - begin) / 1000).toFixed(2)} s)`);
}
