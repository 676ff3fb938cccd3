/** Which processes the kernel ends first when the host has no memory left. */
import { writeFileSync } from "node:fs";

/** Below that of every machine, above that of what the kernel never ends. */
const PROTECTED = -900;

/** What has to go on, or nobody looks after the machines any more: the agent, the control plane. No-op without root. */
export const protectFromOom = (): boolean => setOomScore("self", PROTECTED);

/** @param score -1000 (never) to 1000 (first) @returns false when we may not, or the process is gone */
export function setOomScore(pid: number | "self", score: number): boolean {
  try {
    writeFileSync(`/proc/${pid}/oom_score_adj`, `${score}`);
    return true;
  } catch {
    return false;
  }
}
