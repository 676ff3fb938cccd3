/**
 * The agent's part of snapshots: does what Instance.spec.diskTask says and tells it in status.diskTask. Whoever set the task holds the claim
 * on the machine's disks (compute/snapshots/kinds.ts), so nobody else changes their layers, and no run of the machine starts. A task goes
 * on beside the machine's other business; killed anywhere, it is done again, and each step finds what was done before.
 */
import { type Client, modify } from "../client/client.ts";
import { Instance } from "../compute/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import type { Logger } from "../reconcile/log.ts";
import { isApiError } from "../resource/errors.ts";
import { keyOf } from "../resource/object.ts";
import { CommandError } from "../system/run.ts";
import { bothOf } from "./both.ts";
import { type HostEnvironment, PrepareError } from "./environment.ts";
import { type Hypervisor, HypervisorError } from "./hypervisor.ts";
import { type Layers, LayersError, type Taken } from "./layers.ts";
import { idOf } from "./probe.ts";
import { describeMemory } from "./suspension.ts";

type Task = NonNullable<Instance["spec"]["diskTask"]>;
type Result = NonNullable<NonNullable<Instance["status"]>["diskTask"]>;

/** A guest may need this long to write out what it has; after that the snapshot is as after a power cut. */
const FREEZE_MS = 10_000;
const THAW_MS = 10_000;
const GREET_MS = 300;
/** An agent in the guest that does not answer within this is none. */
const ANSWER_MS = 1000;

const CUT_SHORT = "the agent was started anew while it was taken; take another one";

/** What failed for an unknown reason, or because the control plane does not answer, is tried again after this. */
const AGAIN_MS = 1000;

interface Context {
  client: Client;
  hypervisor: Hypervisor;
  environment: HostEnvironment;
  clock: Clock;
  log: Logger;
}

/** The task that is not done yet. */
export function pendingTask({ spec, status }: Instance): Task | undefined {
  return spec.diskTask && status?.diskTask?.id !== spec.diskTask.id ? spec.diskTask : undefined;
}

export class DiskTasks {
  readonly #c: Context;
  readonly #again: (key: string) => void;
  readonly #underWay = new Set<string>();
  /** What a rollback found when it froze the guest, for the kept snapshot; lost with the agent, which is then told as a crash. */
  readonly #quiesced = new Set<string>();

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
    if (!task) return false;
    this.#underWay.add(key);
    void this.#do(instance, task, running)
      .catch(async (error: unknown) => {
        this.#c.log.warn("disks.task", { instance: key, task: task.id, error });
        await this.#c.clock.sleep(AGAIN_MS);
      })
      .finally(() => {
        this.#underWay.delete(key);
        this.#again(key);
      });
    return true;
  }

  /** Before a rollback ends a run: what the guest has in mind gets to its disks. It is never thawed: it is killed. */
  async quiesce(instance: Instance): Promise<void> {
    if (await this.#freeze(instance)) this.#quiesced.add(keyOf(instance));
  }

  async #do(instance: Instance, task: Task, running: boolean): Promise<void> {
    let result: Omit<Result, "id" | "time">;
    try {
      const layers = await this.#c.environment.layers(instance);
      const taken = await this.#carryOut(layers, instance, task, running);
      const lent = task.template || task.action === "Lend";
      if (lent) await layers.lend(task.snapshot);
      result = {
        phase: "Done",
        ...(taken ? { taken } : {}),
        ...(lent ? { lent } : {}),
        ...(await layers.tree()),
      };
    } catch (error) {
      const known = [HypervisorError, LayersError, PrepareError, CommandError].some(
        (k) => error instanceof k,
      );
      if (isApiError(error) || !known) throw error; // again later
      // The machine ended under our hands: the disks are whole, and are worked on as those of a stopped one.
      if (running && (await this.#c.hypervisor.get(idOf(instance)))?.state !== "running") throw error;
      this.#c.log.warn("disks.task", { instance: keyOf(instance), task: task.id, error });
      result = { phase: "Failed", message: error instanceof Error ? error.message : String(error) };
    }
    await this.#report(instance, { ...result, id: task.id, time: this.#now() }, task);
  }

  async #carryOut(
    layers: Layers,
    instance: Instance,
    task: Task,
    running: boolean,
  ): Promise<Taken | undefined> {
    const { hypervisor } = this.#c;
    const id = idOf(instance);
    if (!running) await layers.settle();
    const absorb = async (into: string, from: string) => running && hypervisor.absorbLayer(id, into, from);
    switch (task.action) {
      case "Take":
        if (task.memory) return this.#takeWithMemory(layers, instance, task, running);
        return running ? this.#take(layers, instance, task) : this.#takeStopped(layers, task);
      case "Lend":
        return undefined; // done to all that are to be lent, above
      case "Delete":
        await layers.remove(task.snapshot, absorb);
        return undefined;
      case "Rollback": {
        const now = { takenTime: this.#now(), pauseMs: 0 };
        const consistent = this.#quiesced.has(keyOf(instance)) ? "Quiesced" : consistencyOf(instance);
        const facts = { ...now, consistent };
        const kept = await layers.revert(task.rollback ?? "", task.snapshot, task.keep, facts, task.memory);
        await layers.collect(absorb);
        this.#quiesced.delete(keyOf(instance));
        return kept;
      }
    }
  }

  async #take(layers: Layers, instance: Instance, task: Task): Promise<Taken> {
    const { hypervisor } = this.#c;
    const id = idOf(instance);
    const switches = await layers.begin(task.snapshot);
    const takenTime = this.#now();
    const began = performance.now();
    const frozen = task.quiesce === true && (await this.#freeze(instance));
    let pauseMs: number;
    try {
      pauseMs = await hypervisor.switchLayers(id, switches);
    } catch (error) {
      if (!(error instanceof HypervisorError)) throw error;
      // When QEMU does not tell, we do not know, and ask again later.
      const active = await hypervisor.activeLayers(id);
      if (!switches.some(({ to }) => active.includes(to))) await layers.abandon(task.snapshot);
      throw error;
    } finally {
      if (task.quiesce) await this.#thaw(instance, frozen);
    }
    if (frozen) pauseMs = performance.now() - began;
    return layers.finish(task.snapshot, {
      takenTime,
      pauseMs: Math.round(pauseMs * 10) / 10,
      consistent: frozen ? "Quiesced" : "Crash",
    });
  }

  /** Not done again when it was cut short: the memory would be of another instant than the disks. */
  async #takeWithMemory(layers: Layers, instance: Instance, task: Task, running: boolean): Promise<Taken> {
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
      const active = await hypervisor.activeLayers(id);
      return switches.some(({ to }) => active.includes(to));
    };
    if (wasBegun && (await isSwitched())) {
      await undo(true);
      throw new LayersError(CUT_SHORT);
    }
    const takenTime = this.#now();
    try {
      const how = task.template ? { apart: true } : {};
      const saved = await hypervisor.saveMemory(id, switches, layers.memoryFile(uid), how);
      return await layers.finish(uid, {
        takenTime,
        pauseMs: Math.round(saved.pauseMs * 10) / 10,
        consistent: "Memory",
        memory: { sizeBytes: saved.sizeBytes, live: saved.live, ...describeMemory(instance) },
      });
    } catch (error) {
      if (error instanceof HypervisorError) await undo(await isSwitched());
      throw error;
    }
  }

  async #takeStopped(layers: Layers, task: Task): Promise<Taken> {
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

  async #report(instance: Instance, diskTask: Result, { action }: Task): Promise<void> {
    const at = { name: instance.metadata.name, namespace: instance.metadata.namespace ?? "" };
    await modify(this.#c.client, Instance, at, "status", (current) => {
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
