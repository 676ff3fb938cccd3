/** The file systems of a guest, frozen by the agent in it for the instant of a snapshot. Whatever goes wrong, they are thawed again. */
import type { Logger } from "../../reconcile/log.ts";
import type { Hypervisor, MachineId } from "../hypervisor.ts";

/** A guest may need this long to write out what it has; after that the snapshot is as after a power cut. */
const FREEZE_MS = 10_000;
const THAW_MS = 10_000;
/** An agent in the guest that does not answer within this is none. */
const ANSWER_MS = 1000;

/** @returns whether the guest has frozen its file systems */
export async function freeze(hypervisor: Hypervisor, id: MachineId): Promise<boolean> {
  if ((await hypervisor.guestAgent(id, "guest-ping", ANSWER_MS)) === undefined) return false;
  const count = await hypervisor.guestAgent(id, "guest-fsfreeze-freeze", FREEZE_MS);
  return typeof count === "number" && count > 0;
}

/** Also when no answer to the freeze came: it may have been done. */
export async function thaw(
  hypervisor: Hypervisor,
  id: MachineId,
  frozen: boolean,
  log: Logger,
): Promise<void> {
  for (let i = 0; i < 3; i++) {
    if (!frozen && (await hypervisor.guestAgent(id, "guest-ping", ANSWER_MS)) === undefined) return;
    if ((await hypervisor.guestAgent(id, "guest-fsfreeze-thaw", THAW_MS)) !== undefined) return;
    if (!frozen) return; // it refuses the command, and has refused the freeze
  }
  log.warn("disks.thaw", { machine: id, reason: "the guest agent does not confirm the thaw" });
}
