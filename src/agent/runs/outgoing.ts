/**
 * The source's part of a live migration; the protocol is in compute/kinds.ts. Up to the one write that releases custody, everything
 * that goes wrong ends with the machine running on here.
 */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../../client/client.ts";
import { Instance } from "../../compute/kinds.ts";
import type { Volumes } from "../../compute/migrations/kinds.ts";
import { STALLED, STALLED_MS } from "../../qemu/migration.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { isApiError } from "../../resource/errors.ts";
import { keyOf } from "../../resource/object.ts";
import { linkedOf } from "../disks/disk-copies.ts";
import type { HostEnvironment } from "../environment.ts";
import type { DiskProgress, Hypervisor, MachineState, MigrationProgress } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { reasonOf } from "../reasons.ts";
import { Attempts } from "./attempts.ts";
import { Converging, roughly, TAKES_NOTHING_MS } from "./converging.ts";
import { type Again, about, idOf, type Write } from "./instance-status.ts";
import { MigrationLeftovers } from "./migration-leftovers.ts";
import {
  disksOf,
  figures,
  lostCopies,
  type Migration,
  optionsOf,
  type Target,
  whole,
} from "./move-status.ts";
import type { Peers } from "./peers.ts";
import { isSameHardware } from "./same-hardware.ts";

/** Between two looks while memory is sent; events wake us earlier. */
const PROGRESS_MS = 1000;
const TAKES_NOTHING = `nothing of its memory could be sent for ${TAKES_NOTHING_MS / 1000} s`;

/** By MachineState.pausedBy: why a machine is not moved whose guest will not go on by itself. What is to become of it is decided here (lifecycle.ts). */
const BROKEN: Readonly<Record<string, string>> = {
  "guest-panicked": "its guest's kernel has panicked",
  watchdog: "its guest did not feed its watchdog",
  "internal-error": "QEMU cannot run its guest any further (internal error)",
};

interface Context {
  client: Client;
  hypervisor: Hypervisor;
  environment: Pick<HostEnvironment, "volumes">;
  clock: Clock;
  events: EventRecorder;
  log: Logger;
}

export class Outgoing {
  readonly #c: Context;
  readonly #peers: Peers;
  readonly #write: Write;
  readonly #attempts: Attempts;
  readonly #leftovers: MigrationLeftovers;
  /** By the instance's key: those that are to shut down, of which nothing goes out any more. */
  readonly #stopping = new Set<string>();

  constructor(context: Context, peers: Peers, write: Write) {
    this.#c = context;
    this.#peers = peers;
    this.#write = write;
    this.#attempts = new Attempts(context.clock);
    this.#leftovers = new MigrationLeftovers(context);
  }

  /**
   * One step. "stays": no migration is asked for or under way. "copies": its disks go, and no memory yet. "lost": neither end can go on
   * (post-copy).
   */
  async step(instance: Instance, machine: MachineState): Promise<Again | "stays" | "copies" | "lost"> {
    const { hypervisor } = this.#c;
    const id = idOf(instance);
    const { migrateTo } = instance.spec;
    const attempt = instance.status?.migration;
    const isHeld = machine.pausedBy === "migration";
    this.#stopping.delete(keyOf(instance));
    if (migrateTo) this.#leftovers.forget(instance);
    const isOver = !attempt || ["Failed", "Cancelled"].includes(attempt.phase);
    if (!migrateTo && isOver && machine.state !== "postmigrate" && !isHeld) {
      await this.#leftovers.remove(instance);
      return "stays";
    }
    const progress = await hypervisor.migration(id);
    if (!migrateTo && progress.phase === "post-copy") return "lost";
    if (!migrateTo) return this.#callOff(instance, machine, progress);
    const started = attempt?.to === migrateTo.instance;
    if (started && ["Failed", "Cancelled"].includes(attempt.phase)) return "stays";
    const broken = machine.state === "paused" ? BROKEN[machine.pausedBy ?? ""] : undefined;
    if (broken && ["none", "failed", "cancelled", "active"].includes(progress.phase)) {
      if (progress.phase === "active") await hypervisor.cancelMigration(id);
      return this.#fail(instance, broken);
    }
    switch (progress.phase) {
      case "none":
      case "failed":
      case "cancelled":
        if (!started) return this.#begin(instance, migrateTo);
        // What QEMU tells then is of an earlier migration.
        if (attempt.stage === "Disks") return this.#copyDisks(instance, machine, migrateTo);
        return this.#fail(instance, progress.error ?? "the stream to the target broke");
      case "active": {
        const copies = migrateTo.disksAddress ? await hypervisor.diskCopies(id) : undefined;
        if (copies && copies.phase !== "ready") {
          await hypervisor.cancelMigration(id);
          return this.#fail(instance, lostCopies(copies));
        }
        const left = this.#attempts.left(keyOf(instance), progress, progress.dirtyBytesPerSecond);
        const sent = { ...figures(progress), ...left, ...disksOf(copies) };
        // What is written down may be of an earlier move.
        const at = started ? attempt.stage : undefined;
        const stage = at === "PostCopy" ? "PostCopy" : "Memory";
        // What had been sent by now, was; from here on the guest does not wait for the rest.
        const goesOn = migrateTo.transfer?.postCopy && !isHeld && at !== undefined;
        const commits = goesOn && stage === "Memory";
        if (!commits) await this.#note(instance, { stage, ...sent });
        // An agent may have died before it let the guest go on, or the memory go.
        const known = this.#attempts.of(keyOf(instance));
        if (isHeld || !known.begun) {
          await hypervisor.migrate(id, migrateTo.address, optionsOf(migrateTo));
          known.begun = true;
        }
        const stalledMs = this.#attempts.stalledMs(keyOf(instance), progress.transferredBytes);
        if (stalledMs >= (isHeld ? STALLED_MS : TAKES_NOTHING_MS)) {
          await hypervisor.cancelMigration(id);
          return this.#fail(instance, isHeld ? STALLED : TAKES_NOTHING);
        }
        if (commits && !(await this.#commit(instance, { stage: "PostCopy", ...sent })))
          return { requeueAfterMs: 1 };
        if (goesOn) await hypervisor.startPostCopy(id);
        return { requeueAfterMs: PROGRESS_MS };
      }
      case "pre-switchover":
        return this.#switchover(instance, migrateTo.instance);
      case "post-copy":
      case "completed":
        return this.#handOver(instance, progress);
    }
  }

  /**
   * Before its guest is asked to shut down: here, and at its own pace. What cannot be called off does not keep it from that, and is tried again. In post-copy
   * there is no guest here that could shut down: it is handed over, and asked there. @returns as `step`; "stays": it is to be asked here
   */
  async stopping(instance: Instance, machine: MachineState): Promise<Again | "stays" | "copies" | "lost"> {
    const key = keyOf(instance);
    if (this.#stopping.has(key)) return "stays";
    const { migrateTo } = instance.spec;
    const stands = machine.state === "postmigrate" || machine.pausedBy === "migration";
    if (!migrateTo && instance.status?.migration?.phase !== "Active" && !stands) {
      await this.#leftovers.remove(instance);
      return "stays";
    }
    let isGone = false;
    const failed = await this.#try(instance, async () => {
      const progress = await this.#c.hypervisor.migration(idOf(instance));
      isGone = progress.phase === "post-copy";
      if (!isGone) await this.#callOff(instance, machine, progress);
    });
    if (isGone) return this.step(instance, machine);
    if (failed === undefined) this.#stopping.add(key);
    return "stays";
  }

  /** Of a run that is over. */
  forget(instance: Instance): void {
    this.#stopping.delete(keyOf(instance));
    this.#leftovers.forget(instance);
  }

  async #begin(instance: Instance, to: Target): Promise<Again> {
    const { hypervisor, environment } = this.#c;
    this.#attempts.end(keyOf(instance));
    this.#peers.watch(keyOf(instance), { name: to.instance, namespace: instance.metadata.namespace ?? "" });
    const other = await this.#otherHardware(instance, to.instance);
    if (other) return this.#fail(instance, other);
    // Of an earlier attempt: they must not be taken for this one's.
    await hypervisor.abandonDiskCopies(idOf(instance));
    const { disksAddress: address } = to;
    if (!address) return this.#sendMemory(instance, to);
    const failed = await this.#try(instance, async () => {
      const { volumes, besides } = await environment.volumes(instance);
      await this.#refuseChanged(instance, to, volumes);
      const linked = linkedOf(volumes);
      await hypervisor.copyDisks(idOf(instance), { ...optionsOf(to), address, besides, linked });
    });
    if (failed) return this.#fail(instance, failed);
    await this.#note(instance, { stage: "Disks" });
    return { requeueAfterMs: PROGRESS_MS };
  }

  /** Since the target was made, a snapshot may have been taken: what it made would not fit. From now on none is, while migrateTo is set. */
  async #refuseChanged(instance: Instance, to: Target, volumes: Volumes): Promise<void> {
    const peer = await this.#freshPeer(instance, to.instance);
    if (!isDeepStrictEqual(peer?.spec.copyDisks, volumes))
      throw new PrepareError("its disks have changed since the migration began; move it once more");
  }

  /** The guest runs, and so does the copying of its disks. */
  async #copyDisks(instance: Instance, machine: MachineState, to: Target): Promise<Again | "copies"> {
    const copies = await this.#c.hypervisor.diskCopies(idOf(instance));
    // One that could not write is not sent: it is helped here.
    const canGo = machine.state !== "paused" || machine.paused;
    if (copies.phase === "ready" && canGo) return this.#sendMemory(instance, to, copies);
    if (copies.phase !== "copying" && copies.phase !== "ready")
      return this.#fail(instance, lostCopies(copies));
    const hopeless = copies.phase === "copying" ? await this.#converge(instance, to, copies) : undefined;
    if (hopeless !== undefined) return this.#fail(instance, `its disks could not be copied: ${hopeless}`);
    await this.#note(instance, {
      stage: "Disks",
      ...this.#attempts.left(keyOf(instance), copies),
      ...disksOf(copies),
    });
    return "copies";
  }

  /** Slows a guest that writes its disks as fast as they are sent. @returns why they will never be sent, for users */
  async #converge(
    instance: Instance,
    { transfer }: Target,
    copies: DiskProgress,
  ): Promise<string | undefined> {
    const { hypervisor, clock, events } = this.#c;
    const attempt = this.#attempts.of(keyOf(instance));
    attempt.converging ??= new Converging(transfer?.bandwidth !== undefined);
    const verdict = attempt.converging.look(copies, clock.elapsed());
    if (verdict?.do !== "slow") return verdict?.why;
    await hypervisor.slowWrites(idOf(instance), verdict.bytesPerSecond);
    const { sentPerSecond, writtenPerSecond, bytesPerSecond } = verdict;
    const message = `its guest wrote ${roughly(writtenPerSecond)} a second to its disks, of which ${roughly(sentPerSecond)} a second are sent: until it has moved it may write ${roughly(bytesPerSecond)} a second`;
    events.record(about(instance), "Warning", "WritesSlowed", message);
    return undefined;
  }

  async #sendMemory(instance: Instance, to: Target, copies?: DiskProgress): Promise<Again> {
    const failed = await this.#try(instance, () =>
      this.#c.hypervisor.migrate(idOf(instance), to.address, optionsOf(to)),
    );
    if (failed) return this.#fail(instance, failed);
    const attempt = this.#attempts.of(keyOf(instance));
    attempt.begun = true;
    // Its memory goes at another rate than its disks.
    delete attempt.rate;
    await this.#note(instance, { stage: "Memory", ...disksOf(copies) });
    return { requeueAfterMs: PROGRESS_MS };
  }

  /** @returns what went wrong, for users */
  async #try(instance: Instance, work: () => Promise<void>): Promise<string | undefined> {
    try {
      await work();
      return undefined;
    } catch (error) {
      this.#c.log.warn("migration.step", { instance: keyOf(instance), error });
      return reasonOf(error);
    }
  }

  /** The target was made to have what this machine had; by now that may be something else. */
  async #otherHardware(instance: Instance, target: string): Promise<string | undefined> {
    const { status } = instance;
    const there = (await this.#freshPeer(instance, target))?.spec.has;
    if (!there && !status?.has) return undefined;
    const same = isSameHardware(there, instance, await this.#c.hypervisor.present(idOf(instance)));
    return same
      ? undefined
      : "its disks, networks, CPUs or memory changed while its target was being made; move it again";
  }

  /** The guest stands still. What has to be known for the hand-over is found out while the last of its memory goes. */
  async #switchover(instance: Instance, target: string): Promise<Again | "lost"> {
    const { hypervisor } = this.#c;
    const id = idOf(instance);
    if (instance.spec.migrateTo?.disksAddress !== undefined) {
      const notCopied = await this.#try(instance, () => hypervisor.finishDiskCopies(id));
      if (notCopied) {
        await hypervisor.cancelMigration(id);
        return this.#fail(instance, notCopied);
      }
    }
    const [progress, peer] = await Promise.all([
      hypervisor.switchover(id),
      this.#freshPeer(instance, target).catch(() => undefined),
    ]);
    if (progress.phase !== "completed" && progress.phase !== "post-copy")
      return this.#fail(instance, progress.error ?? "the target broke off the switchover");
    return this.#handOver(instance, progress, peer);
  }

  async #freshPeer(instance: Instance, target: string): Promise<Instance | undefined> {
    return this.#c.client.get(Instance, { name: target, namespace: instance.metadata.namespace ?? "" });
  }

  /**
   * All is over there, and the target has said so (capability return-path), or with post-copy follows by itself; the guest stands still: release
   * custody, or run on here.
   */
  async #handOver(
    instance: Instance,
    progress: MigrationProgress,
    known?: Instance,
  ): Promise<Again | "lost"> {
    const { client, clock, hypervisor } = this.#c;
    const target = instance.spec.migrateTo?.instance ?? "";
    const peer = known ?? (await this.#freshPeer(instance, target));
    if (peer?.status?.phase !== "Incoming") {
      if (progress.phase === "post-copy") return "lost";
      // First the word, then the deed: an earlier release of which no answer came may have been done, and then nothing runs here again.
      const now = await this.#writeFailed(instance, "the target ended before it took over");
      if (now?.status?.custody !== "Held") return { requeueAfterMs: 1 };
      await hypervisor.resume(idOf(instance));
      await hypervisor.abandonDiskCopies(idOf(instance));
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
          migration: {
            ...whole(instance.status?.migration),
            ...figures(progress),
            to: target,
            phase: "Completed",
          },
          end: { reason: "HandedOver", message: `moved to ${peer.spec.host ?? "another host"}`, time },
        },
      });
    } catch (error) {
      if (isApiError(error, "Conflict")) return { requeueAfterMs: 1 };
      throw error; // an answer that was lost: the next look reads what really happened
    }
    this.#attempts.end(keyOf(instance));
    return { requeueAfterMs: 500 };
  }

  /**
   * Says that from here on it cannot be called off. Compare-and-swap, as the flip, on the object in which migrateTo was checked: whoever takes that back
   * does it before this, or sees this. @returns false when somebody has written since
   */
  async #commit(instance: Instance, change: Omit<Migration, "to" | "phase">): Promise<boolean> {
    const to = instance.spec.migrateTo?.instance ?? "";
    const status = { ...instance.status, migration: { ...change, to, phase: "Active" as const } };
    try {
      await this.#c.client.updateStatus(Instance, { ...instance, status });
      return true;
    } catch (error) {
      if (isApiError(error, "Conflict")) return false;
      throw error;
    }
  }

  /** migrateTo was taken back: whatever the stream does, the machine runs on here. */
  async #callOff(instance: Instance, machine: MachineState, progress: MigrationProgress): Promise<Again> {
    const { hypervisor } = this.#c;
    this.#peers.release(keyOf(instance));
    this.#attempts.end(keyOf(instance));
    if (["active", "pre-switchover"].includes(progress.phase))
      await hypervisor.cancelMigration(idOf(instance));
    else if (machine.state === "postmigrate" || machine.pausedBy === "migration")
      await hypervisor.resume(idOf(instance));
    await hypervisor.abandonDiskCopies(idOf(instance));
    const { migration } = instance.status ?? {};
    if (migration?.phase === "Active")
      await this.#write(instance, { migration: { ...migration, phase: "Cancelled" } });
    return { requeueAfterMs: 100 };
  }

  /** The guest runs here. */
  async #fail(instance: Instance, error: string): Promise<Again> {
    await this.#c.hypervisor.abandonDiskCopies(idOf(instance));
    await this.#writeFailed(instance, error);
    return { requeueAfterMs: 1000 };
  }

  /** @returns the instance as it is now; one that has released its custody is left as it is */
  #writeFailed(instance: Instance, error: string): Promise<Instance | undefined> {
    this.#attempts.end(keyOf(instance));
    this.#peers.release(keyOf(instance));
    this.#c.log.warn("migration.failed", { instance: keyOf(instance), error });
    const to = instance.spec.migrateTo?.instance ?? instance.status?.migration?.to ?? "";
    return this.#write(instance, { migration: { to, phase: "Failed", error } });
  }

  /** Each write wakes us again: not oftener than somebody would look. */
  async #note(instance: Instance, change: Omit<Migration, "to" | "phase">): Promise<void> {
    const to = instance.spec.migrateTo?.instance ?? "";
    if (!this.#attempts.isToBeNoted(keyOf(instance), change.stage, PROGRESS_MS)) return;
    await this.#write(instance, { migration: { ...change, to, phase: "Active" } });
  }
}
