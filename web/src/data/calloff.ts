/** Whether a snapshot or a rollback that is under way can still be called off. Pure. */
import type { Rollback, Snapshot } from "./kinds.ts";
import type { Can } from "./rights.ts";

/**
 * One that only waits is called off by deleting it. Once it has begun its host carries it out whole, also when it is deleted meanwhile; the finalizer
 * of a snapshot tells that it has, or that a rollback makes it of the state before.
 */
export const whyNotCallOffSnapshot = ({ metadata, status }: Snapshot, can: Can): string | undefined =>
  metadata.deletionTimestamp
    ? "Its deletion has begun, and is carried out."
    : metadata.finalizers?.length || (status?.phase ?? "Pending") !== "Pending"
      ? "It has begun, and is carried out; delete it once it is taken."
      : can("delete", "snapshots");

export const whyNotCallOffRollback = ({ status }: Rollback, can: Can): string | undefined =>
  (status?.phase ?? "Pending") === "Pending"
    ? can("delete", "rollbacks")
    : "It has begun, and is carried out: disks half gone back would be neither state.";
