/**
 * Why a machine ended, told from its event journal: the table of reference tests (end.real.test.ts runs each row on a real QEMU).
 *
 *   cause                     journal's last words                           -> reason
 *   ACPI power off            SHUTDOWN guest=true  guest-shutdown               GuestShutdown
 *   reset under -no-reboot    SHUTDOWN guest=true  guest-reset                  GuestReset
 *   pvpanic                   GUEST_PANICKED, SHUTDOWN guest=true guest-panic   GuestPanic
 *   QMP quit                  SHUTDOWN guest=false host-qmp-quit                Requested
 *   SIGTERM, INT, HUP         SHUTDOWN guest=false host-signal                  HostSignal
 *   SIGKILL, OOM, abort       nothing                                           Killed (Crashed when stderr has last words)
 */
import type { QmpEvent } from "./qmp.ts";

export type EndReason =
  | "GuestShutdown"
  | "GuestReset"
  | "GuestPanic"
  | "Requested"
  | "HostSignal"
  | "Killed"
  | "Crashed"
  | "StartFailed"
  | "MigrationFailed";

export interface End {
  reason: EndReason;
  message: string;
}

/** What is known of a process that is gone. */
export interface Remains {
  events: readonly QmpEvent[];
  /** The last lines of stderr. */
  stderr: string;
  /** We asked it to stop (the ladder of stop begins with the power button, which looks like the guest's own wish). */
  stopRequested: boolean;
  /** It was the target of a migration that had not completed. */
  incoming: boolean;
}

const SHUTDOWN: Readonly<Record<string, End>> = {
  "guest-shutdown": { reason: "GuestShutdown", message: "the guest shut itself down" },
  "guest-reset": { reason: "GuestReset", message: "the guest reset itself, and the machine ends on reset" },
  "guest-panic": { reason: "GuestPanic", message: "the guest's kernel panicked" },
  "host-qmp-quit": { reason: "Requested", message: "stopped on request" },
  "host-qmp-system-powerdown": { reason: "Requested", message: "stopped on request" },
  "host-signal": { reason: "HostSignal", message: "a signal from outside ended QEMU" },
};

/** Pure. */
export function endOf(remains: Remains): End {
  const { events, stderr, stopRequested, incoming } = remains;
  const lastLine = stderr.trim().split("\n").at(-1) ?? "";
  const shutdown = events.findLast((event) => event.event === "SHUTDOWN");
  if (stopRequested) return { reason: "Requested", message: "stopped on request" };
  if (shutdown) {
    const known = SHUTDOWN[String(shutdown.data.reason)];
    if (known?.reason === "HostSignal" && lastLine)
      return { ...known, message: `${known.message}: ${lastLine}` };
    return known ?? { reason: "Killed", message: `QEMU ended: ${String(shutdown.data.reason)}` };
  }
  if (incoming) return { reason: "MigrationFailed", message: lastLine || "the incoming migration ended" };
  // Started in good order is what the journal's first lines show: QEMU greets only when its devices are made.
  if (lastLine && !stderr.includes("terminating on signal"))
    return {
      reason: "Crashed",
      message: `QEMU ended without a word in its journal; its last line: ${lastLine}`,
    };
  return { reason: "Killed", message: "QEMU was killed (SIGKILL or out of memory)" };
}
