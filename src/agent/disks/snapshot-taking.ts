/** Step by step, the taking of a snapshot (layers.ts): of a machine that runs, with or without its memory, and of the disks of one that does not. */
import type { Instance } from "../../compute/kinds.ts";
import type { DiskTask } from "../../compute/snapshots/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { bothOf } from "../both.ts";
import type { Hypervisor, MachineId } from "../hypervisor.ts";
import { idOf } from "../runs/instance-status.ts";
import type { GuestFreeze } from "./guest-freeze.ts";
import type { Absorb } from "./layer-merging.ts";
import { describeMemory, LayersError, type Taken } from "./layer-records.ts";
import type { Layers } from "./layers.ts";
import { NoRoomError } from "./merge-room.ts";
import { isTellable, undecided } from "./task-errors.ts";

/** An agent in the guest has this long to say that it is there. */
const GREET_MS = 300;

const CUT_SHORT =
  "it was cut short: the agent was started anew while it was taken, or its QEMU did not answer; take another one";

interface Context {
  hypervisor: Hypervisor;
  clock: Clock;
}

export class SnapshotTaking {
  readonly #c: Context;
  readonly #freezes: GuestFreeze;

  constructor(context: Context, freezes: GuestFreeze) {
    this.#c = context;
    this.#freezes = freezes;
  }

  /** @param running its machine is there; else the disks are nobody's. @throws what task-errors.ts knows */
  take(layers: Layers, instance: Instance, task: DiskTask, running: boolean): Promise<Taken> {
    if (task.memory) return this.#takeWithMemory(layers, instance, task, running);
    return running ? this.#takeRunning(layers, instance, task) : this.#takeStopped(layers, task);
  }

  async #takeRunning(layers: Layers, instance: Instance, task: DiskTask): Promise<Taken> {
    const { hypervisor } = this.#c;
    const id = idOf(instance);
    const wasBegun = (await layers.standing(task.snapshot)) !== undefined;
    const switches = await layers.begin(task.snapshot);
    const isSwitched = async () => {
      const active = await this.#active(id);
      return switches.some(({ to }) => active.includes(to));
    };
    const takenTime = this.#now();
    // By an attempt that was cut short: whether the guest had frozen its file systems then, nobody knows.
    if (wasBegun && (await isSwitched())) {
      if (task.quiesce) await this.#freezes.thaw(instance, false);
      return layers.finish(task.snapshot, { takenTime, pauseMs: 0, consistent: "Crash" }).catch(undecided);
    }
    const began = performance.now();
    const frozen = task.quiesce === true && (await this.#freezes.freeze(instance));
    let pauseMs: number;
    try {
      pauseMs = await hypervisor.switchLayers(id, switches);
    } catch (error) {
      // One that does not answer may still switch: it is asked again later.
      if (!isTellable(error)) throw error;
      if (!(await isSwitched())) {
        await layers.abandon(task.snapshot);
        throw error;
      }
      pauseMs = performance.now() - began;
    } finally {
      if (task.quiesce) await this.#freezes.thaw(instance, frozen);
    }
    if (frozen) pauseMs = performance.now() - began;
    const facts = {
      takenTime,
      pauseMs: Math.round(pauseMs * 10) / 10,
      consistent: frozen ? "Quiesced" : "Crash",
    } as const;
    return layers.finish(task.snapshot, facts).catch(undecided);
  }

  /** Not done again when it was cut short: the memory would be of another instant than the disks. */
  async #takeWithMemory(
    layers: Layers,
    instance: Instance,
    task: DiskTask,
    running: boolean,
  ): Promise<Taken> {
    const { hypervisor } = this.#c;
    const { snapshot: uid } = task;
    const id = idOf(instance);
    const absorb: Absorb = async (...layers) => running && hypervisor.absorbLayer(id, ...layers);
    // Where there is no room to free it, it is deleted all the same: the next deletion or rollback frees it.
    const remove = () =>
      layers.remove(uid, absorb).catch((error: unknown) => {
        if (!(error instanceof NoRoomError)) throw error;
      });
    const undo = async (switched: boolean) => {
      if (!switched) return layers.abandon(uid);
      await layers.finish(uid, { takenTime: this.#now(), pauseMs: 0, consistent: "Crash" });
      await remove();
    };
    const before = await layers.standing(uid);
    // An agent died after the last step, and before it was told.
    if (before?.state === "taken" && before.taken?.memory) return before.taken;
    if (before && before.state !== "taking") {
      await remove(); // or while it undid what had been cut short
      throw new LayersError(CUT_SHORT);
    }
    const wasBegun = before !== undefined;
    if (running) await hypervisor.abandonMemory(id);
    if (!running) {
      if (wasBegun) await undo(true);
      throw new LayersError("the machine does not run: there is no memory to keep; take it without");
    }
    // Its agent, which somebody is connected to when the memory is kept, answers at once when the guest goes on elsewhere (qemu/guest-agent.ts).
    const [switches] = await bothOf(layers.begin(uid), hypervisor.guestAgent(id, "guest-ping", GREET_MS));
    const isSwitched = async () => {
      const active = await this.#active(id);
      return switches.some(({ to }) => active.includes(to));
    };
    if (wasBegun && (await isSwitched())) {
      await undo(true);
      throw new LayersError(CUT_SHORT);
    }
    const takenTime = this.#now();
    try {
      const how = task.template ? { apart: true } : {};
      const saved = await hypervisor.saveMemory(id, switches, layers.memories.file(uid), how);
      const facts = {
        takenTime,
        pauseMs: Math.round(saved.pauseMs * 10) / 10,
        consistent: "Memory",
        memory: { sizeBytes: saved.sizeBytes, live: saved.live, ...describeMemory(instance) },
      } as const;
      return await layers.finish(uid, facts).catch(undecided);
    } catch (error) {
      if (isTellable(error)) await undo(await isSwitched());
      throw error;
    }
  }

  async #takeStopped(layers: Layers, task: DiskTask): Promise<Taken> {
    await layers.begin(task.snapshot);
    return layers.finish(task.snapshot, { takenTime: this.#now(), pauseMs: 0, consistent: "Stopped" });
  }

  /** Of a machine that is there. What cannot be known is never taken for an answer. */
  #active(id: MachineId): Promise<string[]> {
    return this.#c.hypervisor.activeLayers(id).catch(undecided);
  }

  #now(): string {
    return this.#c.clock.now().toISOString();
  }
}
