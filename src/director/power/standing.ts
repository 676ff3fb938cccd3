/** Where one host stands as to its power: what is done with it, who has the say over it, and why it is never switched off by itself. Pure. */
import type { Host } from "../../compute/hosts/kinds.ts";
import { failedWakeTest, pendingOf } from "../../power/kinds.ts";
import type { PowerPolicy } from "../../power/policies/kinds.ts";
import { selects } from "../../resource/selector.ts";
import type { HostView } from "../estate/estate.ts";
import type { EstateIndex } from "../estate/estate-index.ts";
import { isLeftForMemory } from "../estate/failing-memory.ts";
import type { Demand } from "../failover/losses.ts";

/** A host whose system did not shut down is not asked again so long. */
const BACKOFF_MS = 24 * 3_600_000;
/** Longer than any system may take to shut down (spec.powerManagement.shutdownSeconds). */
const STUCK_MS = 2 * 3_600_000;

export type State = "on" | "coming" | "off" | "going" | "other";

export interface Powered {
  host: Host;
  view: HostView;
  /** Where it is in the estate. */
  h: number;
  policy: PowerPolicy;
  state: State;
  /** Since when it has been so, ms since the epoch. */
  since: number;
  bootSeconds: number;
}

export const isOwn = ({ status }: Pick<Host, "status">): boolean => status?.power?.automatic?.power === "Off";

export function stateOf(host: Host, view: HostView): State {
  const { power } = host.status ?? {};
  if (host.spec.power !== undefined || host.spec.maintenance || host.spec.unschedulable) return "other";
  if (isLeftForMemory(host)) return "other";
  const pending = pendingOf(host);
  if (pending) return pending.power === "On" ? "coming" : "going";
  if (power?.task && power.task.kind !== "On") return "other";
  if (power?.state === "Off") return isOwn(host) ? "off" : "other";
  return view.ready && view.closed === undefined ? "on" : "other";
}

/** The say over a host has the first of the policies that choose it. */
export function policyFor(policies: readonly PowerPolicy[], { metadata }: Host): PowerPolicy | undefined {
  return [...policies]
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .find(({ spec }) => selects(spec.selector, metadata.labels ?? {}));
}

export function sinceOf({ status }: Host): number {
  const { power } = status ?? {};
  const times = [power?.since, power?.fulfilled?.finishedTime];
  return Math.max(0, ...times.map((time) => Date.parse(time ?? "") || 0));
}

/** Of a policy's hosts so many as are spare may be lost; undefined: none is to be spare. */
export function spareDemand(
  index: EstateIndex,
  policy: PowerPolicy,
  own: readonly HostView[],
): Demand | undefined {
  const { spareHosts } = policy.spec;
  if (spareHosts === 0) return undefined;
  const machines = own.flatMap(({ name }) =>
    // What is lost with its host's disks no spare host brings back.
    index.machinesOn(name).filter((at) => !index.machines[at]?.localDisks),
  );
  return { name: `PowerPolicy ${policy.metadata.name}`, per: "host", losses: spareHosts, machines };
}

export const CONTROL_PLANE = "a control plane runs on it";
export const hasControlPlane = ({ status }: Host, controlPlanes: ReadonlySet<string>): boolean =>
  controlPlanes.has(status?.facts?.bootId ?? "");

/** Why a host is never switched off by itself; undefined: it may be. */
export function neverOff(host: Host, controlPlanes: ReadonlySet<string>): string | undefined {
  const { spec, status } = host;
  const { power } = status ?? {};
  if (!spec.bmc) return "it could not be switched on again: spec.bmc does not say through what";
  if (hasControlPlane(host, controlPlanes)) return CONTROL_PLANE;
  if (failedWakeTest(host)) return "it failed its newest wake test, and may not come on again";
  if (power?.state !== "On")
    return `its BMC does not say that it is on${power?.reason ? `: ${power.reason}` : ""}`;
  if (!power.lastWakeTest?.passed && !power.boots?.length)
    return "it has not passed a wake test yet (spec.powerManagement.wakeTest)";
  return undefined;
}

/** Wanted off so long that no other has to wait for it any more: its BMC does not answer, say. */
export const isStuck = ({ status }: Host, now: number): boolean =>
  now - Date.parse(status?.power?.automatic?.since ?? "") >= STUCK_MS;

export function failedLately({ status }: Host, now: number): string | undefined {
  const last = status?.power?.past?.at(-1);
  if (last?.power !== "Off" || last.succeeded) return undefined;
  const until = Date.parse(last.finishedTime) + BACKOFF_MS;
  return now < until
    ? `it did not go off (${last.message}); it is asked again after ${new Date(until).toISOString()}`
    : undefined;
}
