/** The agent's part of GuestCommands (compute/guest-commands/kinds.ts): runs Instance.spec.guestTask once, and tells it in status.guestTask. */
import { type Client, modify } from "../../client/client.ts";
import {
  type GuestTask,
  type GuestTaskResult,
  OUTPUT_MAX,
  passwordContext,
} from "../../compute/guest-commands/kinds.ts";
import { Instance } from "../../compute/kinds.ts";
import type { Logger } from "../../reconcile/log.ts";
import { keyOf } from "../../resource/object.ts";
import type { Opener } from "../../resource/sealed.ts";
import { type Hypervisor, HypervisorError } from "../hypervisor.ts";
import { reasonOf } from "../reasons.ts";
import { at, idOf } from "./instance-status.ts";

interface Context {
  client: Client;
  hypervisor: Hypervisor;
  log: Logger;
  /** Opens what was sealed for this agent. */
  opener: Opener;
}

/** Looks that are so old that one of more tasks has ended since are not expected. */
const MOST_KNOWN = 1000;

export class GuestTasks {
  readonly #c: Context;
  readonly #underWay = new Set<string>();
  /** Those that this agent has begun, the newest last, and what came of those that are over: a look may be older than that, or it could not be told. */
  readonly #known = new Map<string, GuestTaskResult | undefined>();

  constructor(context: Context) {
    this.#c = context;
  }

  /** Begins with what is to be done and is not begun yet, of a machine that runs. @returns its end, for which no look waits; never rejects */
  async step(instance: Instance): Promise<void> {
    const { guestTask: task } = instance.spec;
    const said = instance.status?.guestTask;
    if (!task || this.#underWay.has(task.id) || (said?.id === task.id && said.phase !== "Running")) return;
    this.#underWay.add(task.id);
    const wasBegun = said?.id === task.id;
    await this.#do(instance, task, wasBegun)
      .catch((error: unknown) => this.#c.log.warn("guest.task", { instance: keyOf(instance), error }))
      .finally(() => this.#underWay.delete(task.id));
  }

  async #do(instance: Instance, task: GuestTask, wasBegun: boolean): Promise<void> {
    const { id } = task;
    if (this.#known.has(id)) {
      const result = this.#known.get(id);
      if (result) await this.#tell(instance, result);
      return;
    }
    if (wasBegun) {
      const message = "the agent of its host was started anew while it ran; it is not known how it ended";
      await this.#tell(instance, { id, phase: "Failed", message });
      return;
    }
    if (!(await this.#tell(instance, { id, phase: "Running" }))) return;
    this.#remember(id, undefined);
    const result = await this.#run(instance, task);
    this.#remember(id, result);
    await this.#tell(instance, result);
  }

  #remember(id: string, result: GuestTaskResult | undefined): void {
    this.#known.set(id, result);
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MOST_KNOWN) return;
      this.#known.delete(oldest);
    }
  }

  async #run(instance: Instance, task: GuestTask): Promise<GuestTaskResult> {
    const { id, command, input, timeoutSeconds, password } = task;
    if (!command) return this.#setPassword(instance, id, password);
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
      return this.#failed(instance, id, error);
    }
  }

  async #setPassword(
    instance: Instance,
    id: string,
    password: GuestTask["password"],
  ): Promise<GuestTaskResult> {
    const { user = "", sealed = "" } = password ?? {};
    const text = this.#c.opener.open(sealed, passwordContext(instance.spec.vmUid, user));
    if (text === undefined) {
      const message =
        "the password was sealed for another host, machine or user, or before the agent of its host was started anew; seal it again (vireo set-password)";
      return { id, phase: "Failed", message };
    }
    try {
      await this.#c.hypervisor.setGuestPassword(idOf(instance), user, text);
      return { id, phase: "Done", exitCode: 0 };
    } catch (error) {
      return this.#failed(instance, id, error);
    }
  }

  #failed(instance: Instance, id: string, error: unknown): GuestTaskResult {
    const message = reasonOf(error);
    if (!(error instanceof HypervisorError))
      this.#c.log.warn("guest.exec", { instance: keyOf(instance), error });
    return { id, phase: "Failed", message };
  }

  /**
   * Unless the task was taken away meanwhile: then nobody wants to know. One that was begun is not begun again, and one that has ended has ended.
   * @returns whether it was told
   */
  async #tell(instance: Instance, guestTask: GuestTaskResult): Promise<boolean> {
    let isTold = false;
    await modify(this.#c.client, Instance, at(instance), "status", (now) => {
      const said = now.status?.guestTask;
      const isSaid = said?.id === guestTask.id && (said.phase !== "Running" || guestTask.phase === "Running");
      isTold =
        now.metadata.uid === instance.metadata.uid && now.spec.guestTask?.id === guestTask.id && !isSaid;
      return isTold ? { ...now, status: { ...now.status, guestTask } } : undefined;
    });
    return isTold;
  }
}
