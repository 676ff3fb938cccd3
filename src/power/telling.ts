/** What is told of a host's power: the conditions of its wake tests, and why something is begun. Pure. */
import type { Host } from "../compute/hosts/kinds.ts";
import type { Instance } from "../compute/kinds.ts";
import { getCondition, keyOf } from "../resource/object.ts";
import {
  type Emptying,
  failedWakeTest,
  pendingOf,
  type Task,
  WAKE_TEST_DUE,
  WAKE_TEST_FAILED,
} from "./kinds.ts";

/** The object of an event. */
export const about = ({ metadata: { name, uid } }: Host) => ({
  kind: "Host",
  name,
  ...(uid ? { uid } : {}),
});

export function wakeCondition(host: Host) {
  const { lastWakeTest } = host.status?.power ?? {};
  if (!lastWakeTest) return undefined;
  const failed = failedWakeTest(host);
  return {
    type: WAKE_TEST_FAILED,
    status: failed ? ("True" as const) : ("False" as const),
    reason: failed ? "Failed" : lastWakeTest.passed ? "Passed" : "Acknowledged",
    message: `${lastWakeTest.message} (test of ${lastWakeTest.startedTime})`,
    observedGeneration: host.metadata.generation ?? 0,
  };
}

export const isOverdue = ({ status }: Host) =>
  getCondition(status?.conditions, WAKE_TEST_DUE)?.reason === "Overdue";

export function dueCondition(host: Host, due: { message: string; isOver: boolean } | undefined) {
  if (!due && !getCondition(host.status?.conditions, WAKE_TEST_DUE)) return undefined;
  return {
    type: WAKE_TEST_DUE,
    status: due ? ("True" as const) : ("False" as const),
    reason: due ? (due.isOver ? "Overdue" : "Due") : "NotDue",
    message: due?.message ?? "",
    observedGeneration: host.metadata.generation ?? 0,
  };
}

/** A host is emptied for its wake test for so long at most. */
const EMPTY_MS = 2 * 3_600_000;
/** Given up, that is begun anew so long after. */
const AGAIN_MS = 12 * 3_600_000;
const SHOWN = 3;

const namesOf = (there: readonly Instance[]) => {
  const more = there.length > SHOWN ? ` and ${there.length - SHOWN} more` : "";
  return `${there.slice(0, SHOWN).map(keyOf).join(", ")}${more}`;
};

/** @param now ms since the epoch */
export const isLong = ({ startedTime }: Emptying, now: number): boolean =>
  now - Date.parse(startedTime) >= EMPTY_MS;

/** Why a host on which these are is not emptied for its wake test, or not any longer; undefined: it may be. @param now ms since the epoch */
export function whyOccupied(
  there: readonly Instance[],
  emptying: Emptying | undefined,
  now: number,
): string | undefined {
  if (!emptying) return undefined;
  const { endedTime, message } = emptying;
  if (endedTime === undefined)
    return isLong(emptying, now)
      ? `because ${namesOf(there)} ${there.length === 1 ? "was" : "were"} still there ${EMPTY_MS / 60_000} minutes after it began to be emptied`
      : undefined;
  const again = Date.parse(endedTime) + AGAIN_MS;
  return now < again
    ? `until ${new Date(again).toISOString()}, when it is emptied anew; the last time that was given up: ${message}`
    : undefined;
}

export const goingWords = (there: readonly Instance[]): string =>
  `its machines are moved elsewhere for it: ${namesOf(there)} ${there.length === 1 ? "is" : "are"} still there`;

export function becauseOf({ spec, status }: Host, { kind }: Task): string {
  const { wakeTest } = spec.powerManagement ?? {};
  if (kind === "WakeTest")
    return `because one is due every ${wakeTest?.everyDays} days (spec.powerManagement.wakeTest), and it is expected to be heard from again by itself`;
  const pending = pendingOf({ spec, status });
  if (spec.power === undefined && status?.power && failedWakeTest({ spec, status }))
    return "because it failed its wake test, and is not left off";
  if (pending) return `because PowerPolicy ${pending.policy} wants it: ${pending.reason}`;
  return `because spec.power is ${spec.power}`;
}

export const BEGUN = {
  On: "SwitchingOn",
  Off: "SwitchingOff",
  ForceOff: "SwitchingOff",
  WakeTest: "WakeTestBegun",
} as const;
export const WHY = {
  On: "its BMC is told to switch it on",
  Off: "no machine is on it; its system is asked to shut down",
  ForceOff: "no machine is on it; its power is cut",
  WakeTest: "no machine is on it; it is shut down and switched on again",
} as const;
