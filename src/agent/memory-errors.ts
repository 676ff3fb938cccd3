/**
 * Errors of the host's memory that ECC found, as Linux counts them since its start (EDAC, /sys/devices/system/edac/mc), and how many came lately. A module that is
 * about to fail tells so by corrected errors, long before one comes that cannot be corrected.
 */
import { readdirSync, readFileSync } from "node:fs";
import { uptime } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type Client, modify } from "../client/client.ts";
import { Host } from "../compute/hosts/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import type { Logger } from "../reconcile/log.ts";

export type MemoryErrors = NonNullable<NonNullable<Host["status"]>["memoryErrors"]>;
export type ModuleErrors = Omit<MemoryErrors["modules"][number], "correctedLastDay">;

const EDAC = "devices/system/edac/mc";
const EVERY_MS = 60_000;
const DAY_MS = 86_400_000;

const read = (path: string): string => {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
};
const names = (path: string, pattern: RegExp): string[] => {
  try {
    return readdirSync(path)
      .filter((name) => pattern.test(name))
      .sort();
  } catch {
    return [];
  }
};
const count = (text: string): number => {
  const value = Number(text);
  return Number.isSafeInteger(value) && value > 0 ? value : 0;
};

/** EDAC tells MiB. */
const sizeOf = (text: string): { sizeBytes?: number } =>
  count(text) > 0 ? { sizeBytes: count(text) * 2 ** 20 } : {};

/** Of each module that EDAC knows, and what it cannot tell the module of ("mc0"); none: the kernel or the memory counts no errors. @param sys where sysfs is mounted */
export function readMemoryErrors(sys = "/sys"): ModuleErrors[] {
  const folder = join(sys, EDAC);
  return names(folder, /^mc\d+$/).flatMap((mc) => {
    const at = (...path: string[]) => read(join(folder, mc, ...path));
    // Newer kernels tell modules (dimm, or rank), older ones rows of chips.
    const modules = names(join(folder, mc), /^(dimm|rank)\d+$/).map((name) => ({
      module: at(name, "dimm_label") || `${mc} ${name}`,
      ...sizeOf(at(name, "size")),
      corrected: count(at(name, "dimm_ce_count")),
      uncorrected: count(at(name, "dimm_ue_count")),
    }));
    const rows = modules.length > 0 ? [] : names(join(folder, mc), /^csrow\d+$/);
    const all = [
      ...modules,
      ...rows.map((name) => ({
        module: `${mc} ${name}`,
        ...sizeOf(at(name, "size_mb")),
        corrected: count(at(name, "ce_count")),
        uncorrected: count(at(name, "ue_count")),
      })),
    ];
    const rest = {
      module: mc,
      corrected: count(at("ce_noinfo_count")),
      uncorrected: count(at("ue_noinfo_count")),
    };
    return rest.corrected + rest.uncorrected > 0 ? [...all, rest] : all;
  });
}

/** How many corrected errors each module had within a day; what was before the first look counts where the host has started within that day. */
export class LastDay {
  readonly #samples = new Map<string, { at: number; corrected: number }[]>();

  /** @param startedAt when the host was started */
  count(module: string, corrected: number, at: number, startedAt: number): number {
    const before = at - startedAt < DAY_MS ? { at: startedAt, corrected: 0 } : { at, corrected };
    const samples = this.#samples.get(module) ?? [before];
    this.#samples.set(module, samples);
    const last = samples.at(-1);
    // Fewer than before: somebody has set it back.
    if (last && corrected < last.corrected) samples.splice(0, samples.length, { at, corrected: 0 });
    else if (last?.corrected !== corrected) samples.push({ at, corrected });
    // The newest of those that are older stands for what was before that day.
    while (samples.length > 1 && (samples[1]?.at ?? at) <= at - DAY_MS) samples.shift();
    return corrected - (samples[0]?.corrected ?? corrected);
  }
}

/** Tells them in the Host's status when they change, until the signal aborts. */
export async function runMemoryErrors(context: {
  client: Client;
  host: string;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  sys?: string;
}): Promise<void> {
  const { client, host, clock, log, signal, sys } = context;
  const lastDay = new LastDay();
  while (!signal.aborted) {
    try {
      await tell(client, host, lastDay, clock, sys);
    } catch (error) {
      if (!signal.aborted) log.warn("memory-errors.failed", { host, error });
    }
    await clock.sleep(EVERY_MS, signal);
  }
}

async function tell(
  client: Client,
  name: string,
  lastDay: LastDay,
  clock: Clock,
  sys?: string,
): Promise<void> {
  const now = clock.now().getTime();
  const startedAt = now - uptime() * 1000;
  const modules = readMemoryErrors(sys).map((each) => ({
    ...each,
    correctedLastDay: lastDay.count(each.module, each.corrected, now, startedAt),
  }));
  await modify(client, Host, { name }, "status", (host) => {
    const { memoryErrors, ...rest } = host.status ?? {};
    if (modules.length === 0 && memoryErrors) return { ...host, status: rest };
    if (modules.length === 0 || isDeepStrictEqual(memoryErrors?.modules, modules)) return undefined;
    return { ...host, status: { ...rest, memoryErrors: { time: clock.now().toISOString(), modules } } };
  });
}
