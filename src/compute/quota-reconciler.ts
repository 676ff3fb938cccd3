/** The quota reconciler: status.used of each ResourceQuota, for people; what is let in is decided by the API at each write (quota.ts). */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../client/client.ts";
import type { Clock } from "../reconcile/clock.ts";
import { Controller } from "../reconcile/controller.ts";
import { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import { isApiError } from "../resource/errors.ts";
import { keyOf } from "../resource/object.ts";
import { VirtualMachine } from "./kinds.ts";
import { quotaStatus, ResourceQuota, usesOtherwise } from "./quota.ts";

export interface QuotaContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}

/** Runs until the signal aborts; never rejects. */
export async function runQuotaReconciler(context: QuotaContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const quotas = new Informer(client, ResourceQuota, { log, clock });
  const vms = new Informer(client, VirtualMachine, { log, clock });
  const controller = new Controller({ name: "quota", log, clock, reconcile });
  quotas.onChange((key) => controller.enqueue(key));
  vms.onChange((_key, now, old) => {
    if (!usesOtherwise(now, old)) return;
    const namespace = (now ?? old)?.metadata.namespace;
    for (const quota of quotas.list())
      if (quota.metadata.namespace === namespace) controller.enqueue(keyOf(quota));
  });

  async function reconcile(key: string): Promise<void> {
    const quota = quotas.get(key);
    if (!quota) return;
    const { namespace } = quota.metadata;
    const status = quotaStatus(
      quota,
      vms.list().filter(({ metadata }) => metadata.namespace === namespace),
    );
    if (!status || isDeepStrictEqual(status, quota.status)) return;
    try {
      await client.updateStatus(ResourceQuota, { ...quota, status });
    } catch (error) {
      // Somebody was faster: the informer brings the newer quota, and with it another look.
      if (!isApiError(error, "Conflict", "NotFound")) throw error;
    }
  }

  const running = [quotas.run(signal), vms.run(signal)];
  await Promise.race([Promise.all([quotas.synced, vms.synced]), ...running]);
  await Promise.all([controller.run(signal), ...running]);
}
