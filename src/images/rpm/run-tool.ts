/** How dnf, zypper and rpm are run: in English, without anything of this machine's user, and to the end: what they are asked for is known before. */
import { outcomeOf } from "../../system/run.ts";

/** @param folder what they take for a home. @returns as outcomeOf. @throws CommandError, or the signal's reason */
export const runTool = (
  program: string,
  args: readonly string[],
  { folder, signal, timeoutMs }: { folder: string; signal: AbortSignal | undefined; timeoutMs: number },
) =>
  outcomeOf(program, args, {
    timeoutMs,
    ...(signal ? { signal } : {}),
    env: { LC_ALL: "C.UTF-8", HOME: folder, ZYPP_LOGFILE: `${folder}/log` },
    // They would end what they are at first.
    killSignal: "SIGKILL",
    input: "",
  });
