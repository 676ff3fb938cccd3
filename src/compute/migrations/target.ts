/** What the target of a migration is made with, and what its source is told and tells. Pure. */
import { formatBytes } from "../../resource/quantity.ts";
import { type Has as HasNow, memoryNow } from "../changes/kinds.ts";
import type { Instance } from "../kinds.ts";
import { type Migration, type Transfer, toOf } from "./kinds.ts";

type Status = NonNullable<Migration["status"]>;

/** What the source runs with: the target must be the same machine even when the user has changed the VirtualMachine since. */
export function copied(spec: Instance["spec"]) {
  const {
    cpus,
    memory,
    maxCpus,
    maxMemory,
    memoryTarget,
    image,
    storagePool,
    diskSize,
    diskLimits,
    disks,
    bootOrder,
    hardware,
    resources,
    guest,
    readiness,
  } = spec;
  const { paused, stop, onPanic } = spec;
  return {
    cpus,
    memory,
    ...(maxCpus ? { maxCpus } : {}),
    ...(maxMemory ? { maxMemory } : {}),
    ...(memoryTarget ? { memoryTarget } : {}),
    image,
    storagePool,
    ...(diskSize ? { diskSize } : {}),
    ...(diskLimits ? { diskLimits } : {}),
    ...(disks ? { disks } : {}),
    ...(bootOrder ? { bootOrder } : {}),
    ...(hardware ? { hardware } : {}),
    ...(resources ? { resources } : {}),
    ...(guest ? { guest } : {}),
    ...(readiness ? { readiness } : {}),
    ...(paused ? { paused } : {}),
    ...(stop ? { stop } : {}),
    ...(onPanic ? { onPanic } : {}),
  };
}

type Sent = NonNullable<NonNullable<Instance["status"]>["migration"]>;

/** As its agent tells it. */
export function sentOf(sent: Sent | undefined): Pick<Status, "stage" | "disks" | "memory" | "secondsLeft"> {
  const { stage, disks, transferredBytes, remainingBytes, secondsLeft } = sent ?? {};
  return {
    ...(secondsLeft === undefined ? {} : { secondsLeft }),
    ...(stage ? { stage } : {}),
    ...(disks ? { disks } : {}),
    ...(transferredBytes === undefined
      ? {}
      : { memory: { transferredBytes, ...(remainingBytes === undefined ? {} : { remainingBytes }) } }),
  };
}

/** What the source is told, once the target takes what it sends. */
export function orderTo(
  m: Migration,
  { metadata, spec, status }: Instance,
  transfer: Transfer,
): Instance["spec"]["migrateTo"] {
  const { incomingAddress: address, incomingDisks } = status ?? {};
  if (status?.phase !== "Incoming" || !address || (spec.copyDisks && !incomingDisks)) return undefined;
  return {
    migration: m.metadata.name,
    instance: metadata.name,
    address,
    ...(spec.copyDisks && incomingDisks ? { disksAddress: incomingDisks } : {}),
    host: toOf(m),
    // Both ends have to agree on this one, and the target began with it.
    ...(Object.keys(transfer).length > 0 || spec.postCopy
      ? { transfer: { ...transfer, postCopy: spec.postCopy ?? false } }
      : {}),
  };
}
/** Not what the source has been asked for: what it really has by now. */
export const asItIs = (has: HasNow | undefined, { generationId }: Instance["spec"]) =>
  has && {
    has,
    ...(has.tellsGeneration && generationId ? { generationId } : {}),
    interfaces: has.interfaces,
    disks: has.disks,
    ...(has.cdDrives ? { cdDrives: has.cdDrives } : {}),
    ...(has.cpus ? { cpus: has.cpus.now } : {}),
    ...(has.memory && has.memory.modules.length > 0 ? { memory: formatBytes(memoryNow(has.memory)) } : {}),
  };
