/**
 * What an application does when it runs: the files that it opens and the programs that it starts, by strace; or of a process that runs already, what it has open. What
 * it opens without success counts for nothing.
 */
import { spawn } from "node:child_process";
import { createReadStream, existsSync, lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join, posix } from "node:path";
import { createInterface } from "node:readline/promises";
import { setTimeout as wait } from "node:timers/promises";
import { ApplicationError } from "./application.ts";
import { type Need, programNeed } from "./needs.ts";

export interface Trace {
  /** Absolute paths, links followed -> how they were asked for. */
  opened: Map<string, string>;
  /** Programs that were started. */
  started: Set<string>;
  /** What was only looked at, and is there; not of a process that runs already. */
  looked: Set<string>;
  /** Folders that it made files or folders in. */
  folders: Set<string>;
}

/** What every system makes by itself, or has for a moment. */
const PASSING =
  /^\/(?:proc|sys|dev|run|tmp|var\/(?:run|tmp|log|cache|spool)|etc\/(?:ld\.so\.\w+|passwd|group|shadow|gshadow|hosts|hostname|resolv\.conf|nsswitch\.conf|localtime|timezone|machine-id|mtab|host\.conf|gai\.conf|locale\.alias))(?:\/|$)/;
/** Folders of an image that are there, and empty, when it starts. */
const EMPTY = /^\/(?:$|(?:proc|sys|dev|run|tmp|var\/(?:run|tmp))(?:\/|$))/;
/** From SIGTERM to SIGKILL. */
const GRACE_MS = 5000;
/** How often those that it started meanwhile are killed as well, before strace itself is. */
const KILLS = 50;
const BETWEEN_KILLS_MS = 100;
/** System calls that are watched. */
const OPENS = ["open", "openat", "openat2", "creat"];
const STARTS = ["execve", "execveat"];
const MAKES_FOLDERS = ["mkdir", "mkdirat"];
const LOOKS = [
  ...["stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat"],
];
const STRACE = [
  ..."-f -qq -y -z -s 4096 --seccomp-bpf -e signal=none".split(" "),
  ...["-e", `trace=${[...OPENS, ...STARTS, ...MAKES_FOLDERS, ...LOOKS].join(",")}`],
];
/** Of one that succeeded: its name, the folder that the path is in, the path, what else it was given, and the file that it opened. */
const CALL =
  /^\d+ +(\w+)\((?:(?:AT_FDCWD|\d+)<((?:[^>\\]|\\.)*)>, )?"((?:[^"\\]|\\.)*)"(.*)\) = \d+(?:<((?:[^>\\]|\\.)+)>(?:\(deleted\))?)?$/;

/**
 * Runs a command, by a shell, until it ends, `signal` or the time is over: then it is ended, with all that it started.
 * @param file where strace writes to
 * @param graceMs how long what is ended may take to end by itself
 * @param root the command runs in this root file system by itself (chroot); its paths are those inside
 * @throws ApplicationError when it cannot be run
 */
export async function traceRun(
  command: string,
  file: string,
  {
    limitMs,
    signal,
    root = "",
    graceMs = GRACE_MS,
  }: { limitMs: number; signal: AbortSignal; root?: string; graceMs?: number },
): Promise<Trace> {
  // A group of its own: a terminal's Ctrl-C is for us, and all of it can be ended.
  const child = spawn("strace", [...STRACE, "-o", file, "--", "sh", "-c", command], {
    stdio: ["ignore", "inherit", "inherit"],
    env: asService(process.env),
    detached: true,
  });
  const over = new Promise<{ code: number | null } | { error: NodeJS.ErrnoException }>((resolve) => {
    child.on("error", (error) => resolve({ error }));
    child.on("close", (code) => resolve({ code }));
  });
  const late = new AbortController();
  const first = await Promise.race([
    over,
    wait(limitMs, undefined, { signal: AbortSignal.any([signal, late.signal]) }).catch(() => undefined),
  ]);
  late.abort();
  if (first === undefined) await end(child.pid, over, graceMs);
  const result = await over;
  if ("error" in result)
    throw new ApplicationError(
      result.error.code === "ENOENT"
        ? "strace is not installed, by which a run is watched: apt-get install strace"
        : `strace: ${result.error.message}`,
    );
  const trace = await parseTrace(createInterface(createReadStream(file)), root).catch((cause: unknown) => {
    throw new ApplicationError(
      `what the run did cannot be read: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  });
  if (trace.started.size === 0 && (result.code === 127 || result.code === 126))
    throw new ApplicationError(`${command}: could not be started`);
  return trace;
}

/**
 * As services of slim images have it. With a language all programs would open its files, and those that cannot do without could not be told; of terminals the serial line is
 * the one that is described.
 */
const asService = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({
  ...Object.fromEntries(Object.entries(env).filter(([name]) => !/^(?:LANG|LANGUAGE|LC_\w+)$/.test(name))),
  TERM: "vt102",
});

/** First asks, then kills, until strace has ended, which it does when all that it watches have: also those that have left the group, and what they start meanwhile. */
async function end(tracer: number | undefined, over: Promise<unknown>, graceMs: number): Promise<void> {
  if (tracer === undefined) return;
  const all = (name: "SIGTERM" | "SIGKILL") => {
    for (const pid of processes()) if (isWatchedBy(pid, tracer)) kill(pid, name);
  };
  const isOver = async (ms: number) => {
    const late = new AbortController();
    const waited = wait(ms, false, { signal: late.signal }).catch(() => false);
    return await Promise.race([over.then(() => true), waited]).finally(() => late.abort());
  };
  all("SIGTERM");
  if (await isOver(graceMs)) return;
  for (let i = 0; i < KILLS; i++) {
    all("SIGKILL");
    if (await isOver(BETWEEN_KILLS_MS)) return;
  }
  kill(tracer, "SIGKILL");
}

const processes = () =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

function isWatchedBy(pid: number, tracer: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/status`, "latin1").includes(`\nTracerPid:\t${tracer}\n`);
  } catch {
    return false;
  }
}

function kill(pid: number, signal: "SIGTERM" | "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch {
    // it ended meanwhile
  }
}

/**
 * Of strace's lines: `12 openat(AT_FDCWD</>, "a", O_RDONLY) = 3</usr/a>` and `12 execve("/usr/bin/b", …) = 0`. The shell that starts the command is left out, and files
 * that are only written.
 */
export async function parseTrace(lines: Iterable<string> | AsyncIterable<string>, root = ""): Promise<Trace> {
  const trace: Trace = { opened: new Map(), started: new Set(), looked: new Set(), folders: new Set() };
  const inside = (path: string) => (root && path.startsWith(`${root}/`) ? path.slice(root.length) : path);
  let programs = 0;
  for await (const line of lines) {
    const [, name = "", from = "", asked = "", rest = "", file = ""] = CALL.exec(line) ?? [];
    const path = inside(posix.resolve(unquoted(from) || "/", unquoted(asked)));
    if (STARTS.includes(name)) {
      if (programs++ > 0) trace.started.add(path);
    } else if (OPENS.includes(name)) {
      noteOpened(trace, inside(unquoted(file).replace(/ \(deleted\)$/, "")), {
        asked: inside(unquoted(asked)),
        flags: name === "creat" ? "O_WRONLY|O_CREAT" : rest,
      });
      // Without a folder, or of what is open already, there is no telling.
    } else if (asked.startsWith("/") || (from && asked)) {
      if (LOOKS.includes(name)) trace.looked.add(path);
      else if (MAKES_FOLDERS.includes(name)) noteFolder(trace, posix.dirname(path));
    }
  }
  return trace;
}

function noteFolder({ folders }: Trace, path: string): void {
  if (!EMPTY.test(path)) folders.add(path);
}

/** @param flags of the call, as strace writes them */
function noteOpened(trace: Trace, path: string, { asked, flags }: { asked: string; flags: string }): void {
  if (!path.startsWith("/")) return;
  if (flags.includes("O_CREAT")) noteFolder(trace, posix.dirname(path));
  if (!/O_DIRECTORY|O_WRONLY|O_PATH/.test(flags) && !PASSING.test(path)) trace.opened.set(path, asked);
}

/** strace writes bytes that are no plain letters as in C: \" \\ \n \303. */
function unquoted(text: string): string {
  if (!text.includes("\\")) return text;
  const bytes: number[] = [];
  const plain: Record<string, number> = { n: 10, t: 9, r: 13, v: 11, f: 12 };
  for (const match of text.matchAll(/\\([0-7]{1,3})|\\(.)|([^\\]+)/g)) {
    const [, octal, escaped, rest] = match;
    if (octal) bytes.push(Number.parseInt(octal, 8));
    else if (escaped) bytes.push(plain[escaped] ?? escaped.charCodeAt(0));
    else bytes.push(...Buffer.from(rest ?? ""));
  }
  return Buffer.from(bytes).toString("utf8");
}

export interface Running extends Trace {
  /** What it was started with; undefined when it has put a title in that place. */
  command: string[] | undefined;
}

/** As the kernel has them. @param isFile whether there is a program of that path @returns undefined for a title: "nginx: master process /usr/sbin/nginx -g daemon off;" */
export function wordsOf(cmdline: string, isFile: (path: string) => boolean): string[] | undefined {
  const [program = "", ...rest] = cmdline.replace(/\0$/, "").split("\0");
  // What is left of the place after a title is empty.
  if (rest.some((word) => word !== "")) return [program, ...rest];
  return /\s/.test(program) && !isFile(program) ? undefined : [program];
}

/** One line for a shell: each word stays what it is. */
export const quoted = (words: readonly string[]): string =>
  words
    .map((word) => (/^[\w./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`))
    .join(" ");

/** A process with its children: what they run, what is mapped, what they have open. @throws ApplicationError */
export function lookAt(pid: number): Running {
  const trace: Running = {
    opened: new Map(),
    started: new Set(),
    looked: new Set(),
    folders: new Set(),
    command: undefined,
  };
  const read = (id: number, name: string) => readFileSync(`/proc/${id}/${name}`, "utf8");
  try {
    const cmdline = read(pid, "cmdline");
    trace.command = wordsOf(cmdline, (path) => existsSync(posix.resolve(`/proc/${pid}/cwd`, path)));
  } catch (cause) {
    throw new ApplicationError(`--pid: there is no process ${pid} that may be looked at`, { cause });
  }
  const todo = [pid];
  for (let id = todo.pop(); id !== undefined; id = todo.pop()) {
    try {
      trace.started.add(readlinkSync(`/proc/${id}/exe`).replace(/ \(deleted\)$/, ""));
      const cwd = readlinkSync(`/proc/${id}/cwd`);
      for (const [, path = ""] of read(id, "maps").matchAll(
        /^\S+ \S+ \S+ \S+ \d+ +(\/.+?)(?: \(deleted\))?$/gm,
      ))
        note(trace, path);
      for (const fd of readdirSync(`/proc/${id}/fd`)) note(trace, readlinkSync(`/proc/${id}/fd/${fd}`));
      // Scripts are read whole and closed.
      for (const word of read(id, "cmdline").split("\0").slice(1))
        if (/^[\w./+-]+$/.test(word)) note(trace, posix.resolve(cwd, word));
      for (const thread of readdirSync(`/proc/${id}/task`))
        todo.push(
          ...read(id, join("task", thread, "children"))
            .split(" ")
            .filter(Boolean)
            .map(Number),
        );
    } catch (cause) {
      if (id === pid)
        throw new ApplicationError(`--pid: process ${pid} may not be looked at by this user, or has ended`, {
          cause,
        });
    }
  }
  return trace;
}

function note({ opened }: Trace, path: string): void {
  // A language's files are open in all programs that may speak it.
  if (!path.startsWith("/") || PASSING.test(path) || path.startsWith("/usr/lib/locale/")) return;
  if (lstatSync(path, { throwIfNoEntry: false })?.isFile()) opened.set(path, path);
}

/** What Python has compiled, by the file that it was made of. */
const compiled = (path: string) =>
  path.replace(/\/__pycache__\/([^/]+?)\.cpython-\d+(?:\.opt-\d)?\.pyc$/, "/$1.py");

/** All that a run has touched, by absolute paths. */
export function touchedBy({ opened, started, looked }: Trace): string[] {
  const all = [...opened].flat().concat([...started], [...looked]);
  return [...new Set(all.filter((path) => path.startsWith("/")).map(compiled))];
}

/** The files of a run that packages may have. @param file what it is called in the evidence */
export function traceNeeds({ opened, started }: Trace, file: string): Need[] {
  const found = { file, confidence: "certain" as const };
  return [
    ...[...started].map((path) => {
      // Elsewhere it is the application's own, whatever its name.
      const usual = /^\/(?:usr\/(?:local\/)?)?(?:s?bin|games)\/[^/]+$/.test(path);
      return usual
        ? programNeed(path, { ...found, how: "started" })
        : { ...found, how: "started", what: path, paths: [path.slice(1)] };
    }),
    ...[...opened].map(([path, asked]) => ({
      ...found,
      how: "opened",
      what: path,
      paths: [compiled(path).slice(1), ...(asked.startsWith("/") && asked !== path ? [asked.slice(1)] : [])],
    })),
  ];
}
