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

/** What one write may have to be sent anew of a disk that is mirrored: QEMU's own granularity. */
const CHUNK = 64 * 2 ** 10;

/**
 * As these, and no more than so many bytes a second are written, nor made to be sent anew by small writes. QEMU takes no limit of all together with one of
 * writes: where there is one of all, it is one of reads and one of writes for as long.
 */
export function slowedLimits(limits: Limits = {}, writeBytes: number): Record<string, number> {
  const { iops = 0, readIops = 0, writeIops = 0, bytes = 0 } = limits;
  const least = (limit: number, other: number) => (limit > 0 ? Math.min(limit, other) : other);
  return {
    ...throttleLimits(),
    "iops-read": readIops || iops,
    "iops-write": least(writeIops || iops, Math.max(1, Math.floor(writeBytes / CHUNK))),
    "bps-read": bytes,
    "bps-write": least(bytes, writeBytes),
  };
}

/** Of one disk, from now on. @throws QmpError */
export const setLimits = (qmp: Qmp, key: string, limits: Limits | undefined): Promise<void> =>
  setThrottle(qmp, key, throttleLimits(limits));

/** As setLimits, with less to be written; until the next setLimits. @throws QmpError */
export const limitWrites = (
  qmp: Qmp,
  key: string,
  limits: Limits | undefined,
  writeBytes: number,
): Promise<void> => setThrottle(qmp, key, slowedLimits(limits, writeBytes));

async function setThrottle(qmp: Qmp, key: string, wanted: Record<string, number>): Promise<void> {
  const path = `/objects/throttle${key}`;
  const now = await qmp.execute("qom-get", { path, property: "limits" });
  if (isFields(now) && Object.entries(wanted).every(([name, value]) => now[name] === value)) return;
  await qmp.execute("qom-set", { path, property: "limits", value: wanted });
}
