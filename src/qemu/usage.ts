/** What a QEMU process has used since it began: from /proc, of its monitor, and of the guest's balloon driver. Cheap: three small questions. */
import { readdirSync, readFileSync } from "node:fs";
import { type Fields, isFields, type Qmp, QmpError } from "./qmp.ts";

export interface DiskUsage {
  disk: string;
  readBytes: number;
  writtenBytes: number;
  reads: number;
  writes: number;
  /** From the guest's request to its end, of all together. */
  readSeconds: number;
  writeSeconds: number;
}

/** All but memory count up from the start of the process. */
export interface ProcessUsage {
  cpuSeconds: number;
  /** For how long virtual CPUs wanted to run and the host ran something else. */
  stealSeconds: number;
  /** Of the host's memory. */
  residentBytes: number;
  /** What the guest itself uses, without what it could give back at once; absent without a balloon driver in it. */
  guestUsedBytes?: number;
  disks: DiskUsage[];
}

/** Linux has counted clock ticks in hundredths of a second on all of its architectures that matter here (USER_HZ). */
const TICKS = 100;
const PAGE = 4096;
const QMP_MS = 2000;
/** How often QEMU asks the guest, s. */
const POLL_SECONDS = 5;
const BALLOON = "/machine/peripheral/balloon";

/** @throws when the process is gone; QmpError when it does not answer */
export async function readUsage(pid: number, qmp: Qmp): Promise<ProcessUsage> {
  // Of the kernel's memory: quicker than to have another thread read them.
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The program's name, in parentheses, may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const guestUsedBytes = await guestMemory(qmp);
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS,
    stealSeconds: stealSeconds(pid, qmp),
    residentBytes: Number(fields[21]) * PAGE,
    ...(guestUsedBytes === undefined ? {} : { guestUsedBytes }),
    disks: parseBlockStats(await qmp.execute("query-blockstats", undefined, QMP_MS)),
  };
}

/** Of each connection: which threads run the guest's CPUs, and whether its QEMU asks the guest's balloon driver. These do not change. */
const known = new WeakMap<Qmp, { isVcpu: Map<string, boolean>; asks: boolean }>();

function knownOf(qmp: Qmp) {
  const kept = known.get(qmp) ?? { isVcpu: new Map<string, boolean>(), asks: false };
  known.set(qmp, kept);
  return kept;
}

/** QEMU names its threads: "CPU 0/KVM". schedstat: ns run, ns waited to run, times. */
function stealSeconds(pid: number, qmp: Qmp): number {
  const { isVcpu } = knownOf(qmp);
  const threads = readdirSync(`/proc/${pid}/task`);
  for (const thread of isVcpu.keys()) if (!threads.includes(thread)) isVcpu.delete(thread);
  return threads.reduce((sum, thread) => {
    try {
      const at = (file: string) => readFileSync(`/proc/${pid}/task/${thread}/${file}`, "utf8");
      // A new thread may not have its name yet: only what has one is known.
      if (!isVcpu.has(thread)) {
        const name = at("comm");
        if (!name.startsWith("qemu-system")) isVcpu.set(thread, name.startsWith("CPU "));
      }
      return isVcpu.get(thread) ? sum + Number(at("schedstat").split(" ")[1] ?? 0) / 1e9 : sum;
    } catch {
      return sum; // it ended meanwhile
    }
  }, 0);
}

/** Of the disks that the guest has; by the id of the device. */
export function parseBlockStats(answer: unknown): DiskUsage[] {
  return (Array.isArray(answer) ? answer : []).filter(isFields).flatMap(({ qdev, stats }) => {
    const disk = /(?:^|\/)(disk(?:\d+|-[a-z0-9-]+))/.exec(String(qdev))?.[1];
    if (!disk || !isFields(stats)) return [];
    const n = (name: string) => Number(stats[name] ?? 0);
    return [
      {
        disk,
        readBytes: n("rd_bytes"),
        writtenBytes: n("wr_bytes"),
        reads: n("rd_operations"),
        writes: n("wr_operations"),
        readSeconds: n("rd_total_time_ns") / 1e9,
        writeSeconds: n("wr_total_time_ns") / 1e9,
      },
    ];
  });
}

/** Undefined without a balloon, or a driver of it in the guest that tells. */
async function guestMemory(qmp: Qmp): Promise<number | undefined> {
  const get = (property: string) => qmp.execute("qom-get", { path: BALLOON, property }, QMP_MS);
  try {
    const kept = knownOf(qmp);
    if (!kept.asks && (await get("guest-stats-polling-interval")) === 0)
      await qmp.execute("qom-set", {
        path: BALLOON,
        property: "guest-stats-polling-interval",
        value: POLL_SECONDS,
      });
    kept.asks = true;
    return usedOf(await get("guest-stats"));
  } catch (error) {
    // One without PCI has none.
    if (error instanceof QmpError && !["Timeout", "Disconnected"].includes(error.errorClass))
      return undefined;
    throw error;
  }
}

/** A guest that tells nothing has 2^64-1 everywhere. What it says is not to be trusted: it is bounded by what it has. */
export function usedOf(answer: unknown): number | undefined {
  const stats: Fields = isFields(answer) && isFields(answer.stats) ? answer.stats : {};
  const [total, available, free] = ["stat-total-memory", "stat-available-memory", "stat-free-memory"].map(
    (name) => Number(stats[name] ?? Number.NaN),
  );
  const told = (bytes: number | undefined) =>
    Number.isSafeInteger(bytes) && (bytes ?? -1) >= 0 ? bytes : undefined;
  const [has, left] = [told(total), told(available) ?? told(free)];
  return has === undefined || left === undefined ? undefined : Math.max(0, has - left);
}
