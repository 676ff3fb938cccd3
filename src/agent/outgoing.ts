/**
 * The source's part of a live migration; the protocol is in compute/kinds.ts. Up to the one write that releases custody, everything
 * that goes wrong ends with the machine running on here.
 */
import type { Client } from "../client/client.ts";
import { Instance } from "../compute/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import type { Logger } from "../reconcile/log.ts";
import { isApiError } from "../resource/errors.ts";
import { hostDnsName } from "../resource/host-name.ts";
import { keyOf } from "../resource/object.ts";
import { type Hypervisor, HypervisorError, type MachineState, type MigrationProgress } from "./hypervisor.ts";
import type { InstanceStatus } from "./instances.ts";
import type { Peers } from "./peers.ts";
import { idOf } from "./probe.ts";

/** Between two looks while memory is sent; events wake us earlier. */
const PROGRESS_MS = 1000;
/** How long a guest that stands still for it may wait for a stream that does not get on, before it runs on here. */
const STALLED_MS = 10_000;

type Migration = NonNullable<InstanceStatus["migration"]>;
type Again = { requeueAfterMs: number } | undefined;

export class Outgoing {
  readonly #c: { client: Client; hypervisor: Hypervisor; clock: Clock; log: Logger };
  readonly #peers: Peers;
  readonly #write: (instance: Instance, change: Partial<InstanceStatus>) => Promise<Instance | undefined>;
  /** What had been sent when the stream last got on. */
  readonly #sent = new Map<string, { bytes: number; at: number }>();

  constructor(
    context: { client: Client; hypervisor: Hypervisor; clock: Clock; log: Logger },
    peers: Peers,
    write: (instance: Instance, change: Partial<InstanceStatus>) => Promise<Instance | undefined>,
  ) {
    this.#c = context;
    this.#peers = peers;
    this.#write = write;
  }

  /** One step. "stays": no migration is asked for or under way. */
  async step(instance: Instance, machine: MachineState): Promise<Again | "stays"> {
    const { hypervisor } = this.#c;
    const id = idOf(instance);
    const { migrateTo } = instance.spec;
    const attempt = instance.status?.migration;
    const isHeld = machine.pausedBy === "migration";
    if (!migrateTo && !attempt && machine.state !== "postmigrate" && !isHeld) return "stays";
    if (
      !migrateTo &&
      attempt &&
      ["Failed", "Cancelled"].includes(attempt.phase) &&
      machine.state === "running"
    )
      return "stays";
    const progress = await hypervisor.migration(id);
    if (!migrateTo) return this.#callOff(instance, machine, progress);
    const started = attempt?.to === migrateTo.instance;
    if (started && ["Failed", "Cancelled"].includes(attempt.phase)) return "stays";
    switch (progress.phase) {
      case "none":
      case "failed":
      case "cancelled":
        if (started) return this.#fail(instance, progress.error ?? "the stream to the target broke");
        return this.#begin(instance, migrateTo);
      case "active":
        if (!started) await this.#note(instance, "Active", progress);
        // An agent may have died before it let the guest go on.
        if (isHeld) await hypervisor.migrate(id, migrateTo.address, hostDnsName(migrateTo.host));
        if (isHeld && this.#isStalled(keyOf(instance), progress.transferredBytes)) {
          await hypervisor.cancelMigration(id);
          return this.#fail(
            instance,
            `nothing could be sent for ${STALLED_MS} ms, while the guest stood still`,
          );
        }
        return { requeueAfterMs: PROGRESS_MS };
      case "pre-switchover":
        return this.#switchover(instance, migrateTo.instance);
      case "completed":
        return this.#handOver(instance, progress);
    }
  }

  #isStalled(key: string, bytes: number): boolean {
    const now = this.#c.clock.now().getTime();
    const last = this.#sent.get(key);
    if (last?.bytes === bytes) return now - last.at >= STALLED_MS;
    this.#sent.set(key, { bytes, at: now });
    return false;
  }

  async #begin(instance: Instance, to: NonNullable<Instance["spec"]["migrateTo"]>): Promise<Again> {
    this.#sent.delete(keyOf(instance));
    this.#peers.watch(keyOf(instance), { name: to.instance, namespace: instance.metadata.namespace ?? "" });
    try {
      await this.#c.hypervisor.migrate(idOf(instance), to.address, hostDnsName(to.host));
    } catch (error) {
      this.#c.log.warn("migration.begin", { instance: keyOf(instance), error });
      const message =
        error instanceof HypervisorError ? error.message : "its host could not begin to send it";
      return this.#fail(instance, message);
    }
    await this.#note(instance, "Active", undefined);
    return { requeueAfterMs: PROGRESS_MS };
  }

  /** The last moment to say no without the guest having stood still: `instance` has just been read. */
  async #switchover(instance: Instance, target: string): Promise<Again> {
    const { hypervisor } = this.#c;
    if ((await this.#peer(instance, target))?.status?.phase !== "Incoming") {
      await hypervisor.cancelMigration(idOf(instance));
      return this.#fail(instance, "the target is no longer there");
    }
    const progress = await hypervisor.switchover(idOf(instance));
    if (progress.phase !== "completed")
      return this.#fail(instance, progress.error ?? "the target broke off the switchover");
    return this.#handOver(instance, progress);
  }

  async #peer(instance: Instance, target: string): Promise<Instance | undefined> {
    const at = { name: target, namespace: instance.metadata.namespace ?? "" };
    this.#peers.watch(keyOf(instance), at);
    return this.#peers.seen(keyOf(instance)) ?? this.#c.client.get(Instance, at);
  }

  /** All is over there, and the target has said so (capability return-path); the guest stands still: release custody, or run on here. */
  async #handOver(instance: Instance, progress: MigrationProgress): Promise<Again> {
    const { client, clock, hypervisor } = this.#c;
    const target = instance.spec.migrateTo?.instance ?? "";
    const peer = await this.#peer(instance, target);
    if (peer?.status?.phase !== "Incoming") {
      // First the word, then the deed: an earlier release of which no answer came may have been done, and then nothing runs here again.
      const now = await this.#writeFailed(instance, "the target ended before it took over");
      if (now?.status?.custody !== "Held") return { requeueAfterMs: 1 };
      await hypervisor.resume(idOf(instance));
      return { requeueAfterMs: 1000 };
    }
    const time = clock.now().toISOString();
    try {
      // The flip. Compare-and-swap on the object in which migrateTo was checked; a Conflict means: look again.
      await client.updateStatus(Instance, {
        ...instance,
        status: {
          ...instance.status,
          phase: "HandedOver",
          custody: "Released",
          migration: { ...figures(progress), to: target, phase: "Completed" },
          end: { reason: "HandedOver", message: `moved to ${peer.spec.host ?? "another host"}`, time },
        },
      });
    } catch (error) {
      if (isApiError(error, "Conflict")) return { requeueAfterMs: 1 };
      throw error; // an answer that was lost: the next look reads what really happened
    }
    return { requeueAfterMs: 500 };
  }

  /** migrateTo was taken back: whatever the stream does, the machine runs on here. */
  async #callOff(instance: Instance, machine: MachineState, progress: MigrationProgress): Promise<Again> {
    const { hypervisor } = this.#c;
    this.#peers.release(keyOf(instance));
    if (["active", "pre-switchover"].includes(progress.phase))
      await hypervisor.cancelMigration(idOf(instance));
    else if (machine.state !== "running") await hypervisor.resume(idOf(instance));
    const { migration } = instance.status ?? {};
    if (migration?.phase === "Active")
      await this.#write(instance, { migration: { ...migration, phase: "Cancelled" } });
    return { requeueAfterMs: 100 };
  }

  async #fail(instance: Instance, error: string): Promise<Again> {
    await this.#writeFailed(instance, error);
    return { requeueAfterMs: 1000 };
  }

  /** @returns the instance as it is now; one that has released its custody is left as it is */
  #writeFailed(instance: Instance, error: string): Promise<Instance | undefined> {
    this.#c.log.warn("migration.failed", { instance: keyOf(instance), error });
    const to = instance.spec.migrateTo?.instance ?? instance.status?.migration?.to ?? "";
    return this.#write(instance, { migration: { to, phase: "Failed", error } });
  }

  async #note(
    instance: Instance,
    phase: Migration["phase"],
    progress: MigrationProgress | undefined,
  ): Promise<void> {
    const to = instance.spec.migrateTo?.instance ?? "";
    await this.#write(instance, { migration: { ...(progress ? figures(progress) : {}), to, phase } });
  }
}

function figures(progress: MigrationProgress): Omit<Migration, "to" | "phase"> {
  return {
    transferredBytes: Math.round(progress.transferredBytes),
    remainingBytes: Math.round(progress.remainingBytes),
    totalMs: Math.round(progress.totalMs),
    downtimeMs: Math.round(progress.downtimeMs),
  };
}
