/** The heartbeat of a host: Lease host-NAME. When it stops, the control plane calls the host Unknown, and nothing more. */
import type { Client } from "../client/client.ts";
import type { Clock } from "../reconcile/clock.ts";
import { Lease } from "../reconcile/kinds.ts";
import type { Logger } from "../reconcile/log.ts";
import { isApiError } from "../resource/errors.ts";

/** A lease lasts this many beats: a few may be lost without the host becoming Unknown. */
const BEATS = 4;

export async function runHeartbeat(context: {
  client: Client;
  host: string;
  seconds: number;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}): Promise<void> {
  const { client, host, seconds, clock, log, signal } = context;
  const at = { name: `host-${host}` };
  let failing = false;
  while (!signal.aborted) {
    const spec = {
      holder: host,
      durationSeconds: Math.ceil(seconds * BEATS),
      renewTime: clock.now().toISOString(),
    };
    try {
      await client.patch(Lease, at, { spec }, { signal, urgent: true }).catch((error: unknown) => {
        if (!isApiError(error, "NotFound")) throw error;
        return client.create(Lease, { metadata: at, spec }, signal);
      });
      if (failing) log.info("heartbeat.resumed", { host });
      failing = false;
    } catch (error) {
      // Said once a silence, not once a beat.
      if (!failing && !signal.aborted) log.warn("heartbeat.failed", { host, error });
      failing = true;
    }
    await clock.sleep(failing ? 1000 : seconds * 1000, signal);
  }
}
