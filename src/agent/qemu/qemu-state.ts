/** QEMU's words for states -> ours. Pure. */
import type { MigrationStatus } from "../../qemu/migration.ts";
import type { MachineState, MigrationProgress } from "../hypervisor.ts";
import type { MachineRecord } from "./qemu-record.ts";

/**
 * The state of a machine whose process is there. `status` is QEMU's run state, undefined when the monitor did not answer, which is no
 * sign of death. `how` is "incoming" until it has run here for the first time: such a machine must never count as running because
 * of silence, since running means that it has the disks.
 */
export function stateOf(
  status: string | undefined,
  how: "run" | "incoming",
  held?: MachineRecord["held"],
): MachineState["state"] {
  switch (status) {
    case undefined:
    case "inmigrate":
    case "prelaunch":
      if (how === "incoming") return "incoming";
      return status === "prelaunch" ? "paused" : "running";
    case "paused":
    case "io-error":
    case "guest-panicked":
    case "internal-error":
    case "watchdog":
      return "paused";
    case "postmigrate":
      // Its memory has been sent to us: whoever took it for a move that was called off would let it run on while it is copied.
      return held === "snapshot" ? "paused" : "postmigrate";
    case "finish-migrate":
      // Before a switchover `migration` tells that it stands still. While memory of a paused guest is kept nobody else would.
      return held === "snapshot" ? "paused" : "running";
    default:
      return "running";
  }
}

/** MachineState.pausedBy. `isFull`: whether the storage is, as far as the journal tells. */
export function standsBecause(
  status: string | undefined,
  { held, paused }: Pick<MachineRecord, "held" | "paused">,
  isFull: () => boolean,
): string | undefined {
  if (
    held === "suspend" ||
    (held === "snapshot" && (status === "postmigrate" || status === "finish-migrate"))
  )
    return held;
  if (status === "io-error" && !paused) return isFull() ? "storage-full" : status;
  if (status === "paused" || status === "prelaunch" || status === "io-error")
    return held ?? (paused ? "user" : status);
  return status;
}

const PHASES: Readonly<Record<string, MigrationProgress["phase"]>> = {
  none: "none",
  "pre-switchover": "pre-switchover",
  device: "pre-switchover", // under way, and soon over
  "postcopy-active": "post-copy",
  "postcopy-paused": "failed", // its stream broke, and nobody mends it
  completed: "completed",
  failed: "failed",
  cancelled: "cancelled",
};

export function progressOf({ status, ...rest }: MigrationStatus): MigrationProgress {
  return { ...rest, phase: PHASES[status] ?? "active" }; // setup, active, cancelling
}
