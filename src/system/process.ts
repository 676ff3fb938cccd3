/** Processes that outlive who started them, and how they are known again. */
import { readFileSync } from "node:fs";

/** A process is the same one only while its id *and* its start time are the same. */
export interface ProcessIdentity {
  pid: number;
  /** Field 22 of /proc/PID/stat, clock ticks after boot. */
  startTime: string;
}

/**
 * Undefined when there is no such process, or it is a zombie. One of which threads are left is none yet: they still hold its files, and with them
 * the locks of disks.
 */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid);
  return stat && (stat.state !== "Z" || stat.threads > 1) ? { pid, startTime: stat.startTime } : undefined;
}

/** Of a zombie, too. Undefined when there is no such process. */
export function readStat(
  pid: number,
): { state: string; parent: string; threads: number; startTime: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The program's name, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, parent = "", threads, startTime] = [fields[0], fields[1], Number(fields[17]), fields[19]];
    return state !== undefined && startTime !== undefined ? { state, parent, threads, startTime } : undefined;
  } catch {
    return undefined;
  }
}

export function isSame(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTime === identity.startTime;
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
