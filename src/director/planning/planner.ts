/** Makes Plans when policies or hosts change, and tells of each policy whether it holds. While plans are being carried out only what has to go is planned (under-way.ts). */
import { modify } from "../../client/client.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { Instance, type Usage } from "../../compute/kinds.ts";
import { Controller } from "../../reconcile/controller.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import { isApiError } from "../../resource/errors.ts";
import { getCondition } from "../../resource/object.ts";
import { inRequest, newRequestId, requestOf } from "../../telemetry/request-id.ts";
import type { Estate } from "../estate/estate.ts";
import { indexOf } from "../estate/estate-index.ts";
import { isLeftForMemory, MEMORY_FAILING } from "../estate/failing-memory.ts";
import { inPieces, othersFirst, readEstate } from "../estate/read-estate.ts";
import { demandIn } from "../estate/use.ts";
import { proveSurvival } from "../failover/failover.ts";
import { Policy } from "../kinds.ts";
import { experienceOf } from "./experience.ts";
import { predict } from "./figures.ts";
import { Forecaster } from "./forecast.ts";
import { HOLD_MS, outdated, staysOf } from "./kept.ts";
import { AUTOMATIONS, endOf, isPlanOpen, isPlanUnderWay, isProposal, isRejected, Plan } from "./kinds.ts";
import { tellHosts, tellMemory } from "./maintenance.ts";
import { type Move, policyOf } from "./plan.ts";
import { tellPolicies } from "./policy-status.ts";
import type { DirectorContext } from "./scheduler.ts";
import { holdForApproved, Planning } from "./under-way.ts";
import { holdForUsers, madeBy } from "./undo.ts";

const ROUND = "round";
/** Changes that come together (several policies of one manifest) are planned for once. */
const DEBOUNCE_MS = 700;
/** Without any change: load and stay times may have made a move useful. */
const EVERY_MS = 60_000;

export async function runPlanner(context: DirectorContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const events = new EventRecorder(client, "director", log, clock);
  /** When each policy was last seen to change, ms; not kept over a restart: then stay times hold. */
  const changedAt = new Map<string, number>();
  let trigger = "a look at the estate";
  let request: string | undefined;
  const controller = new Controller({
    name: "planner",
    log,
    // Each time it reads the whole estate.
    rest: 3,
    reconcile: async () => {
      // What the director decides by itself has an id of its own.
      const [why, id] = [trigger, request ?? newRequestId()];
      [trigger, request] = ["a look at the estate", undefined];
      await inRequest(id, () => round(context, events, why, changedAt));
      return { requeueAfterMs: EVERY_MS };
    },
  });
  const ask = (why: string, id?: string, delayMs = DEBOUNCE_MS) => {
    trigger = why;
    request = id;
    controller.enqueue(ROUND, delayMs);
  };
  /** Plans in a row that moved nothing. */
  let fruitless = 0;
  /** Hosts that are to be empty. */
  const leaving = new Set<string>();
  const policies = new Informer(client, Policy, { log });
  const hosts = new Informer(client, Host, { log });
  const instances = new Informer(client, Instance, { log });
  policies.onChange((key, policy, old) => {
    if (policy?.metadata.generation === old?.metadata.generation) return;
    if (old) changedAt.set(key, clock.now().getTime());
    ask(`policy ${key} ${policy ? (old ? "changed" : "is new") : "was deleted"}`, requestOf(policy));
  });
  hosts.onChange((name, host, old) => {
    if (host && (host.spec.maintenance || isLeftForMemory(host))) leaving.add(name);
    else leaving.delete(name);
    const state = (h: Host | undefined) =>
      JSON.stringify([
        h?.spec,
        h?.status?.capacity,
        h?.status?.memoryErrors,
        h?.status?.power?.emptying !== undefined,
        ...["Ready", MEMORY_FAILING].map((type) => getCondition(h?.status?.conditions, type)?.status),
      ]);
    if (state(host) !== state(old)) ask(`host ${name} ${host ? (old ? "changed" : "is new") : "is gone"}`);
  });
  const plans = new Informer(client, Plan, { log });
  /** While a plan is under way only what has to go is planned, and each of its moves has a machine come up. */
  let missed: string | undefined;
  plans.onChange((_name, plan, old) => {
    if (!old || !isPlanOpen(old) || (plan && isPlanOpen(plan))) return;
    if (plan) fruitless = madeBy(plan).length > 0 ? 0 : fruitless + 1;
    // What only gains is not planned while another one goes on: then that one's end is waited for.
    const late = plans.list().some(isPlanUnderWay) ? undefined : missed;
    if (late) missed = undefined;
    const why = (plan && whyAgain(plan)) ?? late;
    if (why) ask(why, undefined, Math.min(EVERY_MS, DEBOUNCE_MS * 2 ** fruitless));
  });
  instances.onChange((_key, instance, old) => {
    const used = instance?.status?.usage;
    if (used && used.time !== old?.status?.usage?.time) see(context, instance, used, old === undefined);
    const gone = !instance || instance.status?.custody === "Released";
    if (gone && old && leaving.has(old.spec.host ?? "")) ask(`a machine left host ${old.spec.host}`);
    if (instance?.status?.phase !== old?.status?.phase && instance?.status?.phase === "Running") {
      if (plans.list().some(isPlanUnderWay)) missed = "a machine came up";
      else ask("a machine came up");
    }
  });
  controller.enqueue(ROUND, DEBOUNCE_MS);
  await Promise.all([
    ...[policies, hosts, instances, plans].map((informer) => informer.run(signal)),
    controller.run(signal),
  ]);
}

/** From the agents' own samples; they tell only what changed. @param first it was told before we looked: what has held since */
function see(
  { history, clock }: DirectorContext,
  { metadata, spec }: Instance,
  usage: Usage,
  first: boolean,
): void {
  const now = clock.now().getTime();
  const at = first ? Math.min(now, Date.parse(usage.time) || now) : now;
  history?.observe(`${metadata.namespace ?? "default"}/${spec.vm}`, at, usage.cpus, demandIn(usage));
}

/** Why it is planned again as soon as a plan is over; undefined: the next look is soon enough. */
export function whyAgain(plan: Plan): string | undefined {
  // Who stopped it has a moment to say what else is wanted, also where all of it was done by then.
  if (isRejected(plan)) return undefined;
  const { metadata, spec, status } = plan;
  const { name } = metadata;
  // What it could not hold (maxMoves), or made possible.
  if (status?.phase === "Succeeded") return `plan ${name} was carried out`;
  const was = (phase: string) => status?.moves?.some((move) => move.phase === phase);
  // The world has changed under it: what is best now?
  return was("Skipped") && !was("Failed") && !spec.undoes
    ? `not all of plan ${name} could be done`
    : undefined;
}

/** Whether a machine is there, as far as can be told: one that cannot be read (by an older version, say) is not deleted. Of such only the name is told, so others of that name are kept with it. */
export function isKnown(estate: Estate): (key: string) => boolean {
  const { position } = indexOf(estate);
  const odd = new Set(estate.odd.map(({ object }) => object));
  return (key) => position.has(key) || odd.has(`VirtualMachine/${key.slice(key.indexOf("/") + 1)}`);
}

async function round(
  context: DirectorContext,
  events: EventRecorder,
  trigger: string,
  changedAt: ReadonlyMap<string, number>,
): Promise<void> {
  const { client, clock, log } = context;
  const estate = await readEstate(client, context);
  context.history?.forget(isKnown(estate));
  for (const { object, message } of estate.odd) log.warn("director.odd", { object, message });
  await tellMemory(context, events);
  await othersFirst();
  await tellPolicies(context, estate);
  const plans = (await client.list(Plan)).items;
  for (const { metadata } of outdated(plans, clock.now().getTime(), staysOf(estate)))
    await client.delete(Plan, { name: metadata.name }).catch((error: unknown) => {
      if (!isApiError(error, "NotFound")) throw error;
    });
  await tellHosts(context, estate, plans);
  const free = {
    now: clock.now().getTime(),
    released: released(estate, changedAt),
    forecaster: new Forecaster(experienceOf(plans, estate)),
  };
  const state = holdForApproved(holdForUsers(estate, plans, free), plans);
  const planning = new Planning(state, plans, free);
  // Else it is planned on another one.
  if (!planning.isBusy) await inPieces(proveSurvival(state));
  for (const automation of AUTOMATIONS) {
    await othersFirst();
    // Each by itself: what is carried out must not hang on what is only proposed.
    const planned = planning.movesOf(automation);
    const own = planned.moves.map((move) => {
      const policyGeneration = policyOf(estate.policies, move)?.metadata.generation;
      return { ...move, ...(policyGeneration === undefined ? {} : { policyGeneration }) };
    });
    // Proposals stay as they are, until more than what has to go is looked at.
    if (planning.isBusy && own.length === 0) continue;
    const before = plans.filter((plan) => plan.spec.automation === automation);
    const same = (plan: Plan) =>
      JSON.stringify(plan.spec.moves.map(target)) === JSON.stringify(own.map(target));
    // One that the executor has not seen yet, too.
    const open = before.filter(isProposal);
    if (own.length > 0 && open.some(same)) continue;
    for (const plan of open) await supersede(context, plan);
    // A broken rule does not hold a machine that a user wants where it is.
    if (own.length === 0 || before.some((plan) => wasRejected(plan, free.now) && same(plan))) continue;
    const name = `plan-${clock.now().getTime().toString(36)}-${automation}`;
    for (const plan of planned.supersedes) await callOff(context, events, plan, own, name);
    await client.create(Plan, {
      metadata: { name },
      spec: { trigger, automation, moves: predict(estate, own, plans) },
    });
    log.info("director.plan", { plan: name, trigger, moves: own.length });
    for (const move of own)
      events.record(
        { kind: "VirtualMachine", name: move.vm, namespace: move.namespace },
        "Normal",
        { act: "MovePlanned", ask: "MoveProposed", advise: "MoveAdvised" }[automation],
        `from ${move.from} to ${move.to} (${name}): ${move.reason}`,
      );
  }
}

/** Not one that was approved or rejected meanwhile: the executor ends what is being stopped. */
async function supersede({ client, clock }: DirectorContext, { metadata: { name } }: Plan): Promise<void> {
  await modify(client, Plan, { name }, "status", (now) =>
    isProposal(now)
      ? {
          ...now,
          status: { ...now.status, phase: "Superseded" as const, endedTime: clock.now().toISOString() },
        }
      : undefined,
  );
}

/** Moves of a plan under way that have not begun are not made any more; the executor ends it when the others are over. */
async function callOff(
  { client }: DirectorContext,
  events: EventRecorder,
  { metadata: { name, uid } }: Plan,
  moves: readonly Move[],
  by: string,
): Promise<void> {
  const [first, ...others] = moves;
  const more = others.length > 0 ? `, and ${others.length} more` : "";
  const superseded = `${by} moves first what has to go: ${first?.vm} from ${first?.from} (${first?.reason})${more}`;
  const done = await modify(client, Plan, { name }, "status", (now) =>
    isPlanUnderWay(now) ? { ...now, status: { ...now.status, superseded } } : undefined,
  );
  if (done?.status?.superseded !== superseded) return;
  events.record(
    { kind: Plan.kind, name, ...(uid ? { uid } : {}) },
    "Normal",
    "PlanSuperseded",
    `its moves that had not begun are not made: ${superseded}`,
  );
}

/** A proposal; what the director does by itself and a user stopped is planned again when it has to be. */
const wasRejected = (plan: Plan, now: number): boolean =>
  isRejected(plan) && plan.spec.automation !== "act" && now - endOf(plan) < HOLD_MS;

const target = ({ namespace, vm, to, policyGeneration }: Move) => [namespace, vm, to, policyGeneration];

/** Machines that a policy which changed after they came to their host chooses. */
function released(estate: Estate, changedAt: ReadonlyMap<string, number>): Set<string> {
  const free = new Set<string>();
  const index = indexOf(estate);
  for (const policy of estate.policies) {
    const at = changedAt.get(`${policy.metadata.namespace ?? "default"}/${policy.metadata.name}`);
    if (at === undefined) continue;
    for (const i of index.membersOf(policy)) {
      const machine = index.machines[i];
      if (machine && at > machine.since) free.add(machine.key);
    }
  }
  return free;
}
