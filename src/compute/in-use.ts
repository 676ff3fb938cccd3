/** What may not be deleted while somebody needs it. Pure: rules of kinds, looked over in the turn of the deletion. */
import { imageOf } from "../images/versions/kinds.ts";
import { invalidity } from "../resource/invalid.ts";
import type { Lookup } from "../resource/kind.ts";
import { keyOf, type Resource } from "../resource/object.ts";
import type { Host } from "./hosts/kinds.ts";
import { Instance, VirtualMachine } from "./kinds.ts";
import type { Network } from "./networks/kinds.ts";
import { Snapshot } from "./snapshots/kinds.ts";
import type { StoragePool } from "./storage/kinds.ts";

const SHOWN = 3;

/** "used by default/web-1, default/web-2, default/web-3 and 4 more: …"; undefined when nobody uses it. */
function usedBy(users: readonly Resource[], remedy: string): string | undefined {
  if (users.length === 0) return undefined;
  const shown = users.slice(0, SHOWN).map(keyOf).join(", ");
  const more = users.length > SHOWN ? ` and ${users.length - SHOWN} more` : "";
  return `used by ${shown}${more}: ${remedy}`;
}

/** Of an object that is not of its kind's shape it is not known what it uses: it is asked field by field. */
const names = (field: unknown, name: string) =>
  field === name || (Array.isArray(field) && field.includes(name));

const machinesThatName =
  (field: "storagePool" | "networks") =>
  ({ metadata: { name } }: Resource, lookup: Lookup): string | undefined =>
    usedBy(
      lookup.list(VirtualMachine).filter(({ spec }: Partial<VirtualMachine>) => names(spec?.[field], name)),
      `spec.${field} of these machines names it; delete them first`,
    );

/** The disks of machines are overlays of their images. */
export function keepImage({ metadata: { name } }: Resource, lookup: Lookup): string | undefined {
  const isIn = (list: readonly { image?: string }[] | undefined) =>
    Array.isArray(list) && list.some((each) => isOf(each?.image));
  const isOf = (reference: unknown) => typeof reference === "string" && imageOf(reference) === name;
  const uses = ({ spec }: Partial<VirtualMachine>) => isOf(spec?.image) || isIn(spec?.disks);
  const all = lookup.list(VirtualMachine);
  return (
    usedBy(all.filter(uses), "spec.image or spec.disks of these machines names it; delete them first") ??
    usedBy(
      all.filter(({ spec }: Partial<VirtualMachine>) => isIn(spec?.cdDrives)),
      "it is in their CD drives; vireo eject takes it out",
    )
  );
}
export const keepStoragePool: (pool: StoragePool, lookup: Lookup) => string | undefined =
  machinesThatName("storagePool");
export const keepNetwork: (network: Network, lookup: Lookup) => string | undefined =
  machinesThatName("networks");

/** Nothing knows any more where the machines of a host are when the host is not known. */
export function keepHost({ metadata: { name } }: Host, lookup: Lookup): string | undefined {
  const runs = lookup
    .list(Instance)
    .filter(({ spec, status }: Partial<Instance>) => spec?.host === name && status?.custody !== "Released");
  return usedBy(runs, "these instances are on it; move or stop their machines first");
}

/** Whether a machine's disks need what the snapshot froze, or are about to. */
export function usesSnapshot(
  { spec, status }: Partial<VirtualMachine>,
  { metadata: { name, uid } }: Resource,
): boolean {
  if (status?.source?.independent) return false;
  return spec?.source?.snapshot === name || (uid !== undefined && status?.source?.snapshotUid === uid);
}

const FREE_IT = "their disks are linked to it (spec.source); delete them first";

/** The disks of clones are overlays of their template, or are being copied from it. */
export function keepSnapshot(snapshot: Snapshot, lookup: Lookup): string | undefined {
  const machines = lookup.list(VirtualMachine, snapshot.metadata.namespace);
  return usedBy(
    machines.filter((vm) => usesSnapshot(vm, snapshot)),
    FREE_IT,
  );
}

export function keepVirtualMachine(vm: VirtualMachine, lookup: Lookup): string | undefined {
  const { metadata } = vm;
  const own = lookup.list(Snapshot, metadata.namespace).filter(({ spec }) => spec?.vm === metadata.name);
  const isClone = (other: Partial<VirtualMachine> & Resource) => {
    if (other.metadata.uid === metadata.uid || other.status?.source?.independent) return false;
    const { source } = other.status ?? {};
    const begins = !source?.ready && other.spec?.source?.vm === metadata.name;
    return begins || source?.vmUid === metadata.uid || own.some((snapshot) => usesSnapshot(other, snapshot));
  };
  return (
    keepProtected(vm) ?? usedBy(lookup.list(VirtualMachine, metadata.namespace).filter(isClone), FREE_IT)
  );
}

function keepProtected({ metadata, spec }: VirtualMachine): string | undefined {
  if (invalidity({ metadata }) !== undefined || !spec.deletionProtection) return undefined;
  return "spec.deletionProtection is true; set it to false first";
}

/** A project goes with all that is in it: not while there is something that its owner wants to keep. */
export function keepProject({ metadata: { name } }: Resource, lookup: Lookup): string | undefined {
  const kept = lookup.list(VirtualMachine, name).filter((vm) => keepProtected(vm) !== undefined);
  return usedBy(kept, "spec.deletionProtection of these machines is true; set it to false first");
}
