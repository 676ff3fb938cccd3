/**
 * Has hosts switched off and on as PowerPolicies say (power.ts): writes what is wanted of each into status.power.automatic of the Host, which closes one that is to go
 * off for machines in the same write; the power reconciler does the rest, and tells there what came of it. Nothing is remembered but what was looked at: killed at
 * any moment, the next one decides anew from what is stored.
 */
import { modify } from "../../client/client.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { Instance } from "../../compute/kinds.ts";
import { type Automatic, isClosed, type Past, withPast } from "../../power/kinds.ts";
import { PowerPolicy, SPARE_KEPT } from "../../power/policies/kinds.ts";
import { controlPlaneMachines } from "../../reconcile/control-planes.ts";
import { Controller } from "../../reconcile/controller.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import { getCondition, setCondition } from "../../resource/object.ts";
import { inPieces, READ, readEstate } from "../estate/read-estate.ts";
import { Plan } from "../planning/kinds.ts";
import { type DirectorContext, isUnbound } from "../planning/scheduler.ts";
import { movesUnderWay } from "../planning/under-way.ts";
import { DemandShape } from "./demand.ts";
import { givenOut, timeZoneOf } from "./given-out.ts";
import type { PowerInput } from "./input.ts";
import { deciding, type Verdict } from "./power.ts";
import type { Wish } from "./round.ts";
import { isOwn } from "./standing.ts";

const ROUND = "round";
const DEBOUNCE_MS = 2000;
const EVERY_MS = 60_000;

export type PowerContext = DirectorContext & { bootId: string };

/** Runs until the signal aborts; never rejects. */
export async function runHostPower(context: PowerContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const events = new EventRecorder(client, "director", log, clock);
  const policies = new Informer(client, PowerPolicy, { log, clock });
  const hosts = new Informer(client, Host, { log, clock });
  const instances = new Informer(client, Instance, { log, clock });
  const shapes = new Map<string, DemandShape>();
  const controller = new Controller({
    name: "host-power",
    log,
    clock,
    reconcile: async () => {
      // Without any policy nothing is read.
      if (policies.list().length > 0 || hosts.list().some(isOwn)) await round(context, events, shapes);
      return { requeueAfterMs: EVERY_MS };
    },
  });
  const ask = () => controller.enqueue(ROUND, DEBOUNCE_MS);
  policies.onChange((_name, policy, old) => {
    if (policy?.metadata.generation !== old?.metadata.generation) ask();
  });
  hosts.onChange((_name, host, old) => {
    const seen = (of: Host | undefined) =>
      JSON.stringify([of?.spec, of?.status?.power, getCondition(of?.status?.conditions, "Ready")?.status]);
    if (seen(host) !== seen(old)) ask();
  });
  instances.onChange((_key, instance, old) => {
    // One that waits for a place, or that left its host.
    const waits = instance && isUnbound(instance) && !old;
    const gone =
      !instance || (instance.status?.custody === "Released" && old?.status?.custody !== "Released");
    if (waits || gone) ask();
  });
  controller.enqueue(ROUND, DEBOUNCE_MS);
  await Promise.all([
    ...[policies, hosts, instances].map((informer) => informer.run(signal)),
    controller.run(signal),
  ]);
}

/** All that is looked at, read anew; and the plans. */
export async function readPower(
  context: Pick<PowerContext, "client" | "clock"> & Partial<PowerContext>,
): Promise<PowerInput & { plans: readonly Plan[] }> {
  const { client, clock, bootId } = context;
  const [policies, hosts, plans, instances, controlPlanes] = await Promise.all([
    client.list(PowerPolicy),
    client.list(Host, READ),
    client.list(Plan),
    client.list(Instance, READ),
    controlPlaneMachines(client),
  ]);
  // Of the one that leads also before it has said so.
  if (bootId !== undefined) controlPlanes.add(bootId);
  // Last: what has come to a host meanwhile is seen on it.
  const estate = await readEstate(client, context);
  return {
    estate,
    hosts: hosts.items,
    policies: policies.items,
    plans: plans.items,
    unread: policies.skipped.map(({ name }) => name),
    waiting: instances.items
      .filter(isUnbound)
      .map(({ metadata, spec }) => `${metadata.namespace ?? "default"}/${spec.vm}`),
    // By those that quiet hours hold, too: their hosts are to be on when they end.
    expected: new Set(
      movesUnderWay(plans.items)
        .values()
        .map(({ to }) => to),
    ),
    now: clock.now().getTime(),
    controlPlanes,
  };
}

async function round(
  context: PowerContext,
  events: EventRecorder,
  shapes: Map<string, DemandShape>,
): Promise<void> {
  const { log, client } = context;
  const [policies, hosts] = await Promise.all([client.list(PowerPolicy, READ), client.list(Host, READ)]);
  // Where nobody wants it, not all of the estate is read each minute.
  if (policies.items.length === 0 && !hosts.items.some((host) => isOwn(host))) return;
  const input = await readPower(context);
  await learn(context, input, shapes);
  const ahead = forecastOf(input.policies, input.now, shapes);
  const verdict = await inPieces(deciding({ ...input, ahead }));
  for (const wish of verdict.wishes) {
    const policy = input.policies.find(({ metadata }) => metadata.name === wish.policy);
    const host = input.hosts.find(({ metadata }) => metadata.name === wish.host);
    // Those that nobody wants off any more come on, also under a policy that only advises.
    const acts =
      policy?.spec.automation === "act" || (wish.power === "On" && host !== undefined && isOwn(host));
    if (!acts || !host || !(await want(context, host, wish))) continue;
    log.info("director.power", { host: wish.host, power: wish.power, policy: wish.policy });
    events.record(about(host), "Normal", `Power${wish.power}Wanted`, told(wish));
  }
  for (const host of input.hosts) if (isOverruled(host)) await dropWish(context, host);
  await tellPolicies(context, events, input, verdict);
}

/** What is given out now, into the shape of the week; stored when an hour has ended. */
async function learn(
  { client }: PowerContext,
  input: PowerInput,
  shapes: Map<string, DemandShape>,
): Promise<void> {
  for (const name of shapes.keys())
    if (!input.policies.some(({ metadata }) => metadata.name === name)) shapes.delete(name);
  for (const policy of input.policies) {
    const { name, uid } = policy.metadata;
    const timeZone = timeZoneOf(input, policy);
    const known = shapes.get(name);
    const shape =
      known?.timeZone === timeZone
        ? known
        : new DemandShape(known?.stored() ?? policy.status?.demand, timeZone);
    shapes.set(name, shape);
    if (!shape.observe(input.now, givenOut(input, policy))) continue;
    const demand = shape.stored();
    await modify(client, PowerPolicy, { name }, "status", (now) =>
      now.metadata.uid === uid ? { ...now, status: { ...now.status, demand } } : undefined,
    );
  }
}

/** By what was learned, here or by what is stored. */
export function forecastOf(
  policies: readonly PowerPolicy[],
  now: number,
  shapes: ReadonlyMap<string, DemandShape> = new Map(
    policies.map(({ metadata, status }) => [metadata.name, new DemandShape(status?.demand)]),
  ),
): PowerInput["ahead"] {
  return (policy, aheadMs) => shapes.get(policy)?.peak(now, aheadMs);
}

const about = ({ metadata: { name, uid } }: Host) => ({ kind: Host.kind, name, ...(uid ? { uid } : {}) });

function told({ policy, reason, power, predicted: { watts, seconds } }: Wish): string {
  const expected = [
    ...(watts === undefined ? [] : [`${Math.abs(Math.round(watts))} W ${watts < 0 ? "less" : "more"}`]),
    ...(seconds === undefined
      ? []
      : [power === "On" ? `there in ${seconds} s` : `for ${Math.round(seconds / 60)} minutes at least`]),
  ];
  return `PowerPolicy ${policy}: ${reason}${expected.length > 0 ? `; expected: ${expected.join(", ")}` : ""}`;
}

/** Writes what is wanted, when the host is still as it was when that was decided. @returns whether it was this call that wrote it */
async function want({ client, clock }: PowerContext, host: Host, wish: Wish): Promise<boolean> {
  const { name, uid } = host.metadata;
  let wrote = false;
  await modify(client, Host, { name }, "status", (now) => {
    wrote = false;
    const { power } = now.status ?? {};
    const same =
      now.metadata.uid === uid &&
      now.metadata.generation === host.metadata.generation &&
      JSON.stringify([power?.state, power?.task?.kind, power?.automatic]) ===
        JSON.stringify([
          host.status?.power?.state,
          host.status?.power?.task?.kind,
          host.status?.power?.automatic,
        ]);
    if (!same || !power) return undefined;
    const ready = getCondition(now.status?.conditions, "Ready")?.status === "True";
    if (wish.power === "Off" && (!ready || power.state !== "On" || power.task)) return undefined;
    const since = clock.now().toISOString();
    const agent = now.status?.agent?.startedTime;
    const automatic: Automatic = {
      power: wish.power,
      since,
      policy: wish.policy,
      reason: wish.reason,
      predicted: wish.predicted,
      ...(wish.power === "On" && agent !== undefined ? { agent } : {}),
    };
    const ended = endOfOff(now, since);
    wrote = true;
    return {
      ...now,
      status: {
        ...now.status,
        power: { ...(ended ? withPast(power, ended) : power), automatic },
      },
    };
  });
  return wrote;
}

/** What came of its being off, which ends now. */
function endOfOff({ status }: Host, at: string): Past | undefined {
  const { automatic, fulfilled, state } = status?.power ?? {};
  if (automatic?.power !== "Off" || fulfilled?.since !== automatic.since || state !== "Off") return undefined;
  const seconds = Math.round((Date.parse(at) - Date.parse(fulfilled.finishedTime)) / 1000);
  const { watts } = automatic.predicted ?? {};
  const saved =
    watts === undefined ? "" : `, ${Math.round((-watts * seconds) / 3600)} Wh less by its idle watts`;
  return {
    power: "Off",
    since: automatic.since,
    finishedTime: at,
    succeeded: true,
    ...(automatic.predicted?.seconds === undefined ? {} : { predictedSeconds: automatic.predicted.seconds }),
    seconds,
    message: `it was off for ${Math.round(seconds / 60)} minutes${saved}`,
  };
}

/** A user has the say now: by spec.power, or by a host closed that was to go off and has not begun to. */
function isOverruled({ spec, status }: Host): boolean {
  const { automatic, fulfilled, task, state } = status?.power ?? {};
  if (!automatic) return false;
  if (spec.power !== undefined) return true;
  const waits = automatic.power === "Off" && fulfilled?.since !== automatic.since && !task && state !== "Off";
  return waits && isClosed(spec);
}

async function dropWish({ client }: PowerContext, host: Host): Promise<void> {
  await modify(client, Host, { name: host.metadata.name }, "status", (now) => {
    if (!isOverruled(now) || !now.status?.power) return undefined;
    const { automatic: _, fulfilled: __, ...power } = now.status.power;
    return { ...now, status: { ...now.status, power } };
  });
}

async function tellPolicies(
  { client, clock, bootId }: PowerContext,
  events: EventRecorder,
  { policies, hosts }: PowerInput,
  verdict: Verdict,
): Promise<void> {
  for (const policy of policies) {
    const { name, generation = 0 } = policy.metadata;
    const figures = verdict.policies.find((each) => each.name === name);
    if (!figures) continue;
    const { spare, hosts: count, on, off } = figures;
    const controlPlane = hosts.find(({ status }) => status?.facts?.bootId === bootId)?.metadata.name;
    const advised =
      policy.spec.automation === "advise"
        ? verdict.wishes
            .filter((wish) => wish.policy === name)
            .map(({ host, power, reason }) => ({ host, power, reason }))
        : undefined;
    for (const { host, power, reason } of advised ?? []) {
      const before = policy.status?.advised?.some((each) => each.host === host && each.power === power);
      const found = hosts.find(({ metadata }) => metadata.name === host);
      if (!before && found)
        events.record(about(found), "Normal", `Power${power}Advised`, `PowerPolicy ${name}: ${reason}`);
    }
    const before = getCondition(policy.status?.conditions, SPARE_KEPT);
    const condition = {
      type: SPARE_KEPT,
      status: spare.kept ? ("True" as const) : ("False" as const),
      reason: spare.kept ? "Kept" : "NotKept",
      message: spare.message,
      observedGeneration: generation,
    };
    const figure = (of: PowerPolicy["status"]) =>
      JSON.stringify([of?.hosts, of?.on, of?.off, of?.advised, of?.controlPlane]);
    const next = {
      hosts: count,
      on,
      off,
      ...(advised ? { advised } : {}),
      ...(controlPlane ? { controlPlane } : {}),
    };
    if (
      figure(policy.status) === figure(next) &&
      before?.message === spare.message &&
      before.status === condition.status &&
      policy.status?.observedGeneration === generation
    )
      continue;
    await modify(client, PowerPolicy, { name }, "status", (now) => {
      const { advised: _, controlPlane: __, ...rest } = now.status ?? {};
      return {
        ...now,
        status: {
          ...rest,
          ...next,
          observedGeneration: generation,
          conditions: setCondition(now.status?.conditions, condition, clock.now().toISOString()),
        },
      };
    });
  }
}
