/** The one place where this agent writes the status of an instance: by compare-and-swap, and never of one that has ended. */
import { type Client, modify } from "../../client/client.ts";
import { Instance } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { keyOf, setCondition } from "../../resource/object.ts";
import { about, at, type Finish, isTerminal, ready, type Write } from "./instance-status.ts";

const ORDERLY = ["Requested", "GuestShutdown", "Suspended"];

interface Context {
  client: Client;
  clock: Clock;
  log: Logger;
  events: EventRecorder;
}

export class StatusWriter {
  readonly #c: Context;

  constructor(context: Context) {
    this.#c = context;
  }

  readonly write: Write = async (instance, change) => {
    const was = instance.status?.phase;
    if (change.phase && change.phase !== was)
      this.#c.log.info("instance.phase", { instance: keyOf(instance), phase: change.phase, was });
    return modify(this.#c.client, Instance, at(instance), "status", (current) => {
      if (current.metadata.uid !== instance.metadata.uid || isTerminal(current)) return undefined;
      const { conditions, ...rest } = change;
      const condition = conditions?.at(-1);
      return {
        ...current,
        status: {
          ...current.status,
          ...rest,
          ...(condition
            ? { conditions: setCondition(current.status?.conditions, condition, this.#now()) }
            : {}),
        },
      };
    });
  };

  /** Whoever calls this has seen its process go (Hypervisor.kill throws while it has not), so custody is given up. */
  readonly finish: Finish = async (instance, end, also = {}) => {
    const orderly = ORDERLY.includes(end.reason);
    await this.write(instance, {
      phase: orderly ? "Stopped" : "Failed",
      custody: "Released",
      end: { ...end, time: this.#now() },
      ...also,
      ...ready(instance, this.#now(), false, end.reason, end.message),
    });
    this.#c.events.record(about(instance), orderly ? "Normal" : "Warning", end.reason, end.message);
    return { requeueAfterMs: 1 };
  };

  #now(): string {
    return this.#c.clock.now().toISOString();
  }
}
