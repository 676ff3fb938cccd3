/** A scheduler that binds every instance to some ready host: what the director does, without its reasons. */
import type { Client } from "../../src/client/client.ts";
import { Host, Instance } from "../../src/compute/kinds.ts";
import type { Clock } from "../../src/reconcile/clock.ts";
import { Controller } from "../../src/reconcile/controller.ts";
import { Informer } from "../../src/reconcile/informer.ts";
import type { Logger } from "../../src/reconcile/log.ts";
import { getCondition, keyOf } from "../../src/resource/object.ts";
import type { Random } from "./random.ts";

export async function runTestScheduler(context: {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  random: Random;
}): Promise<void> {
  const { client, log, signal, random } = context;
  const instances = new Informer(client, Instance, { log });
  const hosts = new Informer(client, Host, { log });
  const controller = new Controller({
    name: "test-scheduler",
    log,
    reconcile: async (key) => {
      const instance = instances.get(key);
      if (!instance || instance.spec.host || instance.metadata.deletionTimestamp) return undefined;
      if (instance.status?.custody === "Released") return undefined;
      const ready = hosts
        .list()
        .filter((h) => getCondition(h.status?.conditions, "Ready")?.status === "True");
      const host = random.pick(ready)?.metadata.name;
      if (!host) return { requeueAfterMs: 20 };
      const placement = { reason: "the dice said so" };
      await client.update(Instance, { ...instance, spec: { ...instance.spec, host, placement } });
      return undefined;
    },
  });
  instances.onChange((_key, now) => now && controller.enqueue(keyOf(now)));
  await Promise.all([controller.run(signal), instances.run(signal), hosts.run(signal)]);
}
