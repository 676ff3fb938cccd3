/** What each machine may take of this host's processors: set once, and again when it is changed. What cannot be set is said. */
import type { Instance } from "../../compute/kinds.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import { type ConditionInput, getCondition } from "../../resource/object.ts";
import type { Hypervisor } from "../hypervisor.ts";
import { idOf } from "./probe.ts";

/** A condition, of machines that ask for something. */
const TYPE = "ResourcesSet";
const AS_ASKED = "it shares its host as spec.resources says";

type Write = (instance: Instance, condition: Omit<ConditionInput, "observedGeneration">) => Promise<void>;

export class Shares {
  readonly #hypervisor: Hypervisor;
  readonly #events: EventRecorder;
  readonly #write: Write;
  /** By machine: what this agent has set. The next one sets it again. */
  readonly #set = new Map<string, string>();

  constructor({ hypervisor, events }: { hypervisor: Hypervisor; events: EventRecorder }, write: Write) {
    this.#hypervisor = hypervisor;
    this.#events = events;
    this.#write = write;
  }

  async set(instance: Instance): Promise<void> {
    const { resources = {}, vm } = instance.spec;
    const [id, wanted] = [idOf(instance), JSON.stringify(resources)];
    if (this.#set.get(id) === wanted) return;
    const why = await this.#hypervisor.share(id, resources);
    this.#set.set(id, wanted);
    const told = getCondition(instance.status?.conditions, TYPE);
    const message = why ?? AS_ASKED;
    // Nothing is said of a machine that asks for nothing.
    if (wanted === "{}" ? !told : told?.message === message) return;
    const [status, reason] = why ? (["False", "CannotBeSet"] as const) : (["True", "Set"] as const);
    await this.#write(instance, { type: TYPE, status, reason, message });
    const about = { kind: "VirtualMachine", name: vm, namespace: instance.metadata.namespace ?? "" };
    if (why) this.#events.record(about, "Warning", reason, `spec.resources: ${why}`);
  }

  forget(instance: Instance): void {
    this.#set.delete(idOf(instance));
  }
}
