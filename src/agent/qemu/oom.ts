/** Whether the kernel has killed a process for want of memory: by its control group, and by the kernel's log, which also says whose memory was short. */
import { closeSync, constants, openSync, readSync } from "node:fs";
import type { ProcessIdentity } from "../../system/process.ts";

const OF_HOST = "the host ran out of memory, and its kernel killed the machine";
const OF_GROUP = "the machine took more memory than it may (its control group), and the kernel killed it";

const OF_EITHER = "the host ran out of memory, or the machine took more than it may: the kernel killed it";

/**
 * @param kills how often that happened in its control group, as far as that tells
 * @returns what is to be said of it; undefined when it was not so
 */
export function killedForMemory(
  { pid, startTime }: ProcessIdentity,
  kills: number | undefined,
  log = readKernelLog,
): string | undefined {
  if (kills === 0) return undefined;
  const began = Number(startTime) * TICK_US;
  const told = log().findLast(
    (line) =>
      line.includes("oom-kill:") &&
      line.includes(`,pid=${pid},`) &&
      // Not of an earlier process that had the id. "6,1234,870002965,-;text": the third is microseconds since the host's start.
      Number(line.split(",", 3)[2]) >= began,
  );
  if (told) return told.includes("constraint=CONSTRAINT_MEMCG") ? OF_GROUP : OF_HOST;
  return kills ? OF_EITHER : undefined;
}

/** Of /proc/PID/stat: USER_HZ is 100 on all that we run on. */
const TICK_US = 10_000;
const LOG = "/dev/kmsg";
const RECORD_BYTES = 8192;

/** The kernel's messages that are still there, oldest first; none where it is not to be read. */
function readKernelLog(): string[] {
  let fd: number | undefined;
  const lines: string[] = [];
  try {
    fd = openSync(LOG, constants.O_RDONLY | constants.O_NONBLOCK);
    const buffer = Buffer.alloc(RECORD_BYTES);
    for (;;) {
      const line = readOne(fd, buffer);
      if (line === undefined) return lines;
      lines.push(line);
    }
  } catch {
    return lines;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** One message a read. @returns undefined after the last */
function readOne(fd: number, buffer: Buffer): string | undefined {
  try {
    return buffer.toString("utf8", 0, readSync(fd, buffer));
  } catch (error) {
    // EPIPE: some were overwritten meanwhile. EAGAIN: there is no more.
    return error instanceof Error && "code" in error && error.code === "EPIPE" ? "" : undefined;
  }
}
