/** Runs a program to its end, bounded, without a shell. */
import { execFile } from "node:child_process";

/** @returns stdout. @throws Error with the command and what it said */
export function run(
  command: string,
  args: readonly string[],
  options: { timeoutMs?: number; input?: string; cwd?: string } = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        timeout: options.timeoutMs ?? 15_000,
        maxBuffer: 2 ** 26,
        ...(options.cwd ? { cwd: options.cwd } : {}),
      },
      (error, stdout, stderr) => {
        if (!error) return resolve(stdout);
        const missing = "code" in error && error.code === "ENOENT";
        const said = missing ? "is not installed" : stderr.trim() || error.message;
        reject(new Error(`${command} ${args.join(" ")}: ${said}`, { cause: error }));
      },
    );
    child.stdin?.on("error", () => {}); // it ended without reading all: its exit code tells
    if (options.input !== undefined) child.stdin?.end(options.input);
  });
}

/** Whether it ended with code 0. */
export function succeeds(command: string, args: readonly string[]): Promise<boolean> {
  return run(command, args).then(
    () => true,
    () => false,
  );
}
