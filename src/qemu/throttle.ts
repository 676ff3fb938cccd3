/** Limits of a disk, as QEMU's throttle groups take them. */
import { isFields, type Qmp } from "./qmp.ts";

/** Each a second. */
export interface Limits {
  iops?: number;
  readIops?: number;
  writeIops?: number;
  bytes?: number;
  /** As much as this for `seconds` at a time. */
  burst?: { iops?: number; bytes?: number; seconds: number };
}

/** All that there are: what is left out of a change keeps its old value. 0 is none; a length has to be 1 without a burst. */
export function throttleLimits(limits: Limits = {}): Record<string, number> {
  const { iops = 0, readIops = 0, writeIops = 0, bytes = 0, burst } = limits;
  const length = (max: number | undefined) => (max ? (burst?.seconds ?? 1) : 1);
  return {
    "iops-total": iops,
    "iops-total-max": burst?.iops ?? 0,
    "iops-total-max-length": length(burst?.iops),
    "iops-read": readIops,
    "iops-read-max": 0,
    "iops-read-max-length": 1,
    "iops-write": writeIops,
    "iops-write-max": 0,
    "iops-write-max-length": 1,
    "bps-total": bytes,
    "bps-total-max": burst?.bytes ?? 0,
    "bps-total-max-length": length(burst?.bytes),
    "bps-read": 0,
    "bps-read-max": 0,
    "bps-read-max-length": 1,
    "bps-write": 0,
    "bps-write-max": 0,
    "bps-write-max-length": 1,
    "iops-size": 0,
  };
}

/** Of one disk, from now on. @throws QmpError */
export async function setLimits(qmp: Qmp, key: string, limits: Limits | undefined): Promise<void> {
  const path = `/objects/throttle${key}`;
  const wanted = throttleLimits(limits);
  const now = await qmp.execute("qom-get", { path, property: "limits" });
  if (isFields(now) && Object.entries(wanted).every(([name, value]) => now[name] === value)) return;
  await qmp.execute("qom-set", { path, property: "limits", value: wanted });
}
