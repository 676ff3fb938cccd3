/** What can be done with a machine, when it makes no sense, and how it is asked of the API: as the `vireo` command does. */
import {
  isDown,
  type LifecycleVerb,
  specFor,
  whyIdle,
  whyNot,
} from "../../../src/compute/lifecycle/verbs.ts";
import { MERGE_PATCH, request } from "./api.ts";
import { type Conditioned, phaseOf } from "./derive.ts";
import {
  apiVersionOf,
  collectionPath,
  type HostBrief,
  type Machine,
  objectPath,
  type Plural,
  type Resource,
  type VirtualMachine,
} from "./kinds.ts";
import type { Can } from "./rights.ts";

export const patch = (plural: Plural, metadata: { name: string; namespace?: string }, body: unknown) =>
  request("PATCH", objectPath(plural, metadata), { body, contentType: MERGE_PATCH });

export const remove = (plural: Plural, metadata: { name: string; namespace?: string; uid?: string }) =>
  request("DELETE", objectPath(plural, metadata), {
    // Another one of the same name is not meant.
    body: metadata.uid ? { preconditions: { uid: metadata.uid } } : {},
  });

/** Nothing but what it is now: whoever has changed it since has the last word. */
export const removeAsItIs = (plural: Plural, metadata: Resource["metadata"]) => {
  const { uid, resourceVersion } = metadata;
  return request("DELETE", objectPath(plural, metadata), {
    body: { preconditions: { uid, resourceVersion } },
  });
};

export const create = (
  plural: Plural,
  kind: string,
  object: { metadata: { name: string; namespace?: string }; spec: unknown },
) =>
  request("POST", collectionPath(plural, object.metadata.namespace), {
    body: { apiVersion: apiVersionOf(plural), kind, ...object },
  });

export interface MachineAction {
  id: LifecycleVerb;
  name: string;
  done: (name: string) => string;
}

export const ACTIONS: readonly MachineAction[] = [
  { id: "start", name: "Start", done: (name) => `${name} is being started` },
  { id: "stop", name: "Stop", done: (name) => `${name} is asked to shut down` },
  { id: "restart", name: "Restart", done: (name) => `${name} is being restarted` },
  { id: "reset", name: "Reset", done: (name) => `${name} is being reset` },
  { id: "pause", name: "Pause", done: (name) => `${name} is being paused` },
  { id: "resume", name: "Resume", done: (name) => `${name} runs on` },
  { id: "suspend", name: "Suspend", done: (name) => `${name} is being suspended` },
];

export const act = (action: MachineAction, vm: Machine) =>
  patch("virtualmachines", vm.metadata, { spec: specFor(action.id, vm, new Date().toISOString()) });

export function whyNotAct({ id }: MachineAction, vm: Machine & Conditioned, can: Can): string | undefined {
  if (vm.metadata.deletionTimestamp) return "It is being deleted.";
  const why = whyNot(id, vm) ?? whyIdle(id, vm);
  return why ? `It ${why}.` : can("patch", "virtualmachines");
}

export const whyNotMigrate = (vm: Machine, hosts: readonly HostBrief[], can: Can): string | undefined =>
  phaseOf(vm) !== "Running"
    ? `Only a running machine is moved live; it is ${phaseOf(vm)}.`
    : hosts.length < 2
      ? "There is no other host."
      : can("create", "migrations");

export const whyNotSnapshot = (vm: VirtualMachine, can: Can): string | undefined =>
  vm.status?.disksBusy
    ? `Its disks are busy: ${vm.status.disksBusy.action} of ${vm.status.disksBusy.name}.`
    : vm.status?.sequence === undefined
      ? "It has no disks yet: it never ran."
      : can("create", "snapshots");

export const whyNotDelete = (vm: Machine, can: Can): string | undefined =>
  vm.metadata.deletionTimestamp
    ? "It is being deleted already."
    : vm.spec.deletionProtection
      ? "It is protected: set spec.deletionProtection to false first."
      : can("delete", "virtualmachines");

export const whyNotConsole = (vm: Machine, kind: "vnc" | "console", can: Can): string | undefined =>
  isDown(vm) || phaseOf(vm) === "Pending"
    ? `It has a console only while it runs; it is ${phaseOf(vm)}.`
    : can("create", `virtualmachines/${kind}`);
