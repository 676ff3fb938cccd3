/** QEMU processes: how they are started, and how they are known again. */
import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";

/** A process is the same one only while its id *and* its start time are the same. */
export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/PID/stat, clock ticks after boot. */
  startTime: string;
}

/** Undefined when there is no such process, or it is a zombie. */
export function identify(pid: number): ProcessIdentity | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" || fields[19] === undefined ? undefined : { pid, startTime: fields[19] };
  } catch {
    return undefined;
  }
}

export function isSame(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTime === identity.startTime;
}

/**
 * Finds the QEMU whose command line names this run folder's monitor: for a process that was started by an agent which died before
 * it could write down the process id. The folder holds the machine's id, so no other process has it.
 */
export function findByArgument(argument: string): ProcessIdentity | undefined {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const args = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      if (args[0]?.includes("qemu-system") && args.some((arg) => arg.includes(argument)))
        return identify(Number(name));
    } catch {
      // gone in the meantime
    }
  }
  return undefined;
}

export interface SpawnFiles {
  fifo: string;
  journal: string;
  stderr: string;
}

/**
 * Starts QEMU so that it outlives us: detached, in a session of its own, as an unprivileged user. Its stdin is a FIFO that was opened
 * for reading *and* writing and already holds `qmp_capabilities`: QEMU negotiates by itself and then writes every event to
 * its stdout, a file. So why it ended is on disk even when nobody was there. -daemonize is no choice: it needs what the seccomp
 * sandbox denies.
 */
export function spawnQemu(
  binary: string,
  args: readonly string[],
  files: SpawnFiles,
  user: { uid: number; gid: number },
): ProcessIdentity {
  if (existsSync(files.fifo)) rmSync(files.fifo);
  execFileSync("mkfifo", ["-m", "600", files.fifo]);
  const input = openSync(files.fifo, constants.O_RDWR);
  const journal = openSync(files.journal, "a", 0o600);
  const stderr = openSync(files.stderr, "a", 0o600);
  try {
    writeSync(input, '{"execute":"qmp_capabilities"}\n');
    const root = process.getuid?.() === 0;
    const child = spawn(binary, args, {
      stdio: [input, journal, stderr],
      detached: true,
      cwd: "/",
      env: { PATH: process.env.PATH ?? "/usr/bin", LANG: "C.UTF-8" },
      ...(root ? user : {}),
    });
    child.on("error", () => {}); // pid is undefined then
    child.unref();
    const identity = child.pid === undefined ? undefined : identify(child.pid);
    if (!identity) throw new Error(`${binary} could not be started; is it installed?`);
    return identity;
  } finally {
    closeSync(input);
    closeSync(journal);
    closeSync(stderr);
  }
}

/** Waits until the process is gone. @returns false when it is still there after timeoutMs */
export async function waitForExit(identity: ProcessIdentity, timeoutMs: number): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  let pause = 2;
  while (isSame(identity)) {
    if (performance.now() > deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 2, 50);
  }
  return true;
}

export function sendSignal(identity: ProcessIdentity, signal: NodeJS.Signals): void {
  if (!isSame(identity)) return;
  try {
    process.kill(identity.pid, signal);
  } catch {
    // gone in the meantime
  }
}
