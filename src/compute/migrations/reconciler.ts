/**
 * The Migration reconciler: steps 1, 3 and 5 of the live migration in kinds.ts's header, and calling it off.
 *
 *   Pending ─► (number taken, target named) ─► Preparing ─► target listens ─► Running ─► target holds the disks ─► Succeeded
 *      └───────────────┴─────────────────────────┴─── before the flip: migrateTo cleared by CAS, target deleted ─► Failed, Cancelled
 *
 * It works machine by machine, so that two migrations of one machine never run side by side, and reads everything fresh:
 * migrations are rare and being late here could do harm. What it decides depends only on what is stored; it may be killed
 * between any two writes.
 */
import { isDeepStrictEqual } from "node:util";
import type { Client } from "../../client/client.ts";
import { Policy } from "../../director/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Controller } from "../../reconcile/controller.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";
import { isApiError } from "../../resource/errors.ts";
import { getCondition } from "../../resource/object.ts";
import { formatBytes } from "../../resource/quantity.ts";
import { selects } from "../../resource/selector.ts";
import { requestOf } from "../../telemetry/request-id.ts";
import { createInstance, deleteInstance, freshInstances, removeUnbound, takeNumber } from "../actions.ts";
import { lackOfRoom } from "../capacity.ts";
import { type Has as HasNow, memoryNow } from "../changes/kinds.ts";
import {
  currentOf,
  instanceName,
  isBound,
  isFinal,
  isHeld,
  isLive,
  isReleased,
  isUnderWay,
  numberOf,
} from "../custody.ts";
import { acceleratorOf, type Has, lackOf, needsOf, type Pins, pinsIn } from "../hardware/kinds.ts";
import { Host } from "../hosts/kinds.ts";
import { Instance, type Platform, platformObstacle, StoragePool, VirtualMachine } from "../kinds.ts";
import { Snapshot } from "../snapshots/kinds.ts";
import { MIGRATION_LABEL, Migration, type Transfer } from "./kinds.ts";
import { transferOf } from "./transfer.ts";

export interface MigrationContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  /** How long the target may take to listen; 5 minutes by default. */
  prepareTimeoutMs?: number;
}

type Status = NonNullable<Migration["status"]>;
type Result = { requeueAfterMs?: number } | undefined;
/** Why a migration cannot go on; phase says what it ends as. */
interface Trouble {
  phase: "Failed" | "Cancelled";
  message: string;
}
const failed = (message: string): Trouble => ({ phase: "Failed", message });

/** On a source: the target that it must not be sent to any more. */
const CALLED_OFF = "vireo.dev/migration-called-off";

/** How long the other end may take to tell why it failed. */
const SETTLE_MS = 2000;

/** While it waits for something that no event announces. */
const LOOK_AGAIN_MS = 2000;

/** "namespace/name" of the machine that a migration or an instance is of. */
const machineKey = ({ metadata, spec }: Migration | Instance) => `${metadata.namespace}/${spec.vm}`;

/** Runs until the signal aborts; never rejects. */
export async function runMigrationReconciler(context: MigrationContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const migrations = new Informer(client, Migration, { log, clock });
  const instances = new Informer(client, Instance, { log, clock });
  const vms = new Informer(client, VirtualMachine, { log, clock });
  const reconciler = new MigrationReconciler(context);
  const controller = new Controller({
    name: "migration",
    reconcile: (key) => reconciler.reconcile(key),
    requestOf: (key) => requestOf(migrations.list().find((m) => !isFinal(m) && machineKey(m) === key)),
    log,
    clock,
  });
  const busy = (key: string) => migrations.list().some((m) => !isFinal(m) && machineKey(m) === key);
  migrations.onChange((_key, now, old) => {
    const migration = now ?? old;
    if (migration) controller.enqueue(machineKey(migration));
  });
  instances.onChange((_key, now) => {
    const key = now && machineKey(now);
    if (key && (busy(key) || (now.metadata.labels?.[MIGRATION_LABEL] && isLive(now) && !isHeld(now))))
      controller.enqueue(key);
  });
  vms.onChange((key) => {
    if (busy(key)) controller.enqueue(key);
  });
  await Promise.all([controller.run(signal), migrations.run(signal), instances.run(signal), vms.run(signal)]);
}

class MigrationReconciler {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #events: EventRecorder;
  readonly #prepareTimeoutMs: number;
  /** When one end was first seen to have failed, by the Migration's uid. */
  readonly #settling = new Map<string, number>();

  constructor(context: MigrationContext) {
    this.#client = context.client;
    this.#clock = context.clock;
    this.#prepareTimeoutMs = context.prepareTimeoutMs ?? 300_000;
    this.#events = new EventRecorder(context.client, "migration-reconciler", context.log, context.clock);
  }

  /** @param key namespace/name of the machine */
  async reconcile(key: string): Promise<Result> {
    const [namespace = "", name = ""] = key.split("/");
    const [vm, { items }] = await Promise.all([
      this.#client.get(VirtualMachine, { namespace, name }),
      this.#client.list(Migration, { namespace, fieldSelector: `spec.vm=${name}` }),
    ]);
    const open = items
      .filter((m) => !isFinal(m))
      .sort((a, b) => Number(isUnderWay(b)) - Number(isUnderWay(a)) || byAge(a, b));
    if (!vm) {
      for (const m of open) await this.#end(m, failed(`machine ${name} does not exist`));
      return undefined;
    }
    const instances = await freshInstances(this.#client, vm);
    await this.#abortStrays(items, instances);
    const [first, ...others] = open;
    if (!first) return undefined;
    for (const other of others) {
      if (other.spec.cancel)
        await this.#end(other, { phase: "Cancelled", message: "called off before it began" });
      else await this.#wait(other, `waits for migration ${first.metadata.name} of the same machine`);
    }
    return isUnderWay(first) ? this.#advance(first, vm, instances) : this.#begin(first, vm, instances);
  }

  // --- before anything is touched ---

  async #begin(m: Migration, vm: VirtualMachine, instances: readonly Instance[]): Promise<Result> {
    if (m.spec.cancel) return this.#end(m, { phase: "Cancelled", message: "called off before it began" });
    const source = currentOf(instances);
    const refused =
      this.#refuse(m, vm, source) ??
      (m.spec.to ? await this.#refuseHost(m, vm, source) : undefined) ??
      (await this.#refuseDisks(m, vm.spec.storagePool));
    if (refused) return this.#end(m, refused);
    if (!m.spec.to) {
      const scheduled = getCondition(m.status?.conditions, "Scheduled");
      if (scheduled?.status === "False") return this.#end(m, failed(scheduled.message));
      return this.#wait(m, "waits for the director to choose a host");
    }
    const wait = (message: string) =>
      this.#wait(m, message).then((): Result => ({ requeueAfterMs: LOOK_AGAIN_MS }));
    if (!source || !isHeld(source) || source.status?.phase !== "Running")
      return wait(`waits until the machine runs (now: ${vm.status?.phase ?? "Pending"})`);
    const other = instances.find((i) => i !== source && isLive(i));
    if (other) return wait(`waits until instance ${other.metadata.name} of an earlier migration is gone`);
    // The claim comes before the number: whoever looks next, a successor or a second control plane, carries on with the same one.
    const claimed = await this.#write(m, {
      phase: "Pending",
      source: source.metadata.name,
      target: instanceName(vm.metadata.name, (vm.status?.sequence ?? 0) + 1),
      ...(source.spec.host ? { from: source.spec.host } : {}),
      startedTime: m.status?.startedTime ?? this.#now(),
      message: `prepares ${toOf(m)}`,
    });
    return this.#advance(claimed, vm, instances);
  }

  #refuse(m: Migration, vm: VirtualMachine, source: Instance | undefined): Trouble | undefined {
    const { name } = vm.metadata;
    if (vm.metadata.deletionTimestamp) return failed(`machine ${name} is being deleted`);
    if (!vm.spec.running)
      return failed(`machine ${name} is not to run (spec.running is false); only running machines move`);
    if (vm.spec.suspended)
      return failed(
        `machine ${name} is suspended (spec.suspended); it may go on elsewhere when it is started`,
      );
    if (source && isHeld(source) && source.spec.host === toOf(m))
      return failed(`machine ${name} runs on ${toOf(m)} already`);
    return undefined;
  }

  async #refuseHost(
    m: Migration,
    vm: VirtualMachine,
    source: Instance | undefined,
  ): Promise<Trouble | undefined> {
    const host = await this.#client.get(Host, { name: toOf(m) });
    if (!host) return failed(`host ${toOf(m)} (spec.to) does not exist`);
    const ready = getCondition(host.status?.conditions, "Ready");
    if (ready?.status !== "True")
      return failed(`host ${toOf(m)} is not ready: ${ready?.message ?? "its agent has not reported yet"}`);
    if (host.spec.unschedulable) return failed(`host ${toOf(m)} takes no machines (spec.unschedulable)`);
    const [from, to] = [source && (await this.#platform(source)), platformOf(host)];
    const why =
      from &&
      to &&
      platformObstacle(from, { ...to, accelerator: acceleratorOf(source?.spec.hardware, to.accelerator) });
    if (why) return failed(`host ${toOf(m)} cannot take it over: ${why}`);
    const { items } = await this.#client.list(Instance, { fieldSelector: `spec.host=${toOf(m)}` });
    const demand = source?.spec ?? { ...vm.spec, vmUid: vm.metadata.uid ?? "" };
    const lacks = lackOf(needsOf({ ...demand, ...source?.status }), host.status?.facts?.qemu ?? {});
    if (lacks) return failed(`host ${toOf(m)} cannot take it over: it ${lacks}`);
    const lack = lackOfRoom(host, demand, items);
    return lack ? failed(lack) : undefined;
  }

  /** Whether disks in the pool have to be copied along. */
  async #isLocal(storagePool: string): Promise<boolean> {
    const pool = await this.#client.get(StoragePool, { name: storagePool });
    return pool !== undefined && !pool.spec.directory.shared;
  }

  /** What cannot be copied along. */
  async #refuseDisks(m: Migration, storagePool: string): Promise<Trouble | undefined> {
    if (!(await this.#isLocal(storagePool))) return undefined;
    const { vm, to } = m.spec;
    const { items } = await this.#client.list(Snapshot, {
      namespace: m.metadata.namespace ?? "",
      fieldSelector: `spec.vm=${vm}`,
    });
    const [first, ...more] = items.filter(({ status }) => status?.phase !== "Failed");
    if (!first) return undefined;
    const names = `${first.metadata.name}${more.length > 0 ? ` and ${more.length} more` : ""}`;
    return failed(
      `machine ${vm} has snapshots (${names}), which do not go along from a storage pool that is not shared (${storagePool}); delete them before it moves${to ? ` to ${to}` : ""}`,
    );
  }

  /** As its agent wrote it at the start; of a run from before agents did, what its host is. */
  async #platform({ status, spec }: Instance): Promise<(Platform & Pins) | undefined> {
    const { accelerator, cpuModel, guestCpu } = status ?? {};
    if (accelerator && cpuModel !== undefined)
      return { accelerator, cpuModel, ...(guestCpu ? { guestCpu } : {}) };
    const host = spec.host ? await this.#client.get(Host, { name: spec.host }) : undefined;
    return host && platformOf(host);
  }

  async #number(m: Migration, vm: VirtualMachine): Promise<Result> {
    const number = numberOf({ metadata: { name: m.status?.target ?? "" } });
    const sequence = vm.status?.sequence ?? 0;
    if (sequence > number) {
      // Somebody took a later one, and ours was never used: begin anew.
      const { source: _source, target: _target, ...rest } = m.status ?? {};
      await this.#write(m, rest);
      return { requeueAfterMs: 1 };
    }
    return this.#createTarget(m, sequence < number ? await takeNumber(this.#client, vm) : vm);
  }

  /** The machine's number is that of our target: nobody can create an older instance any more, so the list is complete. */
  async #createTarget(m: Migration, vm: VirtualMachine): Promise<Result> {
    const instances = await freshInstances(this.#client, vm);
    const source = instances.find((i) => i.metadata.name === m.status?.source);
    if (!source || !isHeld(source)) return { requeueAfterMs: 1 };
    const other = instances.find((i) => isLive(i) && i !== source && i.metadata.name !== m.status?.target);
    if (other) return this.#end(m, failed(`instance ${other.metadata.name} of the machine came between`));
    const { spec } = source;
    const copyDisks = await this.#copyDisks(m, source, instances);
    if (copyDisks === "wait") return { requeueAfterMs: LOOK_AGAIN_MS };
    if ("phase" in copyDisks) return this.#end(m, copyDisks);
    try {
      await createInstance(
        this.#client,
        vm,
        {
          ...copied(spec),
          interfaces: spec.interfaces,
          ...(spec.user === undefined ? {} : { user: spec.user }),
          ...asItIs(source.status?.has),
          predecessor: source.metadata.name,
          incoming: true,
          ...copyDisks,
          // A guest that runs there before all is there must have its disks, and those are the same only once it stands still.
          ...(!copyDisks.copyDisks && (await this.#transfer(m, vm)).postCopy ? { postCopy: true } : {}),
          ...pinsIn(source.status),
          host: toOf(m),
          placement: {
            reason: m.spec.reason ?? `moved here by migration ${m.metadata.name}`,
            ...(m.spec.policy ? { policy: m.spec.policy } : {}),
            ...(m.spec.plan ? { plan: m.spec.plan } : {}),
          },
        },
        { [MIGRATION_LABEL]: m.metadata.name },
      );
    } catch (error) {
      // Since we looked, somebody else was given the room.
      const [cause] = isApiError(error, "Invalid")
        ? (error.details.causes ?? []).filter((c) => c.field === "spec.host")
        : [];
      if (!cause) throw error;
      return this.#end(m, failed(cause.message.replace(/^Forbidden: /, "")));
    }
    await this.#write(m, { ...m.status, phase: "Preparing", message: `waits until ${toOf(m)} listens` });
    return { requeueAfterMs: this.#prepareTimeoutMs };
  }

  /** What the target has to be told of the disks, which the source's agent is asked for. */
  async #copyDisks(
    m: Migration,
    source: Instance,
    instances: readonly Instance[],
  ): Promise<Pick<Instance["spec"], "copyDisks"> | Trouble | "wait"> {
    if (!(await this.#isLocal(source.spec.storagePool))) return {};
    const uid = m.metadata.uid ?? "";
    // The agent there has yet to clear away what an earlier run left.
    const before = instances.find(
      (i) => i.spec.host === toOf(m) && i.metadata.name !== m.status?.target && i !== source,
    );
    if (before) {
      await this.#wait(m, `waits until instance ${before.metadata.name} is gone from ${toOf(m)}`);
      return "wait";
    }
    const refused = await this.#refuseDisks(m, source.spec.storagePool);
    if (refused) return refused;
    if (source.spec.tellVolumes !== uid)
      await this.#client.update(Instance, { ...source, spec: { ...source.spec, tellVolumes: uid } });
    const told = source.status?.volumes;
    if (told?.to !== uid) return "wait";
    const { volumes } = told;
    if (!volumes)
      return failed(
        `its host ${source.spec.host} cannot tell what its disks are: ${told.error ?? "unknown"}`,
      );
    return { copyDisks: volumes };
  }

  // --- under way ---

  async #advance(m: Migration, vm: VirtualMachine, instances: readonly Instance[]): Promise<Result> {
    const source = instances.find((i) => i.metadata.name === m.status?.source);
    const target = instances.find((i) => i.metadata.name === m.status?.target && isTargetOf(i, m));
    if (target && isHeld(target)) {
      if (target.status?.phase === "Running") return this.#succeed(m, source, target);
      return this.#wait(m, `runs on ${toOf(m)}, which has yet to report it`);
    }
    if (source?.status?.phase === "HandedOver") {
      if (target && isLive(target)) return this.#wait(m, `handed over to ${toOf(m)}`);
      return this.#end(m, failed(`handed over, but it ended on ${toOf(m)} at once${endOf(target)}`));
    }
    const trouble = this.#trouble(m, vm, source, target);
    if (trouble && trouble.phase === "Failed" && this.#otherEndMayTell(m, source, target))
      return { requeueAfterMs: SETTLE_MS / 10 };
    if (trouble) {
      if (target && !(await this.#abort(source, target))) return { requeueAfterMs: 1 };
      return this.#end(m, trouble);
    }
    if (m.status?.phase === "Pending" && !target) return this.#number(m, vm);
    if (m.status?.phase === "Pending") m = await this.#write(m, { ...m.status, phase: "Preparing" });
    const order =
      target && !source?.spec.migrateTo ? orderTo(m, target, await this.#transfer(m, vm)) : undefined;
    const calledOff = source?.metadata.annotations?.[CALLED_OFF] === target?.metadata.name;
    if (source && order && !calledOff)
      await this.#client.update(Instance, { ...source, spec: { ...source.spec, migrateTo: order } });
    if (!source?.spec.migrateTo && !order) return { requeueAfterMs: LOOK_AGAIN_MS };
    const sent = source?.status?.migration;
    const { stage = target?.spec.copyDisks ? "Disks" : "Memory", ...figures } =
      sent?.to === m.status?.target ? sentOf(sent) : {};
    const message = `${stage === "Disks" ? "disks go" : "memory goes"} to ${toOf(m)}`;
    const { secondsLeft: _, ...status } = m.status ?? {};
    await this.#write(m, { ...status, phase: "Running", stage, ...figures, message });
    return undefined;
  }

  /** What it says of how it is sent, and its policies. */
  async #transfer(m: Migration, vm: VirtualMachine): Promise<Transfer> {
    const { namespace = "" } = m.metadata;
    const { items } = await this.#client.list(Policy, { namespace });
    const policies = items
      .filter(({ spec }) => selects(spec.selector, vm.metadata.labels ?? {}))
      .sort((a, b) => b.spec.priority - a.spec.priority || (a.metadata.name < b.metadata.name ? -1 : 1));
    return transferOf([m.spec.transfer, ...policies.map(({ spec }) => spec.transfer)]);
  }

  /** Of a stream that broke each end knows something else, and tells it a moment after the other. */
  #otherEndMayTell(m: Migration, source: Instance | undefined, target: Instance | undefined): boolean {
    if (!source?.spec.migrateTo || !target) return false;
    const sending = source.status?.migration;
    const sourceTold = sending?.to === target.metadata.name && sending.phase !== "Active";
    if (isReleased(source) || sourceTold === isReleased(target)) return false;
    const key = m.metadata.uid ?? "";
    const now = this.#clock.now().getTime();
    const since = this.#settling.get(key) ?? now;
    if (now - since < SETTLE_MS) this.#settling.set(key, since);
    else this.#settling.delete(key);
    return now - since < SETTLE_MS;
  }

  /** What ends a migration before the flip. */
  #trouble(
    m: Migration,
    vm: VirtualMachine,
    source: Instance | undefined,
    target: Instance | undefined,
  ): Trouble | undefined {
    if (m.spec.cancel)
      return { phase: "Cancelled", message: "called off (spec.cancel); the machine stayed where it was" };
    if (vm.metadata.deletionTimestamp || !vm.spec.running) return failed("the machine was stopped meanwhile");
    if (!source || isReleased(source))
      return failed(`the machine ended on ${m.status?.from}${endOf(source)}`);
    if (!source.spec.running || source.metadata.deletionTimestamp)
      return failed("the machine was stopped meanwhile");
    const sending = source.status?.migration;
    if (sending?.to === m.status?.target && (sending?.phase === "Failed" || sending?.phase === "Cancelled"))
      return failed(`${m.status?.from} could not send it: ${sending.error ?? sending.phase}${endOf(target)}`);
    if (m.status?.phase === "Pending") return undefined;
    if (!target) return failed(`the target instance ${m.status?.target} is gone`);
    if (isReleased(target) || target.metadata.deletionTimestamp)
      return failed(`${toOf(m)} could not receive it${endOf(target)}`);
    const since = Date.parse(m.status?.startedTime ?? this.#now());
    if (m.status?.phase === "Preparing" && this.#clock.now().getTime() - since > this.#prepareTimeoutMs)
      return failed(`${toOf(m)} was not ready to receive within ${this.#prepareTimeoutMs / 1000} s`);
    return undefined;
  }

  /**
   * Calls a migration off before the flip: first the order to the source is taken back by compare-and-swap, which the flip and
   * a late order (both compare-and-swap, too) lose or win; only then the target goes. @returns false when the flip has won.
   */
  async #abort(source: Instance | undefined, target: Instance): Promise<boolean> {
    if (source && isLive(source)) {
      const { migrateTo, ...spec } = source.spec;
      const others = migrateTo && migrateTo.instance !== target.metadata.name ? { migrateTo } : {};
      // The mark makes it a write even when there was no order yet: one that a dead leader sent on its way fails from here on.
      const annotations = { ...source.metadata.annotations, [CALLED_OFF]: target.metadata.name };
      const metadata = { ...source.metadata, annotations };
      try {
        await this.#client.update(Instance, { ...source, metadata, spec: { ...spec, ...others } });
      } catch (error) {
        if (isApiError(error, "Conflict")) return false;
        if (!isApiError(error, "NotFound")) throw error;
      }
    } else if (source?.status?.phase === "HandedOver" && source.status.migration?.to === target.metadata.name)
      return false;
    if (isBound(target) || !(await removeUnbound(this.#client, target)))
      await deleteInstance(this.#client, target);
    return true;
  }

  /** Targets of migrations that are deleted or over without having moved. */
  async #abortStrays(migrations: readonly Migration[], instances: readonly Instance[]): Promise<void> {
    for (const target of instances) {
      const label = target.metadata.labels?.[MIGRATION_LABEL];
      if (!label || !isLive(target) || isHeld(target) || target.metadata.deletionTimestamp) continue;
      const m = migrations.find(({ metadata }) => metadata.name === label);
      if (m && m.status?.target === target.metadata.name && !isFinal(m)) continue;
      const source = instances.find((i) => i.metadata.name === target.spec.predecessor);
      if (source?.status?.phase === "HandedOver") continue;
      if (!(await this.#abort(source, target)))
        throw new Error(`instance ${target.metadata.name} changed; looking again`);
    }
  }

  // --- status ---

  async #succeed(m: Migration, source: Instance | undefined, target: Instance): Promise<undefined> {
    const sent = source?.status?.migration;
    const downtimeMs = sent?.to === target.metadata.name ? sent.downtimeMs : undefined;
    await this.#write(m, {
      ...m.status,
      ...(sent?.to === target.metadata.name ? sentOf(sent) : {}),
      phase: "Succeeded",
      finishedTime: this.#now(),
      ...(downtimeMs === undefined ? {} : { downtimeMs }),
      message: `runs on ${toOf(m)}`,
    });
    this.#report(m, "Normal", "Migrated", `moved from ${m.status?.from} to ${toOf(m)}`);
    return undefined;
  }

  async #end(m: Migration, { phase, message }: Trouble): Promise<undefined> {
    await this.#write(m, { ...m.status, phase, finishedTime: this.#now(), message });
    if (phase === "Failed") this.#report(m, "Warning", "MigrationFailed", `move to ${toOf(m)}: ${message}`);
    else this.#report(m, "Normal", "MigrationCancelled", `move to ${toOf(m)}: ${message}`);
    return undefined;
  }

  async #wait(m: Migration, message: string): Promise<undefined> {
    await this.#write(m, { ...m.status, phase: m.status?.phase ?? "Pending", message });
    return undefined;
  }

  async #write(m: Migration, status: Status): Promise<Migration> {
    if (isDeepStrictEqual(m.status, status)) return m;
    // Compare-and-swap: of two control planes that both believe to lead, one has to look again.
    return this.#client.updateStatus(Migration, { ...m, status });
  }

  #report(m: Migration, type: "Normal" | "Warning", reason: string, message: string): void {
    const { namespace } = m.metadata;
    const about = { kind: VirtualMachine.kind, name: m.spec.vm, ...(namespace ? { namespace } : {}) };
    this.#events.record(about, type, reason, message);
  }

  #now(): string {
    return this.#clock.now().toISOString();
  }
}

function platformOf({ status }: Host): (Platform & Has) | undefined {
  const facts = status?.facts;
  return facts && { ...facts.qemu, cpuModel: facts.cpu.model };
}

/** What the source runs with: the target must be the same machine even when the user has changed the VirtualMachine since. */
function copied(spec: Instance["spec"]) {
  const {
    cpus,
    memory,
    maxCpus,
    maxMemory,
    memoryTarget,
    image,
    storagePool,
    diskSize,
    diskLimits,
    disks,
    hardware,
    resources,
    guest,
    readiness,
  } = spec;
  const { paused, stop, onPanic } = spec;
  return {
    cpus,
    memory,
    ...(maxCpus ? { maxCpus } : {}),
    ...(maxMemory ? { maxMemory } : {}),
    ...(memoryTarget ? { memoryTarget } : {}),
    image,
    storagePool,
    ...(diskSize ? { diskSize } : {}),
    ...(diskLimits ? { diskLimits } : {}),
    ...(disks ? { disks } : {}),
    ...(hardware ? { hardware } : {}),
    ...(resources ? { resources } : {}),
    ...(guest ? { guest } : {}),
    ...(readiness ? { readiness } : {}),
    ...(paused ? { paused } : {}),
    ...(stop ? { stop } : {}),
    ...(onPanic ? { onPanic } : {}),
  };
}

type Sent = NonNullable<NonNullable<Instance["status"]>["migration"]>;

/** As its agent tells it. */
function sentOf(sent: Sent | undefined): Pick<Status, "stage" | "disks" | "memory" | "secondsLeft"> {
  const { stage, disks, transferredBytes, remainingBytes, secondsLeft } = sent ?? {};
  return {
    ...(secondsLeft === undefined ? {} : { secondsLeft }),
    ...(stage ? { stage } : {}),
    ...(disks ? { disks } : {}),
    ...(transferredBytes === undefined
      ? {}
      : { memory: { transferredBytes, ...(remainingBytes === undefined ? {} : { remainingBytes }) } }),
  };
}

/** What the source is told, once the target takes what it sends. */
function orderTo(
  m: Migration,
  { metadata, spec, status }: Instance,
  transfer: Transfer,
): Instance["spec"]["migrateTo"] {
  const { incomingAddress: address, incomingDisks } = status ?? {};
  if (status?.phase !== "Incoming" || !address || (spec.copyDisks && !incomingDisks)) return undefined;
  return {
    migration: m.metadata.name,
    instance: metadata.name,
    address,
    ...(spec.copyDisks && incomingDisks ? { disksAddress: incomingDisks } : {}),
    host: toOf(m),
    // Both ends have to agree on this one, and the target began with it.
    ...(Object.keys(transfer).length > 0 || spec.postCopy
      ? { transfer: { ...transfer, postCopy: spec.postCopy ?? false } }
      : {}),
  };
}
/** Not what the source has been asked for: what it really has by now. */
const asItIs = (has: HasNow | undefined) =>
  has && {
    has,
    interfaces: has.interfaces,
    disks: has.disks,
    ...(has.cpus ? { cpus: has.cpus.now } : {}),
    ...(has.memory && has.memory.modules.length > 0 ? { memory: formatBytes(memoryNow(has.memory)) } : {}),
  };

/** Chosen before anything is begun. */
const toOf = ({ spec }: Migration): string => spec.to ?? "";

const isTargetOf = (instance: Instance, m: Migration): boolean =>
  instance.spec.incoming === true &&
  instance.spec.predecessor === m.status?.source &&
  instance.metadata.labels?.[MIGRATION_LABEL] === m.metadata.name;

const endOf = (instance: Instance | undefined): string => {
  const end = instance?.status?.end;
  return end ? ` (${end.reason}: ${end.message})` : "";
};

function byAge(a: Migration, b: Migration): number {
  return (
    (a.metadata.creationTimestamp ?? "").localeCompare(b.metadata.creationTimestamp ?? "") ||
    a.metadata.name.localeCompare(b.metadata.name)
  );
}
