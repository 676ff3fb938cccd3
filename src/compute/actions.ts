/** The few writes on instances that the machine's and the migration's reconcilers share; each is safe to do twice. */
import { type Client, modify, type ObjectName } from "../client/client.ts";
import { ApiError, isApiError } from "../resource/errors.ts";
import { INVALID } from "../resource/invalid.ts";
import { API_VERSION, GROUP } from "../resource/kind.ts";
import type { ObjectMeta } from "../resource/object.ts";
import { placedDisks } from "./changes/places.ts";
import { instanceName, instancesOf, isBound, isReleased } from "./custody.ts";
import { INSTANCE_FINALIZER, Instance, VirtualMachine, VM_LABEL } from "./kinds.ts";

/** An instance, a migration or a snapshot, say. */
interface OfMachine {
  metadata: ObjectMeta;
  spec: { vm: string };
}

/** "namespace/name" of its machine. */
export const keyOfMachine = ({ metadata, spec }: OfMachine): string => `${metadata.namespace}/${spec.vm}`;

/** Its machine, as what events are about. */
export function aboutMachine({ metadata: { namespace }, spec }: OfMachine) {
  return { kind: VirtualMachine.kind, name: spec.vm, ...(namespace ? { namespace } : {}) };
}

export function at({ metadata }: { metadata: ObjectMeta }): ObjectName {
  return { name: metadata.name, ...(metadata.namespace ? { namespace: metadata.namespace } : {}) };
}

/** An instance of the machine that is not of an instance's shape: what runs of the machine is not known until somebody mends it. */
export class OddInstance extends Error {}

/** What such an instance keeps waiting is tried again after this: mending it may not be seen where it would be read. */
export const ODD_RETRY_MS = 30_000;

/**
 * The machine's instances as they are now, not as some informer has them. @throws OddInstance when one of them cannot be read: it may
 * hold the disks, so nothing may be decided as if it were not there.
 */
export async function freshInstances(client: Client, vm: VirtualMachine): Promise<Instance[]> {
  const { items, skipped } = await client.list(Instance, {
    ...(vm.metadata.namespace ? { namespace: vm.metadata.namespace } : {}),
    labelSelector: `${VM_LABEL}=${vm.metadata.name}`,
  });
  const [odd] = skipped;
  if (odd)
    throw new OddInstance(
      `instance ${odd.name} of it is stored in a shape that cannot be read (${odd.annotations?.[INVALID] ?? "unknown"}), so it is not known what runs; mend that instance, or delete it`,
    );
  return instancesOf(vm, items);
}

/** The same where one that cannot be read is told, and tried again after ODD_RETRY_MS. */
export async function instancesOrOdd(client: Client, vm: VirtualMachine): Promise<Instance[] | OddInstance> {
  try {
    return await freshInstances(client, vm);
  } catch (error) {
    if (error instanceof OddInstance) return error;
    throw error;
  }
}

/**
 * Raises status.sequence by compare-and-swap on `vm` as it was read: from here on no instance with a lower number can be
 * created any more (checkInstance), so what a list shows afterwards is complete.
 * @throws ApiError Conflict when the machine changed since.
 */
export async function takeNumber(
  client: Client,
  vm: VirtualMachine,
  also: Partial<NonNullable<VirtualMachine["status"]>> = {},
): Promise<VirtualMachine> {
  const sequence = (vm.status?.sequence ?? 0) + 1;
  return client.updateStatus(VirtualMachine, { ...vm, status: { ...vm.status, ...also, sequence } });
}

/** The machine's labels but for ours: on an instance they mean something to the reconcilers. */
const userLabels = ({ metadata }: VirtualMachine) =>
  Object.fromEntries(Object.entries(metadata.labels ?? {}).filter(([key]) => !key.startsWith(`${GROUP}/`)));

/** Creates the instance of the number that the machine's status says. No-op when it exists. */
export async function createInstance(
  client: Client,
  vm: VirtualMachine,
  spec: Omit<Instance["spec"], "vm" | "vmUid" | "running">,
  labels: Record<string, string> = {},
): Promise<void> {
  const { name, namespace, uid } = vm.metadata;
  if (!uid) throw new ApiError("InternalError", "a machine without uid");
  const metadata: ObjectMeta = {
    name: instanceName(name, vm.status?.sequence ?? 0),
    ...(namespace ? { namespace } : {}),
    labels: { ...userLabels(vm), ...labels, [VM_LABEL]: name },
    finalizers: [INSTANCE_FINALIZER],
    ownerReferences: [{ apiVersion: API_VERSION, kind: VirtualMachine.kind, name, uid, controller: true }],
  };
  try {
    await client.create(Instance, { metadata, spec: { ...spec, vm: name, vmUid: uid, running: true } });
  } catch (error) {
    if (!isApiError(error, "AlreadyExists")) throw error;
  }
}

/** Asks for an orderly stop. */
export async function stopInstance(client: Client, instance: Instance): Promise<void> {
  if (!instance.spec.running) return;
  await client
    .patch(Instance, at(instance), { spec: { running: false } })
    .catch((error: unknown) => ignoreGone(error));
}

/** @param destroyVolumes whether its agent is to destroy what its host has of the machine's disks first */
export async function deleteInstance(
  client: Client,
  instance: Instance,
  destroyVolumes = false,
): Promise<void> {
  const { uid } = instance.metadata;
  if (destroyVolumes && !instance.spec.destroyVolumes)
    await modify(client, Instance, at(instance), "object", (now) =>
      now.metadata.uid === uid ? { ...now, spec: { ...now.spec, destroyVolumes } } : undefined,
    );
  if (instance.metadata.deletionTimestamp) return;
  await client.delete(Instance, at(instance), uid ? { uid } : {}).catch((error: unknown) => {
    // Conflict: by now another object has the name.
    if (!isApiError(error, "Conflict", "NotFound")) throw error;
  });
}

/**
 * Ends an instance that no agent knows: releases it by compare-and-swap on an object without a host (after that the API
 * refuses to bind it), and takes it away. @returns false when it was bound meanwhile.
 */
export async function removeUnbound(client: Client, instance: Instance): Promise<boolean> {
  if (isBound(instance)) return false;
  if (!isReleased(instance)) {
    try {
      instance = await client.updateStatus(Instance, {
        ...instance,
        status: { ...instance.status, phase: "Stopped", custody: "Released" },
      });
    } catch (error) {
      if (isApiError(error, "Conflict", "NotFound")) return false;
      throw error;
    }
  }
  await deleteInstance(client, instance);
  await letInstanceGo(client, instance);
  return true;
}

/** In the place of its agent, for one that is over and has none (any more). */
export async function letInstanceGo(client: Client, instance: Instance): Promise<void> {
  await modify(client, Instance, at(instance), "object", (now) => {
    if (now.metadata.uid !== instance.metadata.uid || now.spec.host !== instance.spec.host) return undefined;
    if (!isReleased(now)) return undefined;
    return {
      ...now,
      metadata: {
        ...now.metadata,
        finalizers: (now.metadata.finalizers ?? []).filter((f) => f !== INSTANCE_FINALIZER),
      },
    };
  });
}

export function ignoreGone(error: unknown): void {
  if (!isApiError(error, "NotFound")) throw error;
}

/** The part of a machine's spec that a run of it copies. */
export function machinePart(vm: VirtualMachine) {
  const {
    running: _running,
    suspended: _suspended,
    networks: _networks,
    networkLimits: _limits,
    restart: _restart,
    requests: _requests,
    deletionProtection: _protected,
    latencySensitivity: _latency,
    source: _source,
    disks,
    ...machine
  } = vm.spec;
  return { ...machine, ...(disks ? { disks: placedDisks(vm) } : {}) };
}
