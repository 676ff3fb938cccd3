/**
 * Hosts whose memory is about to fail: the condition MemoryFailing, from the errors that ECC found (status.memoryErrors) and spec.failingMemory. Under `act` their machines leave
 * as in maintenance. Once it is true it stays so until somebody has looked after it, however still the module keeps: its machines would come back to it. Pure.
 */
import type { Host } from "../../compute/hosts/kinds.ts";
import { getCondition } from "../../resource/object.ts";

export const MEMORY_FAILING = "MemoryFailing";
const PER_DAY = 100;

export interface MemoryVerdict {
  status: "True" | "False";
  reason: string;
  message: string;
}

/** Undefined: nothing is to be said, and an older condition goes. */
export function judgeMemory({ metadata, spec, status }: Host): MemoryVerdict | undefined {
  const { automation = "advise", correctedPerDay = PER_DAY, acknowledged } = spec.failingMemory ?? {};
  const old = getCondition(status?.conditions, MEMORY_FAILING);
  if (automation === "off" || (!status?.memoryErrors && !old)) return undefined;
  const { modules = [] } = status?.memoryErrors ?? {};
  const bad = modules.flatMap(({ module, uncorrected, correctedLastDay }) => {
    if (uncorrected > 0)
      return [
        `${module}: ${uncorrected} ${uncorrected === 1 ? "error" : "errors"} that could not be corrected since the host was started`,
      ];
    return correctedLastDay > correctedPerDay
      ? [
          `${module}: ${correctedLastDay} corrected errors within a day, ${correctedPerDay} at most are usual (spec.failingMemory.correctedPerDay)`,
        ]
      : [];
  });
  const then =
    automation === "act"
      ? "its machines are moved elsewhere"
      : `vireo drain ${metadata.name} moves its machines elsewhere, as spec.failingMemory.automation: act would`;
  // The kernel counts them until then.
  const until = modules.some(({ uncorrected }) => uncorrected > 0)
    ? "; that can be acknowledged (spec.failingMemory.acknowledged) once the host has been started anew"
    : "";
  if (bad.length > 0)
    return { status: "True", reason: "TooManyErrors", message: `${bad.join("; ")}; ${then}${until}` };
  if (old?.status === "True" && acknowledged !== old.lastTransitionTime)
    return {
      status: "True",
      reason: "NotAcknowledged",
      message: `too many errors were found, and fewer come now; it is taken for well again once spec.failingMemory.acknowledged is ${old.lastTransitionTime}`,
    };
  return { status: "False", reason: "Usual", message: "no module has more errors than usual" };
}

/** Whether its machines are to leave it for that. */
export const isLeftForMemory = ({ spec, status }: Host): boolean =>
  spec.failingMemory?.automation === "act" &&
  getCondition(status?.conditions, MEMORY_FAILING)?.status === "True";
