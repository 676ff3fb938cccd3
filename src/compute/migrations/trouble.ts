/** Why a migration that is under way comes to nothing. Pure. */
import { isReleased } from "../custody.ts";
import type { Instance, VirtualMachine } from "../kinds.ts";
import { isInPostCopy, type Migration, toOf } from "./kinds.ts";

/** Why a migration cannot go on; phase says what it ends as. */
export interface Trouble {
  phase: "Failed" | "Cancelled";
  message: string;
}
export const failed = (message: string): Trouble => ({ phase: "Failed", message });

/** What ends a migration before the flip. */
export function troubleOf(
  m: Migration,
  vm: VirtualMachine,
  source: Instance | undefined,
  target: Instance | undefined,
  { nowMs, prepareTimeoutMs }: { nowMs: number; prepareTimeoutMs: number },
): Trouble | undefined {
  const goesOn = isInPostCopy(source, m.status?.target);
  if (m.spec.cancel && !goesOn)
    return { phase: "Cancelled", message: "called off (spec.cancel); the machine stayed where it was" };
  // In post-copy its guest shuts down over there, once it has been handed over.
  if (vm.metadata.deletionTimestamp || (!vm.spec.running && !goesOn))
    return failed("the machine was stopped meanwhile");
  if (!source || isReleased(source)) return failed(`the machine ended on ${m.status?.from}${endOf(source)}`);
  if ((!source.spec.running && !goesOn) || source.metadata.deletionTimestamp)
    return failed("the machine was stopped meanwhile");
  const sending = source.status?.migration;
  if (sending?.to === m.status?.target && (sending?.phase === "Failed" || sending?.phase === "Cancelled"))
    return failed(`${m.status?.from} could not send it: ${sending.error ?? sending.phase}${endOf(target)}`);
  if (m.status?.phase === "Pending") return undefined;
  if (!target) return failed(`the target instance ${m.status?.target} is gone`);
  if (isReleased(target) || target.metadata.deletionTimestamp)
    return failed(`${toOf(m)} could not receive it${endOf(target)}`);
  const since = m.status?.startedTime ? Date.parse(m.status.startedTime) : nowMs;
  if (m.status?.phase === "Preparing" && nowMs - since > prepareTimeoutMs)
    return failed(`${toOf(m)} was not ready to receive within ${prepareTimeoutMs / 1000} s`);
  return undefined;
}

export const endOf = (instance: Instance | undefined): string => {
  const end = instance?.status?.end;
  return end ? ` (${end.reason}: ${end.message})` : "";
};
