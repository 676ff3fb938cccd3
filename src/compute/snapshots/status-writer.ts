/** Where the status of Snapshots and Rollbacks is written. An object that is given is from then on as it was written. */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../../client/client.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import { setCondition } from "../../resource/object.ts";
import { aboutMachine } from "../actions.ts";
import { Rollback, Snapshot } from "./kinds.ts";
import type { Operation } from "./next.ts";

type Taken = NonNullable<Snapshot["status"]>["taken"];
type Progress = NonNullable<NonNullable<Snapshot["status"]>["progress"]>;

/** What does not go on is not on its way. */
function ended<S extends { progress?: Progress }>(status: S | undefined): Omit<S, "progress"> | undefined {
  if (!status) return undefined;
  const { progress: _, ...rest } = status;
  return rest;
}

export class SnapshotStatusWriter {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #events: EventRecorder;

  constructor({ client, clock }: { client: Client; clock: Clock }, events: EventRecorder) {
    this.#client = client;
    this.#clock = clock;
    this.#events = events;
  }

  async ready(
    snapshot: Snapshot,
    taken: Taken,
    message: string,
    lent: boolean | undefined = false,
  ): Promise<void> {
    await this.snapshot(snapshot, {
      ...ended(snapshot.status),
      phase: "Ready",
      message,
      ...(taken ? { taken } : {}),
      ...(lent ? { template: true } : {}),
    });
  }

  async fail(snapshot: Snapshot, message: string): Promise<void> {
    await this.snapshot(snapshot, { ...ended(snapshot.status), phase: "Failed", message });
  }

  async note({ action, object }: Operation, message: string): Promise<void> {
    if (action === "Rollback")
      await this.rollback(object, {
        ...ended(object.status),
        phase: object.status?.phase ?? "Pending",
        message,
      });
    else {
      const phase = action === "Delete" ? "Deleting" : (object.status?.phase ?? "Pending");
      await this.snapshot(object, { ...ended(object.status), phase, message });
    }
  }

  /** Its host is at it. Told once; of one that was over before, never. */
  async begun({ action, object }: Operation): Promise<void> {
    if (action !== "Take" || object.status?.phase === "Taking") return;
    await this.snapshot(object, { ...object.status, phase: "Taking", message: "is being taken" });
  }

  /** How far its host is with it. */
  async progress({ action, object }: Operation, progress: Progress): Promise<void> {
    if (action === "Rollback") await this.rollback(object, { ...object.status, progress });
    else if (action !== "Lend") await this.snapshot(object, { ...object.status, progress });
  }

  async snapshot(snapshot: Snapshot, status: NonNullable<Snapshot["status"]>): Promise<void> {
    const { phase = "Pending", message = "" } = status;
    const ready = phase === "Ready" ? "True" : "False";
    const conditions = setCondition(
      snapshot.status?.conditions,
      { type: "Ready", status: ready, reason: phase, message },
      this.#now(),
    );
    if (isDeepStrictEqual(snapshot.status, { ...status, conditions })) return;
    const written = await this.#client.updateStatus(Snapshot, {
      ...snapshot,
      status: { ...status, conditions },
    });
    Object.assign(snapshot, written);
  }

  async rollback(rollback: Rollback, status: NonNullable<Rollback["status"]>): Promise<void> {
    if (isDeepStrictEqual(rollback.status, status)) return;
    const written = await this.#client.updateStatus(Rollback, { ...rollback, status });
    Object.assign(rollback, written);
  }

  async endRollback(rollback: Rollback, phase: "Succeeded" | "Failed", message: string): Promise<void> {
    await this.rollback(rollback, { ...ended(rollback.status), phase, message, finishedTime: this.#now() });
  }

  /** To people, of the machine. */
  report(object: Snapshot | Rollback, type: "Normal" | "Warning", reason: string, message: string): void {
    this.#events.record(aboutMachine(object), type, reason, message);
  }

  #now(): string {
    return this.#clock.now().toISOString();
  }
}
