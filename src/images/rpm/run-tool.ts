/** How dnf, zypper and rpm are run: in English, without a home of this machine's user, and to the end: what they are asked for is known before. */
import { outcomeOf, type RunOptions, run } from "../../system/run.ts";

// Of GNU gettext, LANGUAGE goes before LC_ALL.
const IN_ENGLISH = { LANGUAGE: "", LC_ALL: "C.UTF-8" };
// They would end what they are at first.
const killSignal = "SIGKILL";

/** @param folder what they take for a home. @returns as outcomeOf. @throws CommandError, or the signal's reason */
export const runTool = (
  program: string,
  args: readonly string[],
  { folder, signal, timeoutMs }: { folder: string; signal: AbortSignal | undefined; timeoutMs: number },
) =>
  outcomeOf(program, args, {
    timeoutMs,
    ...(signal ? { signal } : {}),
    env: { ...IN_ENGLISH, HOME: folder, ZYPP_LOGFILE: `${folder}/log` },
    killSignal,
    input: "",
  });

/** What is asked of rpm itself keeps nothing. @returns stdout. @throws CommandError, or the signal's reason */
export const runRpm = (
  args: readonly string[],
  { env = {}, ...options }: Pick<RunOptions, "env" | "signal" | "timeoutMs"> = {},
) => run("rpm", args, { ...options, env: { ...env, ...IN_ENGLISH, HOME: "/nonexistent" }, killSignal });
