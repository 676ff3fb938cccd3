/** Runs programs of which all that they say is read, whether they succeed or not: what dnf, zypper and rpm have to say stands now here, now there. */
import { spawn } from "node:child_process";
import { CommandError } from "../../system/run.ts";

/** @returns what it said, on both streams as it came, and whether it ended with 0. @throws CommandError for one that is missing or did not end in time, or the signal's reason */
export async function saidBy(
  command: readonly string[],
  { folder, signal, timeoutMs }: { folder: string; signal: AbortSignal | undefined; timeoutMs: number },
): Promise<{ said: string; ok: boolean }> {
  signal?.throwIfAborted();
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, LC_ALL: "C.UTF-8", HOME: folder, ZYPP_LOGFILE: `${folder}/log` },
    timeout: timeoutMs,
    killSignal: "SIGKILL",
    ...(signal ? { signal } : {}),
  });
  const parts: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (part: Buffer) => void parts.push(part));
  const how = await new Promise<{ code: number | null; error?: Error }>((resolve) => {
    child.on("error", (error) => {
      if (child.pid === undefined) resolve({ code: null, error });
    });
    child.on("close", (code) => resolve({ code }));
  });
  signal?.throwIfAborted();
  if (how.error) throw new CommandError(`${program}: is not installed`, { cause: how.error });
  if (how.code === null) throw new CommandError(`${program}: did not end within ${timeoutMs / 1000} s`);
  return { said: Buffer.concat(parts).toString(), ok: how.code === 0 };
}
