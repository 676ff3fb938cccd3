/** Why a machine may not be on a host, in words: capacity, hosts that are open, required attributes, together, apart, spread. Pure. */
import { baseline } from "../../compute/hardware/kinds.ts";
import { lackOfReserved, type Reserved } from "../../compute/resources/kinds.ts";
import type { Estate, HostView, MachineView } from "../estate/estate.ts";
import { indexOf, type Use } from "../estate/estate-index.ts";
import { baseOf, capacityOf, demandOf } from "../estate/estate-model.ts";
import type { Dear } from "../estate/sight.ts";
import type { Policy } from "../kinds.ts";
import { breach, expressionOf, isKept } from "./expressions.ts";
import { lackInWords, mostGivenOut, TOLD } from "./overcommit.ts";
import { dedicatedBreach, fixedBy, fixedWords, isForeign, lack, moveObstacle, shareWords } from "./suits.ts";

/** Highest priority first; ties by name. */
export function policiesOf(estate: Estate, machine: MachineView): readonly Policy[] {
  return indexOf(estate).policiesOf(machine);
}

/** What machines take of a host; a machine that moves counts on both. `without` leaves one machine out. */
export function usage(estate: Estate, host: string, without?: string): Use {
  return indexOf(estate).use(host, without);
}

/** What stands against a machine on a host. */
export interface Obstacle {
  why: string;
  /** The same of all hosts against which the same stands, whatever their figures. */
  about: string;
  /** Whose rule it is, and the rule as the policy has it; absent: it is not for a rule that a policy could leave out. */
  policy?: Policy;
  rule?: string;
}

export const nameOf = ({ metadata }: Policy) => `policy ${JSON.stringify(metadata.name)}`;
/** For no rule of a policy. */
export const plain = (why: string): Obstacle => ({ why, about: why });
/** With its namespace where that is not the machine's. */
export const nameFor = (policy: Policy, { namespace }: MachineView): string => {
  const { namespace: own = "default" } = policy.metadata;
  return own === namespace ? nameOf(policy) : `${nameOf(policy)} of namespace ${own}`;
};
const ofRule = (policy: Policy, rule: string, why: string, name = nameOf(policy)): Obstacle => ({
  why,
  about: `${rule} (${name})`,
  policy,
  rule,
});

/**
 * Why `machine` may not be on `host`, given where all others are; undefined when it may. The first breach that is found.
 * @param policies only these of the estate's have a say; all that choose the machine when not given
 */
export const obstacle = (
  estate: Estate,
  machine: MachineView,
  host: HostView,
  policies: readonly Policy[] = policiesOf(estate, machine),
): string | undefined => obstacles(estate, machine, host, policies).next().value?.why;

/** All that stands against it there, but for what failover reserves. */
export function* obstacles(
  estate: Estate,
  machine: MachineView,
  host: HostView,
  policies: readonly Policy[] = policiesOf(estate, machine),
): Generator<Obstacle, undefined> {
  if (host.closed && machine.host !== host.name) yield plain(host.closed);
  if (machine.disksOn !== undefined && machine.disksOn !== host.name)
    yield plain(`its disks are on ${machine.disksOn}, in a storage pool that is not shared`);
  const index = indexOf(estate);
  const comes = machine.host !== host.name;
  const fixed = machine.host !== undefined && comes && fixedBy(policies);
  if (fixed) yield ofRule(fixed, "moves.never", fixedWords(fixed));
  const from = machine.host === undefined ? undefined : index.hosts.get(machine.host);
  for (const why of [comes && moveObstacle(machine, from, host), lack(machine, host)])
    if (why) yield plain(why);
  // Whatever of its policies are asked: a host does not become free by leaving one out.
  const dedicated = dedicatedBreach(policiesOf(estate, machine), host);
  if (dedicated) yield plain(dedicated);
  const own = ownObstacle(estate, machine, host);
  if (own) yield plain(own);
  yield* roomLacks(estate, machine, host, policies);
  for (const policy of policies)
    for (const rule of policy.spec.required ?? []) {
      const dear = comes ? index.sight.tooDear(policy, rule) : undefined;
      const why = dear
        ? `requires ${expressionOf(rule).text}, ${dearWords(dear)}`
        : breach(rule, host, machine);
      if (why) yield ofRule(policy, expressionOf(rule).text, `${nameOf(policy)} ${why}`);
    }
  for (const policy of policies)
    for (const { rule, why } of groupBreaches(estate, policy, machine, host))
      yield ofRule(policy, rule, `${nameOf(policy)} ${why}`);
  return undefined;
}

/** Of a rule that no whole estate is asked for (sight.ts). */
export const dearWords = ({ hosts, machines }: Dear): string =>
  `which reads something else of ${hosts} hosts and of ${machines} machines: more combinations than can be looked at`;

/** Memory is what most hosts lack first. */
const ORDER = [1, 0, 2, 3, 4] as const;

/** What the host has not enough of for the machine, or may not give out for policies of the machine or of others there. @param policies of the machine */
function* roomLacks(
  estate: Estate,
  machine: MachineView,
  host: HostView,
  policies: readonly Policy[],
): Generator<Obstacle, undefined> {
  const index = indexOf(estate);
  const taken = index.taken(host.name, machine.key);
  const [needs, all, base] = [demandOf(machine), capacityOf(host), baseOf(host)];
  const limits = index.ceilings ? limitsAt(estate, machine, host, policies) : [];
  for (const r of ORDER) {
    const [need, has, used] = [needs[r] ?? 0, all[r] ?? 0, taken[r] ?? 0];
    // What it does not need is never in its way.
    if (need > has - used && need > 0)
      yield { why: lackInWords(r, need, has - used, has), about: `not enough ${TOLD[r].what}` };
    for (const { policy, own } of limits) {
      const { field } = TOLD[r];
      const share = policy.spec.overcommit?.[field];
      const most = mostGivenOut(share, has, base[r] ?? 0);
      if (share === undefined || used + need <= most || (need === 0 && !own)) continue;
      const rule = `overcommit.${field}: ${share}`;
      const name = nameFor(policy, machine);
      const because = `: ${name} has ${own ? "hosts of its machines" : "it, for machines there,"} give out no more (${rule})`;
      yield ofRule(policy, rule, lackInWords(r, need, most - used, most, because), name);
    }
  }
  return undefined;
}

/** Policies that limit what the host gives out: those of the machine, and of others there. */
function limitsAt(
  estate: Estate,
  machine: MachineView,
  host: HostView,
  policies: readonly Policy[],
): { policy: Policy; own: boolean }[] {
  // One of its own that is not asked is not asked of others either.
  const others = indexOf(estate).limitsOfOthers(host.name, machine.key, policiesOf(estate, machine));
  return [
    ...policies.filter(({ spec }) => spec.overcommit).map((policy) => ({ policy, own: true })),
    ...others.map((policy) => ({ policy, own: false })),
  ];
}

/** Of these machines obstacles are not seen by the index: what they are to have of their host alone, and disks that only one host has. */
export const isSpecial = ({ reserved, disksOn }: MachineView): boolean =>
  reserved !== undefined || disksOn !== undefined;

/** Of what it is to have of its host alone. */
function ownObstacle(estate: Estate, machine: MachineView, host: HostView): string | undefined {
  if (!machine.reserved) return undefined;
  const { node: _, ...wants } = machine.reserved;
  const there = indexOf(estate).machines.flatMap((m): Reserved[] => {
    if (!m.reserved || m.key === machine.key) return [];
    if (m.host === host.name) return [m.reserved];
    // Which node it comes to be on is chosen there.
    const { node: __, ...reserved } = m.reserved;
    return m.movingTo === host.name ? [reserved] : [];
  });
  return lackOfReserved(host.reservable ?? {}, wants, there);
}

/**
 * The CPU for a machine that has none yet: the best that all hosts have where its policies and its hardware allow it to be, and that run
 * guests as `host` does, so that it can be moved to any of them. Undefined when they have none in common: then it is that of its host.
 */
export function cpuFor(estate: Estate, machine: MachineView, host: HostView): string | undefined {
  // Emulated, it is the same everywhere.
  if (isForeign(machine)) return undefined;
  const required = policiesOf(estate, machine).flatMap(({ spec }) => spec.required ?? []);
  const allowed = estate.hosts.filter(
    (other) =>
      other.accelerator === host.accelerator &&
      !lack(machine, other) &&
      !dedicatedBreach(policiesOf(estate, machine), other) &&
      required.every((rule) => isKept(rule, other, machine)),
  );
  return baseline(
    host.accelerator,
    allowed.map(({ has = {} }) => has),
  );
}

/** `rule`: as the policy has it; `why`: what is in its way. */
function* groupBreaches(
  estate: Estate,
  policy: Policy,
  machine: MachineView,
  host: HostView,
): Generator<{ rule: string; why: string }, undefined> {
  const { keepApart, keepTogether, spread, atMost } = policy.spec;
  const index = indexOf(estate);
  if (keepApart) {
    const group = index.group(policy, "keepApart", machine, host);
    if (group && group.here > 0)
      yield {
        rule: `keepApart: ${keepApart}`,
        why: `keeps its machines on different ${keepApart}s, ${group.oneHere()?.name ?? "another"} is there`,
      };
  }
  if (keepTogether) {
    const group = index.group(policy, "keepTogether", machine, host);
    const there = group && group.elsewhere > 0 ? group.oneElsewhere() : undefined;
    if (there)
      yield {
        rule: `keepTogether: ${keepTogether}`,
        why: `keeps its machines on one ${keepTogether}, ${there.name} is on ${there.host}`,
      };
  }
  if (atMost) {
    const group = index.group(policy, "atMost", machine, host);
    const share = shareWords(atMost, index.membersOf(policy).length, index.runningOf(policy));
    if (group && group.here >= group.most)
      yield {
        rule: `atMost per ${atMost.per}`,
        why: `has at most ${group.most}${share} of its machines on one ${atMost.per}, ${group.here} are there`,
      };
  }
  if (spread) {
    const group = index.group(policy, "spread", machine, host);
    // Nobody has fewer than none.
    if (group && group.here > 0 && group.here > group.fewest())
      yield {
        rule: `spread: ${spread}`,
        why: `spreads its machines over ${spread}s: ${group.here} of them here, ${group.fewest()} elsewhere`,
      };
  }
  return undefined;
}
