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

/** What this agent knows of a task. Announced: that it runs is being told, and it does not run before. A result: one that could not be told yet. */
type Known = "announced" | "begun" | "told" | GuestTaskResult;

export class GuestTasks {
  readonly #c: Context;
  readonly #underWay = new Set<string>();
  /** The newest last: a look may be older than what it tells of. */
  readonly #known = new Map<string, Known>();

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
    const known = this.#known.get(id);
    if (known === "begun" || known === "told") return;
    if (known && known !== "announced") return this.#end(instance, known);
    // Announced, it may have been told, though that seemed to fail.
    if (wasBegun && !known) {
      const message = "the agent of its host was started anew while it ran; it is not known how it ended";
      return this.#end(instance, { id, phase: "Failed", message });
    }
    this.#remember(id, "announced");
    if (!wasBegun && !(await this.#tell(instance, { id, phase: "Running" }))) {
      this.#known.delete(id);
      return;
    }
    this.#remember(id, "begun");
    await this.#end(instance, await this.#run(instance, task));
  }

  async #end(instance: Instance, result: GuestTaskResult): Promise<void> {
    this.#remember(result.id, result);
    await this.#tell(instance, result);
    this.#remember(result.id, "told");
  }

  #remember(id: string, known: Known): void {
    this.#known.set(id, known);
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
    // Once written it may be there though that seemed to fail: the next try finds it said.
    let isTold = false;
    await modify(this.#c.client, Instance, at(instance), "status", (now) => {
      const said = now.status?.guestTask;
      const isSaid = said?.id === guestTask.id && (said.phase !== "Running" || guestTask.phase === "Running");
      const isAsked = now.metadata.uid === instance.metadata.uid && now.spec.guestTask?.id === guestTask.id;
      if (isSaid || !isAsked) return undefined;
      isTold = true;
      return { ...now, status: { ...now.status, guestTask } };
    });
    return isTold;
  }
}
