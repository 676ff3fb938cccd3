/** The agent's part of GuestCommands (compute/guest-commands/kinds.ts): runs Instance.spec.guestTask once, and tells it in status.guestTask. */
import { type Client, modify } from "../client/client.ts";
import { type GuestTask, type GuestTaskResult, OUTPUT_MAX } from "../compute/guest-commands/kinds.ts";
import { Instance } from "../compute/kinds.ts";
import type { Logger } from "../reconcile/log.ts";
import { keyOf } from "../resource/object.ts";
import { type Hypervisor, HypervisorError } from "./hypervisor.ts";
import { idOf } from "./probe.ts";

export class GuestTasks {
  readonly #c: { client: Client; hypervisor: Hypervisor; log: Logger };
  readonly #underWay = new Set<string>();

  constructor(context: { client: Client; hypervisor: Hypervisor; log: Logger }) {
    this.#c = context;
  }

  /** Begins with what is to be done and is not begun yet; does not wait for its end. Of a machine that runs. */
  step(instance: Instance): void {
    const { guestTask: task } = instance.spec;
    const said = instance.status?.guestTask;
    if (!task || this.#underWay.has(task.id) || (said?.id === task.id && said.phase !== "Running")) return;
    this.#underWay.add(task.id);
    const wasBegun = said?.id === task.id;
    void this.#do(instance, task, wasBegun)
      .catch((error: unknown) => this.#c.log.warn("guest.task", { instance: keyOf(instance), error }))
      .finally(() => this.#underWay.delete(task.id));
  }

  async #do(instance: Instance, task: GuestTask, wasBegun: boolean): Promise<void> {
    const { id } = task;
    if (wasBegun) {
      const message = "the agent of its host was started anew while it ran; it is not known how it ended";
      return this.#tell(instance, { id, phase: "Failed", message });
    }
    await this.#tell(instance, { id, phase: "Running" });
    await this.#tell(instance, await this.#run(instance, task));
  }

  async #run(
    instance: Instance,
    { id, command, input, timeoutSeconds }: GuestTask,
  ): Promise<GuestTaskResult> {
    const program = { command, timeoutMs: timeoutSeconds * 1000, ...(input === undefined ? {} : { input }) };
    try {
      const { stdout, stderr, truncated, ...exit } = await this.#c.hypervisor.guestExec(
        idOf(instance),
        program,
      );
      const more = truncated || stdout.length > OUTPUT_MAX || stderr.length > OUTPUT_MAX;
      return {
        id,
        phase: "Done",
        ...exit,
        stdout: stdout.slice(0, OUTPUT_MAX),
        stderr: stderr.slice(0, OUTPUT_MAX),
        ...(more ? { truncated: true } : {}),
      };
    } catch (error) {
      const message = error instanceof HypervisorError ? error.message : "its host could not ask the guest";
      if (!(error instanceof HypervisorError))
        this.#c.log.warn("guest.exec", { instance: keyOf(instance), error });
      return { id, phase: "Failed", message };
    }
  }

  /** Unless the task was taken away meanwhile: then nobody wants to know. */
  async #tell(instance: Instance, guestTask: GuestTaskResult): Promise<void> {
    const { name, namespace = "", uid } = instance.metadata;
    await modify(this.#c.client, Instance, { name, namespace }, "status", (now) =>
      now.metadata.uid === uid && now.spec.guestTask?.id === guestTask.id
        ? { ...now, status: { ...now.status, guestTask } }
        : undefined,
    );
  }
}
