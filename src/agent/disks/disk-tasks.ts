/**
 * The agent's part of snapshots: does what Instance.spec.diskTask says and tells it in status.diskTask. Whoever set the task holds the claim
 * on the machine's disks (compute/snapshots/kinds.ts), so nobody else changes their layers, and no run of the machine starts. A task goes
 * on beside the machine's other business; killed anywhere, it is done again, and each step finds what was done before.
 */
import { type Client, modify } from "../../client/client.ts";
import { Instance } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { isApiError } from "../../resource/errors.ts";
import { keyOf } from "../../resource/object.ts";
import { CommandError } from "../../system/run.ts";
import { bothOf } from "../both.ts";
import { type HostEnvironment, PrepareError } from "../environment.ts";
import {
  type Hypervisor,
  HypervisorError,
  type MachineId,
  type MachineState,
  NoAnswerError,
} from "../hypervisor.ts";
import { reasonOf } from "../reasons.ts";
import { about, at, idOf } from "../runs/instance-status.ts";
import { describeMemory } from "../runs/suspension.ts";
import { type Facts, LayersError, type Taken } from "./layer-records.ts";
import type { Absorb, Layers } from "./layers.ts";

export type DiskTask = NonNullable<Instance["spec"]["diskTask"]>;
type Result = NonNullable<NonNullable<Instance["status"]>["diskTask"]>;

/** A guest may need this long to write out what it has; after that the snapshot is as after a power cut. */
const FREEZE_MS = 10_000;
const THAW_MS = 10_000;
const GREET_MS = 300;
/** An agent in the guest that does not answer within this is none. */
const ANSWER_MS = 1000;

const CUT_SHORT =
  "it was cut short: the agent was started anew while it was taken, or its QEMU did not answer; take another one";

/** What failed for an unknown reason, or because somebody does not answer, is tried again after this. */
const AGAIN_MS = 1000;

/** For people, of a machine. */
const WORDS: Readonly<Record<DiskTask["action"], string>> = {
  Take: "a snapshot of it",
  Lend: "a template of it",
  Delete: "the deletion of a snapshot of it",
  Rollback: "its rollback",
};

/** It is not known how far it got, or it got too far to be told as failed: it is tried again, and finds that out. */
class UndecidedError extends Error {}

/** What may be told as the end of a task. */
const isTellable = (error: unknown): error is Error =>
  [HypervisorError, LayersError, PrepareError, CommandError].some((kind) => error instanceof kind) &&
  !(error instanceof NoAnswerError);

const undecided = (cause: unknown): never => {
  throw isTellable(cause) ? new UndecidedError(cause.message, { cause }) : cause;
};

interface Context {
  client: Client;
  hypervisor: Hypervisor;
  environment: HostEnvironment;
  clock: Clock;
  log: Logger;
  events: EventRecorder;
}

/** The task that is not done yet. */
export function pendingTask({ spec, status }: Instance): DiskTask | undefined {
  return spec.diskTask && status?.diskTask?.id !== spec.diskTask.id ? spec.diskTask : undefined;
}

export class DiskTasks {
  readonly #c: Context;
  readonly #again: (key: string) => void;
  readonly #underWay = new Set<string>();
  /** What a rollback found when it froze the guest, for the kept snapshot; lost with the agent, which is then told as a crash. */
  readonly #quiesced = new Set<string>();
  /** What was said last of a task that waits. By its instance's key. */
  readonly #waits = new Map<string, { task: string; why: string }>();

  /** `again` is called with an instance's key when a task of it has ended. */
  constructor(context: Context, again: (key: string) => void) {
    this.#c = context;
    this.#again = again;
  }

  /**
   * Begins the instance's task, if there is one. `running`: its machine is there; else the disks are nobody's.
   * @returns whether one is under way
   */
  step(instance: Instance, running: boolean): boolean {
    const key = keyOf(instance);
    if (this.#underWay.has(key)) return true;
    const task = pendingTask(instance);
    if (!task) {
      this.#waits.delete(key);
      return false;
    }
    this.#underWay.add(key);
    void this.#do(instance, task, running)
      .catch(async (error: unknown) => {
        this.#waiting(instance, task, error);
        await this.#c.clock.sleep(AGAIN_MS);
      })
      .finally(() => {
        this.#underWay.delete(key);
        this.#again(key);
      });
    return true;
  }

  /**
   * Before a rollback ends a run: what the guest has in mind is kept, as memory or on its disks. It stands still from then on, and never runs again: it is
   * killed. So memory that is there once its process is gone is of the instant of its disks; whoever lets it run on drops that first (dropKept).
   * @returns false when it cannot be, which is told: the guest runs on. @throws what is to be tried again
   */
  async keepState(
    instance: Instance,
    task: DiskTask,
    { id, state, pausedBy }: MachineState,
  ): Promise<boolean> {
    const { keep, keepMemory, rollback = "" } = task;
    if (!keep) return true;
    if (!keepMemory || !(state === "running" || pausedBy?.startsWith("user"))) {
      if (state === "running" && (await this.#freeze(instance))) this.#quiesced.add(keyOf(instance));
      return true;
    }
    const layers = await this.#c.environment.layers(instance);
    try {
      await this.#c.hypervisor.suspend(id, layers.memories.file(keep), { apart: true });
      return true;
    } catch (error) {
      if (!isTellable(error)) {
        this.#waiting(instance, task, error);
        throw error;
      }
      await layers.undoRevert(rollback, keep);
      const message = `the memory of the state before could not be kept (spec.keepMemory: false goes without): ${error.message}`;
      await this.#fail(instance, task, new HypervisorError(message, { cause: error }));
      return false;
    }
  }

  /** What keepState has kept does not count: the guest is about to run on. No-op when it has not. */
  async dropKept(instance: Instance): Promise<void> {
    const keep = pendingTask(instance)?.keep;
    if (keep) await (await this.#c.environment.layers(instance)).memories.drop(keep);
  }

  /**
   * Before a rollback ends a run: whether it can be made at all is found out while the guest runs on.
   * @returns false when it cannot, which is told then. @throws what is to be tried again
   */
  async prepareRollback(instance: Instance, task: DiskTask): Promise<boolean> {
    try {
      const layers = await this.#c.environment.layers(instance);
      await layers.prepareRevert(task.rollback ?? "", task.snapshot);
      return true;
    } catch (error) {
      if (isTellable(error)) {
        // An agent died between the freeze and the end of the run.
        if (task.keep) await this.#thaw(instance, false);
        await this.#fail(instance, task, error);
        return false;
      }
      this.#waiting(instance, task, error);
      throw error;
    }
  }

  async #do(instance: Instance, task: DiskTask, running: boolean): Promise<void> {
    let result: Omit<Result, "id" | "time">;
    try {
      // An agent before may have switched the disks already.
      const layers = await this.#c.environment.layers(instance).catch(undecided);
      const { taken, message } = await this.#carryOut(layers, instance, task, running);
      const lent = task.template || task.action === "Lend";
      if (lent) await layers.lend(task.snapshot);
      result = {
        phase: "Done",
        ...(taken ? { taken } : {}),
        ...(lent ? { lent } : {}),
        ...(message ? { message } : {}),
        ...(await layers.tree().catch(undecided)),
      };
    } catch (error) {
      if (isApiError(error)) throw error; // again later
      const machine = running ? await this.#c.hypervisor.get(idOf(instance)) : undefined;
      // It ended under our hands: the disks are whole, and are worked on as those of a stopped one.
      if (running && (!machine || machine.state === "ended")) return;
      // Whatever went wrong, maybe with an agent before: it does not stay frozen.
      if (running && task.quiesce) await this.#thaw(instance, false);
      if (!isTellable(error)) throw error; // again later
      await this.#fail(instance, task, error);
      return;
    }
    await this.#report(instance, { ...result, id: task.id, time: this.#now() }, task);
  }

  async #fail(instance: Instance, task: DiskTask, error: Error): Promise<void> {
    this.#c.log.warn("disks.task", { instance: keyOf(instance), task: task.id, error });
    const result = { phase: "Failed", message: error.message, id: task.id, time: this.#now() } as const;
    await this.#report(instance, result, task);
  }

  /** Once for each reason. */
  #waiting(instance: Instance, { id, action }: DiskTask, error: unknown): void {
    this.#c.log.warn("disks.task", { instance: keyOf(instance), task: id, error });
    const why = isApiError(error) ? undefined : reasonOf(error, UndecidedError);
    const said = this.#waits.get(keyOf(instance));
    if (why === undefined || (said?.task === id && said.why === why)) return;
    this.#waits.set(keyOf(instance), { task: id, why });
    const message = `${WORDS[action]} waits, and is tried again: ${why}`;
    this.#c.events.record(about(instance), "Warning", "DisksWait", message);
  }

  async #carryOut(
    layers: Layers,
    instance: Instance,
    task: DiskTask,
    running: boolean,
  ): Promise<Pick<Result, "taken" | "message">> {
    const { hypervisor } = this.#c;
    const id = idOf(instance);
    if (running) await layers.settle(await this.#active(id), task.snapshot);
    else await layers.settle();
    const absorb = async (into: string, from: string) => running && hypervisor.absorbLayer(id, into, from);
    switch (task.action) {
      case "Take":
        if (task.memory) return { taken: await this.#takeWithMemory(layers, instance, task, running) };
        return {
          taken: await (running ? this.#take(layers, instance, task) : this.#takeStopped(layers, task)),
        };
      case "Lend":
        return {}; // done to all that are to be lent, above
      case "Delete":
        await layers.remove(task.snapshot, absorb);
        return {};
      case "Rollback": {
        const taken = await this.#revert(layers, instance, task);
        const message = await this.#free(layers, absorb);
        this.#quiesced.delete(keyOf(instance));
        return { ...(taken ? { taken } : {}), ...(message ? { message } : {}) };
      }
    }
  }

  /** Of a machine that is there. What cannot be known is never taken for an answer. */
  #active(id: MachineId): Promise<string[]> {
    return this.#c.hypervisor.activeLayers(id).catch(undecided);
  }

  async #revert(layers: Layers, instance: Instance, task: DiskTask): Promise<Taken | undefined> {
    const { rollback = "", snapshot, keep, memory } = task;
    const now = { takenTime: this.#now(), pauseMs: 0 };
    const sizeBytes = keep && (await layers.memories.bytes(keep));
    const facts: Facts = sizeBytes
      ? { ...now, consistent: "Memory", memory: { sizeBytes, live: false, ...describeMemory(instance) } }
      : {
          ...now,
          consistent: this.#quiesced.has(keyOf(instance)) ? "Quiesced" : consistencyOf(instance),
        };
    try {
      return await layers.revert(rollback, snapshot, keep, facts, memory);
    } catch (error) {
      if (isTellable(error) && !(await layers.undoRevert(rollback, keep))) return undecided(error);
      throw error;
    }
  }

  /** After a rollback, which is done whatever comes of this. @returns why not all could be freed, for users */
  async #free(layers: Layers, absorb: Absorb): Promise<string | undefined> {
    try {
      await layers.collect(absorb);
      return undefined;
    } catch (error) {
      if (!isTellable(error)) throw error;
      this.#c.log.warn("disks.free", { error });
      return `not all that nothing needs any more could be freed: ${error.message}; the next rollback or deletion of a snapshot tries again`;
    }
  }

  async #take(layers: Layers, instance: Instance, task: DiskTask): Promise<Taken> {
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
      if (task.quiesce) await this.#thaw(instance, false);
      return layers.finish(task.snapshot, { takenTime, pauseMs: 0, consistent: "Crash" }).catch(undecided);
    }
    const began = performance.now();
    const frozen = task.quiesce === true && (await this.#freeze(instance));
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
      if (task.quiesce) await this.#thaw(instance, frozen);
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
    const absorb = async (into: string, from: string) => running && hypervisor.absorbLayer(id, into, from);
    const undo = async (switched: boolean) => {
      if (!switched) return layers.abandon(uid);
      await layers.finish(uid, { takenTime: this.#now(), pauseMs: 0, consistent: "Crash" });
      await layers.remove(uid, absorb);
    };
    const before = await layers.standing(uid);
    // An agent died after the last step, and before it was told.
    if (before?.state === "taken" && before.taken?.memory) return before.taken;
    if (before && before.state !== "taking") {
      await layers.remove(uid, absorb); // or while it undid what had been cut short
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

  /** @returns whether the guest has frozen its file systems */
  async #freeze(instance: Instance): Promise<boolean> {
    const { hypervisor } = this.#c;
    const id = idOf(instance);
    if ((await hypervisor.guestAgent(id, "guest-ping", ANSWER_MS)) === undefined) return false;
    const count = await hypervisor.guestAgent(id, "guest-fsfreeze-freeze", FREEZE_MS);
    return typeof count === "number" && count > 0;
  }

  /** Also when no answer to the freeze came: it may have been done. */
  async #thaw(instance: Instance, frozen: boolean): Promise<void> {
    const { hypervisor, log } = this.#c;
    const id = idOf(instance);
    for (let i = 0; i < 3; i++) {
      if (!frozen && (await hypervisor.guestAgent(id, "guest-ping", ANSWER_MS)) === undefined) return;
      if ((await hypervisor.guestAgent(id, "guest-fsfreeze-thaw", THAW_MS)) !== undefined) return;
      if (!frozen) return; // it refuses the command, and has refused the freeze
    }
    log.warn("disks.thaw", {
      instance: keyOf(instance),
      reason: "the guest agent does not confirm the thaw",
    });
  }

  async #report(instance: Instance, diskTask: Result, { action }: DiskTask): Promise<void> {
    this.#waits.delete(keyOf(instance));
    await modify(this.#c.client, Instance, at(instance), "status", (current) => {
      if (current.metadata.uid !== instance.metadata.uid || current.spec.diskTask?.id !== diskTask.id)
        return undefined;
      const { suspended, ...status } = current.status ?? {};
      // The disks have gone back: what was kept by suspending is of another state.
      const kept = suspended && !(action === "Rollback" && diskTask.phase === "Done") ? { suspended } : {};
      return { ...current, status: { ...status, ...kept, diskTask } };
    });
  }

  #now(): string {
    return this.#c.clock.now().toISOString();
  }
}

/** Of the state that a run which has ended left behind. */
function consistencyOf({ status }: Instance): Taken["consistent"] {
  return status?.phase === "Stopped" && status.end?.message !== ROLLED_BACK ? "Stopped" : "Crash";
}

/** How a run ends whose disks are taken back. */
export const ROLLED_BACK = "ended to go back to a snapshot";
