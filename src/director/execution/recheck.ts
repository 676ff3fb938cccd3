/** Whether a planned move may be begun now: the world may have changed since the plan was made. Pure. */
import type { Estate, MachineView } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { failoverObstacle } from "../failover/failover.ts";
import type { Plan } from "../planning/kinds.ts";
import { automationOf, Budget, quietFor } from "../planning/limits.ts";
import { keyOf, type Move, policyOf } from "../planning/plan.ts";
import { nameOf, obstacle, policiesOf } from "../rules/rules.ts";

/** `forGood`: other moves of the plan can do nothing about it. */
export interface Hindrance {
  why: string;
  forGood: boolean;
}

/** What is against it by now; undefined when nothing is. */
export function hindrance(estate: Estate, move: Move): Hindrance | undefined {
  const stale = staleness(estate, move);
  if (stale) return { why: stale, forGood: true };
  const index = indexOf(estate);
  const [machine, host] = [index.get(keyOf(move)), index.hosts.get(move.to)];
  const why =
    machine &&
    host &&
    (obstacle(estate, machine, host) ??
      // What has to leave its host leaves it, as it was planned.
      (index.hosts.get(move.from)?.maintenance ? undefined : failoverObstacle(estate, machine, host)));
  return why ? { why: `host ${move.to}: ${why}`, forGood: host.closed !== undefined } : undefined;
}

/** What is against it by the automation of its policies and the limits of moves, which do not bind what a user asked for. */
export function overLimits(
  estate: Estate,
  move: Move,
  { automation }: Pick<Plan["spec"], "automation">,
): Hindrance | undefined {
  const now = indexOf(estate).get(keyOf(move));
  const { policy } = automationOf(now && automation === "act" ? policiesOf(estate, now) : []);
  if (policy)
    return {
      why: `${nameOf(policy)} has it not be moved by itself (automation: ${policy.spec.automation})`,
      forGood: true,
    };
  const machine = boundBy(estate, move);
  const why = machine && new Budget(estate, estate.now ?? 0, automation).refuses([machine]);
  return why ? { why, forGood: true } : undefined;
}

/** The quiet hours that a move which a user approved waits for; undefined: it may begin. What a plan makes that acts by itself does not wait for them: it is skipped, and planned anew afterwards. */
export function quietHours(
  estate: Estate,
  move: Move,
  { automation }: Pick<Plan["spec"], "automation">,
): string | undefined {
  const machine = automation === "act" ? undefined : boundBy(estate, move);
  return machine && quietFor(estate, machine);
}

/** The machine, if limits of moves bind it: out of a host in maintenance it goes in any case. */
function boundBy(estate: Estate, move: Move): MachineView | undefined {
  const index = indexOf(estate);
  if (index.hosts.get(move.from)?.maintenance) return undefined;
  return index.get(keyOf(move));
}

function staleness(estate: Estate, move: Move): string | undefined {
  const index = indexOf(estate);
  const machine = index.get(keyOf(move));
  const why = overtaken(estate, move);
  if (why) return why;
  if (!machine?.host) return `machine ${move.vm} does not run`;
  if (!machine.movable) return `machine ${move.vm} is not running, or is being moved or stopped`;
  if (!index.hosts.get(move.from)?.ready)
    return `host ${move.from}, where machine ${move.vm} is, is not ready`;
  return undefined;
}

/** What has happened since that waiting does not mend. */
export function overtaken(estate: Estate, move: Move): string | undefined {
  const index = indexOf(estate);
  const machine = index.get(keyOf(move));
  if (!machine) return `machine ${move.vm} is gone`;
  if (machine.host && machine.host !== move.from)
    return `machine ${move.vm} is on ${machine.host}, not on ${move.from}`;
  if (!index.hosts.has(move.to)) return `host ${move.to} is gone`;
  if (move.policyGeneration === undefined) return undefined;
  const policy = policyOf(estate.policies, move);
  if (!policy) return `policy ${JSON.stringify(move.policy)}, by which it was planned, is gone`;
  if (policy.metadata.generation !== move.policyGeneration)
    return `policy ${JSON.stringify(move.policy)} has changed since it was planned`;
  return undefined;
}
