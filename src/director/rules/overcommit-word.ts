/**
 * The server's last word on what a host gives out (Host.spec.budget, Policy.spec.overcommit), when an Instance gets its host or grows there: on stored objects, of one host. CPUs and
 * memory that the host has are the compute room's (capacity.ts); here they are looked at only as far as policies limit them.
 */
import { Host } from "../../compute/hosts/kinds.ts";
import type { Instance } from "../../compute/kinds.ts";
import { type Cause, forbiddenField } from "../../resource/errors.ts";
import { invalidity } from "../../resource/invalid.ts";
import type { Lookup } from "../../resource/kind.ts";
import { selects } from "../../resource/selector.ts";
import { type HostView, viewHost } from "../estate/estate.ts";
import { baseOf, capacityOf, DECLARED, demandOf } from "../estate/estate-model.ts";
import { type KeptMachines, keptMachines } from "../estate/kept-machines.ts";
import { viewOne } from "../estate/machine-views.ts";
import { Policy } from "../kinds.ts";
import { lackInWords, mostGivenOut, TOLD } from "./overcommit.ts";

/** What is wrong with the host that an Instance gets, or with what it grows to there. */
export function checkOvercommit(object: Instance, old: Instance | undefined, lookup: Lookup): Cause[] {
  const { spec, metadata } = object;
  if (!spec.host || (!old && metadata.resourceVersion)) return [];
  // Most writes are what agents report.
  if (old?.spec.host && old.spec.cpus === spec.cpus && old.spec.memory === spec.memory) return [];
  const before = old?.spec.host ? demandsOf([old]) : undefined;
  const needs = demandsOf([object]);
  // Limits of disks and networks that become more are followed; a plan moves who is too much then.
  const grows = (r: number) => !before || (r < 2 && (needs[r] ?? 0) > (before[r] ?? 0));
  if (!needs.some((_, r) => grows(r))) return [];
  const host = lookup.list(Host).find((one) => one.metadata.name === spec.host && !invalidity(one));
  const policies = lookup.list(Policy).filter((policy) => policy.spec?.overcommit && !invalidity(policy));
  if (!host || (policies.length === 0 && !host.spec.budget)) return [];
  const view = viewOf(host);
  if (!view) return [];
  const machines = keptMachines(lookup);
  const others = machines
    .runsOn(spec.host)
    .filter((run) => run.status?.custody !== "Released" && !invalidity(run) && run.spec.vmUid !== spec.vmUid);
  const taken = demandsOf(others);
  const [all, base] = [capacityOf(view), baseOf(view)];
  const limits = limitsOf(policies, machines, object, others);
  for (let r = 0; r < DECLARED; r++) {
    if (!grows(r)) continue;
    const [need, has, used, told] = [needs[r] ?? 0, all[r] ?? 0, taken[r] ?? 0, TOLD[r] ?? TOLD[0]];
    const isBudget = r > 1;
    if (isBudget && need > 0 && need > has - used)
      return refusal(spec.host, lackInWords(r, need, has - used, has), Boolean(before));
    for (const { policy, own } of limits) {
      const share = policy.spec.overcommit?.[told.field];
      const most = mostGivenOut(share, has, base[r] ?? 0);
      if (share === undefined || used + need <= most || (need === 0 && !own)) continue;
      const because = `: policy ${JSON.stringify(policy.metadata.name)} lets it give out no more (overcommit.${told.field}: ${share})`;
      return refusal(spec.host, lackInWords(r, need, most - used, most, because), Boolean(before));
    }
  }
  return [];
}

const refusal = (host: string, why: string, grows: boolean): Cause[] => [
  // As of room (compute/checks.ts): what becomes of the rest is decided by that.
  forbiddenField(grows ? "spec.memory" : "spec.host", `host ${host}: ${why}`),
];

/** Policies that have a say about the host: of this machine, and of others there. */
function limitsOf(
  policies: readonly Policy[],
  machines: KeptMachines,
  object: Instance,
  others: readonly Instance[],
): { policy: Policy; own: boolean }[] {
  const chooses = ({ metadata, spec }: Policy, run: Instance) =>
    (metadata.namespace ?? "default") === (run.metadata.namespace ?? "default") &&
    selects(spec.selector, machines.labelsOf(run));
  return policies.flatMap((policy) => {
    const own = chooses(policy, object);
    return own || others.some((other) => chooses(policy, other)) ? [{ policy, own }] : [];
  });
}

/** What runs take of each declared resource; of one machine its greatest run. */
function demandsOf(runs: readonly Instance[]): number[] {
  const sums = new Array<number>(DECLARED).fill(0);
  for (const own of Map.groupBy(runs, ({ spec }) => spec.vmUid).values()) {
    const needs = own.flatMap((run) => {
      try {
        const view = viewOne(undefined, [run], new Set());
        return view ? [demandOf(view)] : [];
      } catch {
        return [];
      }
    });
    for (let r = 0; r < DECLARED; r++)
      sums[r] = (sums[r] ?? 0) + Math.max(0, ...needs.map((need) => need[r] ?? 0));
  }
  return sums;
}

function viewOf(host: Host): HostView | undefined {
  try {
    return viewHost(host);
  } catch {
    return undefined;
  }
}
