/** Whether a machine without a live instance gets a new one, and when. Pure. */
import type { Instance, VirtualMachine } from "./kinds.ts";

export interface RestartLimits {
  /** Wait before the first restart after a crash; doubles with every one. */
  baseMs: number;
  maxMs: number;
}
export const RESTART_LIMITS: RestartLimits = { baseMs: 1000, maxMs: 300_000 };

/** A run this long was a good one: the next crash is the first again. */
const GOOD_RUN_MS = 600_000;

export type StartDecision =
  | { do: "start"; restarts: number }
  | { do: "wait"; ms: number; message: string }
  | { do: "stay"; phase: "Stopped" | "Failed"; reason: string; message: string };

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
  if (!vm.spec.running)
    return { do: "stay", phase: "Stopped", reason: "Stopped", message: "stopped, as spec.running says" };
  // spec.running false on an ended instance: its end was asked for, and since then somebody asked for a start.
  if (!last?.spec.running) return { do: "start", restarts: 0 };
  const end = last.status?.end;
  const why = `${end?.reason ?? "ended"}${end?.message ? `: ${end.message}` : ""}`;
  if (end?.reason === "GuestShutdown")
    return {
      do: "stay",
      phase: "Stopped",
      reason: "GuestShutdown",
      message: "the guest shut itself down; set spec.running to false and then to true to start it again",
    };
  if (vm.spec.restart === "Never")
    return {
      do: "stay",
      phase: "Failed",
      reason: end?.reason ?? "Ended",
      message: `${why} (spec.restart is Never)`,
    };
  if (end?.reason === "GuestReset") return { do: "start", restarts: vm.status?.restarts ?? 0 };
  const restarts = lasted(last) >= GOOD_RUN_MS ? 0 : (vm.status?.restarts ?? 0);
  const ms = Math.min(limits.maxMs, limits.baseMs * 2 ** Math.min(restarts, 20)) - endedForMs;
  if (ms > 0)
    return {
      do: "wait",
      ms,
      message: `restart ${restarts + 1} in ${Math.ceil(ms / 1000)} s after ${why}`,
    };
  return { do: "start", restarts: restarts + 1 };
}

/** How long the run was, by its host's clock. */
function lasted({ status }: Instance): number {
  if (!status?.startedTime || !status.end) return 0;
  return Date.parse(status.end.time) - Date.parse(status.startedTime);
}
