/** Binds instances that have no host yet. One round looks at all of them on one fresh estate, so two never get the same room. */
import { type Client, modify } from "../../client/client.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { Instance } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Controller } from "../../reconcile/controller.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";
import { Index } from "../../reconcile/lookup.ts";
import { isApiError } from "../../resource/errors.ts";
import { getCondition, setCondition } from "../../resource/object.ts";
import { indexOf } from "../estate/estate-index.ts";
import type { UseHistory } from "../estate/history.ts";
import { applyTo } from "../estate/moved.ts";
import { inPieces, READ, readEstate } from "../estate/read-estate.ts";
import { proveSurvival } from "../failover/failover.ts";
import { Policy } from "../kinds.ts";
import { cpuFor } from "../rules/rules.ts";
import { inBatchOrder } from "./batch.ts";
import { place } from "./place.ts";

export interface DirectorContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** What the planner sees machines use; one for all who plan. */
  history?: UseHistory;
}

const ROUND = "round";
/** What could not be placed is looked at again after this long, besides after every change. */
const AGAIN_MS = 30_000;

/** It waits for a host. */
export const isUnbound = (instance: Instance) =>
  !instance.spec.host &&
  instance.spec.running &&
  !instance.metadata.deletionTimestamp &&
  instance.status?.custody !== "Released";

export async function runScheduler(context: DirectorContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const events = new EventRecorder(client, "scheduler", log, clock);
  const instances = new Informer(client, Instance, { log });
  const waiting = new Index(instances, (instance) => (isUnbound(instance) ? [ROUND] : []));
  const controller = new Controller({
    name: "scheduler",
    log,
    // Hosts beat, thousands of them: nothing is read while nothing waits. What is new comes to the informer, too, and then there is a round.
    reconcile: async () => (waiting.get(ROUND).length > 0 ? await round(context, events) : undefined),
  });
  const hosts = new Informer(client, Host, { log });
  const policies = new Informer(client, Policy, { log });
  instances.onChange((_key, instance) => {
    // Also one that ended: it may have left the room that another waits for.
    if (!instance || isUnbound(instance) || instance.status?.custody === "Released")
      controller.enqueue(ROUND);
  });
  hosts.onChange(() => controller.enqueue(ROUND));
  policies.onChange(() => controller.enqueue(ROUND));
  await Promise.all([instances.run(signal), hosts.run(signal), policies.run(signal), controller.run(signal)]);
}

async function round(
  context: DirectorContext,
  events: EventRecorder,
): Promise<{ requeueAfterMs: number } | undefined> {
  const { client, log } = context;
  const unbound = inBatchOrder(
    (await client.list(Instance, READ)).items.filter(isUnbound),
    ({ metadata, spec }) => `${metadata.namespace}/${spec.vm}`,
  );
  if (unbound.length === 0) return undefined;
  let estate = await readEstate(client, context);
  await inPieces(proveSurvival(estate));
  let waiting = false;
  for (const instance of unbound) {
    const key = `${instance.metadata.namespace ?? "default"}/${instance.spec.vm}`;
    const machine = indexOf(estate).get(key);
    if (!machine) continue; // its VirtualMachine is gone, or odd: the others are placed all the same
    const placement = place(estate, machine);
    if (placement.host === undefined) {
      waiting = true;
      await note(context, instance, "False", "Unschedulable", `no host can run it: ${placement.reason}`);
      continue;
    }
    const { host, ...why } = placement;
    const view = indexOf(estate).hosts.get(host);
    const guestCpu = instance.spec.guestCpu ?? (view && cpuFor(estate, machine, view));
    let bound: Instance | undefined;
    try {
      bound = await modify(client, Instance, at(instance), "object", (current) =>
        current.spec.host
          ? undefined
          : {
              ...current,
              spec: { ...current.spec, host, placement: why, ...(guestCpu ? { guestCpu } : {}) },
            },
      );
    } catch (error) {
      if (!isApiError(error, "Invalid")) throw error;
      // Since we looked, a migration took the room, say. The others are placed on what there is now.
      waiting = true;
      await note(context, instance, "False", "Unschedulable", `${host} was chosen, but: ${error.message}`);
      estate = await readEstate(client, context);
      continue;
    }
    if (bound?.spec.host !== host) continue;
    applyTo(estate, key, host);
    log.info("scheduler.bound", { instance: instance.metadata.name, host, reason: why.reason });
    await note(context, instance, "True", "Scheduled", `on ${host}: ${why.reason}`);
    events.record(
      { kind: "VirtualMachine", name: instance.spec.vm, namespace: machine.namespace },
      "Normal",
      "Scheduled",
      `on ${host}: ${why.reason}`,
    );
  }
  return waiting ? { requeueAfterMs: AGAIN_MS } : undefined;
}

const at = (instance: Instance) => ({
  name: instance.metadata.name,
  namespace: instance.metadata.namespace ?? "default",
});

async function note(
  context: DirectorContext,
  instance: Instance,
  status: "True" | "False",
  reason: string,
  message: string,
): Promise<void> {
  const now = context.clock.now().toISOString();
  await modify(context.client, Instance, at(instance), "status", (current) => {
    const old = getCondition(current.status?.conditions, "Scheduled");
    if (old?.status === status && old.message === message) return undefined;
    const conditions = setCondition(
      current.status?.conditions,
      { type: "Scheduled", status, reason, message, observedGeneration: current.metadata.generation ?? 0 },
      now,
    );
    return { ...current, status: { ...current.status, conditions } };
  });
}
