/** What is to be done next with the disks of a machine, and whether it can be done now. Pure. */
import type { Instance, VirtualMachine } from "../kinds.ts";
import { notTheSame, type Rollback, SNAPSHOT_FINALIZER, type Snapshot } from "./kinds.ts";

/** One thing to be done with a machine's disks. */
export type Operation =
  | { action: "Take" | "Delete" | "Lend"; object: Snapshot }
  | { action: "Rollback"; object: Rollback };

/** Everything about one machine, as it is now. */
export interface View {
  vm: VirtualMachine;
  snapshots: readonly Snapshot[];
  rollbacks: readonly Rollback[];
  instances: readonly Instance[];
}

export const isOver = ({ status }: Rollback) => status?.phase === "Succeeded" || status?.phase === "Failed";
export const isTaken = ({ status }: Snapshot) => status?.phase === "Ready";
export const isOpen = (s: Snapshot) =>
  s.metadata.deletionTimestamp !== undefined ||
  !(isTaken(s) || s.status?.phase === "Failed") ||
  isToBeLent(s);
/** Taken, and not a template yet. */
const isToBeLent = (s: Snapshot) => isTaken(s) && s.spec.template && !s.status?.template;

export const keptName = ({ metadata }: Rollback) => `${metadata.name}-before`;

export const hasOpenTask = ({ spec, status, metadata }: Instance): boolean =>
  spec.diskTask !== undefined && status?.diskTask?.id !== spec.diskTask.id && !metadata.deletionTimestamp;

/** What is to be done, oldest first. What a rollback keeps is part of that rollback. */
export function operations({ snapshots, rollbacks }: View): Operation[] {
  const under = new Set(rollbacks.filter((r) => !isOver(r)).map(keptName));
  const open: Operation[] = [];
  for (const object of snapshots) {
    if (object.metadata.deletionTimestamp) {
      if (object.metadata.finalizers?.includes(SNAPSHOT_FINALIZER)) open.push({ action: "Delete", object });
    } else if (isOpen(object) && !under.has(object.metadata.name))
      open.push({ action: isTaken(object) ? "Lend" : "Take", object });
  }
  for (const object of rollbacks) if (!isOver(object)) open.push({ action: "Rollback", object });
  const age = ({ object: { metadata } }: Operation) =>
    `${metadata.deletionTimestamp ?? metadata.creationTimestamp ?? ""} ${metadata.name}`;
  return open.sort((a, b) => age(a).localeCompare(age(b)));
}

/** Why the disks cannot be worked on now. */
export function obstacle(live: readonly Instance[], holder: Instance | undefined): string | undefined {
  const other = live.find((instance) => instance !== holder);
  if (other) return `instance ${other.metadata.name} comes or goes`;
  if (!holder || !live.includes(holder)) return undefined;
  const phase = holder.status?.phase ?? "Pending";
  if (holder.spec.migrateTo) return "the machine is being moved";
  // A rollback has asked for its end.
  if (phase === "Running" || phase === "Starting" || hasOpenTask(holder)) return undefined;
  return `the machine is ${phase}`;
}

/** Why a rollback cannot be done; undefined when it can, and for all else. */
export function refusal(operation: Operation, view: View): string | undefined {
  if (operation.action !== "Rollback") return undefined;
  const { spec } = operation.object;
  const target = view.snapshots.find((s) => s.metadata.name === spec.snapshot);
  if (!target) return `snapshot ${spec.snapshot} (spec.snapshot) of ${spec.vm} does not exist`;
  if (target.metadata.deletionTimestamp) return `snapshot ${spec.snapshot} is being deleted`;
  if (!isTaken(target)) return `snapshot ${spec.snapshot} is not ready: ${target.status?.phase ?? "Pending"}`;
  const kept = target.status?.taken?.memory;
  const other = spec.memory && kept ? notTheSame(view.vm.spec, kept) : undefined;
  if (other)
    return `the memory of snapshot ${spec.snapshot} is of a machine with ${other}; make it so again, or set spec.memory of the Rollback to false`;
  const name = keptName(operation.object);
  if (spec.keep && view.snapshots.some((s) => s.metadata.name === name))
    return `the state before was to be kept as snapshot ${name}, which exists; give the Rollback another name`;
  return undefined;
}
