/** What can be done with a machine, when it makes no sense, and how it is asked of the API: as the `vireo` command does. */
import { MERGE_PATCH, request } from "./api.ts";
import { type Conditioned, conditionOf, phaseOf } from "./derive.ts";
import {
  apiVersionOf,
  collectionPath,
  type HostBrief,
  type Machine,
  objectPath,
  type Plural,
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

export const create = (
  plural: Plural,
  kind: string,
  object: { metadata: { name: string; namespace?: string }; spec: unknown },
) =>
  request("POST", collectionPath(plural, object.metadata.namespace), {
    body: { apiVersion: apiVersionOf(plural), kind, ...object },
  });

export interface MachineAction {
  id: "start" | "stop" | "restart" | "reset" | "pause" | "resume" | "suspend";
  name: string;
  done: (name: string) => string;
  /** Why it makes no sense now; the better the more is known of it. */
  whyNot: (vm: Machine & Conditioned) => string | undefined;
  spec: (vm: Machine) => object;
}

const isDown = (vm: Machine) => !vm.spec.running || ["Stopped", "Failed", "Suspended"].includes(phaseOf(vm));
const runsNot = (vm: Machine) =>
  isDown(vm)
    ? `It does not run: it is ${phaseOf(vm)}.`
    : vm.metadata.deletionTimestamp
      ? "It is being deleted."
      : undefined;
const now = () => new Date().toISOString();

export const ACTIONS: readonly MachineAction[] = [
  {
    id: "start",
    name: "Start",
    done: (name) => `${name} is being started`,
    whyNot: (vm) =>
      vm.metadata.deletionTimestamp
        ? "It is being deleted."
        : isDown(vm)
          ? undefined
          : `It is ${phaseOf(vm)}${vm.spec.paused ? "; resume it" : ""}.`,
    spec: (vm) => ({
      running: true,
      suspended: null,
      stop: { force: null },
      // One that ended by itself is started by a request: spec says already that it is to run.
      ...(vm.spec.running && !vm.spec.suspended ? { requests: { restart: now() } } : {}),
    }),
  },
  {
    id: "stop",
    name: "Stop",
    done: (name) => `${name} is asked to shut down`,
    whyNot: (vm) => (vm.spec.running ? undefined : `It is ${phaseOf(vm)} already.`),
    spec: () => ({ running: false, stop: { force: null } }),
  },
  {
    id: "restart",
    name: "Restart",
    done: (name) => `${name} is being restarted`,
    whyNot: runsNot,
    spec: () => ({ requests: { restart: now() }, stop: { force: null } }),
  },
  {
    id: "reset",
    name: "Reset",
    done: (name) => `${name} is being reset`,
    whyNot: runsNot,
    spec: () => ({ requests: { reset: now() } }),
  },
  {
    id: "pause",
    name: "Pause",
    done: (name) => `${name} is being paused`,
    whyNot: (vm) => runsNot(vm) ?? (vm.spec.paused ? "It is paused already." : undefined),
    spec: () => ({ paused: true }),
  },
  {
    id: "resume",
    name: "Resume",
    done: (name) => `${name} runs on`,
    whyNot: (vm) => {
      if (vm.spec.paused) return undefined;
      const ready = conditionOf(vm, "Ready");
      return phaseOf(vm) === "Paused" && ready ? `Nobody paused it: ${ready.message}` : "It is not paused.";
    },
    spec: () => ({ paused: null }),
  },
  {
    id: "suspend",
    name: "Suspend",
    done: (name) => `${name} is being suspended`,
    whyNot: (vm) => runsNot(vm),
    spec: () => ({ suspended: true, discardMemory: null }),
  },
];

export const act = (action: MachineAction, vm: Machine) =>
  patch("virtualmachines", vm.metadata, { spec: action.spec(vm) });

export const whyNotAct = (action: MachineAction, vm: Machine, can: Can): string | undefined =>
  action.whyNot(vm) ?? can("patch", "virtualmachines");

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
