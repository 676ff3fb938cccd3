/** What must hold between a machine and a host whatever else runs there: hardware, where its run can go on, required attributes. Pure. */
import { lackOf } from "../../compute/hardware/kinds.ts";
import { platformObstacle } from "../../compute/kinds.ts";
import type { HostView, MachineView } from "../estate/estate.ts";
import type { Policy } from "../kinds.ts";
import type { Subject } from "./attributes.ts";
import { breach } from "./expressions.ts";

/** Emulated, a machine is the same on every host. */
export const isForeign = ({ needs }: MachineView) => needs?.offers.includes("aarch64") ?? false;

const acceleratorFor = (machine: MachineView, host: HostView) =>
  isForeign(machine) ? "tcg" : host.accelerator;

export function lack({ needs }: MachineView, { has = {} }: HostView): string | undefined {
  return needs && lackOf(needs, has);
}

export function requiredBreach(
  policies: readonly Policy[],
  host: HostView,
  machine: Subject,
): string | undefined {
  for (const policy of policies) {
    for (const rule of policy.spec.required ?? []) {
      const why = breach(rule, host, machine);
      if (why) return `policy ${JSON.stringify(policy.metadata.name)} ${why}`;
    }
  }
  return undefined;
}

/**
 * Of a machine that runs elsewhere: why it cannot go on here without being stopped; of one that was suspended: why it cannot go on here.
 * @param from the host that it is on
 */
export function moveObstacle(
  machine: MachineView,
  from: HostView | undefined,
  host: HostView,
): string | undefined {
  const here = () => ({ ...host, ...host.has, accelerator: acceleratorFor(machine, host) });
  if (machine.host === undefined) {
    const why = machine.resumes && platformObstacle(machine.resumes, here());
    return (
      why &&
      `cannot go on with the memory that the machine was suspended with: ${why}; spec.discardMemory boots it anywhere`
    );
  }
  const began = machine.platform ?? from;
  return began && platformObstacle(began, here());
}

/** The policy of which no machine is moved while it runs. */
export const fixedBy = (policies: readonly Policy[]): Policy | undefined =>
  policies.find(({ spec }) => spec.moves?.never);

/** In words. */
export const fixedWords = ({ metadata }: Policy): string =>
  `policy ${JSON.stringify(metadata.name)} lets it not be moved while it runs`;

/** Of a host that is for the machines of another policy. @param policies of the machine */
export function dedicatedBreach(policies: readonly Policy[], { dedicatedTo }: HostView): string | undefined {
  if (dedicatedTo === undefined) return undefined;
  const names = policies.map(({ metadata }) => `${metadata.namespace ?? "default"}/${metadata.name}`);
  return names.includes(dedicatedTo) ? undefined : `is dedicated to machines of policy ${dedicatedTo}`;
}

/** Whether no required rule, and nobody to whom it is dedicated, keeps the machine from the host. @param policies of the machine */
export const allows = (policies: readonly Policy[], host: HostView, machine: Subject): boolean =>
  !dedicatedBreach(policies, host) && requiredBreach(policies, host, machine) === undefined;

/** " (50 % of 4)" */
export const shareWords = (
  { percent }: NonNullable<Policy["spec"]["atMost"]>,
  chosen: number,
  running: number,
): string => {
  if (percent === undefined) return "";
  return ` (${percent} % of ${running === chosen ? chosen : `the ${running} that are to run`})`;
};
