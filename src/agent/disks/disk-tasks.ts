/**
 * The agent's part of snapshots: does what Instance.spec.diskTask says and tells it in status.diskTask. Whoever set the task holds the claim
 * on the machine's disks (compute/snapshots/kinds.ts), so nobody else changes their layers, and no run of the machine starts. A task goes
 * on beside the machine's other business; killed anywhere, it is done again, and each step finds what was done before.
 */
import { type Client, modify } from "../../client/client.ts";
import { Instance } from "../../compute/kinds.ts";
import type { DiskTask } from "../../compute/snapshots/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { isApiError } from "../../resource/errors.ts";
import { keyOf } from "../../resource/object.ts";
import type { HostEnvironment } from "../environment.ts";
import { type Hypervisor, HypervisorError, type MachineState } from "../hypervisor.ts";
import { reasonOf } from "../reasons.ts";
import { about, at, idOf } from "../runs/instance-status.ts";
import { SendRate, secondsLeft } from "../runs/send-rate.ts";
import { FOREIGN_DISK, ForeignDiskError } from "./bases.ts";
import { GuestFreeze } from "./guest-freeze.ts";
import type { Absorb } from "./layer-merging.ts";
import { describeMemory, type Facts, type Taken } from "./layer-records.ts";
import type { Layers } from "./layers.ts";
import { SnapshotTaking } from "./snapshot-taking.ts";
import { isTellable, UndecidedError, undecided } from "./task-errors.ts";

type Result = NonNullable<NonNullable<Instance["status"]>["diskTask"]>;

/** What failed for an unknown reason, or because somebody does not answer, is tried again after this. */
const AGAIN_MS = 1000;

/** Between two looks at how far a task is; what is over before is not told of. */
const PROGRESS_MS = 2000;

/** For people, of a machine. */
const WORDS: Readonly<Record<DiskTask["action"], string>> = {
  Take: "a snapshot of it",
  Lend: "a template of it",
  Delete: "the deletion of a snapshot of it",
  Rollback: "its rollback",
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
  readonly freezes: GuestFreeze;
  readonly #taking: SnapshotTaking;
  readonly #again: (key: string) => void;
  readonly #underWay = new Set<string>();
  /** What a rollback found when it froze the guest, for the kept snapshot; lost with the agent, which is then told as a crash. */
  readonly #quiesced = new Set<string>();
  /** What was said last of a task that waits. By its instance's key. */
  readonly #waits = new Map<string, { task: string; why: string }>();

  /** `again` is called with an instance's key when a task of it has ended. */
  constructor(context: Context, again: (key: string) => void) {
    this.#c = context;
    this.freezes = new GuestFreeze(context);
    this.#taking = new SnapshotTaking(context, this.freezes);
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
    const over = new AbortController();
    if (running) void this.#tellHowFar(instance, task, over.signal);
    void this.#do(instance, task, running)
      .catch(async (error: unknown) => {
        this.#waiting(instance, task, error);
        await this.#c.clock.sleep(AGAIN_MS);
      })
      .finally(() => {
        over.abort();
        this.#underWay.delete(key);
        this.#again(key);
      });
    return true;
  }

  /** In status.diskProgress, for as long as the task goes on. */
  async #tellHowFar(instance: Instance, { id }: DiskTask, over: AbortSignal): Promise<void> {
    const { client, clock, hypervisor, log } = this.#c;
    const rate = new SendRate();
    while (!over.aborted) {
      await clock.sleep(PROGRESS_MS, over);
      try {
        const copied = over.aborted ? undefined : await hypervisor.copying(idOf(instance));
        if (!copied) continue;
        const bytesPerSecond = rate.look(copied.transferredBytes, clock.elapsed());
        const left = secondsLeft(copied.remainingBytes, bytesPerSecond ?? 0);
        const diskProgress = { id, ...copied, ...(left === undefined ? {} : { secondsLeft: left }) };
        await modify(client, Instance, at(instance), "status", (current) =>
          current.metadata.uid === instance.metadata.uid && pendingTask(current)?.id === id
            ? { ...current, status: { ...current.status, diskProgress } }
            : undefined,
        );
      } catch (error) {
        // It may have ended meanwhile; and nothing depends on it.
        log.warn("disks.progress", { instance: keyOf(instance), task: id, error });
      }
    }
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
      if (state === "running" && (await this.freezes.freeze(instance))) this.#quiesced.add(keyOf(instance));
      return true;
    }
    const layers = await this.#c.environment.layers(instance);
    const over = new AbortController();
    void this.#tellHowFar(instance, task, over.signal);
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
    } finally {
      over.abort();
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
        if (task.keep) await this.freezes.thaw(instance, false);
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
      if (running && task.quiesce) await this.freezes.thaw(instance, false);
      if (!isTellable(error)) throw error; // again later
      await this.#fail(instance, task, error);
      return;
    }
    await this.#report(instance, { ...result, id: task.id, time: this.#now() }, task);
  }

  async #fail(instance: Instance, task: DiskTask, error: Error): Promise<void> {
    this.#c.log.warn("disks.task", { instance: keyOf(instance), task: task.id, error });
    if (error instanceof ForeignDiskError)
      this.#c.events.record(about(instance), "Warning", FOREIGN_DISK, error.message);
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
    // While a disk that is not as Vireo made it can be told as what the task fails of: once the disks are switched, it could not.
    await layers.tree();
    const absorb: Absorb = async (...layers) => running && hypervisor.absorbLayer(id, ...layers);
    if (running) {
      const written = await hypervisor.activeLayers(id).catch(undecided);
      await layers.settle({ written, absorb }, task.snapshot);
    } else await layers.settle();
    switch (task.action) {
      case "Take":
        return { taken: await this.#taking.take(layers, instance, task, running) };
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

  async #report(instance: Instance, diskTask: Result, { action }: DiskTask): Promise<void> {
    this.#waits.delete(keyOf(instance));
    await modify(this.#c.client, Instance, at(instance), "status", (current) => {
      if (current.metadata.uid !== instance.metadata.uid || current.spec.diskTask?.id !== diskTask.id)
        return undefined;
      const { suspended, diskProgress: _, ...status } = current.status ?? {};
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
