/** What the parts of the agent that look after one run write about it. */
import type { Instance } from "../../compute/kinds.ts";
import type { ConditionInput } from "../../resource/object.ts";
import type { MachineEnd, MachineId } from "../hypervisor.ts";

export type InstanceStatus = NonNullable<Instance["status"]>;
export type Again = { requeueAfterMs: number } | undefined;
/** Changes the agent's part of the status. @returns the instance as it is then */
export type Write = (instance: Instance, change: Partial<InstanceStatus>) => Promise<Instance | undefined>;
/** The run is over: its process is gone for sure. */
export type Finish = (instance: Instance, end: MachineEnd, also?: Partial<InstanceStatus>) => Promise<Again>;

/** The machine that is this run, to the hypervisor. */
export const idOf = ({ metadata }: Instance): MachineId => (metadata.uid ?? "") as MachineId;

/** Where the API has it. */
export const at = ({ metadata: { name, namespace = "" } }: Instance) => ({ name, namespace });

const TERMINAL = ["Stopped", "Failed", "HandedOver"];

/** Whether it has ended: it never runs again. */
export const isTerminal = ({ status }: Instance) => TERMINAL.includes(status?.phase ?? "");

/** What events are about. */
export const about = (instance: Instance) => ({
  kind: "VirtualMachine",
  name: instance.spec.vm,
  namespace: instance.metadata.namespace ?? "",
});

/** The Ready condition, as a change. */
export function ready(
  instance: Instance,
  now: string,
  isReady: boolean,
  reason: string,
  message: string,
): Pick<InstanceStatus, "conditions"> {
  const status = isReady ? "True" : "False";
  return conditionOf(instance, now, { type: "Ready", status, reason, message });
}

export function conditionOf(
  { metadata }: Instance,
  now: string,
  condition: Omit<ConditionInput, "observedGeneration">,
): Pick<InstanceStatus, "conditions"> {
  const { generation = 0 } = metadata;
  return { conditions: [{ ...condition, lastTransitionTime: now, observedGeneration: generation }] };
}

/** Whether it is to run on. */
export const wanted = (instance: Instance) => instance.spec.running && !instance.metadata.deletionTimestamp;
