/** How far QEMU is with what it copies beside the guest: its memory to a file (memory.ts), or one layer into another (layer-merge.ts). */
import { mergeJob } from "./layer-merge.ts";
import { isFields, type Qmp } from "./qmp.ts";

export interface Copying {
  transferredBytes: number;
  remainingBytes: number;
}

/** @returns undefined when nothing is copied, or QEMU does not say how much */
export async function copying(qmp: Qmp): Promise<Copying | undefined> {
  const job = await mergeJob(qmp);
  if (typeof job?.len === "number" && typeof job.offset === "number" && job.len > 0)
    return { transferredBytes: job.offset, remainingBytes: Math.max(0, job.len - job.offset) };
  const migration = await qmp.execute("query-migrate");
  if (!isFields(migration) || migration.status !== "active" || !isFields(migration.ram)) return undefined;
  const { transferred, remaining } = migration.ram;
  return typeof transferred === "number" && typeof remaining === "number"
    ? { transferredBytes: transferred, remainingBytes: remaining }
    : undefined;
}
