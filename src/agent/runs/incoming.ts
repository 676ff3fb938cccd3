/**
 * The target's part of a live migration; the protocol is in compute/kinds.ts. It waits for a machine's memory, and runs it only once the source has let go of
 * the machine: whatever goes wrong before that ends with nothing here, and the machine running on where it was.
 */
import type { Client } from "../../client/client.ts";
import { Instance } from "../../compute/kinds.ts";
import { isInPostCopy } from "../../compute/migrations/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { keyOf } from "../../resource/object.ts";
import type { HostEnvironment } from "../environment.ts";
import { type Hypervisor, HypervisorError, type MachineState } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { type Again, idOf, ready, wanted } from "./instance-status.ts";
import type { Peers } from "./peers.ts";
import type { Start } from "./start.ts";
import type { StatusWriter } from "./status-writer.ts";

interface Context {
  client: Client;
  hypervisor: Hypervisor;
  environment: HostEnvironment;
  host: string;
  clock: Clock;
}

export class Incoming {
  readonly #c: Context;
  readonly #peers: Peers;
  readonly #status: StatusWriter;
  readonly #start: Pick<Start, "prepare" | "hostOf">;

  constructor(
    context: Context,
    peers: Peers,
    status: StatusWriter,
    start: Pick<Start, "prepare" | "hostOf">,
  ) {
    this.#c = context;
    this.#peers = peers;
    this.#status = status;
    this.#start = start;
  }

  /** One step. */
  async step(instance: Instance, machine: MachineState | undefined): Promise<Again> {
    const { hypervisor, environment } = this.#c;
    const id = idOf(instance);
    const { phase } = instance.status ?? {};
    // From now on: once its memory is here, each look costs the guest time.
    watchPredecessor(this.#peers, instance);
    // Stopped right after the switchover it is the machine already: it takes over first, and then its guest is asked to shut down.
    const tookOver = machine?.state === "running" || machine?.state === "paused";
    const gone = machine?.state === "ended" || (!machine && phase === "Incoming");
    if (gone && (await this.#handedOver(instance)) === "yes") {
      // It was the machine, for however short a time, and starts again from the disks that are here: "MigrationFailed" would say that it never was.
      await environment.acceptDisks(instance);
      const message = machine?.end?.message ?? "its process is gone";
      return this.#status.finish(instance, { reason: "Killed", message });
    }
    if (!wanted(instance) && !(tookOver && (await this.#handedOver(instance)) === "yes")) {
      // In post-copy its source cannot go on any more: it will be the machine in a moment, and shuts down then.
      if (!gone && (await this.#isComing(instance))) return { requeueAfterMs: 1000 };
      if (machine && !gone) await hypervisor.kill(id);
      const message = machine?.end?.message ?? "called off";
      return this.#status.finish(instance, { reason: "MigrationFailed", message });
    }
    if (gone)
      return this.#status.finish(instance, {
        reason: "MigrationFailed",
        message: machine?.end?.message ?? "the incoming machine is gone",
      });
    if (!machine || phase !== "Incoming") {
      try {
        const sender = await this.#senderOf(instance);
        const config = { ...(await this.#start.prepare(instance)), sender };
        const machine = await hypervisor.start(config, "incoming");
        const { pid, machineType, guestCpu } = machine;
        const { postCopy = false } = instance.spec;
        const incomingAddress = await hypervisor.listen(id, environment.bindAddress, postCopy);
        const incomingDisks = instance.spec.copyDisks
          ? await hypervisor.listenForDisks(
              id,
              environment.bindAddress,
              await environment.copiesBesides(instance),
            )
          : undefined;
        await this.#status.write(instance, {
          phase: "Incoming",
          custody: "None",
          pid,
          machineType,
          ...(guestCpu ? { guestCpu } : {}),
          ...this.#start.hostOf(machine),
          incomingAddress,
          ...(incomingDisks ? { incomingDisks } : {}),
        });
      } catch (error) {
        // Nothing has been sent yet: the machine runs on where it is, and may be sent again.
        if (!(error instanceof HypervisorError || error instanceof PrepareError)) throw error;
        await hypervisor.kill(id);
        return this.#status.finish(instance, { reason: "MigrationFailed", message: error.message });
      }
      return { requeueAfterMs: 1000 };
    }
    if (machine.state === "incoming") return { requeueAfterMs: 1000 };
    // All has arrived (or, after a crash of this agent, it runs already). The source must let go before it may run.
    if (machine.state === "paused") {
      const given = await this.#handedOver(instance);
      if (given === "never") {
        await hypervisor.kill(id);
        return this.#status.finish(instance, {
          reason: "MigrationFailed",
          message: `${instance.spec.predecessor} ended without handing over; its memory here is out of date`,
        });
      }
      if (given === "not yet") return { requeueAfterMs: 1000 };
      await environment.acceptDisks(instance);
      await hypervisor.setPaused(id, instance.spec.paused ?? false);
      await hypervisor.resume(id);
    }
    const moved = `moved here from ${instance.spec.predecessor}`;
    await this.#status.write(instance, {
      phase: "Running",
      custody: "Held",
      ...(instance.spec.has ? { has: instance.spec.has } : {}),
      pid: machine.pid,
      startedTime: this.#now(),
      readyTime: this.#now(),
      ...(instance.spec.paused
        ? ready(instance, this.#now(), false, "Paused", moved)
        : ready(instance, this.#now(), true, "Migrated", moved)),
    });
    this.#peers.release(keyOf(instance));
    return { requeueAfterMs: 100 };
  }

  /**
   * Custody of an incoming machine is given only by a source that handed over to this very one. One that released its disks in
   * another way may have run on after it sent its memory (it resumes when we do not confirm in time): what we have is older
   * than the disks.
   */
  async #handedOver(instance: Instance): Promise<"yes" | "not yet" | "never"> {
    const at = watchPredecessor(this.#peers, instance);
    const seen = this.#peers.seen(keyOf(instance));
    if (seen && isGiven(instance, seen)) return "yes";
    const before = await this.#c.client.get(Instance, at);
    if (before && isGiven(instance, before)) return "yes";
    const status = before?.status;
    return !status || status.custody === "Released" ? "never" : "not yet";
  }

  /** To be stopped, neither deleted nor by force, while its source lets its guest go on here. */
  async #isComing(instance: Instance): Promise<boolean> {
    const { metadata, spec } = instance;
    if (metadata.deletionTimestamp || spec.stop?.force) return false;
    const at = { name: spec.predecessor ?? "", namespace: metadata.namespace ?? "" };
    const source = await this.#c.client.get(Instance, at);
    return isInPostCopy(source, metadata.name) || (source !== undefined && isGiven(instance, source));
  }

  /** An incoming one, as last seen, that has been given custody. Its guest stands still for as long as we look. */
  justGiven(own: Instance | undefined): Instance | undefined {
    const source = own && this.#peers.seen(keyOf(own));
    const waits = own?.spec.incoming && own.status?.phase === "Incoming" && own.spec.host === this.#c.host;
    return waits && source && isGiven(own, source) ? own : undefined;
  }

  /** @throws PrepareError when nobody can say who is to send it: then nobody may */
  async #senderOf({ metadata: { namespace = "" }, spec }: Instance): Promise<string> {
    const source = await this.#c.client.get(Instance, { name: spec.predecessor ?? "", namespace });
    if (source?.spec.host) return source.spec.host;
    throw new PrepareError(`${spec.predecessor}, which it is to come from, is gone`);
  }

  #now(): string {
    return this.#c.clock.now().toISOString();
  }
}

/** @returns where it is */
export function watchPredecessor(peers: Peers, instance: Instance): { name: string; namespace: string } {
  const at = { name: instance.spec.predecessor ?? "", namespace: instance.metadata.namespace ?? "" };
  peers.watch(keyOf(instance), at);
  return at;
}

/** Whether a source has handed over to this very one. That is never taken back: to have seen it once will do. */
const isGiven = (instance: Instance, { status }: Instance): boolean =>
  status?.phase === "HandedOver" && status.migration?.to === instance.metadata.name;
