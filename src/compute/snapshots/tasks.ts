/** What the agent that has the disks is told to do for a Snapshot or Rollback; written down there first, so that the same is told when it is told again. */
import type { Client } from "../../client/client.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { ApiError } from "../../resource/errors.ts";
import { API_VERSION } from "../../resource/kind.ts";
import { isHeld, isLive } from "../custody.ts";
import type { Instance, VirtualMachine } from "../kinds.ts";
import { type DiskTask, type Rollback, SNAPSHOT_FINALIZER, Snapshot } from "./kinds.ts";
import { keptName, type Operation, type View } from "./next.ts";
import type { SnapshotStatusWriter } from "./status-writer.ts";

export type TaskResult = NonNullable<NonNullable<Instance["status"]>["diskTask"]>;

export class Tasks {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #status: SnapshotStatusWriter;

  constructor({ client, clock }: { client: Client; clock: Clock }, status: SnapshotStatusWriter) {
    this.#client = client;
    this.#clock = clock;
    this.#status = status;
  }

  /** The task that an operation begins, or goes on, with. @param failed the last attempt @returns undefined when what it needs is gone */
  async of(operation: Operation, view: View, failed: TaskResult | undefined): Promise<DiskTask | undefined> {
    const { action, object } = operation;
    const uid = object.metadata.uid ?? "";
    const id = `${action}:${uid}`;
    const again = failed ? `${id}:${Date.parse(failed.time)}` : id;
    switch (action) {
      case "Take":
        return {
          id,
          action,
          snapshot: uid,
          ...(object.spec.memory ? { memory: true } : { quiesce: object.spec.quiesce }),
          ...(object.spec.template ? { template: true } : {}),
        };
      case "Lend":
      case "Delete":
        return { id: again, action, snapshot: uid };
      case "Rollback": {
        const target = view.snapshots.find((s) => s.metadata.name === object.spec.snapshot);
        if (!target?.metadata.uid) return undefined;
        const goesOn = object.spec.memory && target.status?.taken?.memory !== undefined;
        const runs = view.instances.some((instance) => isLive(instance) && isHeld(instance));
        const keepMemory = runs && (object.spec.keepMemory ?? goesOn);
        const kept = object.spec.keep ? await this.#kept(object, view, keepMemory) : undefined;
        const keep = kept?.metadata.uid;
        await this.#status.rollback(object, {
          ...object.status,
          phase: "Running",
          startedTime: object.status?.startedTime ?? this.#clock.now().toISOString(),
          message: `goes back to ${object.spec.snapshot}`,
          ...(kept ? { kept: kept.metadata.name } : {}),
        });
        return {
          id,
          action,
          snapshot: target.metadata.uid,
          rollback: uid,
          ...(keep ? { keep } : {}),
          ...(kept?.spec.memory ? { keepMemory: true } : {}),
          ...(goesOn ? { memory: true } : {}),
        };
      }
    }
  }

  /** The Snapshot that the state before a rollback becomes: made first, so that its uid is known. */
  async #kept(rollback: Rollback, { vm, snapshots }: View, memory: boolean): Promise<Snapshot> {
    const name = keptName(rollback);
    const there = snapshots.find((s) => s.metadata.name === name);
    if (there) return there;
    return this.#client.create(Snapshot, {
      metadata: {
        name,
        ...(rollback.metadata.namespace ? { namespace: rollback.metadata.namespace } : {}),
        finalizers: [SNAPSHOT_FINALIZER],
        ownerReferences: [ownerOf(vm)],
      },
      spec: { vm: vm.metadata.name, quiesce: true, memory },
    });
  }
}

/** A snapshot goes when its machine goes. */
export function ownerOf({ kind, metadata }: VirtualMachine) {
  const { name, uid } = metadata;
  if (!uid) throw new ApiError("InternalError", "a machine without uid");
  return { apiVersion: API_VERSION, kind, name, uid };
}
