/**
 * When it is measured how fast machines write to their memory: seldom, since it is there for the cost of a move, and each look has the host allocate some pages that the guest may never have touched
 * (qemu/dirty-rate.ts). The first time a minute after a machine is first seen; then once an hour, and from five minutes after on when it has come to use more or less of the
 * processors. Not of machines that give memory back: it would be taken again for that.
 *
 *   seen ─(1 min)─► measuring ─(3 s)─► told ─(1 h, or 5 min and other use)─► measuring …
 */
import type { Instance } from "../../compute/kinds.ts";
import { MEASURED_AFTER_MS } from "../../qemu/dirty-rate.ts";
import type { Hypervisor, MachineId } from "../hypervisor.ts";

const FIRST_MS = 60_000;
const LOOK_MS = 5 * 60_000;
const MOST_MS = 60 * 60_000;
/** Of the newest in the mean: two seconds are a glimpse. */
const NEWEST = 0.5;
/** Of a fifth, and more than what is noise. */
const CHANGED = { share: 0.2, processors: 0.05 };

interface Known {
  /** When its use of processors was last looked at, ms since the epoch, and what it was in seconds since its start. */
  at: number;
  cpuSeconds: number;
  /** Processors when it was last measured. */
  cpus?: number;
  startedAt?: number;
  measuring: boolean;
  bytesPerSecond?: number;
}

export class DirtyRates {
  readonly #hypervisor: Pick<Hypervisor, "startDirtyRate" | "dirtyRate">;
  readonly #known = new Map<MachineId, Known>();

  constructor(hypervisor: Pick<Hypervisor, "startDirtyRate" | "dirtyRate">) {
    this.#hypervisor = hypervisor;
  }

  /** All others are forgotten. */
  keep(ids: ReadonlySet<MachineId>): void {
    for (const id of this.#known.keys()) if (!ids.has(id)) this.#known.delete(id);
  }

  /** Asked at each sample of a machine that runs; never rejects. @param at ms since the epoch @returns bytes per second; undefined: it is not known */
  async look(
    { spec }: Pick<Instance, "spec">,
    id: MachineId,
    at: number,
    cpuSeconds: number,
  ): Promise<number | undefined> {
    const known = this.#known.get(id);
    if (spec.memoryTarget || !known || cpuSeconds < known.cpuSeconds) {
      this.#known.set(id, { at, cpuSeconds, measuring: false });
      return undefined;
    }
    if (known.measuring) await this.#read(known, id, at);
    else if (isDue(known, at, cpuSeconds)) {
      known.startedAt = at;
      known.measuring = await this.#hypervisor.startDirtyRate(id).catch(() => false);
    }
    return known.bytesPerSecond;
  }

  async #read(known: Known, id: MachineId, at: number): Promise<void> {
    if (at - (known.startedAt ?? 0) < MEASURED_AFTER_MS) return;
    known.measuring = false;
    // One that has not ended is lost: it will be measured again.
    const now = await this.#hypervisor.dirtyRate(id).catch(() => undefined);
    if (now === undefined) return;
    const before = known.bytesPerSecond ?? now;
    known.bytesPerSecond = Math.round(before + NEWEST * (now - before));
  }
}

/** Notes what it uses when that is looked at. */
function isDue(known: Known, at: number, cpuSeconds: number): boolean {
  const ms = at - known.at;
  if (ms < (known.startedAt === undefined ? FIRST_MS : LOOK_MS)) return false;
  const cpus = ((cpuSeconds - known.cpuSeconds) * 1000) / ms;
  known.at = at;
  known.cpuSeconds = cpuSeconds;
  const { startedAt, cpus: before = 0 } = known;
  const other =
    Math.abs(cpus - before) > Math.max(CHANGED.processors, CHANGED.share * Math.max(cpus, before));
  if (startedAt !== undefined && !other && at - startedAt < MOST_MS) return false;
  known.cpus = cpus;
  return true;
}
