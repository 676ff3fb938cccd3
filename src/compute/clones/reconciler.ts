/**
 * The clone reconciler: finds or makes what a clone's disks are made from, and tells it in VirtualMachine.status.source; what happens then is the
 * VM reconciler's business (kinds.ts here). And it takes away the templates that were made for clones which are gone.
 *
 *   source: a machine ─► its template "<clone>-source" ─┐
 *   source: a snapshot ─► spec.template: true ──────────┴─► taken and lent? ─► status.source.ready
 *
 * Killed between any two writes, it goes on from what is stored: the template's name follows from the clone's, and nothing else is made.
 */
import { isDeepStrictEqual } from "node:util";
import { type Client, modify } from "../../client/client.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Controller } from "../../reconcile/controller.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";
import { Index } from "../../reconcile/lookup.ts";
import { isApiError } from "../../resource/errors.ts";
import { getCondition } from "../../resource/object.ts";
import { requestOf } from "../../telemetry/request-id.ts";
import { at, freshInstances, ignoreGone, ODD_RETRY_MS, OddInstance } from "../actions.ts";
import { inOrder } from "../changes/kinds.ts";
import { usesSnapshot } from "../in-use.ts";
import { VirtualMachine } from "../kinds.ts";
import { notTheSame, SNAPSHOT_FINALIZER, Snapshot } from "../snapshots/kinds.ts";
import { ownerOf } from "../snapshots/tasks.ts";
import { about } from "../vm-status-writer.ts";
import { CLONE_LABEL, CLONED, NOT_INSTANT, type SourceStatus, templateName } from "./kinds.ts";
import { unlike } from "./unlike.ts";

export interface CloneContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** Between two attempts to make a template; 5 s by default. */
  retryMs?: number;
}

type Result = { requeueAfterMs?: number } | undefined;
type Source = NonNullable<VirtualMachine["spec"]["source"]>;

const key = (namespace: string | undefined, name: string) => `${namespace ?? "default"}/${name}`;

/** Runs until the signal aborts; never rejects. */
export async function runCloneReconciler(context: CloneContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const vms = new Informer(client, VirtualMachine, { log, clock });
  const snapshots = new Informer(client, Snapshot, { log, clock });
  /** By template and by machine that they wait for. */
  const waiting = new Index(vms, ({ metadata: { namespace, name }, spec: { source } }) =>
    source
      ? [
          `snapshot ${key(namespace, source.snapshot ?? templateName(name))}`,
          ...(source.vm ? [`vm ${key(namespace, source.vm)}`] : []),
        ]
      : [],
  );
  const reconciler = new CloneReconciler(context);
  const clones = new Controller({
    name: "clone",
    log,
    clock,
    reconcile: (name) => reconciler.reconcile(name),
    requestOf: (name) => requestOf(vms.get(name)),
  });
  const templates = new Controller({
    name: "clone-template",
    log,
    clock,
    reconcile: (name) => reconciler.sweep(name),
  });
  const enqueueClones = (of: string) => {
    for (const { metadata } of waiting.get(of)) clones.enqueue(key(metadata.namespace, metadata.name));
  };
  vms.onChange((name, now, old) => {
    if (now?.spec.source && !now.status?.source?.independent) clones.enqueue(name);
    enqueueClones(`vm ${name}`);
    const { source } = (now ?? old)?.status ?? {};
    const isDone = !now || source?.independent;
    const { metadata } = now ?? old ?? {};
    if (metadata && isDone)
      templates.enqueue(key(metadata.namespace, source?.snapshot ?? templateName(metadata.name)));
  });
  snapshots.onChange((name, now) => {
    enqueueClones(`snapshot ${name}`);
    if (now?.metadata.labels?.[CLONE_LABEL]) templates.enqueue(name);
  });
  await Promise.all([clones.run(signal), templates.run(signal), vms.run(signal), snapshots.run(signal)]);
}

class CloneReconciler {
  readonly #client: Client;
  readonly #events: EventRecorder;
  readonly #retryMs: number;

  constructor({ client, clock, log, retryMs = 5000 }: CloneContext) {
    this.#client = client;
    this.#retryMs = retryMs;
    this.#events = new EventRecorder(client, "clone-reconciler", log, clock);
  }

  /** @param name namespace/name of the clone */
  async reconcile(name: string): Promise<Result> {
    const vm = await this.#client.get(VirtualMachine, nameOf(name));
    const { source } = vm?.spec ?? {};
    if (!vm || !source || vm.metadata.deletionTimestamp) return undefined;
    const status = vm.status?.source;
    if (status?.ready) {
      try {
        if (!status.independent && status.mode === "Full" && (await this.#hasDisks(vm)))
          await this.#tell(vm, { ...status, independent: true });
        const why = status.mode === "Instant" ? whyItBooted(vm) : undefined;
        if (why)
          await this.#tell(vm, {
            ...status,
            mode: "Linked",
            message: `${status.message}; linked, not instant: ${why}`,
          });
      } catch (error) {
        // The machine's own condition tells of it.
        if (!(error instanceof OddInstance)) throw error;
        return { requeueAfterMs: ODD_RETRY_MS };
      }
      return undefined;
    }
    if (!source.vm && !source.snapshot) {
      await this.#tell(vm, { mode: "Full", ready: true, message: `a copy of image ${vm.spec.image}` });
      return undefined;
    }
    return this.#find(vm, source);
  }

  async #find(vm: VirtualMachine, source: Source): Promise<Result> {
    const { namespace } = vm.metadata;
    const name = source.snapshot ?? templateName(vm.metadata.name);
    const snapshot = await this.#client.get(Snapshot, { ...at(vm), name });
    const { mode = source.mode } = vm.status?.source ?? {};
    const waits = (message: string) => this.#tell(vm, { mode, ready: false, message });
    if (!snapshot) {
      if (source.vm) return this.#make(vm, source.vm, mode, waits);
      await waits(`waits for snapshot ${name} (spec.source.snapshot), which does not exist`);
      return undefined;
    }
    const isOurs = snapshot.metadata.labels?.[CLONE_LABEL] === vm.metadata.name;
    if (source.vm && !(isOurs && snapshot.spec.vm === source.vm)) {
      await waits(
        `the state of ${source.vm} was to be kept as snapshot ${name}, which exists; delete that, or give this machine another name`,
      );
      return undefined;
    }
    if (snapshot.metadata.deletionTimestamp) {
      await waits(`snapshot ${name} is being deleted`);
      return undefined;
    }
    if (snapshot.status?.phase === "Failed") {
      const why = `snapshot ${name} has failed: ${snapshot.status.message ?? "unknown"}`;
      // Taken anew, and without the memory that could not be had.
      const next = snapshot.spec.memory ? "Linked" : mode;
      if (next !== mode) this.#notInstant(vm, why);
      await this.#tell(vm, { mode: source.vm ? next : mode, ready: false, message: why });
      if (!source.vm) return undefined;
      await this.#client.delete(Snapshot, at(snapshot)).catch(ignoreGone);
      return { requeueAfterMs: this.#retryMs };
    }
    if (!snapshot.status?.template) {
      if (!snapshot.spec.template)
        await this.#client.patch(Snapshot, at(snapshot), { spec: { template: true } });
      const standing = snapshot.status?.message ? `: ${snapshot.status.message}` : "";
      await waits(`waits for snapshot ${name} of ${snapshot.spec.vm}${standing}`);
      return undefined;
    }
    const owner = await this.#client.get(VirtualMachine, {
      name: snapshot.spec.vm,
      ...(namespace ? { namespace } : {}),
    });
    if (!owner?.metadata.uid || !snapshot.metadata.uid) return undefined;
    const other = unlike(vm, owner);
    if (other) {
      await waits(other);
      return undefined;
    }
    await this.#settle(vm, source, snapshot, owner);
    return undefined;
  }

  /** All is there. */
  async #settle(
    vm: VirtualMachine,
    source: Source,
    snapshot: Snapshot,
    owner: VirtualMachine,
  ): Promise<void> {
    const notInstant = source.mode === "Instant" ? whyNotInstant(vm, snapshot) : undefined;
    const mode = notInstant ? "Linked" : source.mode;
    const of = `${owner.metadata.name} as in snapshot ${snapshot.metadata.name}`;
    const memory = mode === "Instant" ? snapshot.status?.taken?.memory : undefined;
    await this.#tell(
      vm,
      {
        mode,
        vm: owner.metadata.name,
        vmUid: owner.metadata.uid ?? "",
        snapshot: snapshot.metadata.name,
        snapshotUid: snapshot.metadata.uid ?? "",
        storagePool: owner.spec.storagePool,
        macs: inOrder(owner.status?.interfaces ?? [], vm.spec.networks, ({ network }) => network).map(
          ({ mac }) => mac,
        ),
        ready: true,
        message: notInstant ? `of ${of}; linked, not instant: ${notInstant}` : `of ${of}`,
      },
      memory && {
        machineType: memory.machineType,
        ...(memory.guestCpu ? { guestCpu: memory.guestCpu } : {}),
      },
    );
    if (notInstant && vm.status?.source?.mode !== mode) this.#notInstant(vm, notInstant);
  }

  #notInstant(vm: VirtualMachine, why: string): void {
    this.#events.record(about(vm), "Warning", "NotInstant", `it is linked, and boots: ${why}`);
  }

  /** The template of a machine as it is now; with its memory when that is asked for and can be had. */
  async #make(
    vm: VirtualMachine,
    from: string,
    mode: Source["mode"],
    waits: (message: string) => Promise<void>,
  ): Promise<Result> {
    const owner = await this.#client.get(VirtualMachine, { ...at(vm), name: from });
    if (!owner || owner.metadata.deletionTimestamp) {
      await waits(
        `waits for machine ${from} (spec.source.vm), which ${owner ? "is being deleted" : "does not exist"}`,
      );
      return undefined;
    }
    const other = unlike(vm, owner);
    if (other) {
      await waits(other);
      return undefined;
    }
    const name = templateName(vm.metadata.name);
    const { namespace } = vm.metadata;
    const memory = mode === "Instant" && owner.status?.phase === "Running";
    try {
      await this.#client.create(Snapshot, {
        metadata: {
          name,
          ...(namespace ? { namespace } : {}),
          labels: { [CLONE_LABEL]: vm.metadata.name },
          // As whoever takes it would write first of all.
          finalizers: [SNAPSHOT_FINALIZER],
          ownerReferences: [ownerOf(owner)],
        },
        spec: { vm: from, quiesce: true, memory, template: true },
      });
    } catch (error) {
      if (!isApiError(error, "AlreadyExists")) throw error;
    }
    await waits(`waits for snapshot ${name} of ${from}`);
    return undefined;
  }

  /** A template that was made for a clone goes with the last clone that needs it. @param name namespace/name */
  async sweep(name: string): Promise<Result> {
    const where = nameOf(name);
    const snapshot = await this.#client.get(Snapshot, where);
    const clone = snapshot?.metadata.labels?.[CLONE_LABEL];
    if (!snapshot || !clone || snapshot.metadata.deletionTimestamp) return undefined;
    const { items, skipped } = await this.#client.list(VirtualMachine, { namespace: where.namespace });
    const waits = (vm: VirtualMachine) =>
      vm.metadata.name === clone &&
      vm.spec.source?.vm === snapshot.spec.vm &&
      !vm.status?.source?.independent;
    if (skipped.length > 0 || items.some((vm) => waits(vm) || usesSnapshot(vm, snapshot))) return undefined;
    try {
      await this.#client.delete(Snapshot, where);
    } catch (error) {
      if (!isApiError(error, "NotFound", "Forbidden", "Conflict")) throw error;
    }
    return undefined;
  }

  async #hasDisks(vm: VirtualMachine): Promise<boolean> {
    return (await freshInstances(this.#client, vm)).some(({ status }) => status?.startedTime !== undefined);
  }

  async #tell(
    { metadata }: VirtualMachine,
    source: SourceStatus,
    pins: Pick<NonNullable<VirtualMachine["status"]>, "machineType" | "guestCpu"> = {},
  ): Promise<void> {
    await modify(this.#client, VirtualMachine, at({ metadata }), "status", (now) =>
      now.metadata.uid !== metadata.uid || isDeepStrictEqual(now.status?.source, source)
        ? undefined
        : { ...now, status: { ...now.status, ...pins, source } },
    );
  }
}

/** Why it has not gone on with the memory of the template after all: what its agent found. */
function whyItBooted({ status }: VirtualMachine): string | undefined {
  const cloned = getCondition(status?.conditions, CLONED);
  return cloned?.reason === NOT_INSTANT ? cloned.message.replace(/^it boots: /, "") : undefined;
}

/** Why it cannot go on with the memory of the template. */
function whyNotInstant({ spec }: VirtualMachine, { metadata, status }: Snapshot): string | undefined {
  const memory = status?.taken?.memory;
  if (!memory)
    return `snapshot ${metadata.name} has no memory: the machine did not run, or it was not asked for`;
  if (spec.hardware?.tpm) return "a TPM is never cloned, and its guest would find another one";
  if (spec.resources?.hugepages)
    return "memory of huge pages (spec.resources.hugepages) cannot begin as another machine's";
  const other = notTheSame(spec, memory);
  return other && `the memory is of a machine with ${other}`;
}

function nameOf(text: string): { namespace: string; name: string } {
  const [namespace = "", name = ""] = text.split("/");
  return { namespace, name };
}
