/**
 * What there may be of a migration in the QEMU of a machine that nobody wants to move. An agent may have begun to copy the disks, and died or lost the
 * control plane before it could tell, and the order was taken back meanwhile. Looked for at an agent's first look at a machine without an order, and at
 * the first after each order; told before it is removed. The credentials of each move, whatever became of it, go without a word.
 */
import type { Instance } from "../../compute/kinds.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { keyOf } from "../../resource/object.ts";
import type { Hypervisor } from "../hypervisor.ts";
import { about, idOf } from "./instance-status.ts";

interface Context {
  hypervisor: Pick<Hypervisor, "leftCopies" | "abandonDiskCopies" | "dropCredentials">;
  events: EventRecorder;
  log: Logger;
}

export class MigrationLeftovers {
  readonly #c: Context;
  /** By the instance's key: those of which nothing is left. */
  readonly #settled = new Set<string>();

  constructor(context: Context) {
    this.#c = context;
  }

  /** Nobody wants to move it. */
  async remove(instance: Instance): Promise<void> {
    const { hypervisor, events, log } = this.#c;
    const [key, id] = [keyOf(instance), idOf(instance)];
    if (this.#settled.has(key)) return;
    try {
      const left = await hypervisor.leftCopies(id);
      if (left.length > 0) {
        log.info("migration.left", { instance: key, left });
        const message = `left over in its QEMU from a migration that was cut short and called off, needed by nothing, and removed: ${left.join(", ")}`;
        events.record(about(instance), "Normal", "LeftoversRemoved", message);
        await events.flushed();
        await hypervisor.abandonDiskCopies(id);
      }
      await hypervisor.dropCredentials(id);
      this.#settled.add(key);
    } catch (error) {
      // It is looked at again.
      log.warn("migration.left", { instance: key, error });
    }
  }

  /** It is being moved, or over: what is known of it counts no more. */
  forget(instance: Instance): void {
    this.#settled.delete(keyOf(instance));
  }
}
