/**
 * Why a machine ended, told from its event journal. end.test.ts has the table, qemu-hypervisor.real.test.ts runs it on a real QEMU.
 *
 *   cause                     journal's last words                           -> reason
 *   ACPI power off            SHUTDOWN guest=true  guest-shutdown               GuestShutdown
 *   reset under -no-reboot    SHUTDOWN guest=true  guest-reset                  GuestReset
 *   pvpanic                   GUEST_PANICKED, SHUTDOWN guest=true guest-panic   GuestPanic
 *   watchdog, poweroff        WATCHDOG poweroff                                 Watchdog
 *   QMP quit                  SHUTDOWN guest=false host-qmp-quit                Requested
 *   SIGTERM, INT, HUP         SHUTDOWN guest=false host-signal                  HostSignal
 *   host rebooted, lost power nothing; the host has another boot id             HostRebooted
 *   out of memory             nothing; the kernel tells (agent/qemu/oom.ts)     OutOfMemory
 *   SIGKILL                   nothing                                           Killed
 *   abort, segfault, seccomp  nothing; another signal (known to the parent      Crashed
 *                             only) or an error as last words on stderr
 *   could not be started      not even the answer to qmp_capabilities           StartFailed
 *   migration broke off       nothing, and it never ran here                    MigrationFailed
 */
import type { Journal } from "./journal.ts";

export type EndReason =
  | "GuestShutdown"
  | "GuestReset"
  | "GuestPanic"
  | "Watchdog"
  | "Requested"
  | "HostSignal"
  | "HostRebooted"
  | "OutOfMemory"
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
  journal: Journal;
  /** The last lines of stderr. */
  stderr: string;
  /** How the process ended; only its parent knows, so it is absent when the agent was restarted in between. */
  exit?: { code: number | null; signal: string | null };
  /** We asked it to stop (the ladder of stop begins with the power button, which looks like the guest's own wish). */
  stopRequested: boolean;
  /** It was the target of a migration and never ran here. */
  incoming: boolean;
  /** The host was started anew since. */
  rebooted?: boolean;
  /** Asked when it went without a word: what the kernel says of having killed it for want of memory. */
  outOfMemory?: () => string | undefined;
}

const SHUTDOWN: Readonly<Record<string, End>> = {
  "guest-shutdown": { reason: "GuestShutdown", message: "the guest shut itself down" },
  "guest-reset": { reason: "GuestReset", message: "the guest reset itself, and the machine ends on reset" },
  "guest-panic": { reason: "GuestPanic", message: "the guest's kernel panicked" },
  "host-qmp-quit": { reason: "Requested", message: "stopped on request" },
  "host-signal": { reason: "HostSignal", message: "a signal from outside ended QEMU" },
};

/** QEMU's lines for people: without its time stamp and name, and without warnings, which say nothing about an end. */
export function readableErrors(stderr: string): string[] {
  return (
    stderr
      .split("\n")
      .map((line) => line.replace(/^\d{4}-\S+Z /, "").replace(/^\S*qemu-system-[^\s:]+: /, ""))
      // Of the watchdog device: it has no first stage.
      .filter((line) => line && !/^(warning|info): |^i6300esb_timer_expired: /.test(line))
  );
}

/** Pure. */
export function endOf(remains: Remains): End {
  const { journal, exit, stopRequested, incoming } = remains;
  const errors = readableErrors(remains.stderr);
  const last = errors.at(-1);
  const shutdown = journal.events.findLast((event) => event.event === "SHUTDOWN");
  if (stopRequested)
    return {
      reason: "Requested",
      message:
        shutdown?.data.reason === "guest-shutdown" ? "the guest shut down, as asked" : "stopped on request",
    };
  if (shutdown) {
    const known = SHUTDOWN[String(shutdown.data.reason)];
    if (known?.reason === "HostSignal" && last) return { ...known, message: `${known.message}: ${last}` };
    return known ?? { reason: "Killed", message: `QEMU ended: ${String(shutdown.data.reason)}` };
  }
  // QEMU exits without more ado.
  if (journal.events.some(({ event, data }) => event === "WATCHDOG" && data.action === "poweroff"))
    return { reason: "Watchdog", message: "the guest did not feed its watchdog: it was switched off" };
  if (remains.rebooted)
    return { reason: "HostRebooted", message: "its host was started anew, or lost its power, while it ran" };
  const short = !exit || exit.signal === "SIGKILL" ? remains.outOfMemory?.() : undefined;
  if (short) return { reason: "OutOfMemory", message: short };
  if (!journal.started && !exit?.signal)
    return { reason: "StartFailed", message: errors.join("; ") || "QEMU ended before it had started" };
  if (incoming)
    return {
      reason: "MigrationFailed",
      message: errors.join("; ") || "QEMU ended before everything had arrived",
    };
  if (exit?.signal && exit.signal !== "SIGKILL")
    return { reason: "Crashed", message: `QEMU crashed (${exit.signal})${last ? `: ${last}` : ""}` };
  if (exit?.signal !== "SIGKILL" && last)
    return { reason: "Crashed", message: `QEMU ended without a word in its journal: ${last}` };
  return { reason: "Killed", message: "QEMU was killed (SIGKILL)" };
}
