/**
 * How programs are run that need to be root in an image under construction (../full), and those of its packages, which are enclosed besides (packaged.ts): in namespaces
 * of their own (mounts, processes, network), so that nothing stays mounted, nothing runs on and nothing is fetched, however they end. With the control plane they die, too.
 */
import { spawn } from "node:child_process";
import { posix } from "node:path";
import type { Readable } from "node:stream";
import { STEP_MS, type Workshop } from "./workshop.ts";

/** What a failure shows of what was said. */
const LAST_LINES = 12;
/** Of a line, in characters. */
const LONGEST = 2048;
/** Of all that one program says; the log of a build keeps it. In characters. */
const MOST_SAID = 64 * 2 ** 20;
const MOST_LINES = 200_000;

/** Who is not root is so in a user namespace, of what belongs to it. */
const seal = () =>
  [
    ["setpriv", "--pdeathsig", "KILL"],
    ["unshare", ...(process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"])],
    ["--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "--kill-child=KILL", "--mount-proc"],
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
export const handedOn = () => Object.fromEntries(HANDED_ON.map((name) => [name, process.env[name]]));

export class SealedError extends Error {}

/**
 * What it says goes into the log as it is said; a program that says too much is ended.
 * @param shown the command as the log and errors have it: without what it is wrapped in
 * @throws SealedError with its last lines, or the signal's reason
 */
export async function sealed(
  { log, signal }: Pick<Workshop, "log" | "signal">,
  command: readonly string[],
  { env = {}, shown = command }: { env?: Readonly<Record<string, string>>; shown?: readonly string[] } = {},
): Promise<void> {
  signal?.throwIfAborted();
  const begin = performance.now();
  const line = shown.map((part) => (part.length > 200 ? `${part.slice(0, 200)}…` : part)).join(" ");
  log(`+ ${line}`);
  const [first = "", ...rest] = [...seal(), ...command];
  const child = spawn(first, rest, {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...handedOn(),
      ...env,
      ...QUIET,
    },
    timeout: STEP_MS,
    // Only what cannot be put off ends a leader of namespaces, and all in them with it.
    killSignal: "SIGKILL",
    ...(signal ? { signal } : {}),
  });
  const last: string[] = [];
  let chars = 0;
  let lines = 0;
  const tooMuch = () => chars > MOST_SAID || lines > MOST_LINES;
  for (const stream of [child.stdout, child.stderr])
    readLines(stream, {
      heard: (count) => {
        chars += count;
        if (tooMuch()) child.kill("SIGKILL");
        return !tooMuch();
      },
      said: (text) => {
        if (++lines > MOST_LINES) return;
        log(`  ${text}`);
        if (last.push(text) > LAST_LINES) last.shift();
      },
    });
  const how = await new Promise<string | undefined>((resolve) => {
    let missing: string | undefined;
    child.on("error", (error) => {
      missing ??= "code" in error && error.code === "ENOENT" ? "is not installed" : error.message;
      if (child.pid === undefined) resolve(missing);
    });
    // When nobody in the namespaces can write any more.
    child.on("close", (code, by) => {
      if (tooMuch())
        return resolve(`said more than ${MOST_SAID / 2 ** 20} MiB or ${MOST_LINES} lines, and was ended`);
      resolve(code === 0 ? undefined : (by ?? missing ?? `ended with code ${code}`));
    });
  });
  signal?.throwIfAborted();
  if (how !== undefined)
    throw new SealedError(
      `${posix.basename(shown[0] ?? "")} ${how}: ${last.join("\n") || "it said nothing"}`,
      { cause: new Error(line) },
    );
  log(`  (${((performance.now() - begin) / 1000).toFixed(2)} s)`);
}

/** Whatever is written, no more than a line and what comes at once is kept. @param heard whether to go on after so many characters more */
function readLines(
  stream: Readable,
  { heard, said }: { heard: (count: number) => boolean; said: (line: string) => void },
): void {
  let rest = "";
  const say = (line: string) => {
    // Of what is written over again, as progress is, the last.
    const text = line.split("\r").findLast((part) => part !== "") ?? "";
    said(text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
  };
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    if (!heard(chunk.length)) return;
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) say(line);
    if (rest.length > LONGEST)
      rest = rest.slice(rest.lastIndexOf("\r", rest.length - 2) + 1).slice(0, LONGEST + 1);
  });
  stream.on("end", () => {
    if (rest !== "") say(rest);
  });
}
