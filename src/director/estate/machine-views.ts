/** How the director sees a machine: made from its VirtualMachine and its runs. Pure. */
import { needsOf, pinsIn, pinsOf } from "../../compute/hardware/kinds.ts";
import { ioOf } from "../../compute/io/kinds.ts";
import type { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { isToRun, isWanted } from "../../compute/lifecycle/kinds.ts";
import { cpusOf, memoryOf, reservedBy } from "../../compute/resources/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import type { ObjectMeta } from "../../resource/object.ts";
import { parseBytes } from "../../resource/quantity.ts";
import type { MachineView } from "./estate.ts";

const live = (instance: Instance) => instance.status?.custody !== "Released";

export const namespaceOf = ({ metadata }: { metadata: ObjectMeta }) => metadata.namespace ?? "default";

/** A machine of which an instance cannot be read is where it was last, and stays there. */
function viewMachine(
  vm: VirtualMachine,
  runs: readonly Instance[],
  unread: readonly ObjectMeta[],
  localPools: ReadonlySet<string>,
): MachineView {
  const isUnread = unread.some(({ ownerReferences }) =>
    ownerReferences?.some(({ uid }) => uid === vm.metadata.uid),
  );
  const own = runs.filter((i) => i.spec.vmUid === vm.metadata.uid && live(i));
  const namespace = namespaceOf(vm);
  const view = viewRuns(own, { ...vm.spec, ...pinsOf(vm.spec.hardware, vm.status) });
  const host = view.host ?? (isUnread ? vm.status?.host : undefined);
  const { latencySensitivity } = vm.spec;
  return {
    ...view,
    key: `${namespace}/${vm.metadata.name}`,
    namespace,
    name: vm.metadata.name,
    labels: vm.metadata.labels ?? {},
    ...(latencySensitivity ? { latencySensitivity } : {}),
    ...(host ? { host } : {}),
    ...(host || isUnread || isToRun(vm, own.length > 0) ? {} : { off: true }),
    ...(localPools.has(vm.spec.storagePool) ? { localDisks: true, localDiskBytes: diskBytesOf(vm) } : {}),
    movable: view.movable && !isUnread && isWanted(vm),
  };
}

/** What its disks are declared to have. An image's own size is not known here. */
const diskBytesOf = ({ spec }: VirtualMachine): number =>
  [spec.diskSize, ...(spec.disks ?? []).map(({ size }) => size)].reduce(
    (sum, size) => sum + (size === undefined ? 0 : parseBytes(size)),
    0,
  );

type Wanted = Pick<
  Instance["spec"],
  "cpus" | "memory" | "hardware" | "resources" | "machineType" | "guestCpu"
> &
  Parameters<typeof ioOf>[0];

/** What the live runs of one machine take, and where. `wanted` is what it takes when there is none. */
function viewRuns(own: readonly Instance[], wanted: Wanted) {
  const holder = own.find((i) => i.status?.custody === "Held") ?? own.find((i) => !i.spec.incoming) ?? own[0];
  const target = own.find((i) => i !== holder && i.spec.host && i.spec.host !== holder?.spec.host);
  // Not the machine's wish, which may have changed since this run began.
  const now: Wanted = holder?.spec ?? wanted;
  const { accelerator, cpuModel, guestCpu, usage: { dirtyBytesPerSecond } = {} } = holder?.status ?? {};
  const reserved = reservedBy(now, holder?.status?.numaNode);
  const io = ioOf(now);
  return {
    cpus: cpusOf(now),
    memoryBytes: memoryOf(now),
    ...(io ? { io } : {}),
    ...(dirtyBytesPerSecond === undefined ? {} : { dirtyBytesPerSecond }),
    ...(reserved ? { reserved } : {}),
    needs: needsOf({ ...now, ...pinsIn(holder?.status) }),
    ...(holder?.spec.host ? { host: holder.spec.host } : {}),
    ...(target?.spec.host ? { movingTo: target.spec.host } : {}),
    ...(holder && !holder.spec.host && holder.spec.disksOn ? { disksOn: holder.spec.disksOn } : {}),
    ...(accelerator && cpuModel !== undefined
      ? { platform: { accelerator, cpuModel, ...(guestCpu ? { guestCpu } : {}) } }
      : {}),
    ...(holder?.spec.resumes ? { resumes: holder.spec.resumes } : {}),
    movable: holder?.status?.phase === "Running" && holder.spec.running && own.length === 1,
    since: Date.parse(holder?.status?.readyTime ?? holder?.metadata.creationTimestamp ?? "") || 0,
  };
}

/** Runs whose VirtualMachine is gone or cannot be read: they run all the same, take room, and stay where they are. */
export function viewOwnerless(vmUid: string, instances: readonly Instance[]): MachineView | undefined {
  const own = instances.filter((i) => i.spec.vmUid === vmUid && live(i) && i.spec.host);
  const [first] = own;
  if (!first) return undefined;
  const namespace = namespaceOf(first);
  return {
    ...viewRuns(own, first.spec),
    // No VirtualMachine has such a key: one of the same name may have been created since.
    key: `${namespace}/instances/${first.metadata.name}`,
    namespace,
    name: first.spec.vm,
    labels: first.metadata.labels ?? {},
    movable: false,
  };
}

export const localPoolsIn = (pools: readonly StoragePool[]): ReadonlySet<string> =>
  new Set(pools.filter(({ spec }) => !spec.directory.shared).map(({ metadata }) => metadata.name));

/** One machine of the estate by itself, as makeEstate has it where no Migration is. @param vm undefined: it is gone @param runs of it, released or not @param unread instances that cannot be read */
export function viewOne(
  vm: VirtualMachine | undefined,
  runs: readonly Instance[],
  localPools: ReadonlySet<string>,
  unread: readonly ObjectMeta[] = [],
): MachineView | undefined {
  if (vm) return viewMachine(vm, runs, unread, localPools);
  const [first] = runs;
  return first && viewOwnerless(first.spec.vmUid, runs);
}
