/** Chooses the host for Migrations that name none: the best for the machine by its policies, but for the one it is on. */
import { modify } from "../../client/client.ts";
import { isFinal, Migration } from "../../compute/migrations/kinds.ts";
import { Controller } from "../../reconcile/controller.ts";
import { Informer } from "../../reconcile/informer.ts";
import { setCondition } from "../../resource/object.ts";
import { requestOf } from "../../telemetry/request-id.ts";
import { readEstate } from "../estate/read-estate.ts";
import { place } from "./place.ts";
import type { DirectorContext } from "./scheduler.ts";

const AGAIN_MS = 5000;

export async function runDestinations(context: DirectorContext): Promise<void> {
  const { client, log, signal } = context;
  const migrations = new Informer(client, Migration, { log });
  const controller = new Controller({
    name: "destinations",
    log,
    reconcile: (key) => choose(context, key),
    requestOf: (key) => requestOf(migrations.get(key)),
  });
  migrations.onChange((key, migration) => {
    if (migration && isOpen(migration)) controller.enqueue(key);
  });
  await Promise.all([migrations.run(signal), controller.run(signal)]);
}

const isOpen = (migration: Migration) => !migration.spec.to && !isFinal(migration);

async function choose(
  context: DirectorContext,
  key: string,
): Promise<{ requeueAfterMs: number } | undefined> {
  const { client, clock, log } = context;
  const [namespace = "", name = ""] = key.split("/");
  const at = { name, namespace };
  const migration = await client.get(Migration, at);
  if (!migration || !isOpen(migration)) return undefined;
  const estate = await readEstate(client, context);
  const machine = estate.machines.find((m) => m.key === `${namespace}/${migration.spec.vm}`);
  // The Migration reconciler says that there is none, or that it does not run.
  if (!machine?.host) return { requeueAfterMs: AGAIN_MS };
  const placement = place(estate, machine, machine.host);
  if (placement.host === undefined) {
    const message = `no other host can run it: ${placement.reason}`;
    await modify(client, Migration, at, "status", (now) => {
      if (!isOpen(now)) return undefined;
      const condition = { type: "Scheduled", status: "False", reason: "Unschedulable", message } as const;
      const generation = now.metadata.generation ?? 0;
      const conditions = setCondition(
        now.status?.conditions,
        { ...condition, observedGeneration: generation },
        clock.now().toISOString(),
      );
      return { ...now, status: { ...now.status, conditions } };
    });
    return undefined;
  }
  const { host: to, policy, reason } = placement;
  await modify(client, Migration, at, "object", (now) => {
    if (!isOpen(now)) return undefined;
    return { ...now, spec: { ...now.spec, to, reason, ...(policy ? { policy } : {}) } };
  });
  log.info("destinations.chosen", { migration: key, host: to, reason });
  return undefined;
}
