/** What becomes of VirtualMachine.spec.requests; the protocol is in kinds.ts here. */
import { type Client, modify } from "../../client/client.ts";
import { at, ignoreGone } from "../actions.ts";
import { isHeld, isLive } from "../custody.ts";
import { Instance, VirtualMachine } from "../kinds.ts";
import { isWanted } from "./kinds.ts";

type Requests = NonNullable<NonNullable<VirtualMachine["status"]>["requests"]>;

/** A restart that is not done yet. */
export const wantsRestart = ({ spec, status }: VirtualMachine): boolean =>
  spec.requests?.restart !== undefined && spec.requests.restart !== status?.requests?.restart;

const wantsReset = ({ spec, status }: VirtualMachine): boolean =>
  spec.requests?.reset !== undefined && spec.requests.reset !== status?.requests?.reset;

/** Whether the run that is being stopped is not to be asked. Once it has ended, or where nothing is to be stopped, it is done. */
export const wantsForce = ({ spec, status }: VirtualMachine): boolean =>
  spec.requests?.force !== undefined && spec.requests.force !== status?.requests?.force;

/** Whether an instance knows of a reset that was done and that its machine's status does not have yet. */
export const isTelling = (vm: VirtualMachine, { status }: Instance): boolean =>
  wantsReset(vm) && status?.reset === vm.spec.requests?.reset;

/** VirtualMachine.status.requests, from what its runs tell. Where nothing runs there is nothing to be reset, and nothing to be stopped. Pure. */
export function requestsDone(vm: VirtualMachine, instances: readonly Instance[]): Requests | undefined {
  const { requests: wanted = {} } = vm.spec;
  const done: Requests = { ...vm.status?.requests };
  const isIdle = !instances.some(isLive);
  if (wanted.reset && (isIdle || instances.some((instance) => isTelling(vm, instance))))
    done.reset = wanted.reset;
  if (wanted.restart && isIdle && !vm.spec.running) done.restart = wanted.restart;
  const isStopping = !isWanted(vm) || wantsRestart(vm);
  if (wanted.force && (isIdle || !isStopping)) done.force = wanted.force;
  return Object.keys(done).length > 0 ? done : undefined;
}

/** Hands a reset that nobody has done yet to the run that holds the disks. */
export async function handReset(
  client: Client,
  vm: VirtualMachine,
  instances: readonly Instance[],
): Promise<void> {
  const holder = instances.find((instance) => isHeld(instance) && isLive(instance));
  if (!holder || !wantsReset(vm) || instances.some((instance) => isTelling(vm, instance))) return;
  const reset = vm.spec.requests?.reset;
  if (!reset || holder.spec.reset === reset || holder.spec.migrateTo) return;
  // Ours may be an old copy, with a request that was done long ago.
  const now = await client.get(VirtualMachine, at(vm));
  if (!now || !wantsReset(now) || now.spec.requests?.reset !== reset) return;
  await modify(client, Instance, at(holder), "object", (current) =>
    isHeld(current) && !current.spec.migrateTo ? { ...current, spec: { ...current.spec, reset } } : undefined,
  ).catch(ignoreGone);
}

/** Whether the run is to be stopped for a restart. Asked freshly: the run that our copy shows may be the one that came of it. */
export async function isToRestart(client: Client, vm: VirtualMachine): Promise<boolean> {
  if (!wantsRestart(vm)) return false;
  const now = await client.get(VirtualMachine, at(vm));
  return now !== undefined && now.metadata.uid === vm.metadata.uid && wantsRestart(now);
}
