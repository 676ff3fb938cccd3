/** Reserved failover capacity (Policy.spec.failover): what the policies of an estate want to survive, and in words what does not. Pure. */
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import type { Policy } from "../kinds.ts";
import { nameFor, nameOf, type Obstacle, plain } from "../rules/rules.ts";
import type { Demand } from "./losses.ts";
import { type Fault, type Relaxed, Survival } from "./survival.ts";

const known = new WeakMap<EstateIndex, Survival | null>();

const policyOfDemand = new WeakMap<Demand, Policy>();

/** What the policies of the estate ask for. */
export function demandsOf(estate: Estate): Demand[] {
  const index = indexOf(estate);
  return estate.policies.flatMap((policy) => {
    const { failover } = policy.spec;
    if (!failover) return [];
    const demand: Demand = { name: nameOf(policy), ...failover, machines: index.membersOf(policy) };
    policyOfDemand.set(demand, policy);
    return [demand];
  });
}

/** Made once for an estate, and carried on with its moves; undefined: no policy asks for it. */
export function survivalOf(estate: Estate): Survival | undefined {
  const index = indexOf(estate);
  const isNew = !known.has(index);
  const survival = unproven(estate);
  if (isNew) survival?.sync();
  return survival;
}

/** Has it known what is survived before it is asked, piece by piece: between two of them others may have their turn, but nothing may be moved. */
export function* proveSurvival(estate: Estate): Generator<void> {
  yield* unproven(estate)?.catchUp() ?? [];
}

/** Of what is known of the estate's losses, if anything is: whether it were better made anew. */
export const wearOf = (estate: Estate): Survival["wear"] => known.get(indexOf(estate))?.wear;

function unproven(estate: Estate): Survival | undefined {
  const index = indexOf(estate);
  const made = known.get(index);
  if (made) made.estate = estate;
  if (made !== undefined) return made ?? undefined;
  const demands = demandsOf(estate);
  const survival = demands.length === 0 ? null : new Survival(estate, demands);
  known.set(index, survival);
  if (survival) {
    const byPolicy = new Map(demands.map((demand) => [policyOfDemand.get(demand), demand]));
    index.onBecome = (at) => {
      const policies = index.policiesOf(index.machines[at] as MachineView);
      survival.become(
        at,
        policies.flatMap((policy) => byPolicy.get(policy) ?? []),
      );
    };
  }
  return survival ?? undefined;
}

/** "the loss of rack r1 would not be survived: db-1 finds no other host" */
export function inWords(estate: Estate, { loss, sure, machine }: Fault, would = "would"): string {
  const name = indexOf(estate).machines[machine]?.name ?? "a machine";
  const because = indexOf(estate).machines[machine]?.localDisks
    ? "its disks are in a storage pool that is not shared"
    : `${name} finds no room elsewhere`;
  const not = would === "would" ? "would not be" : "is not";
  return sure
    ? `the loss of ${loss} ${not} survived: ${because === `${name} finds no room elsewhere` ? because : `of ${name}, ${because}`}`
    : `it ${would === "would" ? "could not" : "cannot"} be proven that the loss of ${loss} is survived: no room was found for ${name} within the limit of the search`;
}

/** What policies want to survive, and would not with the machine on the host. */
export function failoverAgainst(estate: Estate, machine: MachineView, host: HostView): Obstacle | undefined {
  if (machine.host === host.name) return undefined;
  const survival = survivalOf(estate);
  const at = indexOf(estate).position.get(machine.key);
  if (!survival || at === undefined) return undefined;
  const fault = survival.ifMoved(at, host.name);
  if (!fault) return undefined;
  const [demand] = fault.demands;
  const policy = demand && policyOfDemand.get(demand);
  const why = `${demand?.name ?? "a policy"} wants to survive it: ${inWords(estate, fault)}`;
  return policy ? { why, policy, ...ruleOf(policy, machine) } : plain(why);
}

/** As it is told beside other rules of policies. */
function ruleOf(policy: Policy, machine: MachineView): { rule: string; about: string } {
  const rule = `failover per ${policy.spec.failover?.per}`;
  return { rule, about: `${rule} (${nameFor(policy, machine)})` };
}

/** The same in words alone. */
export const failoverObstacle = (estate: Estate, machine: MachineView, host: HostView): string | undefined =>
  failoverAgainst(estate, machine, host)?.why;

/** So many are tried to be the only one in the way. */
const MOST_ALONE = 8;

/**
 * Asks whose failover is in the machine's way on a host: one policy where that is enough, else as few as were found; none: nothing is in its way; undefined: that cannot be
 * told. As other rules of policies are told.
 */
export function failoverRules(
  estate: Estate,
  machine: MachineView,
): (host: HostView) => string[] | undefined {
  const survival = survivalOf(estate);
  const at = indexOf(estate).position.get(machine.key);
  if (!survival || at === undefined) return () => [];
  const known = new Map<string, Relaxed | undefined>();
  const relaxedBy = (without: ReadonlySet<Demand>) => {
    const key = [...without].map((demand) => survival.demands.indexOf(demand)).join();
    if (!known.has(key)) known.set(key, survival.relaxedBy(without));
    return known.get(key);
  };
  return (host) => {
    if (machine.host === host.name) return [];
    return inTheWay(survival, at, host.name, relaxedBy)?.flatMap((demand) => {
      const policy = policyOfDemand.get(demand);
      return policy ? [ruleOf(policy, machine).about] : [];
    });
  };
}

/** Who asks for what is in the machine's way there. */
function inTheWay(
  survival: Survival,
  at: number,
  to: string,
  relaxedBy: (without: ReadonlySet<Demand>) => Relaxed | undefined,
): readonly Demand[] | undefined {
  const fault = survival.ifMoved(at, to);
  if (!fault) return [];
  const asked = new Set([...fault.demands, ...survival.askedIn(fault, at)]);
  for (const demand of [...asked].slice(0, MOST_ALONE)) {
    const relaxed = relaxedBy(new Set([demand]));
    if (!relaxed) return undefined;
    if (!survival.ifMoved(at, to, relaxed)) return [demand];
  }
  const all = new Set<Demand>();
  const faultWithoutAll = () => survival.ifMoved(at, to, relaxedBy(new Set(all)));
  // Whoever finds no room is asked for by one that is not among them yet.
  for (let next: Fault | undefined = fault; next; next = faultWithoutAll()) {
    const before = all.size;
    for (const demand of next.demands) all.add(demand);
    // But where too much is to be looked at it is not known who that is.
    if (all.size === before) return undefined;
  }
  for (const demand of [...all]) {
    all.delete(demand);
    if (faultWithoutAll()) all.add(demand);
  }
  return [...all];
}

/** Of what cannot be proven, since there is not room enough that most of it follows from less, and is too much to be looked at. */
export const cannotLook = ({ losses, per }: Demand, count: number): string =>
  `it cannot be proven: any ${losses} ${per}s are ${count} losses, more than can be looked at one by one; it could be if ${losses} more ${per}s as large as the largest were empty, or fewer were to be lost at once`;

/** The first that asks for more than can be looked at: of what that takes nothing is guarded. */
export function unguarded({ losses }: Survival): string | undefined {
  const [first] = losses.tooMany;
  return first && `of what ${first[0].name} wants to survive ${cannotLook(...first)}`;
}

const EACH = 5;

/** By policy: what is not survived now, or not known. Of those that are not in it all is proven. */
export function failoverFaults(estate: Estate): Map<Policy, string[]> {
  const survival = survivalOf(estate);
  const faults = new Map<Demand, Fault[]>();
  for (const fault of survival?.faults() ?? [])
    for (const demand of fault.demands) faults.set(demand, [...(faults.get(demand) ?? []), fault]);
  return new Map(
    (survival?.demands ?? []).flatMap((demand) => {
      const told = survival
        ? wordsOf(estate, survival, demand, faults.get(demand) ?? [], faults.size === 0)
        : [];
      const policy = policyOfDemand.get(demand);
      return policy && told.length > 0 ? [[policy, told] as const] : [];
    }),
  );
}

/** @param all whether all is survived that was looked at */
function wordsOf(
  estate: Estate,
  survival: Survival,
  demand: Demand,
  own: readonly Fault[],
  all: boolean,
): string[] {
  const more = own.length > EACH ? [`and ${own.length - EACH} more`] : [];
  const tooMany = survival.losses.tooMany.get(demand);
  return [
    ...own.slice(0, EACH).map((fault) => inWords(estate, fault, "is")),
    ...more,
    ...(tooMany === undefined
      ? []
      : [
          own.length > 0
            ? `and not all losses of ${demand.losses} ${demand.per}s were looked at`
            : `${cannotLook(demand, tooMany)}${all ? "; those of the fullest are survived" : ""}`,
        ]),
  ];
}
