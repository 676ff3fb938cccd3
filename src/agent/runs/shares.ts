/** What each machine may take of this host's processors: set once, and again when it is changed. What cannot be set is said. */
import type { Instance } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import { getCondition } from "../../resource/object.ts";
import type { Hypervisor } from "../hypervisor.ts";
import { about, conditionOf, idOf, type Write } from "./instance-status.ts";

/** A condition, of machines that ask for something. */
const TYPE = "ResourcesSet";
const AS_ASKED = "it shares its host as spec.resources says";

interface Context {
  hypervisor: Hypervisor;
  clock: Clock;
  events: EventRecorder;
}

export class Shares {
  readonly #c: Context;
  readonly #write: Write;
  /** By machine: what this agent has set. The next one sets it again. */
  readonly #set = new Map<string, string>();

  constructor(context: Context, write: Write) {
    this.#c = context;
    this.#write = write;
  }

  async set(instance: Instance): Promise<void> {
    const { resources = {} } = instance.spec;
    const [id, wanted] = [idOf(instance), JSON.stringify(resources)];
    if (this.#set.get(id) === wanted) return;
    const why = await this.#c.hypervisor.share(id, resources);
    this.#set.set(id, wanted);
    const told = getCondition(instance.status?.conditions, TYPE);
    const message = why ?? AS_ASKED;
    // Nothing is said of a machine that asks for nothing.
    if (wanted === "{}" ? !told : told?.message === message) return;
    const [status, reason] = why ? (["False", "CannotBeSet"] as const) : (["True", "Set"] as const);
    const condition = { type: TYPE, status, reason, message };
    await this.#write(instance, conditionOf(instance, this.#c.clock.now().toISOString(), condition));
    if (why) this.#c.events.record(about(instance), "Warning", reason, `spec.resources: ${why}`);
  }

  forget(instance: Instance): void {
    this.#set.delete(idOf(instance));
  }
}
