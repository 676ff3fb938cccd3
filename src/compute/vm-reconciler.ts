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
import { imageOf } from "../images/versions/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import { Controller } from "../reconcile/controller.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import { Index } from "../reconcile/lookup.ts";
import { getCondition, keyOf } from "../resource/object.ts";
import { countBy, readGauge } from "../telemetry/metrics.ts";
import { requestOf } from "../telemetry/request-id.ts";
import { at, deleteInstance, keyOfMachine, OddInstance, removeUnbound, stopInstance } from "./actions.ts";
import { askRun, newPlaces, stillUsed } from "./changes/live.ts";
import { instancesOf, isBound, isHeld, isLive, leftDisksBehind, superseded } from "./custody.ts";
import { isKept, keepVolumes, removeMachine, removeOrphans } from "./deletion.ts";
import { imagesOf } from "./disks/checks.ts";
import { letGoOfGoneHosts } from "./gone-hosts.ts";
import { Host } from "./hosts/kinds.ts";
import { NoAddress } from "./ipam.ts";
import { Instance, VirtualMachine } from "./kinds.ts";
import { isWanted, STEERED } from "./lifecycle/kinds.ts";
import { handReset, isTelling, isToRestart, wantsForce } from "./lifecycle/requests.ts";
import { MachineNumbers } from "./machine-numbers.ts";
import { isUnderWay, Migration } from "./migrations/kinds.ts";
import { Network } from "./networks/kinds.ts";
import { cannotBegin, isOutdated } from "./next-run.ts";
import { RESTART_LIMITS, type RestartLimits } from "./restart.ts";
import { StoragePool } from "./storage/kinds.ts";
import { MachineStart } from "./vm-start.ts";
import { type Idle, pending } from "./vm-status.ts";
import { isSilent, MachineStatusWriter, unlessFaster } from "./vm-status-writer.ts";

export interface VirtualMachineContext {
  client: Client;
  clock: Clock;
  log: Logger;
  signal: AbortSignal;
  restart?: RestartLimits;
}

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
    if (instance) controller.enqueue(keyOfMachine(instance));
  });
  migrations.onChange((_key, now, old) => {
    const migration = now ?? old;
    if (migration) controller.enqueue(keyOfMachine(migration));
  });
  const enqueueWhere = (wanted: (vm: VirtualMachine) => boolean) => {
    for (const vm of vms.list()) if (wanted(vm)) controller.enqueue(keyOf(vm));
  };
  images.onChange((name) =>
    enqueueWhere((vm) => imagesOf(vm.spec).some((reference) => imageOf(reference) === name)),
  );
  networks.onChange((name) => enqueueWhere((vm) => vm.spec.networks.includes(name)));
  pools.onChange((name) => enqueueWhere((vm) => vm.spec.storagePool === name));
  // All hosts are news at the beginning: not each of them looks through all machines.
  const byHost = new Index(instances, ({ spec }) => (spec.host ? [spec.host] : []));
  hosts.onChange((name, now, old) => {
    if (isSilent(now) !== isSilent(old) || !now !== !old)
      for (const instance of byHost.get(name)) controller.enqueue(keyOfMachine(instance));
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

type Again = { requeueAfterMs?: number } | undefined;

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
  readonly #informers: Informers;
  readonly #instancesByMachine: Index<Instance>;
  readonly #migrationsByMachine: Index<Migration>;
  readonly #numbers: MachineNumbers;
  readonly #status: MachineStatusWriter;
  readonly #start: MachineStart;

  constructor(context: VirtualMachineContext, informers: Informers) {
    const { client, clock, log, restart: limits = RESTART_LIMITS } = context;
    const events = new EventRecorder(client, "virtualmachine-reconciler", log, clock);
    this.#client = client;
    this.#informers = informers;
    this.#instancesByMachine = new Index(informers.instances, (i) => [keyOfMachine(i)]);
    this.#migrationsByMachine = new Index(informers.migrations, (m) => [keyOfMachine(m)]);
    this.#numbers = new MachineNumbers(informers);
    this.#status = new MachineStatusWriter(context, events, informers.hosts);
    this.#start = new MachineStart(
      { client, clock, log, events, limits },
      { ...informers, instancesByMachine: this.#instancesByMachine },
      this.#numbers,
      this.#status,
    );
  }

  async reconcile(key: string): Promise<Again> {
    const vm = this.#informers.vms.get(key);
    const known = this.#instancesByMachine.get(key);
    await removeOrphans(this.#client, vm, known);
    const isKnown = (host: string) => this.#informers.hosts.get(host) !== undefined;
    const waits = await letGoOfGoneHosts(this.#client, known, isKnown);
    const again = vm ? await this.#reconcile(vm, known, key) : undefined;
    return waits
      ? { requeueAfterMs: Math.min(again?.requeueAfterMs ?? ROOM_RETRY_MS, ROOM_RETRY_MS) }
      : again;
  }

  async #reconcile(vm: VirtualMachine, known: readonly Instance[], key: string): Promise<Again> {
    const instances = instancesOf(vm, known);
    if (vm.metadata.deletionTimestamp) {
      try {
        const left = await removeMachine(this.#client, vm);
        this.#status.setNoRoom(vm, undefined);
        if (left) await this.#status.write(vm, left, [], DELETING);
      } catch (error) {
        if (!(error instanceof OddInstance)) throw error;
        return this.#status.writeOdd(vm, instances, `it cannot be deleted yet: ${error.message}`);
      }
      return undefined;
    }
    if (instances.length > 0 && !isKept(vm)) {
      // Somebody wrote over it: deleted, it would be gone at once, and its volumes would stay for ever.
      await unlessFaster(keepVolumes(this.#client, vm));
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
      await this.#steer(vm, instance, restart);
      await this.#hold(vm, instance, restart);
      if (vm.spec.running && (await this.#adjust(vm, instance, migrations))) return undefined;
    }
    await handReset(this.#client, vm, instances);
    // An ended instance remembers that its machine was asked to stop: only then does a later spec.running start it again.
    const last = instances.at(-1);
    if (last && !vm.spec.running) await stopInstance(this.#client, last);
    if (live.length > 0) {
      const again = await this.#status.write(
        vm,
        instances,
        migrations,
        pending("Starting", "is being started"),
      );
      // Somebody else may leave the host.
      return this.#status.noRoom(vm) ? { requeueAfterMs: ROOM_RETRY_MS } : again;
    }
    return this.#start.startOrWait(vm, instances, migrations);
  }

  /** Live, and the machine is to be down: stop it. Deleted by somebody before a host was chosen: take it away. */
  async #hold(vm: VirtualMachine, instance: Instance, restart: boolean): Promise<void> {
    const stop = !vm.spec.running || restart;
    if (isWanted(vm) && !restart && !instance.metadata.deletionTimestamp) return;
    if (!isBound(instance) && (await removeUnbound(this.#client, instance))) return;
    if (stop) await stopInstance(this.#client, instance);
  }

  /** Whether it stands still, and how it ends, is told to its run at once. */
  async #steer(vm: VirtualMachine, instance: Instance, restart: boolean): Promise<void> {
    const isForced = (restart || !isWanted(vm)) && wantsForce(vm);
    const spec = isForced ? { ...vm.spec, stop: { ...vm.spec.stop, force: true } } : vm.spec;
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
    // Nor will anybody: it cannot be made ready as it is, and the way out that was told is to change that.
    if (cannotBegin(instance) && isOutdated(vm, instance)) {
      await stopInstance(this.#client, instance);
      return false;
    }
    try {
      const places = newPlaces(vm, this.#numbers.interfaces(vm, stillUsed(vm, instance)));
      if (places) {
        await this.#client.updateStatus(VirtualMachine, { ...vm, status: { ...vm.status, ...places } });
        return true;
      }
    } catch (error) {
      // The network is told as pending.
      if (!(error instanceof NoAddress) && !this.#numbers.refused(vm, error)) throw error;
    }
    // Until it goes on with its memory it is as that knows it.
    const isToGoOn = instance.spec.resumes && !instance.status?.startedTime;
    if (!isToGoOn) this.#status.setNoRoom(vm, await askRun(this.#client, vm, instance));
    return false;
  }
}

const DELETING: Idle = { phase: "Stopping", reason: "Deleting", message: "is being deleted" };
const ROOM_RETRY_MS = 30_000;
