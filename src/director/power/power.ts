/**
 * Which hosts are to be on: what PowerPolicies want of each, and why. Pure: from the estate as it is to wishes (status.power.automatic of the Host), which the power
 * reconciler carries out.
 *
 *   on, empty, not needed ──► Off wanted (no machine may come) ──► shut down ──► off ──► needed ──► On wanted ──► its agent is heard from ──► on
 *                                       └── needed meanwhile, or a machine is there ──► On wanted
 *
 * Needed is a host that is off when a machine finds no place on those that are on or coming; when machines would find no room elsewhere if spareHosts of the hosts that are
 * on were lost, or what a Policy wants to survive (Policy.spec.failover); when a host that is too busy finds nobody to take a machine; when more is forecast
 * than is free (demand.ts). A host goes off only when all that is kept without it, and one in ten are on their way at a time, so that the world may answer.
 * Never: one that has not passed a wake test or failed the newest, whose BMC does not answer, that a control plane runs on, or about which a user has said something.
 */
import type { Host } from "../../compute/hosts/kinds.ts";
import { pendingOf } from "../../power/kinds.ts";
import type { PowerPolicy } from "../../power/policies/kinds.ts";
import type { Estate } from "../estate/estate.ts";
import { awayMs, DemandShape, inGib } from "./demand.ts";
import { type PowerInput, unsureOf } from "./input.ts";
import { Round, type Spare, type Wish } from "./round.ts";
import { isOwn, type Powered, policyFor, type State, sinceOf, stateOf } from "./standing.ts";

export interface Verdict {
  policies: { name: string; hosts: number; on: number; off: number; spare: Spare }[];
  /** What is to change, hosts that are to come on first. */
  wishes: Wish[];
  /** Of each host that a policy has the say over, why it is as it is. */
  why: Map<string, string>;
}

const median = (values: readonly number[]): number | undefined =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** The estate as it would be with these hosts on. */
function withOn(estate: Estate, names: ReadonlySet<string>): Estate {
  const hosts = estate.hosts.map((host) => {
    if (!names.has(host.name)) return host;
    const { closed: _, ...rest } = host;
    return { ...rest, ready: true };
  });
  return { ...estate, hosts, machines: [...estate.machines] };
}

/** As it was measured, or as the policy says until then. */
export const bootSecondsOf = ({ status }: Host, { spec }: PowerPolicy): number =>
  median(status?.power?.boots ?? []) ?? spec.bootSeconds;

export function decidePower(input: PowerInput): Verdict {
  const steps = deciding(input);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The same piece by piece: between two of them others may have their turn. */
export function* deciding(input: PowerInput): Generator<void, Verdict> {
  const { hosts } = input;
  const why = new Map<string, string>();
  const views = new Map(input.estate.hosts.map((view) => [view.name, view]));
  const powered: Powered[] = hosts.flatMap((host) => {
    const policy = policyFor(input.policies, host);
    const view = views.get(host.metadata.name);
    if (!policy || policy.spec.automation === "off" || !view) return [];
    const state = stateOf(host, view);
    const bootSeconds = bootSecondsOf(host, policy);
    return [{ host, view, policy, state, h: -1, since: sinceOf(host), bootSeconds }];
  });
  // What nobody wants off any more comes on again, whatever it is needed for.
  const freed = hosts.flatMap((host) => {
    const policy = policyFor(input.policies, host);
    if (policy?.spec.automation === "act" || !isOwn(host) || host.spec.power !== undefined) return [];
    const unsure = unsureOf(input, policy);
    if (unsure) {
      why.set(host.metadata.name, `stays as it is: ${unsure}`);
      return [];
    }
    if (host.status?.power?.state !== "Off" && pendingOf(host)?.power !== "Off") return [];
    const { policy: name = "?" } = host.status?.power?.automatic ?? {};
    const seconds = median(host.status?.power?.boots ?? []);
    const reason = `PowerPolicy ${name}, by which it is off, no longer has the say over it, or no longer acts`;
    why.set(host.metadata.name, `to be switched on: ${reason}`);
    const predicted = seconds === undefined ? {} : { seconds };
    return [{ host: host.metadata.name, power: "On" as const, policy: name, reason, predicted }];
  });
  const isFreed = new Set(freed.map(({ host }) => host));
  for (const each of powered) if (isFreed.has(each.view.name)) each.state = "coming";
  const isState = (...of: State[]) => powered.filter(({ state }) => of.includes(state));
  // As if all that can be on were; those that are to be off take nothing until they are called.
  const all = new Set(isState("coming", "off", "going").map(({ view }) => view.name));
  const round = new Round({ ...input, estate: withOn(input.estate, all) }, powered, why);
  yield* round.meetNeeds();
  yield* round.letGo();
  const policies = input.policies.map((policy) => {
    const own = powered.filter((each) => each.policy === policy);
    const count = (...of: State[]) => own.filter(({ state }) => of.includes(state)).length;
    return {
      name: policy.metadata.name,
      hosts: hosts.filter((host) => policyFor(input.policies, host) === policy).length,
      on: count("on"),
      off: count("off"),
      spare: round.spareOf(policy),
    };
  });
  for (const { view, state, host, since } of powered) {
    if (why.has(view.name)) continue;
    const { automatic } = host.status?.power ?? {};
    why.set(
      view.name,
      state === "off"
        ? `off since ${new Date(since).toISOString()}: ${automatic?.reason ?? "?"}; it is not needed yet`
        : state === "other"
          ? (view.closed ?? (host.spec.power ? `spec.power is ${host.spec.power}` : "its power is not known"))
          : state === "on"
            ? "on"
            : `${state === "coming" ? "being switched on" : "being switched off"}: ${automatic?.reason ?? "?"}`,
    );
  }
  return { policies, wishes: [...freed, ...round.wishes], why };
}

/** Why the host of that name is on or off; for `vireo explain host/NAME`. */
export const whyOf = ({ why }: Verdict, name: string): string =>
  why.get(name) ?? "no PowerPolicy that is on has the say over it";

/** By what the policy's shape of the week says of the time for which the host would be away, if it went off now. */
export function explainForecast(policy: PowerPolicy, host: Host, now: number): string {
  const aheadMs = awayMs(bootSecondsOf(host, policy), policy.spec);
  const peak = new DemandShape(policy.status?.demand).peak(now, aheadMs);
  const minutes = Math.ceil(aheadMs / 60_000);
  if (!peak)
    return `PowerPolicy ${policy.metadata.name} has not seen an hour like those of the next ${minutes} minutes yet`;
  const { errorPercent } = policy.status?.demand ?? {};
  const off = errorPercent === undefined ? "" : `; such forecasts were off by ${errorPercent.toFixed(0)} %`;
  return `in the next ${minutes} minutes, until it would be back, machines usually have at most ${peak.cpus} CPUs and ${inGib(peak.memoryMiB)} memory of the hosts of PowerPolicy ${policy.metadata.name}${off}`;
}
