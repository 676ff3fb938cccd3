/**
 * What the director tells of each policy in its status: how many machines it chooses, what it aims at, and its conditions: Satisfied, Feasible when it has required
 * rules, and Contradicted while machines cannot keep its rules because of another policy's.
 */
import { modify } from "../../client/client.ts";
import { describeError } from "../../reconcile/log.ts";
import { type ConditionInput, getCondition, setCondition } from "../../resource/object.ts";
import type { Estate } from "../estate/estate.ts";
import { type EstateIndex, indexOf } from "../estate/estate-index.ts";
import { inPieces, othersFirst } from "../estate/read-estate.ts";
import { failoverFaults, proveSurvival } from "../failover/failover.ts";
import { Policy } from "../kinds.ts";
import { contradicted } from "../rules/contradicted.ts";
import { feasibility } from "../rules/feasible.ts";
import { obstacle } from "../rules/rules.ts";
import type { DirectorContext } from "./scheduler.ts";

/** Those that are the director's. */
const TYPES = ["Satisfied", "Feasible", "Contradicted"];

/** So many machines that break a policy are told one by one. */
const EACH = 5;
/** So many are looked at before others have their turn: some tens of milliseconds. */
const IN_ONE_GO = 1000;

/** Written only when it changes. A policy of which nothing can be told is logged, and keeps neither the others nor the round from going on. */
export async function tellPolicies(context: DirectorContext, estate: Estate): Promise<void> {
  const index = indexOf(estate);
  await inPieces(proveSurvival(estate));
  const lost = failoverFaults(estate);
  await othersFirst();
  const against = contradicted(estate);
  await othersFirst();
  for (const policy of estate.policies) {
    const { name, namespace = "default", generation = 0 } = policy.metadata;
    try {
      const told = [
        await satisfied(estate, policy, lost.get(policy) ?? []),
        ...feasible(index, policy),
        ...contradictory(against.get(policy)),
      ].map((condition) => ({ ...condition, observedGeneration: generation }));
      const about = {
        machines: index.membersOf(policy).length,
        goal: index.aimOf(policy).words,
        observedGeneration: generation,
      };
      await othersFirst();
      if (!saysSo(policy, told, about)) await write(context, policy, told, about);
    } catch (error) {
      if (context.signal.aborted) throw error;
      context.log.warn("director.untold", {
        object: `Policy/${namespace}/${name}`,
        message: describeError(error),
      });
    }
  }
}

async function write(
  { client, clock }: DirectorContext,
  { metadata: { name, namespace = "default" } }: Policy,
  told: readonly ConditionInput[],
  about: Partial<Policy["status"]>,
): Promise<void> {
  const now = clock.now().toISOString();
  await modify(client, Policy, { name, namespace }, "status", (current) => {
    const known = (current.status?.conditions ?? []).filter(
      ({ type }) => !TYPES.includes(type) || told.some((condition) => condition.type === type),
    );
    const conditions = told.reduce((all, condition) => setCondition(all, condition, now), known);
    return { ...current, status: { ...current.status, ...about, conditions } };
  });
}

function saysSo(
  { status }: Policy,
  told: readonly ConditionInput[],
  about: Partial<Policy["status"]>,
): boolean {
  const same = TYPES.every((type) => {
    const old = getCondition(status?.conditions, type);
    const now = told.find((condition) => condition.type === type);
    return old?.message === now?.message && old?.status === now?.status;
  });
  return (
    same && Object.entries(about ?? {}).every(([field, value]) => Reflect.get(status ?? {}, field) === value)
  );
}

const proven = ({ spec: { failover } }: Policy) =>
  failover
    ? `; they find room elsewhere when any ${failover.losses > 1 ? `${failover.losses} ${failover.per}s are` : `${failover.per} is`} lost`
    : "";

/** @param lost what is not survived that the policy wants to be */
export async function satisfied(
  estate: Estate,
  policy: Policy,
  lost: readonly string[],
): Promise<ConditionInput> {
  const index = indexOf(estate);
  const chosen = index.membersOf(policy).flatMap((i) => index.machines[i] ?? []);
  const running = chosen.filter(({ off }) => !off);
  const broken: string[] = [];
  for (const [i, machine] of running.entries()) {
    if (i % IN_ONE_GO === IN_ONE_GO - 1) await othersFirst();
    const host = index.hosts.get(machine.host ?? "");
    const why = host && obstacle(estate, machine, host, [policy]);
    if (!host) broken.push(`${machine.name} has no host`);
    else if (why) broken.push(`${machine.name} on ${host.name}: ${why}`);
  }
  const off = chosen.length > running.length ? ` that are to run, of ${chosen.length}` : "";
  const more = broken.length > EACH ? [`and ${broken.length - EACH} more`] : [];
  const type = "Satisfied";
  return broken.length + lost.length === 0
    ? {
        type,
        status: "True",
        reason: "Satisfied",
        message: `holds for ${running.length} machines${off}${proven(policy)}`,
      }
    : {
        type,
        status: "False",
        reason: "NotSatisfied",
        message: [...broken.slice(0, EACH), ...more, ...lost].join("; "),
      };
}

function feasible(index: EstateIndex, policy: Policy): ConditionInput[] {
  const told = feasibility(index, policy);
  if (!told) return [];
  const [status, reason] =
    told.feasible === undefined
      ? (["Unknown", "TooManyCombinations"] as const)
      : told.feasible
        ? (["True", "HostsKeepRules"] as const)
        : (["False", "NoHost"] as const);
  return [{ type: "Feasible", status, reason, message: told.message }];
}

const contradictory = (told: readonly string[] | undefined): ConditionInput[] =>
  told ? [{ type: "Contradicted", status: "True", reason: "RulesContradict", message: told.join("; ") }] : [];
