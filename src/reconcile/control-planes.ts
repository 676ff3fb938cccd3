/**
 * On which machines control planes run, leading or not: each says so while it runs, in a Lease by the boot id of its machine, so that no host is switched off by itself that
 * the store, or whoever leads next, may run on. One that is silent counts for a day on: it may only be cut off.
 */
import type { Client } from "../client/client.ts";
import { isApiError } from "../resource/errors.ts";
import { backoffMs } from "./backoff.ts";
import type { Clock } from "./clock.ts";
import { Lease } from "./kinds.ts";
import { describeError, type Logger } from "./log.ts";

const PREFIX = "control-plane-";
const DURATION_SECONDS = 900;
const FORGOTTEN_MS = 24 * 3_600_000;

export interface Announcement {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** Of the machine that this control plane runs on. */
  bootId: string;
}

/** Says again and again that a control plane runs on this machine, until the signal aborts; never rejects. */
export async function announceControlPlane({
  client,
  clock,
  log,
  signal,
  bootId,
}: Announcement): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await announce(client, bootId, clock.now());
      await forget(client, clock.now());
      failures = 0;
    } catch (error) {
      // Another one on the same machine was faster: it said the same.
      if (!isApiError(error, "Conflict", "AlreadyExists") && failures++ === 0 && !signal.aborted)
        log.warn("controlplane.unannounced", { error: describeError(error) });
    }
    const everyMs = (DURATION_SECONDS * 1000) / 3;
    await clock.sleep(failures > 0 ? backoffMs(failures, { maxMs: everyMs }) : everyMs, signal);
  }
}

async function announce(client: Client, bootId: string, now: Date): Promise<void> {
  const name = `${PREFIX}${bootId}`;
  const spec = { holder: bootId, durationSeconds: DURATION_SECONDS, renewTime: now.toISOString() };
  const held = await client.get(Lease, { name });
  if (held) await client.update(Lease, { ...held, spec });
  else await client.create(Lease, { metadata: { name }, spec });
}

/** Deletes those of machines that were started anew, or have no control plane any more. */
async function forget(client: Client, now: Date): Promise<void> {
  for (const { metadata, spec } of (await client.list(Lease, { shared: true })).items) {
    if (!metadata.name.startsWith(PREFIX)) continue;
    if (now.getTime() - Date.parse(spec.renewTime) < FORGOTTEN_MS) continue;
    const { name, resourceVersion } = metadata;
    await client.delete(Lease, { name }, resourceVersion === undefined ? {} : { resourceVersion });
  }
}

/** The boot ids of all machines that control planes run on. */
export async function controlPlaneMachines(client: Client): Promise<Set<string>> {
  const { items, skipped } = await client.list(Lease, { shared: true });
  const names = [...items.map(({ metadata }) => metadata), ...skipped].map(({ name }) => name);
  return new Set(names.filter((name) => name.startsWith(PREFIX)).map((name) => name.slice(PREFIX.length)));
}

/** Whether one runs on the machine with this boot id. */
export async function runsControlPlane(client: Client, bootId: string | undefined): Promise<boolean> {
  if (!bootId) return false;
  try {
    return (await client.get(Lease, { name: `${PREFIX}${bootId}` })) !== undefined;
  } catch (error) {
    // It is there, whatever is wrong with it.
    if (isApiError(error, "Invalid")) return true;
    throw error;
  }
}
