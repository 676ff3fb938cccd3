/** The one place where this agent writes the status of an instance: by compare-and-swap, and never of one that has ended. */
import { isDeepStrictEqual } from "node:util";
import { type Client, modify } from "../../client/client.ts";
import { Instance } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { isApiError } from "../../resource/errors.ts";
import { keyOf, setCondition } from "../../resource/object.ts";
import {
  about,
  at,
  type Finish,
  type InstanceStatus,
  isTerminal,
  ready,
  type Write,
} from "./instance-status.ts";

const ORDERLY = ["Requested", "GuestShutdown", "Suspended"];

interface Context {
  client: Client;
  clock: Clock;
  log: Logger;
  events: EventRecorder;
}

export class StatusWriter {
  readonly #c: Context;
  /** By uid: what a look has written last, upon which version. */
  readonly #seen = new Map<string, Instance>();

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

  /** What a look at a machine that goes on has seen: nothing follows from it, so its own news are none (isOwnNews). @param instance as it was just read */
  async writeSeen(instance: Instance, change: Partial<InstanceStatus>): Promise<void> {
    const { uid = "" } = instance.metadata;
    const next = { ...instance, status: { ...instance.status, ...change } };
    this.#seen.set(uid, next);
    try {
      await this.#c.client.updateStatus(Instance, next);
    } catch (error) {
      this.#seen.delete(uid);
      // Somebody has written since: their news bring another look.
      if (!isApiError(error, "Conflict", "NotFound")) throw error;
    }
  }

  /**
   * Whether a change of an instance is only what a look at it has written. It may be told before the write is answered; and of a list that was read anew,
   * changes that came after it are in what is told: all of the object is compared.
   */
  isOwnNews(now: Instance, old: Instance | undefined): boolean {
    const seen = this.#seen.get(now.metadata.uid ?? "");
    return (
      seen !== undefined &&
      seen.metadata.resourceVersion === old?.metadata.resourceVersion &&
      isDeepStrictEqual(withoutVersion(seen), withoutVersion(now))
    );
  }

  forget({ metadata: { uid = "" } }: Instance): void {
    this.#seen.delete(uid);
  }

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

/** Without what the server writes at each write. */
function withoutVersion({ metadata, ...rest }: Instance) {
  const { resourceVersion: _, managedFields: __, ...others } = metadata;
  return { ...rest, metadata: others };
}
