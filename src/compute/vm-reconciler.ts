/**
 * The VirtualMachine reconciler: keeps at most one run of each machine going, by the chain of custody of kinds.ts. For one
 * machine, each time from what is stored:
 *
 *   addresses given? ─► instances that nothing needs: deleted ─► should it run, and no instance is live?
 *        ─► image, networks, pool there? ─► back-off over? ─► raise the sequence (CAS) ─► list again ─► create the instance
 *
 * Decisions that start something are made on a fresh list, all others on the informers' copies: being late there does no harm.
 * It is never the reconciler that declares a run over: only its agent (or nobody, while that host is silent) does.
 */
import { isDeepStrictEqual } from "node:util";
import { type Client, modify } from "../client/client.ts";
import { Image } from "../images/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import { Controller } from "../reconcile/controller.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import { Index } from "../reconcile/lookup.ts";
import { isApiError } from "../resource/errors.ts";
import { getCondition, keyOf } from "../resource/object.ts";
import { countBy, readGauge } from "../telemetry/metrics.ts";
import { requestOf } from "../telemetry/request-id.ts";
import {
  at,
  createInstance,
  deleteInstance,
  freshInstances,
  machinePart,
  ODD_RETRY_MS,
  OddInstance,
  removeUnbound,
  stopInstance,
  takeNumber,
} from "./actions.ts";
import { AddressBook } from "./address-book.ts";
import { askRun, newPlaces, stillUsed } from "./changes/live.ts";
import { placed, placedInterfaces } from "./changes/places.ts";
import { instancesOf, isBound, isHeld, isLive, leftDisksBehind, superseded } from "./custody.ts";
import { removeMachine, removeOrphans } from "./deletion.ts";
import { imagesOf } from "./disks/kinds.ts";
import { pinsOf } from "./hardware/kinds.ts";
import { Host } from "./hosts/kinds.ts";
import { type Interface, NoAddress } from "./ipam.ts";
import { Instance, VirtualMachine, VOLUMES_FINALIZER } from "./kinds.ts";
import { STEERED } from "./lifecycle/kinds.ts";
import { handReset, isTelling, isToRestart, isWanted } from "./lifecycle/requests.ts";
import { isUnderWay, Migration } from "./migrations/kinds.ts";
import { missingOf } from "./missing.ts";
import { Network } from "./networks/kinds.ts";
import { disksOf, disksOn, generationOf, isOutdated, resumesWith } from "./next-run.ts";
import { decideStart, RESTART_LIMITS, type RestartLimits } from "./restart.ts";
import { StoragePool } from "./storage/kinds.ts";
import { UserBook } from "./users/book.ts";
import { CRASH_LOOP, type Idle, machineStatus, pending } from "./vm-status.ts";

export interface VirtualMachineContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  restart?: RestartLimits;
}

/** "namespace/name" of the machine an instance or migration is about. */
const machineKey = (o: { metadata: { namespace?: string }; spec: { vm: string } }) =>
  `${o.metadata.namespace ?? "default"}/${o.spec.vm}`;

const machines = readGauge("vireo_machines", "Virtual machines by phase; told by the leader.", ["phase"]);
const hostsReady = readGauge(
  "vireo_hosts",
  "Hosts by whether they are ready (True, False, Unknown); told by the leader.",
  ["ready"],
);

/** Runs until the signal aborts; never rejects. */
export async function runVirtualMachineReconciler(context: VirtualMachineContext): Promise<void> {
  const { client, clock, log, signal } = context;
  const informers = {
    vms: new Informer(client, VirtualMachine, { log, clock }),
    instances: new Informer(client, Instance, { log, clock }),
    migrations: new Informer(client, Migration, { log, clock }),
    images: new Informer(client, Image, { log, clock }),
    networks: new Informer(client, Network, { log, clock }),
    pools: new Informer(client, StoragePool, { log, clock }),
    hosts: new Informer(client, Host, { log, clock }),
  };
  const { vms, instances, migrations, images, networks, pools, hosts } = informers;
  const reconciler = new VirtualMachineReconciler(context, informers);
  const controller = new Controller({
    name: "virtualmachine",
    reconcile: (key) => reconciler.reconcile(key),
    requestOf: (key) => requestOf(vms.get(key)),
    log,
    clock,
  });
  vms.onChange((key) => controller.enqueue(key));
  instances.onChange((_key, now, old) => {
    const instance = now ?? old;
    if (instance) controller.enqueue(machineKey(instance));
  });
  migrations.onChange((_key, now, old) => {
    const migration = now ?? old;
    if (migration) controller.enqueue(machineKey(migration));
  });
  const enqueueWhere = (wanted: (vm: VirtualMachine) => boolean) => {
    for (const vm of vms.list()) if (wanted(vm)) controller.enqueue(keyOf(vm));
  };
  images.onChange((name) => enqueueWhere((vm) => imagesOf(vm.spec).includes(name)));
  networks.onChange((name) => enqueueWhere((vm) => vm.spec.networks.includes(name)));
  pools.onChange((name) => enqueueWhere((vm) => vm.spec.storagePool === name));
  hosts.onChange((name, now, old) => {
    if (isSilent(now) !== isSilent(old)) enqueueWhere((vm) => vm.status?.host === name);
  });
  const all = Object.values(informers);
  const running = all.map((informer) => informer.run(signal));
  await Promise.race([Promise.all(all.map((informer) => informer.synced)), ...running]);
  const untell = [
    machines(() => countBy("phase", vms.list(), ({ status }) => status?.phase ?? "Pending")),
    hostsReady(() => countBy("ready", hosts.list(), readiness)),
  ];
  await Promise.all([controller.run(signal), ...running]);
  for (const stop of untell) stop();
}

const readiness = ({ status }: Host) => getCondition(status?.conditions, "Ready")?.status ?? "Unknown";

/** Silent: its Ready condition is Unknown, or the host is not registered any more. Before the first heartbeat was judged: not. */
function isSilent(host: Host | undefined): boolean {
  return !host || getCondition(host.status?.conditions, "Ready")?.status === "Unknown";
}

interface Informers {
  vms: Informer<VirtualMachine>;
  instances: Informer<Instance>;
  migrations: Informer<Migration>;
  images: Informer<Image>;
  networks: Informer<Network>;
  pools: Informer<StoragePool>;
  hosts: Informer<Host>;
}

class VirtualMachineReconciler {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #limits: RestartLimits;
  readonly #informers: Informers;
  readonly #instancesByMachine: Index<Instance>;
  readonly #migrationsByMachine: Index<Migration>;
  readonly #addresses: AddressBook;
  readonly #users: UserBook;
  readonly #events: EventRecorder;
  readonly #log: Logger;
  /** Why the host of a machine cannot give it more CPUs and memory. By uid. */
  readonly #noRoom = new Map<string, string>();
  /** When we first saw an instance ended, by our clock: hosts' clocks may be wrong. By uid. */
  readonly #endedAt = new Map<string, number>();

  constructor(context: VirtualMachineContext, informers: Informers) {
    this.#client = context.client;
    this.#clock = context.clock;
    this.#log = context.log;
    this.#limits = context.restart ?? RESTART_LIMITS;
    this.#informers = informers;
    this.#instancesByMachine = new Index(informers.instances, (i) => [machineKey(i)]);
    this.#migrationsByMachine = new Index(informers.migrations, (m) => [machineKey(m)]);
    this.#addresses = new AddressBook(informers.vms);
    this.#users = new UserBook(informers.vms);
    this.#events = new EventRecorder(context.client, "virtualmachine-reconciler", context.log, context.clock);
    informers.instances.onChange((_key, now, old) => {
      if (!now && old?.metadata.uid) this.#endedAt.delete(old.metadata.uid);
    });
  }

  async reconcile(key: string): Promise<{ requeueAfterMs?: number } | undefined> {
    const vm = this.#informers.vms.get(key);
    const known = this.#instancesByMachine.get(key);
    await removeOrphans(this.#client, vm, known);
    if (!vm) return undefined;
    const instances = instancesOf(vm, known);
    if (vm.metadata.deletionTimestamp) {
      try {
        const left = await removeMachine(this.#client, vm);
        if (left) await this.#writeStatus(vm, left, [], DELETING);
      } catch (error) {
        if (!(error instanceof OddInstance)) throw error;
        return this.#writeOdd(vm, instances, `it cannot be deleted yet: ${error.message}`);
      }
      return undefined;
    }
    if (instances.length > 0 && !isKept(vm)) {
      // Somebody wrote over it: deleted, it would be gone at once, and its volumes would stay for ever.
      await unlessFaster(this.#keep(vm));
      return undefined; // The informer brings the newer machine, and with it another look.
    }
    const migrations = this.#migrationsByMachine.get(key);
    for (const instance of superseded(instances, migrations)) {
      // One that knows what the status does not say yet stays until that is written.
      if (isTelling(vm, instance) || (await removeUnbound(this.#client, instance))) continue;
      await deleteInstance(this.#client, instance, leftDisksBehind(instance, instances));
    }
    const live = instances.filter(isLive);
    const restart = live.length > 0 && (await isToRestart(this.#client, vm));
    for (const instance of live) {
      await this.#hold(vm, instance, restart);
      await this.#steer(vm, instance);
      if (vm.spec.running && (await this.#adjust(vm, instance, migrations))) return undefined;
    }
    await handReset(this.#client, vm, instances);
    // An ended instance remembers that its machine was asked to stop: only then does a later spec.running start it again.
    const last = instances.at(-1);
    if (last && !vm.spec.running) await stopInstance(this.#client, last);
    if (live.length > 0) {
      const again = await this.#writeStatus(
        vm,
        instances,
        migrations,
        pending("Starting", "is being started"),
      );
      // Somebody else may leave the host.
      return this.#noRoom.has(vm.metadata.uid ?? "") ? { requeueAfterMs: ROOM_RETRY_MS } : again;
    }
    return this.#startOrWait(vm, instances, migrations);
  }

  /** From now on it does not go before its volumes. */
  #keep(vm: VirtualMachine): Promise<VirtualMachine> {
    const finalizers = [...(vm.metadata.finalizers ?? []), VOLUMES_FINALIZER];
    return this.#client.update(VirtualMachine, { ...vm, metadata: { ...vm.metadata, finalizers } });
  }

  /** Live, and the machine is to be down: stop it. Deleted by somebody before a host was chosen: take it away. */
  async #hold(vm: VirtualMachine, instance: Instance, restart: boolean): Promise<void> {
    const stop = !vm.spec.running || restart;
    if (isWanted(vm) && !restart && !instance.metadata.deletionTimestamp) return;
    if (!isBound(instance) && (await removeUnbound(this.#client, instance))) return;
    if (stop) await stopInstance(this.#client, instance);
  }

  /** Whether it stands still, and how it ends, is told to its run at once. */
  async #steer({ spec }: VirtualMachine, instance: Instance): Promise<void> {
    const suspend = spec.suspended && spec.running;
    const isSame =
      STEERED.every((key) => isDeepStrictEqual(instance.spec[key], spec[key])) &&
      Boolean(instance.spec.suspend) === Boolean(suspend);
    if (isSame) return;
    await modify(this.#client, Instance, at(instance), "object", (now) => {
      const { paused: _1, stop: _2, onPanic: _3, suspend: _4, ...rest } = now.spec;
      const set = STEERED.filter((key) => spec[key] !== undefined).map((key) => [key, spec[key]]);
      return {
        ...now,
        spec: { ...rest, ...Object.fromEntries(set), ...(suspend ? { suspend } : {}) },
      };
    });
  }

  /**
   * What may change while it runs goes to its run at once; not while it moves, because both ends have to have the same.
   * @returns whether the machine is to be looked at again
   */
  async #adjust(vm: VirtualMachine, instance: Instance, migrations: readonly Migration[]): Promise<boolean> {
    if (isHeld(instance) ? migrations.some(isUnderWay) : instance.spec.incoming) return false;
    // Nobody has begun with it: one that is as the machine is to be now takes its place.
    if (!isBound(instance) && isOutdated(vm, instance) && (await removeUnbound(this.#client, instance)))
      return true;
    try {
      const places = newPlaces(vm, this.#allocate(vm, stillUsed(vm, instance)));
      if (places) {
        await this.#client.updateStatus(VirtualMachine, { ...vm, status: { ...vm.status, ...places } });
        return true;
      }
    } catch (error) {
      // The network is told as pending.
      if (!(error instanceof NoAddress) && !this.#refuseInterfaces(vm, error)) throw error;
    }
    const noRoom = await askRun(this.#client, vm, instance);
    if (noRoom) this.#noRoom.set(vm.metadata.uid ?? "", noRoom);
    else this.#noRoom.delete(vm.metadata.uid ?? "");
    return false;
  }

  /** @returns whether the error was of addresses that others have */
  #refuseInterfaces(vm: VirtualMachine, error: unknown): boolean {
    const taken = refusedInterfaces(error);
    if (taken.length === 0) return false;
    const interfaces = this.#allocate(vm);
    this.#addresses.refuse(
      vm,
      interfaces.filter((_, index) => taken.includes(index)),
    );
    return true;
  }

  async #startOrWait(
    vm: VirtualMachine,
    instances: readonly Instance[],
    migrations: readonly Migration[],
  ): Promise<{ requeueAfterMs?: number } | undefined> {
    const last = instances.at(-1);
    const decision = decideStart(vm, last, last ? this.#endedForMs(last) : 0, this.#limits);
    if (decision.do === "stay") {
      await this.#writeStatus(vm, instances, migrations, decision);
      return undefined;
    }
    const busy = vm.status?.disksBusy;
    if (busy) {
      const message = `its disks are being worked on (${busy.action} of ${busy.name}); it starts after that`;
      await this.#writeStatus(vm, instances, migrations, pending("DisksBusy", message));
      return undefined; // The end of it changes the machine, which brings it back here.
    }
    const missing = missingOf(vm, {
      image: (name) => this.#informers.images.get(name),
      hasNetwork: (name) => this.#informers.networks.get(name) !== undefined,
      hasPool: (name) => this.#informers.pools.get(name) !== undefined,
    });
    if (missing) {
      await this.#writeStatus(vm, instances, migrations, missing);
      return undefined;
    }
    const { source } = vm.status ?? {};
    if (vm.spec.source && !source?.ready) {
      const why = pending("CloneWaits", source?.message ?? "waits for what it is made from (spec.source)");
      await this.#writeStatus(vm, instances, migrations, why);
      return undefined;
    }
    if (!isKept(vm)) return this.#startOrWait(await this.#keep(vm), instances, migrations);
    if (decision.do === "wait") {
      const { ms, totalMs, restart, why } = decision;
      const since = this.#endedAt.get(last?.metadata.uid ?? "") ?? this.#clock.now().getTime();
      const next = new Date(since + totalMs).toISOString();
      const idle = pending("BackOff", `restart ${restart} at ${next}, after ${why}`);
      await this.#writeStatus(vm, instances, migrations, { ...idle, nextStartTime: next });
      return { requeueAfterMs: ms };
    }
    let interfaces: ReturnType<AddressBook["allocate"]>;
    try {
      interfaces = this.#allocate(vm);
    } catch (error) {
      if (!(error instanceof NoAddress)) throw error;
      await this.#writeStatus(vm, instances, migrations, pending("NoAddress", error.message));
      return { requeueAfterMs: 10_000 };
    }
    const user = this.#users.allocate(vm);
    try {
      await this.#start(vm, { interfaces, user }, decision.restarts, last);
    } catch (error) {
      if (error instanceof OddInstance) return this.#writeOdd(vm, instances, error.message, migrations);
      const isUserTaken = isRefused(error, "status.user");
      if (isUserTaken) this.#users.refuse(vm, user);
      if (!this.#refuseInterfaces(vm, error) && !isUserTaken) throw error;
      return { requeueAfterMs: 1 };
    }
    return undefined;
  }

  async #start(
    vm: VirtualMachine,
    own: Pick<Instance["spec"], "interfaces" | "user">,
    restarts: number,
    last: Instance | undefined,
  ): Promise<void> {
    // The informer may not show the instance made a moment ago. Seeing it now saves a number; what makes it safe comes below.
    if ((await freshInstances(this.#client, vm)).some(isLive)) return;
    const places = placed(vm, own.interfaces);
    const numbered = await takeNumber(this.#client, vm, {
      ...own,
      ...places,
      ...generationOf(vm),
      restarts,
      // It boots: what was asked of a run before is done.
      ...(vm.spec.requests ? { requests: vm.spec.requests } : {}),
    });
    const instances = await freshInstances(this.#client, numbered);
    if (instances.some(isLive)) return;
    const predecessor = instances.at(-1)?.metadata.name;
    this.#log.info("machine.start", { vm: keyOf(vm), sequence: numbered.status?.sequence });
    await createInstance(this.#client, numbered, {
      ...machinePart(numbered),
      ...pinsOf(vm.spec.hardware, vm.status),
      ...resumesWith(vm),
      ...generationOf(numbered),
      ...own,
      interfaces: placedInterfaces(places.interfaces, vm.spec),
      ...(predecessor ? { predecessor } : {}),
      ...disksOf(vm, last),
      ...disksOn(
        vm,
        instances,
        (pool) => this.#informers.pools.get(pool)?.spec.directory.shared === false,
        (key) => this.#instancesByMachine.get(key),
      ),
    });
    if (restarts > 0 && last) {
      const end = last.status?.end;
      this.#events.record(
        about(vm),
        "Warning",
        "Restarted",
        `started again after ${end?.reason ?? "its end"}${end?.message ? `: ${end.message}` : ""}`,
      );
    }
  }

  /** @throws NoAddress */
  #allocate(vm: VirtualMachine, used: readonly Interface[] = []) {
    const subnets = vm.spec.networks.flatMap((network) => {
      const subnet = this.#informers.networks.get(network)?.spec.subnet;
      return subnet ? [{ network, subnet }] : [];
    });
    return this.#addresses.allocate(vm, subnets, used);
  }

  #endedForMs(instance: Instance): number {
    const now = this.#clock.now().getTime();
    const uid = instance.metadata.uid ?? "";
    const since = this.#endedAt.get(uid) ?? now;
    this.#endedAt.set(uid, since);
    return now - since;
  }

  async #writeOdd(
    vm: VirtualMachine,
    instances: readonly Instance[],
    message: string,
    migrations: readonly Migration[] = [],
  ): Promise<{ requeueAfterMs: number }> {
    await this.#writeStatus(vm, instances, migrations, {
      phase: "Unknown",
      reason: "InstanceInvalid",
      message,
    });
    return { requeueAfterMs: ODD_RETRY_MS };
  }

  async #writeStatus(
    vm: VirtualMachine,
    instances: readonly Instance[],
    migrations: readonly Migration[],
    idle: Idle,
  ): Promise<{ requeueAfterMs: number } | undefined> {
    const now = this.#clock.now();
    const status = machineStatus({
      vm,
      instances,
      migrations,
      isSilent: (host) => isSilent(this.#informers.hosts.get(host)),
      idle,
      noRoom: this.#noRoom.get(vm.metadata.uid ?? ""),
      now: now.toISOString(),
    });
    // A loop of crashes is over once a run has been a good one, which no event tells.
    const again = { requeueAfterMs: 60_000 };
    const after =
      getCondition(status.conditions, CRASH_LOOP) && status.phase !== "Pending" ? again : undefined;
    if (isDeepStrictEqual(status, vm.status)) return after;
    // Somebody was faster: the informer brings the newer machine, and with it another look.
    if (!(await unlessFaster(this.#client.updateStatus(VirtualMachine, { ...vm, status })))) return undefined;
    this.#report(vm, status);
    return after;
  }

  #report(vm: VirtualMachine, status: NonNullable<VirtualMachine["status"]>): void {
    if (status.phase === vm.status?.phase && status.host === vm.status?.host) return;
    const ready = getCondition(status.conditions, "Ready");
    if (status.phase === "Running") {
      const why = status.why ? ` (${status.why})` : "";
      this.#events.record(about(vm), "Normal", "Running", `runs on ${status.host ?? "its host"}${why}`);
    } else if (status.phase === "Failed" || status.phase === "Unknown")
      this.#events.record(about(vm), "Warning", ready?.reason ?? status.phase, ready?.message ?? "");
    else if (status.phase === "Stopped" || status.phase === "Suspended")
      this.#events.record(about(vm), "Normal", status.phase, ready?.message ?? "stopped");
  }
}

const isKept = ({ metadata }: VirtualMachine) => metadata.finalizers?.includes(VOLUMES_FINALIZER) ?? false;

/** What was written; undefined: somebody else was faster. */
const unlessFaster = <T>(write: Promise<T>): Promise<T | undefined> =>
  write.catch((error: unknown) => {
    if (isApiError(error, "Conflict", "NotFound")) return undefined;
    throw error;
  });

const isRefused = (error: unknown, field: string) =>
  isApiError(error, "Invalid") && (error.details.causes ?? []).some((cause) => cause.field === field);

/** Which of the machine's interfaces the API refused, because a machine has them that we do not see (checkInterfaces). */
function refusedInterfaces(error: unknown): number[] {
  if (!isApiError(error, "Invalid")) return [];
  return (error.details.causes ?? []).flatMap(({ field }) => {
    const index = /^status\.interfaces\[(\d+)\]$/.exec(field)?.[1];
    return index === undefined ? [] : [Number(index)];
  });
}

function about({ kind, metadata }: VirtualMachine) {
  const { name, namespace, uid } = metadata;
  return { kind, name, ...(namespace ? { namespace } : {}), ...(uid ? { uid } : {}) };
}

const DELETING: Idle = { phase: "Stopping", reason: "Deleting", message: "is being deleted" };
const ROOM_RETRY_MS = 30_000;
