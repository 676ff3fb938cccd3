/** Whether a machine without a live instance gets a new one, and when. Pure. */
import type { Instance, VirtualMachine } from "./kinds.ts";
import { wantsRestart } from "./lifecycle/requests.ts";

export interface RestartLimits {
  /** Wait before the first restart after a crash; doubles with every one. */
  baseMs: number;
  maxMs: number;
}
export const RESTART_LIMITS: RestartLimits = { baseMs: 1000, maxMs: 300_000 };

/** A run this long was a good one: the next crash is the first again. */
export const GOOD_RUN_MS = 600_000;
/** So many restarts without a good run are a loop. */
export const LOOP_RESTARTS = 3;

export type StartDecision =
  | { do: "start"; restarts: number }
  /** `totalMs`: since its end was seen. */
  | { do: "wait"; ms: number; totalMs: number; restart: number; why: string }
  | { do: "stay"; phase: "Stopped" | "Suspended" | "Failed"; reason: string; message: string };

/**
 * @param last newest instance, which has ended; undefined when there never was one (or it was deleted by hand)
 * @param endedForMs how long ago we saw it end, by our own clock
 */
export function decideStart(
  vm: VirtualMachine,
  last: Instance | undefined,
  endedForMs: number,
  limits: RestartLimits = RESTART_LIMITS,
): StartDecision {
  const { spec, status, metadata } = vm;
  const end = last?.status?.end;
  const why = `${end?.reason ?? "ended"}${end?.message ? `: ${end.message}` : ""}`;
  const start = `vireo start vm/${metadata.name}`;
  const stay = (
    phase: "Stopped" | "Suspended" | "Failed",
    reason: string,
    message: string,
  ): StartDecision => ({
    do: "stay",
    phase,
    reason,
    message,
  });
  if (!spec.running)
    return status?.suspended
      ? stay("Suspended", "Suspended", `suspended; \`${start}\` goes on with its memory`)
      : stay("Stopped", "Stopped", "stopped, as spec.running says");
  if (spec.suspended) {
    const kept = last?.status?.startedTime
      ? end?.reason === "Suspended" && last.status.suspended
      : status?.suspended;
    // Also of one that was suspended again before it could go on: it has ended otherwise.
    if (kept)
      return stay(
        "Suspended",
        "Suspended",
        `suspended, as spec.suspended says; \`${start}\` goes on with its memory`,
      );
    const isRolledBack = end?.reason === "Suspended";
    const ended = isRolledBack
      ? "its memory went when it was rolled back"
      : `its run ended before it was suspended (${why})`;
    const had = last ? ended : "it has not run yet";
    return stay(
      "Stopped",
      "NotSuspended",
      `${had}, and spec.suspended keeps it down; \`${start}\` starts it`,
    );
  }
  // spec.running false on an ended instance: its end was asked for, and since then somebody asked for a start.
  if (!last?.spec.running || wantsRestart(vm)) return { do: "start", restarts: 0 };
  if (end?.reason === "Suspended") return { do: "start", restarts: status?.restarts ?? 0 };
  if (end?.reason === "ResumeFailed" && !spec.discardMemory)
    return stay(
      "Failed",
      "ResumeFailed",
      `${end.message}; its memory is kept: \`${start}\` tries again, with --discard-memory it boots`,
    );
  if (end?.reason === "GuestShutdown" && spec.restart !== "Always")
    return stay("Stopped", "GuestShutdown", `the guest shut itself down; \`${start}\` starts it again`);
  if (spec.restart === "Never")
    return stay(
      "Failed",
      end?.reason ?? "Ended",
      `${why} (spec.restart is Never); \`${start}\` starts it again`,
    );
  if (end?.reason === "GuestPanic" && spec.onPanic?.action === "Stop")
    return stay("Failed", "GuestPanic", `${why} (spec.onPanic.action is Stop); \`${start}\` starts it again`);
  if (end?.reason === "GuestReset") return { do: "start", restarts: status?.restarts ?? 0 };
  const restarts = lasted(last) >= GOOD_RUN_MS ? 0 : (status?.restarts ?? 0);
  const totalMs = Math.min(limits.maxMs, limits.baseMs * 2 ** Math.min(restarts, 20));
  const ms = totalMs - endedForMs;
  return ms > 0
    ? { do: "wait", ms, totalMs, restart: restarts + 1, why }
    : { do: "start", restarts: restarts + 1 };
}

/** How long the run was, by its host's clock. */
function lasted({ status }: Instance): number {
  if (!status?.startedTime || !status.end) return 0;
  return Date.parse(status.end.time) - Date.parse(status.startedTime);
}
