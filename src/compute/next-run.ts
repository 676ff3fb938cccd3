/** What the next run of a machine is made with, beside what its spec says. Pure. */
import { isDeepStrictEqual } from "node:util";
import { machinePart } from "./actions.ts";
import { instanceSource } from "./clones/kinds.ts";
import { hostOfDisks } from "./custody.ts";
import { tellsGeneration } from "./hardware/kinds.ts";
import { hasVolumes, type Instance, type VirtualMachine } from "./kinds.ts";
import { STEERED } from "./lifecycle/kinds.ts";

/**
 * Where it has to start, because hosts do not share what it starts from: its disks, or those that they are made from.
 * @param instances its own; `instancesOf` those of another, namespace/name
 */
export function disksOn(
  vm: VirtualMachine,
  instances: readonly Instance[],
  isLocal: (storagePool: string) => boolean,
  instancesOf: (machine: string) => readonly Instance[],
): Pick<Instance["spec"], "disksOn"> {
  const own = hostOfDisks(instances);
  const { vm: name, vmUid, storagePool = "" } = vm.status?.source ?? {};
  const source = own === undefined && name !== undefined && isLocal(storagePool);
  const of = source ? instancesOf(`${vm.metadata.namespace ?? "default"}/${name}`) : [];
  const host = isLocal(vm.spec.storagePool) ? own : undefined;
  const disksOn = host ?? hostOfDisks(of.filter(({ spec }) => spec.vmUid === vmUid));
  return disksOn ? { disksOn } : {};
}

/** Where the next run has its disks from, when they are not those of the image. */
export function disksOf({ status }: VirtualMachine, last: Instance | undefined): Partial<Instance["spec"]> {
  if (last && hasVolumes(last)) return { volumesExist: true };
  return status?.source ? { source: instanceSource(status.source) } : {};
}

/** What goes to a run in any case. */
const LIVE = new Set<string>([
  "resources",
  "readiness",
  "diskLimits",
  "diskSize",
  "memoryTarget",
  ...STEERED,
]);

/** Whether a run that waits for a host is not what the machine is to be by now. */
export function isOutdated(vm: VirtualMachine, { spec }: Instance): boolean {
  const part = machinePart(vm);
  return (
    Object.entries(part).some(
      ([field, value]) => !LIVE.has(field) && !isDeepStrictEqual(value, Reflect.get(spec, field)),
    ) ||
    !isDeepStrictEqual(
      vm.spec.networks,
      spec.interfaces.map(({ network }) => network),
    )
  );
}

/** What a host has to be for the next run to go on with the memory that is kept. */
export function resumesWith({ spec, status }: VirtualMachine): Pick<Instance["spec"], "resumes"> {
  const { suspended } = status ?? {};
  if (!suspended || spec.discardMemory) return {};
  const { accelerator, cpuModel, guestCpu } = suspended;
  return { resumes: { accelerator, cpuModel, ...(guestCpu ? { guestCpu } : {}) } };
}

/** The first is its uid, which no clone has. */
export const generationOf = ({ spec, status, metadata: { uid } }: VirtualMachine) => {
  const generationId = status?.generationId ?? uid;
  return generationId !== undefined && tellsGeneration(spec.hardware) ? { generationId } : {};
};
