/**
 * The Host reconciler: condition Ready from the heartbeat lease host-NAME. Silence makes a host Unknown, never "down": what
 * runs there may well run on (rule 7). Times are measured by our own clock from the moment a renewal was seen.
 */
import { type Client, modify } from "../../client/client.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Controller } from "../../reconcile/controller.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import { Lease } from "../../reconcile/kinds.ts";
import type { Logger } from "../../reconcile/log.ts";
import { type ConditionInput, getCondition, setCondition } from "../../resource/object.ts";
import { Host } from "./kinds.ts";

export interface HostContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
}

const PREFIX = "host-";

/** Runs until the signal aborts; never rejects. */
export async function runHostReconciler(context: HostContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const hosts = new Informer(client, Host, { log, clock });
  const leases = new Informer(client, Lease, { log, clock });
  const events = new EventRecorder(client, "host-reconciler", log, clock);
  /** renewTime as last seen, since when, and whether we saw it made or changed (a lease found at our start may be an old one). */
  const seen = new Map<string, { renewTime: string; at: number; fresh: boolean }>();
  let listed = false;
  void leases.synced.then(() => {
    listed = true;
  });
  const controller = new Controller({ name: "host", log, clock, reconcile });
  hosts.onChange((name) => controller.enqueue(name));
  leases.onChange((key, lease) => {
    if (!key.startsWith(PREFIX)) return;
    const name = key.slice(PREFIX.length);
    const old = seen.get(name);
    if (!lease) seen.delete(name);
    else if (old?.renewTime !== lease.spec.renewTime)
      seen.set(name, {
        renewTime: lease.spec.renewTime,
        at: clock.elapsed(),
        fresh: listed,
      });
    controller.enqueue(name);
  });

  async function reconcile(name: string): Promise<{ requeueAfterMs?: number } | undefined> {
    const host = hosts.get(name);
    if (!host) return undefined;
    const beat = seen.get(name);
    // How long a host may be silent is what its agent has said.
    const silenceMs = (leases.get(PREFIX + name)?.spec.durationSeconds ?? 0) * 1000;
    const old = getCondition(host.status?.conditions, "Ready");
    const age = beat ? clock.elapsed() - beat.at : undefined;
    const generation = host.metadata.generation ?? 0;
    let next: ConditionInput;
    if (age === undefined)
      next = {
        type: "Ready",
        status: "Unknown",
        reason: "NeverHeard",
        message: `no heartbeat of its agent yet (lease ${PREFIX}${name})`,
        observedGeneration: generation,
      };
    else if (age >= silenceMs || (!beat?.fresh && old?.status === "Unknown"))
      next = {
        type: "Ready",
        status: "Unknown",
        reason: "Silent",
        message: `no heartbeat of its agent for ${Math.round(silenceMs / 1000)} s; what runs on the host is not known`,
        observedGeneration: generation,
      };
    else
      next = {
        type: "Ready",
        status: "True",
        reason: "Heartbeat",
        message: "its agent is heard from",
        observedGeneration: generation,
      };
    const same =
      old?.status === next.status &&
      old.reason === next.reason &&
      old.message === next.message &&
      old.observedGeneration === generation;
    if (!same) {
      await modify(client, Host, { name }, "status", (now) => ({
        ...now,
        status: {
          ...now.status,
          conditions: setCondition(now.status?.conditions, next, clock.now().toISOString()),
        },
      }));
      if (old?.status !== next.status)
        events.record(
          { kind: Host.kind, name, ...(host.metadata.uid ? { uid: host.metadata.uid } : {}) },
          next.status === "True" ? "Normal" : "Warning",
          next.status === "True" ? "HostReady" : "HostUnknown",
          next.message,
        );
    }
    return next.status === "True" && age !== undefined ? { requeueAfterMs: silenceMs - age } : undefined;
  }

  const informed = [hosts.run(signal), leases.run(signal)];
  // Judging before the leases are known would turn every host Unknown at each start.
  await Promise.race([Promise.all([hosts.synced, leases.synced]), ...informed]);
  await Promise.all([controller.run(signal), ...informed]);
}
