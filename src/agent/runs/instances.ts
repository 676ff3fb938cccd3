/**
 * Drives the instances of this host through the protocol in compute/kinds.ts. One reconcile reads the object as the API has it and
 * what really runs, does the next step, and comes again on every change of either. Nothing is kept in memory that matters, so it can
 * be killed between any two lines.
 *
 *   Pending ── custody given ──► Held, Preparing ──► Starting ── ready ──► Running ──► Stopping ──► Stopped, Released
 *                                                                            │
 *   incoming: None ──► Incoming ── source Released ──► Held, Running    source: ──► HandedOver, Released
 *
 * Rules for changes here:
 *   - custody=Held is in the API before QEMU may write; custody=Released only when its process is gone or will never run again.
 *   - Without an answer of the API nothing is started, stopped or removed.
 */
import type { Client } from "../../client/client.ts";
import { modify } from "../../client/client.ts";
import { pinsIn } from "../../compute/hardware/kinds.ts";
import { INSTANCE_FINALIZER, Instance, type Platform } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Controller } from "../../reconcile/controller.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";
import { ApiError } from "../../resource/errors.ts";
import { getCondition, keyOf, setCondition } from "../../resource/object.ts";
import type { Opener } from "../../resource/sealed.ts";
import { requestOf } from "../../telemetry/request-id.ts";
import { StillPreparing } from "../disks/copies.ts";
import { type DiskTask, DiskTasks, pendingTask, ROLLED_BACK } from "../disks/disk-tasks.ts";
import { type HostEnvironment, type Prepared, PrepareError, type SavedMachine } from "../environment.ts";
import {
  type Hypervisor,
  HypervisorError,
  type MachineConfig,
  type MachineEnd,
  type MachineState,
} from "../hypervisor.ts";
import { removeLeftovers } from "../leftovers.ts";
import { formatList } from "../qemu/topology.ts";
import { UsageSampler } from "../qemu/usage.ts";
import { reasonOf } from "../reasons.ts";
import { amountsOf, asKept, beginning, Changes } from "./changes.ts";
import { GuestTasks } from "./guest-tasks.ts";
import { identify } from "./identity.ts";
import { Incoming, watchPredecessor } from "./incoming.ts";
import { type Again, about, conditionOf, type InstanceStatus, ready, wanted } from "./instance-status.ts";
import { Lifecycle, panicAction } from "./lifecycle.ts";
import { Outgoing } from "./outgoing.ts";
import { Peers } from "./peers.ts";
import { guestAddresses, idOf, probe } from "./probe.ts";
import { Shares } from "./shares.ts";
import { Suspension } from "./suspension.ts";

export interface InstanceContext {
  client: Client;
  host: string;
  hypervisor: Hypervisor;
  environment: HostEnvironment;
  /** What runs on this host can go on with; decides where they may move. */
  platform: Platform;
  /** Opens what was sealed for this agent. */
  opener: Opener;
  clock: Clock;
  log: Logger;
  events: EventRecorder;
  signal: AbortSignal;
  intervals?: Partial<Intervals>;
  /** Called once, when every instance of this host has been looked after since the start. */
  onSynced?: () => Promise<void>;
}

/** Milliseconds. */
export interface Intervals {
  /** Between two probes of a guest that is not ready yet. */
  probe: number;
  /** Between two looks at a running one. */
  refresh: number;
  /** Between two looks at what machines use. */
  sample: number;
  /** Between two looks for machines that nobody owns. */
  sweep: number;
  /** How long a guest may take to shut down. */
  grace: number;
}

const INTERVALS: Intervals = { probe: 500, refresh: 30_000, sample: 5000, sweep: 60_000, grace: 30_000 };
const LOST =
  "one of its two hosts, or the network between them, failed in the middle of post-copy; its memory is lost";
/** Between two looks at a source that has handed over, and that its target still needs. */
const SERVING_MS = 500;
/** Between two attempts at a change of a running machine. */
const CHANGE_RETRY_MS = 10_000;
/** Says of an instant clone whether it is one. */
const CLONED = "Cloned";
const TERMINAL = ["Stopped", "Failed", "HandedOver"];

export async function runInstances(context: InstanceContext): Promise<void> {
  await new Instances(context).run();
}

class Instances {
  readonly #c: InstanceContext;
  readonly #intervals: Intervals;
  readonly #own: Informer<Instance>;
  readonly #controller: Controller;
  readonly #peers: Peers;
  readonly #outgoing: Outgoing;
  readonly #incoming: Incoming;
  readonly #tasks: DiskTasks;
  readonly #guestTasks: GuestTasks;
  readonly #usage: UsageSampler;
  readonly #shares: Shares;
  readonly #lifecycle: Lifecycle;
  readonly #suspension: Suspension;
  readonly #changes: Changes;

  constructor(context: InstanceContext) {
    this.#c = context;
    const { client, host, log } = context;
    this.#intervals = { ...INTERVALS, ...context.intervals };
    this.#own = new Informer(client, Instance, { fieldSelector: `spec.host=${host}`, log });
    this.#controller = new Controller({
      name: "instances",
      log,
      workers: 16,
      backoff: { baseMs: 50, maxMs: 5000 },
      reconcile: (key) => this.#reconcile(key),
      requestOf: (key) => requestOf(this.#own.get(key)),
    });
    this.#peers = new Peers(context, (key) => this.#controller.enqueue(key));
    this.#outgoing = new Outgoing(context, this.#peers, (instance, change) => this.#write(instance, change));
    this.#guestTasks = new GuestTasks(context);
    this.#shares = new Shares(context, async (instance, condition) => {
      await this.#write(instance, conditionOf(instance, this.#now(), condition));
    });
    this.#changes = new Changes(context, (instance, change) => this.#write(instance, change));
    this.#usage = new UsageSampler(context.hypervisor, context.clock);
    this.#tasks = new DiskTasks(context, (key) => this.#controller.enqueue(key));
    const write = (instance: Instance, change: Partial<InstanceStatus>) => this.#write(instance, change);
    const finish = (instance: Instance, end: MachineEnd, also?: Partial<InstanceStatus>) =>
      this.#finish(instance, end, also);
    this.#lifecycle = new Lifecycle(context, this.#intervals.grace, write, finish);
    this.#suspension = new Suspension(context, write, finish);
    this.#incoming = new Incoming(context, this.#peers, {
      write,
      finish,
      prepare: (instance) => this.#prepare(instance),
      started: (machine) => ({ ...this.#platformOf(machine), ...ownOf(machine) }),
    });
  }

  async run(): Promise<void> {
    const { signal, hypervisor, clock, log } = this.#c;
    const byId = new Map<string, string>();
    this.#own.onChange((key, object) => {
      if (object?.metadata.uid) byId.set(object.metadata.uid, key);
      this.#controller.enqueue(key);
    });
    const unsubscribe = hypervisor.onChange((id) => {
      const key = byId.get(id);
      if (key) this.#controller.enqueue(key);
    });
    const running = [
      this.#own.run(signal),
      this.#controller.run(signal),
      this.#usage.run(() => this.#own.list(), signal, this.#intervals.sample),
    ];
    await Promise.race([this.#own.synced, aborted(signal)]);
    void this.#controller.idle().then(() => (signal.aborted ? undefined : this.#c.onSynced?.()));
    while (!signal.aborted) {
      await removeLeftovers(this.#c).catch((error: unknown) => log.warn("instances.sweep", { error }));
      await clock.sleep(this.#intervals.sweep, signal);
    }
    unsubscribe();
    await Promise.all(running);
  }

  async #reconcile(key: string): Promise<Again> {
    const [namespace = "", name = ""] = key.split("/");
    const instance =
      this.#incoming.justGiven(this.#own.get(key)) ??
      (await this.#c.client.get(Instance, { namespace, name }));
    if (!instance || instance.spec.host !== this.#c.host) {
      this.#peers.release(key);
      return undefined;
    }
    const status = instance.status ?? {};
    const machine = await this.#c.hypervisor.get(idOf(instance));
    if (TERMINAL.includes(status.phase ?? "")) {
      const again = await this.#clean(instance, machine);
      if (!instance.metadata.deletionTimestamp) this.#tasks.step(instance, false);
      return again;
    }
    if (status.custody === "Held") return this.#held(instance, machine);
    if (instance.spec.incoming) return this.#incoming.step(instance, machine);
    return this.#waiting(instance);
  }

  // --- a cold start ---

  /** No custody yet: waits until the predecessor has released it. */
  async #waiting(instance: Instance): Promise<Again> {
    if (!wanted(instance)) return this.#finish(instance, { reason: "Requested", message: "never started" });
    if (!(await this.#custodyGiven(instance))) {
      await this.#write(instance, {
        phase: "Pending",
        ...ready(
          instance,
          this.#now(),
          false,
          "WaitsForCustody",
          `waits until ${instance.spec.predecessor} has given up the disks`,
        ),
      });
      return { requeueAfterMs: 5000 };
    }
    const held = await this.#write(instance, {
      phase: "Preparing",
      custody: "Held",
      ...ready(instance, this.#now(), false, "Preparing", "disks and network are being prepared"),
    });
    return held && this.#held(held, await this.#c.hypervisor.get(idOf(held)));
  }

  async #custodyGiven(instance: Instance): Promise<boolean> {
    if (!instance.spec.predecessor) return true;
    const before = await this.#c.client.get(Instance, watchPredecessor(this.#peers, instance));
    return before === undefined || before.status?.custody === "Released";
  }

  async #held(instance: Instance, machine: MachineState | undefined): Promise<Again> {
    const phase = instance.status?.phase;
    if (!machine && phase !== "Preparing")
      return this.#finish(instance, { reason: "Killed", message: "its process and its records are gone" });
    if (machine?.pausedBy === "suspend") {
      // Of a rollback whose agent died: its guest will have run on.
      if (machine.state !== "ended") await this.#tasks.dropKept(instance);
      return this.#suspension.settle(instance, machine);
    }
    if (machine?.state === "ended")
      return this.#finish(instance, machine.end ?? { reason: "Killed", message: "its process is gone" });
    const task = pendingTask(instance);
    if (task?.action === "Rollback") return this.#endForRollback(instance, machine, task);
    if (machine?.pausedBy === "lost") return this.#lost(instance, machine);
    if (!wanted(instance)) return this.#lifecycle.stop(instance, machine);
    if (!machine || machine.state === "incoming" || (machine.state === "paused" && phase === "Preparing"))
      return this.#start(instance);
    // An agent died before the guest of a clone had its own identity.
    if (machine.disconnected) return this.#identify(instance, machine, instance.status?.has);
    if (phase === "Preparing") return this.#started(instance, machine);
    await this.#lifecycle.steer(instance, machine);
    const { tellVolumes } = instance.spec;
    if (tellVolumes && instance.status?.volumes?.to !== tellVolumes)
      await this.#tellVolumes(instance, tellVolumes);
    const moving = await this.#outgoing.step(instance, machine);
    if (moving === "lost") return this.#lost(instance, machine);
    if (moving !== "stays") return moving;
    const busy = this.#tasks.step(instance, true);
    this.#guestTasks.step(instance);
    if (instance.spec.suspend && !busy) {
      const suspended = await this.#suspension.suspend(instance, machine);
      if (suspended !== "not now") return suspended;
    }
    const standing = await this.#lifecycle.step(instance, machine, busy);
    if (standing !== "runs") return standing;
    const unfinished = !busy && machine.state === "running" && (await this.#changes.step(instance));
    const again = await this.#look(instance);
    return unfinished ? sooner(again, CHANGE_RETRY_MS) : again;
  }

  #look(instance: Instance): Promise<Again> {
    if (instance.status?.phase === "Starting") return this.#awaitReady(instance);
    return this.#refresh(instance);
  }

  /** Part of its memory was at either end of a post-copy that broke: it starts anew from its disks. */
  async #lost(instance: Instance, machine: MachineState): Promise<Again> {
    await this.#c.hypervisor.kill(machine.id);
    return this.#finish(instance, { reason: "MemoryLost", message: LOST });
  }

  async #start(instance: Instance): Promise<Again> {
    const { hypervisor } = this.#c;
    let prepared: MachineConfig & Pick<Prepared, "saved" | "notInstant">;
    try {
      prepared = await this.#prepare(instance);
    } catch (error) {
      if (!(error instanceof StillPreparing)) throw error;
      await this.#write(instance, ready(instance, this.#now(), false, "Copying", error.message));
      return { requeueAfterMs: this.#intervals.probe };
    }
    const { saved, notInstant, ...config } = prepared;
    if (notInstant && !getCondition(instance.status?.conditions, CLONED))
      await this.#cloned(instance, "False", "Linked", `it boots: ${notInstant}`);
    try {
      if (saved) return await this.#goOn(instance, config, saved);
      const machine = await hypervisor.start(config, "run");
      // An agent died between the memory's coming in and this; or between the spawn and `cont`.
      if (machine.state === "paused" && !machine.pausedBy?.startsWith("user"))
        await hypervisor.resume(machine.id);
      return await this.#started(instance, machine);
    } catch (error) {
      if (!(error instanceof HypervisorError)) throw error;
      const end = { reason: "StartFailed", message: error.message } as const;
      await hypervisor.kill(idOf(instance), end);
      return this.#finish(instance, end);
    }
  }

  /** With memory that is kept, instead of booting. That it was to be so is forgotten before the guest runs: it changes the disks. */
  async #goOn(instance: Instance, config: MachineConfig, saved: SavedMachine): Promise<Again> {
    const { hypervisor, environment } = this.#c;
    const { machineType, guestCpu } = saved;
    const kept = asKept(config, instance, saved.has);
    const template = saved.cloned ? { template: saved.file } : {};
    const then = { ...kept.config, ...template, machineType, ...(guestCpu ? { guestCpu } : {}) };
    const machine = await hypervisor.start(then, "incoming");
    await this.#write(instance, { has: kept.has });
    try {
      await hypervisor.loadMemory(machine.id, saved.file);
    } catch (error) {
      if (!(error instanceof HypervisorError) || saved.kind !== "suspended") throw error;
      // It is still there, and nothing has run: whoever it is decides what becomes of it.
      const message = `it could not go on with the memory that is kept: ${error.message}`;
      const end = { reason: "ResumeFailed", message } as const;
      await hypervisor.kill(machine.id, end);
      return this.#finish(instance, end);
    }
    // A clone has to run to get an identity of its own; it is paused after that.
    await hypervisor.setPaused(machine.id, saved.cloned ? false : (instance.spec.paused ?? false));
    if (saved.cloned) await hypervisor.disconnect(machine.id);
    await (await environment.layers(instance)).resumed();
    await hypervisor.resume(machine.id);
    return saved.cloned
      ? this.#identify(instance, machine, kept.has)
      : this.#started(instance, machine, kept.has);
  }

  /** The guest runs as that of its template, without a link. One that cannot become another boots as one. */
  async #identify(instance: Instance, machine: MachineState, has: InstanceStatus["has"]): Promise<Again> {
    const { hypervisor, environment } = this.#c;
    const why = await identify(hypervisor, instance, await environment.identity(instance));
    if (why === undefined) {
      await this.#cloned(
        instance,
        "True",
        "Resumed",
        "its guest went on as that of its template, with an identity of its own",
      );
      return this.#started(instance, machine, has);
    }
    await this.#cloned(instance, "False", "Linked", `it boots: ${why}`);
    await hypervisor.kill(machine.id);
    await hypervisor.forget(machine.id);
    const { phase: _, has: _has, ...status } = instance.status ?? {};
    return this.#start({ ...instance, status });
  }

  async #cloned(
    instance: Instance,
    status: "True" | "False",
    reason: string,
    message: string,
  ): Promise<void> {
    const condition = { type: CLONED, status, reason, message };
    await this.#write(instance, conditionOf(instance, this.#now(), condition));
    const type = status === "True" ? "Normal" : "Warning";
    this.#c.events.record(about(instance), type, reason === "Linked" ? "NotInstant" : reason, message);
  }

  /** @throws PrepareError, of which people have been told; ApiError */
  async #prepare(instance: Instance): Promise<MachineConfig & Pick<Prepared, "saved" | "notInstant">> {
    const { environment, events, log, host } = this.#c;
    try {
      const { isolated, ...prepared } = await environment.prepare(instance);
      if (isolated) {
        const condition = {
          type: "NetworkReady",
          status: "False",
          reason: "UserNetwork",
          message: isolated,
        } as const;
        await this.#write(instance, conditionOf(instance, this.#now(), condition));
        events.record(about(instance), "Warning", "UserNetwork", isolated);
      }
      return { ...prepared, ...describe(instance) };
    } catch (error) {
      if (error instanceof ApiError || error instanceof StillPreparing) throw error;
      const message =
        error instanceof PrepareError
          ? error.message
          : `host ${host} could not prepare it: ${reasonOf(error)}`;
      log.warn("instances.prepare", { instance: keyOf(instance), error });
      await this.#write(instance, ready(instance, this.#now(), false, "PrepareFailed", message));
      events.record(about(instance), "Warning", "PrepareFailed", message);
      throw new PrepareError(message, { cause: error });
    }
  }

  async #started(
    instance: Instance,
    machine: MachineState,
    has: InstanceStatus["has"] = instance.status?.has ?? beginning(instance),
  ): Promise<Again> {
    await this.#shares.set(instance);
    await this.#write(instance, {
      phase: "Starting",
      pid: machine.pid,
      has,
      machineType: machine.machineType,
      ...(machine.guestCpu ? { guestCpu: machine.guestCpu } : {}),
      ...this.#platformOf(machine),
      ...ownOf(machine),
      startedTime: this.#now(),
      ...ready(instance, this.#now(), false, "Booting", "the guest is booting"),
    });
    return { requeueAfterMs: this.#intervals.probe };
  }

  /** What is not of the host's architecture is emulated, whatever the host can do. */
  #platformOf({ accelerator = this.#c.platform.accelerator }: MachineState): Platform {
    return { ...this.#c.platform, accelerator };
  }

  async #awaitReady(instance: Instance): Promise<Again> {
    const result = await probe(instance, this.#c.hypervisor);
    if (!result.ready) {
      const started = Date.parse(instance.status?.startedTime ?? this.#now());
      const limit = (instance.spec.readiness?.timeoutSeconds ?? 300) * 1000;
      if (this.#c.clock.now().getTime() - started > limit)
        await this.#write(
          instance,
          ready(
            instance,
            this.#now(),
            false,
            "NotReadyInTime",
            `not ready after ${limit / 1000} s: ${result.message}`,
          ),
        );
      return { requeueAfterMs: this.#intervals.probe };
    }
    const addresses = await this.#addresses(instance);
    await this.#write(instance, {
      phase: "Running",
      readyTime: this.#now(),
      addresses,
      ...ready(instance, this.#now(), true, "Ready", result.message),
    });
    this.#c.events.record(about(instance), "Normal", "Running", `the guest is ready: ${result.message}`);
    return { requeueAfterMs: this.#intervals.refresh };
  }

  async #addresses(instance: Instance): Promise<string[]> {
    const seen = await guestAddresses(this.#c.hypervisor, idOf(instance));
    return seen ?? instance.spec.interfaces.map(({ address }) => address);
  }

  async #refresh(instance: Instance): Promise<Again> {
    const addresses = await this.#addresses(instance);
    await this.#shares.set(instance);
    const moved = JSON.stringify(addresses) !== JSON.stringify(instance.status?.addresses);
    const usage = this.#usage.news(instance);
    if (moved || usage) await this.#write(instance, { addresses, ...(usage ? { usage } : {}) });
    // What it uses is told soon after its beginning, once two samples are there.
    const isNew = !usage && !instance.status?.usage;
    return {
      requeueAfterMs: Math.min(this.#intervals.refresh, isNew ? 2 * this.#intervals.sample : Infinity),
    };
  }

  /** A migration asks what its target has to make. */
  async #tellVolumes(instance: Instance, to: string): Promise<void> {
    const { environment, log } = this.#c;
    try {
      const { volumes } = await environment.volumes(instance);
      await this.#write(instance, { volumes: { to, volumes } });
    } catch (error) {
      if (error instanceof ApiError) throw error;
      log.warn("instances.volumes", { instance: keyOf(instance), error });
      const message = reasonOf(error);
      await this.#write(instance, { volumes: { to, error: message } });
    }
  }

  // --- the end ---

  /** Nothing that the guest does from now on counts. The disks are taken back once the run is over. */
  async #endForRollback(
    instance: Instance,
    machine: MachineState | undefined,
    task: DiskTask,
  ): Promise<Again> {
    if (!(await this.#tasks.prepareRollback(instance, task))) return { requeueAfterMs: 1 };
    if (machine && !(await this.#tasks.keepState(instance, task, machine))) return { requeueAfterMs: 1 };
    const end = { reason: "Requested", message: ROLLED_BACK } as const;
    if (machine) await this.#c.hypervisor.kill(machine.id, end);
    return this.#finish(instance, end);
  }

  /** The run is over: whoever calls this has seen its process go (Hypervisor.kill throws while it has not), so custody is given up. */
  async #finish(instance: Instance, end: MachineEnd, also: Partial<InstanceStatus> = {}): Promise<Again> {
    const orderly = ["Requested", "GuestShutdown", "Suspended"].includes(end.reason);
    await this.#write(instance, {
      phase: orderly ? "Stopped" : "Failed",
      custody: "Released",
      end: { ...end, time: this.#now() },
      ...also,
      ...ready(instance, this.#now(), false, end.reason, end.message),
    });
    this.#c.events.record(about(instance), orderly ? "Normal" : "Warning", end.reason, end.message);
    return { requeueAfterMs: 1 };
  }

  /** After the end: nothing of it is left on this host, and then the object may go. */
  async #clean(instance: Instance, machine: MachineState | undefined): Promise<Again> {
    const { hypervisor, environment, client } = this.#c;
    this.#peers.release(keyOf(instance));
    this.#shares.forget(instance);
    this.#changes.forget(instance);
    const phase = instance.status?.phase;
    if (machine) {
      if (phase === "HandedOver" && machine.state !== "ended") {
        // Its guest begins to run elsewhere, perhaps on these very processors: to free the memory here can wait.
        const sinceMs = this.#c.clock.now().getTime() - Date.parse(instance.status?.end?.time ?? "");
        if (sinceMs >= 0 && sinceMs < SERVING_MS) return { requeueAfterMs: SERVING_MS };
        // The target runs, and still gets memory from here.
        if (await isServing(hypervisor, machine.id)) return { requeueAfterMs: SERVING_MS };
      }
      if (machine.state !== "ended") await hypervisor.kill(machine.id);
      await hypervisor.forget(machine.id);
    }
    await environment.release(instance);
    if (!instance.metadata.deletionTimestamp || !instance.metadata.finalizers?.includes(INSTANCE_FINALIZER))
      return undefined;
    if (instance.spec.destroyVolumes) await environment.destroyVolumes(instance);
    await modify(client, Instance, at(instance), "object", (current) => ({
      ...current,
      metadata: {
        ...current.metadata,
        finalizers: current.metadata.finalizers?.filter((f) => f !== INSTANCE_FINALIZER) ?? [],
      },
    }));
    return undefined;
  }

  #now(): string {
    return this.#c.clock.now().toISOString();
  }

  /** Changes this agent's part of the status, by compare-and-swap; a terminal status is never left again. */
  async #write(instance: Instance, change: Partial<InstanceStatus>): Promise<Instance | undefined> {
    const was = instance.status?.phase;
    if (change.phase && change.phase !== was)
      this.#c.log.info("instance.phase", { instance: keyOf(instance), phase: change.phase, was });
    return modify(this.#c.client, Instance, at(instance), "status", (current) => {
      if (current.metadata.uid !== instance.metadata.uid || TERMINAL.includes(current.status?.phase ?? ""))
        return undefined;
      const { conditions, ...rest } = change;
      const condition = conditions?.at(-1);
      return {
        ...current,
        status: {
          ...current.status,
          ...rest,
          ...(condition
            ? { conditions: setCondition(current.status?.conditions, condition, this.#now()) }
            : {}),
        },
      };
    });
  }
}

const isServing = async (hypervisor: Hypervisor, id: MachineState["id"]): Promise<boolean> =>
  (await hypervisor.migration(id).catch(() => undefined))?.phase === "post-copy";

const sooner = (again: Again, ms: number): Again => ({
  requeueAfterMs: Math.min(again?.requeueAfterMs ?? ms, ms),
});
const at = (instance: Instance) => ({
  name: instance.metadata.name,
  namespace: instance.metadata.namespace ?? "",
});
function describe(
  instance: Instance,
): Pick<
  MachineConfig,
  | "id"
  | "uuid"
  | "name"
  | "cpus"
  | "memory"
  | "more"
  | "resources"
  | "machineType"
  | "guestCpu"
  | "paused"
  | "onPanic"
  | "generationId"
> {
  const { spec, metadata } = instance;
  return {
    id: idOf(instance),
    uuid: spec.vmUid,
    name: metadata.name,
    ...amountsOf(beginning(instance), instance),
    ...(spec.resources ? { resources: spec.resources } : {}),
    paused: spec.paused ?? false,
    onPanic: panicAction(instance),
    ...(spec.generationId ? { generationId: spec.generationId } : {}),
    ...pinsIn(spec),
  };
}

/** What of its host is its own. */
function ownOf({ place }: MachineState): Pick<InstanceStatus, "hostCpus" | "numaNode"> {
  return {
    ...(place?.cpus ? { hostCpus: formatList(place.cpus) } : {}),
    ...(place?.node === undefined ? {} : { numaNode: place.node }),
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
