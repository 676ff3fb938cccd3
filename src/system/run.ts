/** Runs a program to its end, bounded, without a shell. */
import { type ExecFileException, execFile } from "node:child_process";

/** A program failed. The text tells which and what it said; the whole command line, for operators, is in the cause. */
export class CommandError extends Error {}

/** @returns stdout. @throws CommandError */
export function run(
  command: string,
  args: readonly string[],
  options: {
    timeoutMs?: number;
    input?: string;
    cwd?: string;
    env?: Readonly<Record<string, string>>;
    /** Ends it. */
    signal?: AbortSignal;
  } = {},
): Promise<string> {
  const timeout = options.timeoutMs ?? 15_000;
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        timeout,
        maxBuffer: 2 ** 26,
        ...(options.cwd ? { cwd: options.cwd } : {}),
        ...(options.signal ? { signal: options.signal } : {}),
        ...(options.env ? { env: { ...process.env, ...options.env } } : {}),
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        if (options.signal?.aborted) return reject(options.signal.reason);
        const missing = "code" in error && error.code === "ENOENT";
        const said = missing ? "is not installed" : stderr.trim() || endOf(error, timeout);
        const inside = new Error([command, ...args].join(" "), { cause: error });
        reject(new CommandError(`${command}: ${said}`, { cause: inside }));
      },
    );
    child.stdin?.on("error", () => {}); // it ended without reading all: its exit code tells
    if (options.input !== undefined) child.stdin?.end(options.input);
  });
}

/** Not its message, which has the whole command line. */
function endOf(error: ExecFileException, timeoutMs: number): string {
  if (error.killed) return `did not end within ${timeoutMs / 1000} s`;
  return error.signal ? `ended by ${error.signal}` : `ended with code ${error.code ?? "unknown"}`;
}

/** Whether it ended with code 0. */
export function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  );
}
