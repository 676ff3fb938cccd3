/** The end of a machine: its runs, then its volumes, then itself. */
import type { Client } from "../client/client.ts";
import { at, deleteInstance, freshInstances, removeUnbound, stopInstance } from "./actions.ts";
import { isBound, isLive } from "./custody.ts";
import { type Instance, VirtualMachine, VOLUMES_FINALIZER } from "./kinds.ts";

/**
 * The machine is being deleted. Everything is stopped; then the newest bound instance stays alone, its agent is told to
 * destroy the volumes, and goes; then the machine may go.
 * @returns what it waits for; undefined when nothing is left
 */
export async function removeMachine(client: Client, vm: VirtualMachine): Promise<Instance[] | undefined> {
  if (!vm.metadata.finalizers?.includes(VOLUMES_FINALIZER)) return undefined;
  // Complete: no instance of a machine that is being deleted can be created any more (checkInstance).
  const instances = await freshInstances(client, vm);
  if (instances.length === 0) {
    const finalizers = vm.metadata.finalizers.filter((f) => f !== VOLUMES_FINALIZER);
    await client.update(VirtualMachine, { ...vm, metadata: { ...vm.metadata, finalizers } });
    return undefined;
  }
  for (const instance of instances) {
    if (!isBound(instance) && (await removeUnbound(client, instance))) continue;
    if (isLive(instance)) await stopInstance(client, instance);
  }
  const bound = instances.filter(isBound);
  if (!bound.some(isLive)) {
    const keeper = bound.findLast((i) => !i.metadata.deletionTimestamp) ?? bound.at(-1);
    // Each host may have some of its disks.
    for (const instance of bound) if (instance !== keeper) await deleteInstance(client, instance, true);
    if (keeper && instances.length === 1) await deleteInstance(client, keeper, true);
  }
  return instances;
}

/** Instances of a machine that is gone (its finalizer was removed by force), or of an older one of the name. */
export async function removeOrphans(
  client: Client,
  vm: VirtualMachine | undefined,
  instances: readonly Instance[],
): Promise<void> {
  for (const instance of instances) {
    if (instance.spec.vmUid === vm?.metadata.uid) continue;
    // The informers are not in step: the machine may be newer than our copy.
    const now = await client.get(VirtualMachine, { ...at(instance), name: instance.spec.vm });
    if (now?.metadata.uid === instance.spec.vmUid) continue;
    if (!(await removeUnbound(client, instance))) await deleteInstance(client, instance);
  }
}

/** Whether it does not go before its volumes. */
export const isKept = ({ metadata }: VirtualMachine) =>
  metadata.finalizers?.includes(VOLUMES_FINALIZER) ?? false;

/** From now on it does not go before its volumes. */
export function keepVolumes(client: Client, vm: VirtualMachine): Promise<VirtualMachine> {
  const finalizers = [...(vm.metadata.finalizers ?? []), VOLUMES_FINALIZER];
  return client.update(VirtualMachine, { ...vm, metadata: { ...vm.metadata, finalizers } });
}
