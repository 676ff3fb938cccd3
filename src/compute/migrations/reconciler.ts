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
import { byPriority, Policy } from "../../director/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Controller } from "../../reconcile/controller.ts";
import { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";
import { Index } from "../../reconcile/lookup.ts";
import { isApiError } from "../../resource/errors.ts";
import { byAge, getCondition } from "../../resource/object.ts";
import { selects } from "../../resource/selector.ts";
import { requestOf } from "../../telemetry/request-id.ts";
import {
  aboutMachine,
  createInstance,
  deleteInstance,
  freshInstances,
  instancesOrOdd,
  keyOfMachine,
  ODD_RETRY_MS,
  OddInstance,
  removeUnbound,
  takeNumber,
} from "../actions.ts";
import { keepAsked } from "../asked.ts";
import { currentOf, instanceName, isBound, isHeld, isLive, isReleased, numberOf } from "../custody.ts";
import { pinsIn } from "../hardware/kinds.ts";
import { Instance, VirtualMachine } from "../kinds.ts";
import {
  isFinal,
  isInPostCopy,
  isUnderWay,
  MIGRATION_LABEL,
  Migration,
  type Transfer,
  toOf,
  transferBy,
} from "./kinds.ts";
import { isLocal, refuse, refuseDisks, refuseHost } from "./refusals.ts";
import { asItIs, copied, orderTo, sentOf } from "./target.ts";
import { toSendOf } from "./to-send.ts";
import { endOf, failed, type Trouble, troubleOf } from "./trouble.ts";

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
/** On a source: the target that it must not be sent to any more. */
const CALLED_OFF = "vireo.dev/migration-called-off";

/** How long the other end may take to tell why it failed. */
const SETTLE_MS = 2000;

/** While it waits for something that no event announces. */
const LOOK_AGAIN_MS = 2000;

/** While somebody works on its disks no run of it can be made (checkInstance), its target neither. */
const disksBusy = ({ status }: VirtualMachine): string | undefined =>
  status?.disksBusy &&
  `waits: its disks are being worked on (${status.disksBusy.action} of ${status.disksBusy.name})`;

/** Runs until the signal aborts; never rejects. */
export async function runMigrationReconciler(context: MigrationContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const migrations = new Informer(client, Migration, { log, clock });
  const instances = new Informer(client, Instance, { log, clock });
  const vms = new Informer(client, VirtualMachine, { log, clock });
  // Asked at each change of any machine: those that are over, of which there are many, are not looked through.
  const open = new Index(migrations, (m) => (isFinal(m) ? [] : [keyOfMachine(m)]));
  const reconciler = new MigrationReconciler(context);
  const controller = new Controller({
    name: "migration",
    reconcile: (key) => reconciler.reconcile(key),
    requestOf: (key) => requestOf(open.get(key)[0]),
    log,
    clock,
  });
  const busy = (key: string) => open.get(key).length > 0;
  migrations.onChange((_key, now, old) => {
    const migration = now ?? old;
    if (migration) controller.enqueue(keyOfMachine(migration));
  });
  instances.onChange((_key, now) => {
    const key = now && keyOfMachine(now);
    if (key && (busy(key) || (now.metadata.labels?.[MIGRATION_LABEL] && isLive(now) && !isHeld(now))))
      controller.enqueue(key);
  });
  // Of a new machine: those of an earlier one of its name.
  const all = new Index(migrations, (m) => [keyOfMachine(m)]);
  vms.onChange((key, _now, old) => {
    if (busy(key) || (!old && all.get(key).length > 0)) controller.enqueue(key);
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
    const asked = items.filter((m) => !isOfPlan(m));
    const all = [
      ...items.filter(isOfPlan),
      ...(await keepAsked(this.#client, Migration, vm, asked, isFinal)),
    ];
    const open = all
      .filter((m) => !isFinal(m))
      .sort((a, b) => Number(isUnderWay(b)) - Number(isUnderWay(a)) || byAge(a, b));
    if (!vm) {
      for (const m of open) await this.#end(m, failed(`machine ${name} does not exist`));
      return undefined;
    }
    const instances = await instancesOrOdd(this.#client, vm);
    if (instances instanceof OddInstance) {
      for (const m of open) await this.#wait(m, `waits: ${instances.message}`);
      return { requeueAfterMs: ODD_RETRY_MS };
    }
    await this.#abortStrays(all, instances);
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
      refuse(m, vm, source) ??
      (m.spec.to ? await refuseHost(this.#client, m, vm, source) : undefined) ??
      (await refuseDisks(this.#client, m, vm.spec.storagePool));
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
    const busy = disksBusy(vm);
    if (busy) return wait(busy);
    // The claim comes before the number: whoever looks next, a successor or a second control plane, carries on with the same one.
    const claimed = await this.#write(m, {
      phase: "Pending",
      source: source.metadata.name,
      target: instanceName(vm.metadata.name, (vm.status?.sequence ?? 0) + 1),
      ...(source.spec.host ? { from: source.spec.host } : {}),
      message: `prepares ${toOf(m)}`,
    });
    return this.#advance(claimed, vm, instances);
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
    // Since it was claimed.
    const busy = disksBusy(vm);
    if (busy) {
      await this.#wait(m, busy);
      return { requeueAfterMs: LOOK_AGAIN_MS };
    }
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
          ...asItIs(source.status?.has, spec),
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
    const message = `waits until ${toOf(m)} listens`;
    const before = await toSendOf(this.#client, m, source, await this.#transfer(m, vm));
    await this.#write(m, { ...m.status, ...before, phase: "Preparing", startedTime: this.#now(), message });
    return { requeueAfterMs: this.#prepareTimeoutMs };
  }

  /** What the target has to be told of the disks, which the source's agent is asked for. */
  async #copyDisks(
    m: Migration,
    source: Instance,
    instances: readonly Instance[],
  ): Promise<Pick<Instance["spec"], "copyDisks"> | Trouble | "wait"> {
    if (!(await isLocal(this.#client, source.spec.storagePool))) return {};
    const uid = m.metadata.uid ?? "";
    // The agent there has yet to clear away what an earlier run left.
    const before = instances.find(
      (i) => i.spec.host === toOf(m) && i.metadata.name !== m.status?.target && i !== source,
    );
    if (before) {
      await this.#wait(m, `waits until instance ${before.metadata.name} is gone from ${toOf(m)}`);
      return "wait";
    }
    const refused = await refuseDisks(this.#client, m, source.spec.storagePool);
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
    const trouble = troubleOf(m, vm, source, target, {
      nowMs: this.#clock.now().getTime(),
      prepareTimeoutMs: this.#prepareTimeoutMs,
    });
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
    const late = m.spec.cancel ? ": it is too late to call it off" : "";
    const goes = { Disks: "disks go to", Memory: "memory goes to", PostCopy: "goes on at" }[stage];
    const message = `${goes} ${toOf(m)}${late}`;
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
      .sort(byPriority);
    return transferBy(policies, m.spec.transfer);
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
      if (source?.status?.phase === "HandedOver" || isInPostCopy(source, target.metadata.name)) continue;
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
      message: `runs on ${toOf(m)}${m.spec.cancel ? "; it was too late to call it off" : ""}`,
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

  async #write(m: Migration, { secondsLeft, ...rest }: Status): Promise<Migration> {
    // Of one that is over nothing is left.
    const status = secondsLeft === undefined || isFinal({ status: rest }) ? rest : { ...rest, secondsLeft };
    if (isDeepStrictEqual(m.status, status)) return m;
    // Compare-and-swap: of two control planes that both believe to lead, one has to look again.
    return this.#client.updateStatus(Migration, { ...m, status });
  }

  #report(m: Migration, type: "Normal" | "Warning", reason: string, message: string): void {
    this.#events.record(aboutMachine(m), type, reason, message);
  }

  #now(): string {
    return this.#clock.now().toISOString();
  }
}

/** It goes with its Plan. */
const isOfPlan = ({ metadata }: Migration): boolean =>
  metadata.ownerReferences?.some(({ kind }) => kind === "Plan") ?? false;

const isTargetOf = (instance: Instance, m: Migration): boolean =>
  instance.spec.incoming === true &&
  instance.spec.predecessor === m.status?.source &&
  instance.metadata.labels?.[MIGRATION_LABEL] === m.metadata.name;
