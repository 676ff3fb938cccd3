/**
 * The agent's part of suspending: the guest's memory goes into a file beside its disks, and the run ends. The next run goes on with it, exactly as with the memory of
 * a snapshot (kept-memories.ts, start.ts #goOn), wherever it is.
 *
 *   saved (the guest stands still) ─► layers.json says so ─► process ended ─► Suspended, Released
 *
 * layers.json decides: before it says so, whatever is cut short ends with the guest running on; from then on the guest never runs again in this run, because its
 * disks and that memory are of one instant.
 */
import type { Instance } from "../../compute/kinds.ts";
import type { Suspended } from "../../compute/lifecycle/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { ApiError } from "../../resource/errors.ts";
import { keyOf } from "../../resource/object.ts";
import { describeMemory, type KeptMemory, type SuspendedRun } from "../disks/layer-records.ts";
import type { HostEnvironment } from "../environment.ts";
import type { Hypervisor, MachineState } from "../hypervisor.ts";
import { reasonOf } from "../reasons.ts";
import { type Again, about, conditionOf, type Finish, idOf, type Write } from "./instance-status.ts";

/** One that could not be saved runs on for this long before it is tried again: meanwhile it stood still. */
const RETRY_MS = 60_000;

interface Context {
  host: string;
  hypervisor: Hypervisor;
  environment: HostEnvironment;
  clock: Clock;
  log: Logger;
  events: EventRecorder;
}

export class Suspension {
  readonly #c: Context;
  readonly #write: Write;
  readonly #finish: Finish;
  readonly #failedAt = new Map<string, number>();

  constructor(context: Context, write: Write, finish: Finish) {
    this.#c = context;
    this.#write = write;
    this.#finish = finish;
  }

  forget(instance: Instance): void {
    this.#failedAt.delete(idOf(instance));
  }

  /** Of a machine whose memory was being kept: finishes it, or lets the guest go on. */
  async settle(instance: Instance, machine: MachineState): Promise<Again> {
    const layers = await this.#c.environment.layers(instance);
    const kept = await layers.memories.suspendedRun();
    if (kept?.run === machine.id) return this.#end(instance, machine, kept);
    if (machine.state === "ended")
      return this.#finish(instance, machine.end ?? { reason: "Killed", message: "its process is gone" });
    await this.#c.hypervisor.abandonMemory(machine.id);
    return { requeueAfterMs: 1 };
  }

  /** @returns "not now": it was tried, and runs on */
  async suspend(instance: Instance, machine: MachineState): Promise<Again | "not now"> {
    const { hypervisor, environment, clock, log, events } = this.#c;
    const id = idOf(instance);
    const now = clock.now();
    if (now.getTime() - (this.#failedAt.get(id) ?? Number.NEGATIVE_INFINITY) < RETRY_MS) return "not now";
    try {
      const layers = await environment.layers(instance);
      const { pauseMs, ...saved } = await hypervisor.suspend(id, layers.memories.suspendedFile());
      const memory: KeptMemory = { ...describeMemory(instance), ...saved };
      const kept = { run: id, time: now.toISOString(), saveMs: Math.round(pauseMs), memory };
      await layers.memories.suspended(kept);
      this.#failedAt.delete(id);
      return await this.#end(instance, machine, kept);
    } catch (error) {
      // What has been written down is settled, and what has not is taken back, by the next look.
      if (error instanceof ApiError || (await hypervisor.get(id))?.pausedBy === "suspend") throw error;
      log.warn("suspension", { instance: keyOf(instance), error });
      this.#failedAt.set(id, now.getTime());
      const message = `it could not be suspended and runs on: ${reasonOf(error)}; it is tried again every ${RETRY_MS / 1000} s`;
      const condition = { type: "Suspended", status: "False", reason: "SuspendFailed", message } as const;
      await this.#write(instance, conditionOf(instance, now.toISOString(), condition));
      events.record(about(instance), "Warning", "SuspendFailed", message);
      return "not now";
    }
  }

  async #end(instance: Instance, machine: MachineState, kept: SuspendedRun): Promise<Again> {
    await this.#c.hypervisor.kill(machine.id);
    const { time, saveMs, memory } = kept;
    const { sizeBytes, accelerator, cpuModel = "", guestCpu } = memory;
    const suspended: Suspended = {
      time,
      host: this.#c.host,
      sizeBytes,
      saveMs,
      accelerator,
      cpuModel,
      ...(guestCpu ? { guestCpu } : {}),
    };
    return this.#finish(
      instance,
      { reason: "Suspended", message: "suspended: its memory is kept" },
      { suspended },
    );
  }
}
