/** What the next run of a machine is made with, beside what its spec says. Pure. */
import { isDeepStrictEqual } from "node:util";
import { getCondition } from "../resource/object.ts";
import { formatBytes } from "../resource/quantity.ts";
import { machinePart } from "./actions.ts";
import { memoryNow } from "./changes/kinds.ts";
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

/** Whether a run that has not begun is not what the machine is to be by now. One that goes on with memory is what it was, and is changed once it runs. */
export function isOutdated(vm: VirtualMachine, { spec }: Instance): boolean {
  if (spec.resumes && spec.has) return !resumesWith(vm).resumes;
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

/** Whether its host has said that it cannot be made ready: its guest has not begun. */
export const cannotBegin = ({ spec, status }: Instance): boolean =>
  status?.phase === "Preparing" &&
  status.startedTime === undefined &&
  !spec.incoming &&
  getCondition(status.conditions, "Ready")?.reason === "PrepareFailed";

type Then = Pick<Instance["spec"], "has" | "disks" | "interfaces"> | Record<string, never>;

/**
 * What the next run of a suspended machine is made as: what the run had whose memory it goes on with. What spec says otherwise by now comes to it as to any other
 * run (changes/), or waits for the next start.
 * @param last its newest run; of one that told not what it had, or when nothing is kept, it is as spec says
 * @returns `part`: of the run's spec, in place of what is made of the machine `as`
 */
export function asSuspended(
  vm: VirtualMachine,
  last: Instance | undefined,
): { as: VirtualMachine; part: Then } {
  const { spec: was, status } = last ?? {};
  const has = status?.end?.reason === "Suspended" ? status.has : was?.resumes && was.has;
  if (!was || !has || !resumesWith(vm).resumes) return { as: vm, part: {} };
  const fixed = ["maxCpus", "maxMemory", "hardware", "bootOrder", "guest", "cdDrives"] as const;
  const {
    maxCpus: _1,
    maxMemory: _2,
    hardware: _3,
    bootOrder: _4,
    guest: _5,
    cdDrives: _6,
    ...spec
  } = vm.spec;
  const drives = was.cdDrives?.map(
    (drive) => vm.spec.cdDrives?.find(({ name }) => name === drive.name) ?? drive,
  );
  const as = {
    ...vm,
    spec: {
      ...spec,
      ...Object.fromEntries(
        fixed.flatMap((field) => (was[field] === undefined ? [] : [[field, was[field]]])),
      ),
      ...(drives ? { cdDrives: drives } : {}),
      cpus: has.cpus?.now ?? was.cpus,
      memory: has.memory ? formatBytes(memoryNow(has.memory)) : was.memory,
    },
  };
  const disks = has.disks.map((disk) => ({ ...disk, exists: true }));
  return {
    as,
    part: { has, interfaces: has.interfaces, ...(was.disks ? { disks } : {}) },
  };
}

/** The first is its uid, which no clone has. */
export const generationOf = ({ spec, status, metadata: { uid } }: VirtualMachine) => {
  const generationId = status?.generationId ?? uid;
  return generationId !== undefined && tellsGeneration(spec.hardware) ? { generationId } : {};
};
