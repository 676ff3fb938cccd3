/**
 * The Snapshot reconciler: takes and deletes snapshots and goes back to them, one at a time for each machine; the protocol is in kinds.ts
 * here. Machine by machine it reads everything fresh, chooses what is next, and does one step:
 *
 *   oldest open one ─► who holds the disks? ─► claim (CAS) ─► looked again: still so ─► task on that instance ─► its agent's word
 *        ─► Snapshot or Rollback is final ─► tree and claim written
 *
 * It may be killed between any two writes: what it decides depends only on what is stored.
 */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../../client/client.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Controller } from "../../reconcile/controller.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";
import { Index } from "../../reconcile/lookup.ts";
import { isApiError } from "../../resource/errors.ts";
import { instancesOrOdd, keyOfMachine, ODD_RETRY_MS, OddInstance } from "../actions.ts";
import { keepAsked } from "../asked.ts";
import { isBound, isHeld, isLive, isReleased } from "../custody.ts";
import { Instance, VirtualMachine } from "../kinds.ts";
import { Rollback, SNAPSHOT_FINALIZER, Snapshot } from "./kinds.ts";
import {
  hasOpenTask,
  isOpen,
  isOver,
  isTaken,
  type Operation,
  obstacle,
  operations,
  refusal,
  type View,
} from "./next.ts";
import { SnapshotStatusWriter } from "./status-writer.ts";
import { ownerOf, type TaskResult, Tasks } from "./tasks.ts";

export interface SnapshotContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** Between two attempts to delete; 30 s by default. */
  retryMs?: number;
}

type Result = { requeueAfterMs?: number } | undefined;
type Busy = NonNullable<NonNullable<VirtualMachine["status"]>["disksBusy"]>;

/** While it waits for something that no event announces. */
const LOOK_AGAIN_MS = 2000;

/** Runs until the signal aborts; never rejects. */
export async function runSnapshotReconciler(context: SnapshotContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const snapshots = new Informer(client, Snapshot, { log, clock });
  const rollbacks = new Informer(client, Rollback, { log, clock });
  const instances = new Informer(client, Instance, { log, clock });
  const vms = new Informer(client, VirtualMachine, { log, clock });
  const reconciler = new SnapshotReconciler(context);
  const controller = new Controller({
    name: "snapshot",
    reconcile: (key) => reconciler.reconcile(key),
    log,
    clock,
  });
  // Asked at each change of any machine: those that are over, of which there are many, are not looked through.
  const openSnapshots = new Index(snapshots, (s) => (isOpen(s) ? [keyOfMachine(s)] : []));
  const openRollbacks = new Index(rollbacks, (r) => (isOver(r) ? [] : [keyOfMachine(r)]));
  for (const informer of [snapshots, rollbacks])
    informer.onChange(
      (_key: string, now: Snapshot | Rollback | undefined, old: Snapshot | Rollback | undefined) => {
        const object = now ?? old;
        if (object) controller.enqueue(keyOfMachine(object));
      },
    );
  const open = (key: string) => openSnapshots.get(key).length > 0 || openRollbacks.get(key).length > 0;
  instances.onChange((_key, now, old) => {
    const key = now && keyOfMachine(now);
    if (key && (now.spec.diskTask || open(key)) && !isDeepStrictEqual(now, old)) controller.enqueue(key);
  });
  const allRollbacks = new Index(rollbacks, (r) => [keyOfMachine(r)]);
  vms.onChange((key, now, old) => {
    const isNew = !old && allRollbacks.get(key).length > 0;
    if (!now || isNew || now.status?.disksBusy || open(key)) controller.enqueue(key);
  });
  const all = [snapshots, rollbacks, instances, vms];
  await Promise.all([controller.run(signal), ...all.map((informer) => informer.run(signal))]);
}

class SnapshotReconciler {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #status: SnapshotStatusWriter;
  readonly #tasks: Tasks;
  readonly #retryMs: number;

  constructor(context: SnapshotContext) {
    this.#client = context.client;
    this.#clock = context.clock;
    this.#retryMs = context.retryMs ?? 30_000;
    const events = new EventRecorder(context.client, "snapshot-reconciler", context.log, context.clock);
    this.#status = new SnapshotStatusWriter(context, events);
    this.#tasks = new Tasks(context, this.#status);
  }

  /** @param key namespace/name of the machine */
  async reconcile(key: string): Promise<Result> {
    const [namespace = "", name = ""] = key.split("/");
    const fieldSelector = `spec.vm=${name}`;
    const [vm, { items: snapshots }, { items: asked }] = await Promise.all([
      this.#client.get(VirtualMachine, { namespace, name }),
      this.#client.list(Snapshot, { namespace, fieldSelector }),
      this.#client.list(Rollback, { namespace, fieldSelector }),
    ]);
    const rollbacks = await keepAsked(this.#client, Rollback, vm, asked, isOver);
    if (!vm || vm.metadata.deletionTimestamp) return this.#machineGone(name, vm, snapshots, rollbacks);
    const instances = await instancesOrOdd(this.#client, vm);
    if (instances instanceof OddInstance) {
      for (const operation of operations({ vm, snapshots, rollbacks, instances: [] }))
        await this.#status.note(operation, `waits: ${instances.message}`);
      return { requeueAfterMs: ODD_RETRY_MS };
    }
    const view = { vm, snapshots, rollbacks, instances };
    const busy = vm.status?.disksBusy;
    const open = operations(view);
    const claimed = busy && open.find(({ object }) => object.metadata.uid === busy.uid);
    if (busy && !claimed) return this.#release(view);
    const [operation] = claimed ? [claimed] : open;
    if (!operation) return undefined;
    return this.#advance(operation, view);
  }

  /** With the machine its disks go, and all their snapshots. */
  async #machineGone(
    name: string,
    vm: VirtualMachine | undefined,
    snapshots: readonly Snapshot[],
    rollbacks: readonly Rollback[],
  ): Promise<Result> {
    const message = vm ? `machine ${name} is being deleted` : `machine ${name} (spec.vm) does not exist`;
    for (const rollback of rollbacks)
      if (!isOver(rollback)) await this.#status.endRollback(rollback, "Failed", message);
    for (const snapshot of snapshots) {
      const owned = snapshot.metadata.ownerReferences?.some(({ kind }) => kind === VirtualMachine.kind);
      if (snapshot.metadata.deletionTimestamp) await this.#letGo(snapshot);
      else if (!vm && !owned) await this.#status.fail(snapshot, message);
    }
    return undefined;
  }

  async #advance(operation: Operation, view: View): Promise<Result> {
    const { vm, instances } = view;
    const { object, action } = operation;
    const live = instances.filter(isLive);
    const holder = live.find(isHeld) ?? instances.findLast(isBound);
    if (instances.length === 0 && !vm.status?.disksBusy) return this.#noDisks(operation);
    const why = obstacle(live, holder);
    if (why || !holder) {
      // Claimed before the other came: it goes first.
      if (vm.status?.disksBusy && !instances.some(hasOpenTask)) await this.#release(view);
      await this.#status.note(operation, `waits: ${why ?? "no host has its disks"}`);
      return { requeueAfterMs: LOOK_AGAIN_MS };
    }
    const base = `${action}:${object.metadata.uid}`;
    const result = holder.status?.diskTask;
    const told = result && (result.id === base || result.id.startsWith(`${base}:`)) ? result : undefined;
    const mine = holder.spec.diskTask?.id === told?.id;
    // A run that a rollback has ended does not count as one that broke down. Not before: where the rollback cannot be made it goes on.
    if (
      holder.spec.diskTask?.id === base &&
      action === "Rollback" &&
      isReleased(holder) &&
      holder.spec.running
    ) {
      await this.#client.update(Instance, { ...holder, spec: { ...holder.spec, running: false } });
      return { requeueAfterMs: 1 };
    }
    if (told && mine && (told.phase === "Done" || !this.#mayRetry(operation, told)))
      return this.#finish(operation, view, told);
    const uid = object.metadata.uid ?? "";
    const busy: Busy = { action, name: object.metadata.name, uid };
    if (!isDeepStrictEqual(vm.status?.disksBusy, busy)) {
      const refused = refusal(operation, view);
      if (refused) return this.#end(operation, refused);
      await this.#adopt(operation, vm);
      await this.#client.updateStatus(VirtualMachine, { ...vm, status: { ...vm.status, disksBusy: busy } });
      return { requeueAfterMs: 1 }; // and looks again: from now on no run can come
    }
    if (holder.spec.diskTask && hasOpenTask(holder)) {
      // Its agent is at it: told only now, so that it does not begin later.
      await this.#status.begun(operation);
      const { id, ...progress } = holder.status?.diskProgress ?? {};
      if (id === holder.spec.diskTask.id) await this.#status.progress(operation, progress);
      return undefined;
    }
    const task = await this.#tasks.of(operation, view, told);
    if (!task) return this.#end(operation, "the snapshot to go back to is gone, or cannot be read any more");
    await this.#client.update(Instance, {
      ...holder,
      spec: { ...holder.spec, diskTask: task },
    });
    return undefined;
  }

  /** What only frees or lends is tried again for as long as it is asked for. */
  #mayRetry({ action }: Operation, { phase, time }: TaskResult): boolean {
    if (phase !== "Failed" || !["Delete", "Lend"].includes(action)) return false;
    return this.#clock.now().getTime() - Date.parse(time) >= this.#retryMs;
  }

  /** A snapshot goes when its machine goes, and not before its files. */
  async #adopt(operation: Operation, vm: VirtualMachine): Promise<void> {
    if (operation.action !== "Take") return;
    const { metadata } = operation.object;
    const [finalizers, owners] = [metadata.finalizers ?? [], metadata.ownerReferences ?? []];
    if (finalizers.includes(SNAPSHOT_FINALIZER) && owners.some(({ uid }) => uid === vm.metadata.uid)) return;
    operation.object = await this.#client.update(Snapshot, {
      ...operation.object,
      metadata: {
        ...metadata,
        finalizers: [...new Set([...finalizers, SNAPSHOT_FINALIZER])],
        ownerReferences: [...owners.filter(({ uid }) => uid !== vm.metadata.uid), ownerOf(vm)],
      },
    });
  }

  // --- the end ---

  async #finish(operation: Operation, view: View, result: TaskResult): Promise<Result> {
    const { action, object } = operation;
    const done = result.phase === "Done";
    const failure = result.message ?? "its host did not say why; try it again";
    switch (action) {
      case "Take":
        if (!done) return this.#end(operation, failure);
        await this.#status.ready(object, result.taken, "taken", result.lent);
        this.#status.report(object, "Normal", "SnapshotTaken", `snapshot ${object.metadata.name} was taken`);
        break;
      case "Lend":
        if (!done) {
          await this.#status.note(operation, `is no template yet: ${failure}`);
          if (view.vm.status?.disksBusy) await this.#release(view);
          return { requeueAfterMs: this.#retryMs };
        }
        await this.#status.snapshot(object, {
          ...object.status,
          template: true,
          message: "clones may be made of it",
        });
        break;
      case "Delete":
        if (!done) {
          await this.#status.note(operation, `is not deleted yet: ${failure}`);
          // Until the next attempt the machine may start and move.
          if (view.vm.status?.disksBusy) await this.#release(view);
          return { requeueAfterMs: this.#retryMs };
        }
        await this.#sync(view, result);
        await this.#letGo(object);
        break;
      case "Rollback": {
        const kept = view.snapshots.find((s) => s.metadata.name === object.status?.kept);
        if (kept && result.taken) {
          const lost = kept.spec.memory && !result.taken.memory;
          const without = lost ? "; without its memory, because its guest did not run any more" : "";
          await this.#status.ready(
            kept,
            result.taken,
            `the state before rollback ${object.metadata.name}${without}`,
          );
        } else if (kept && !isTaken(kept))
          await this.#status.fail(kept, `rollback ${object.metadata.name} failed: ${failure}`);
        if (!done) return this.#end(operation, failure);
        const back = `went back to snapshot ${object.spec.snapshot}`;
        const before = kept ? [`the state before is ${kept.metadata.name}`] : [];
        const left = result.message ? [result.message] : [];
        await this.#status.endRollback(object, "Succeeded", [back, ...before, ...left].join("; "));
        this.#status.report(object, "Normal", "RolledBack", back);
      }
    }
    return { requeueAfterMs: 1 }; // The claim goes in the next look, which finds nothing open under it.
  }

  async #end(operation: Operation, message: string): Promise<Result> {
    const { action, object } = operation;
    if (action === "Rollback") {
      await this.#status.endRollback(object, "Failed", message);
      this.#status.report(
        object,
        "Warning",
        "RollbackFailed",
        `rollback ${object.metadata.name}: ${message}`,
      );
    } else {
      await this.#status.fail(object, message);
      this.#status.report(
        object,
        "Warning",
        "SnapshotFailed",
        `snapshot ${object.metadata.name}: ${message}`,
      );
    }
    return { requeueAfterMs: 1 };
  }

  async #noDisks(operation: Operation): Promise<Result> {
    if (operation.action === "Delete") {
      await this.#letGo(operation.object);
      return undefined;
    }
    return this.#end(operation, `${operation.object.spec.vm} has no disks yet: it has never run`);
  }

  /** The claim goes, unless some agent is still at work under it. */
  async #release(view: View): Promise<Result> {
    const { vm, instances } = view;
    if (instances.some(hasOpenTask)) return { requeueAfterMs: LOOK_AGAIN_MS };
    const last = instances.findLast(({ status }) => status?.diskTask?.phase === "Done")?.status?.diskTask;
    if (last) await this.#sync(view, last);
    const { disksBusy: _, snapshot: before, ...status } = vm.status ?? {};
    const current = last
      ? view.snapshots.find(({ metadata }) => metadata.uid === last.current)?.metadata.name
      : before;
    // What comes after a rollback is another state that went on from there; told again it is the same one.
    const generationId = ROLLBACK.exec(last?.id ?? "")?.[1];
    await this.#client.updateStatus(VirtualMachine, {
      ...vm,
      status: {
        ...status,
        ...(current ? { snapshot: current } : {}),
        ...(generationId ? { generationId } : {}),
      },
    });
    return { requeueAfterMs: 1 };
  }

  /** The tree as the disks have it. */
  async #sync({ snapshots }: View, { tree }: TaskResult): Promise<void> {
    const nameOf = new Map(snapshots.map(({ metadata }) => [metadata.uid, metadata.name]));
    for (const snapshot of snapshots) {
      const found = tree?.find((each) => each.snapshot === snapshot.metadata.uid);
      if (!found || !snapshot.status || snapshot.metadata.deletionTimestamp) continue;
      const { parent: _, ...status } = snapshot.status;
      const parent = nameOf.get(found.parent);
      await this.#status.snapshot(snapshot, { ...status, ...(parent ? { parent } : {}) });
    }
  }

  async #letGo(snapshot: Snapshot): Promise<void> {
    const finalizers = snapshot.metadata.finalizers?.filter((f) => f !== SNAPSHOT_FINALIZER) ?? [];
    if (finalizers.length === snapshot.metadata.finalizers?.length) return;
    try {
      await this.#client.update(Snapshot, { ...snapshot, metadata: { ...snapshot.metadata, finalizers } });
    } catch (error) {
      if (!isApiError(error, "NotFound")) throw error;
    }
  }
}

/** The id of its task, with its uid. */
const ROLLBACK = /^Rollback:([0-9a-f-]{36})$/;
