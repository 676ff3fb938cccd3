/** Where a build works: its folder, its log, and how it runs programs. */
import { join } from "node:path";
import { run } from "../../system/run.ts";

export interface Workshop {
  /** Of this build alone; goes with it. */
  folder: string;
  /** Outlives builds: kernels, loaders, layers. */
  cache: string;
  /** A line for the build's log. */
  log: (line: string) => void;
  /** Ends programs that run, and the build. */
  signal?: AbortSignal | undefined;
  /** Programs of packages run as they are: what requirePackaged() has said of the build. */
  unsealed?: boolean;
}

/** Ends only what hangs: a machine under load installs and packs whole desktops. */
export const STEP_MS = 3600_000;

/** Runs a program of the build and logs it. @returns its stdout. @throws CommandError, or the signal's reason */
export async function step(
  { log, signal }: Workshop,
  command: string,
  args: readonly string[],
  options: { env?: Readonly<Record<string, string>>; cwd?: string; input?: string } = {},
): Promise<string> {
  const begin = performance.now();
  const shown = [command, ...args].map((part) => (part.length > 200 ? `${part.slice(0, 200)}…` : part));
  try {
    const said = await run(command, args, { timeoutMs: STEP_MS, ...options, ...(signal ? { signal } : {}) });
    log(`+ ${shown.join(" ")} (${((performance.now() - begin) / 1000).toFixed(2)} s)`);
    return said;
  } catch (error) {
    log(`+ ${shown.join(" ")} failed: ${error instanceof Error ? error.message : String(error)}`);
    throw error;
  }
}

export const inWorkshop = ({ folder }: Workshop, name: string) => join(folder, name);
