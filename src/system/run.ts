/** Runs a program to its end, bounded, without a shell. */
import { type ExecFileException, execFile } from "node:child_process";

/** A program failed. The text tells which and what it said; the whole command line, for operators, is in the cause. */
export class CommandError extends Error {
  /** Whether it is not installed. */
  readonly missing: boolean;
  /** What it said, on both streams; undefined unless it ended by itself. */
  readonly said: string | undefined;

  constructor(
    message: string,
    { cause, missing = false, said }: { cause?: Error; missing?: boolean; said?: string | undefined } = {},
  ) {
    super(message, { cause });
    this.missing = missing;
    this.said = said;
  }
}

export interface RunOptions {
  timeoutMs?: number;
  input?: string;
  cwd?: string;
  env?: Readonly<Record<string, string>>;
  /** Ends it. */
  signal?: AbortSignal;
  /** What ends it, when time is up or by the signal; SIGTERM by default. */
  killSignal?: NodeJS.Signals;
}

/** It has ended when this has. @returns stdout. @throws CommandError, or the signal's reason */
export async function run(
  command: string,
  args: readonly string[],
  { timeoutMs = 15_000, input, cwd, env, signal, killSignal = "SIGTERM" }: RunOptions = {},
): Promise<string> {
  signal?.throwIfAborted();
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        timeout: timeoutMs,
        killSignal,
        maxBuffer: 2 ** 26,
        ...(cwd ? { cwd } : {}),
        ...(env ? { env: { ...process.env, ...env } } : {}),
      },
      (error, stdout, stderr) => {
        signal?.removeEventListener("abort", end);
        if (signal?.aborted) return reject(signal.reason);
        if (!error) return resolve(stdout);
        const missing = error.code === "ENOENT";
        const said = missing ? "is not installed" : stderr.trim() || endOf(error, timeoutMs);
        const cause = new Error([command, ...args].join(" "), { cause: error });
        const all = typeof error.code === "number" ? { said: stdout + stderr } : {};
        reject(new CommandError(`${command}: ${said}`, { cause, missing, ...all }));
      },
    );
    // Not by execFile's own option, which does not wait for its end. What others of its making would still say is not waited for.
    const end = () => {
      child.kill(killSignal);
      child.stdout?.destroy();
      child.stderr?.destroy();
    };
    signal?.addEventListener("abort", end, { once: true });
    child.stdin?.on("error", () => {}); // it ended without reading all: its exit code tells
    if (input !== undefined) child.stdin?.end(input);
  });
}

/** Not its message, which has the whole command line. */
function endOf(error: ExecFileException, timeoutMs: number): string {
  if (error.killed) return `did not end within ${timeoutMs / 1000} s`;
  return error.signal ? `ended by ${error.signal}` : `ended with code ${error.code ?? "unknown"}`;
}

/** For programs of which what they say is read when they fail, too. @returns that, on both streams then, else on stdout. @throws CommandError for one that is missing or was ended, or the signal's reason */
export async function outcomeOf(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<{ said: string; ok: boolean }> {
  try {
    return { said: await run(command, args, options), ok: true };
  } catch (error) {
    if (!(error instanceof CommandError) || error.said === undefined) throw error;
    return { said: error.said, ok: false };
  }
}

/** Whether it ended with code 0. */
export function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  );
}
