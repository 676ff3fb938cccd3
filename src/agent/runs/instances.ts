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
import { type Client, modify } from "../../client/client.ts";
import { INSTANCE_FINALIZER, Instance, type Platform } from "../../compute/kinds.ts";
import type { DiskTask } from "../../compute/snapshots/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Controller } from "../../reconcile/controller.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import { Informer } from "../../reconcile/informer.ts";
import type { Logger } from "../../reconcile/log.ts";
import { ApiError } from "../../resource/errors.ts";
import { keyOf } from "../../resource/object.ts";
import type { Opener } from "../../resource/sealed.ts";
import { requestOf } from "../../telemetry/request-id.ts";
import { DiskTasks, pendingTask, ROLLED_BACK } from "../disks/disk-tasks.ts";
import type { HostEnvironment } from "../environment.ts";
import type { Hypervisor, MachineState } from "../hypervisor.ts";
import { removeLeftovers } from "../leftovers.ts";
import { UsageSampler } from "../qemu/usage.ts";
import { reasonOf } from "../reasons.ts";
import { Changes } from "./changes.ts";
import { GuestTasks } from "./guest-tasks.ts";
import { GuestWatch } from "./guest-watch.ts";
import { Incoming, watchPredecessor } from "./incoming.ts";
import { type Again, at, idOf, isTerminal, ready, wanted } from "./instance-status.ts";
import { Lifecycle } from "./lifecycle.ts";
import { Outgoing } from "./outgoing.ts";
import { Peers } from "./peers.ts";
import { Shares } from "./shares.ts";
import { Start } from "./start.ts";
import { StatusWriter } from "./status-writer.ts";
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
/** Between two looks at a machine whose disks are copied to another host. */
const COPYING_MS = 1000;
/** Between two attempts at a change of a running machine. */
const CHANGE_RETRY_MS = 10_000;
/** Between two attempts to thaw a guest that does not answer. */
const THAW_RETRY_MS = 1000;
/** Well below what an Event's message may have. */
const TOLD_CHARS = 800;

export async function runInstances(context: InstanceContext): Promise<void> {
  await new Instances(context).run();
}

class Instances {
  readonly #c: InstanceContext;
  readonly #intervals: Intervals;
  readonly #own: Informer<Instance>;
  readonly #controller: Controller;
  readonly #status: StatusWriter;
  readonly #peers: Peers;
  readonly #start: Start;
  readonly #incoming: Incoming;
  readonly #watch: GuestWatch;
  readonly #lifecycle: Lifecycle;
  readonly #outgoing: Outgoing;
  readonly #tasks: DiskTasks;
  readonly #guestTasks: GuestTasks;
  readonly #usage: UsageSampler;
  readonly #shares: Shares;
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
    const again = (key: string, delayMs?: number) => this.#controller.enqueue(key, delayMs);
    this.#status = new StatusWriter(context);
    const { write, finish } = this.#status;
    this.#peers = new Peers(context, again);
    this.#shares = new Shares(context, write);
    this.#usage = new UsageSampler(context.hypervisor, context.clock);
    this.#start = new Start(context, this.#status, this.#shares, this.#intervals.probe);
    this.#incoming = new Incoming(context, this.#peers, this.#status, this.#start);
    this.#watch = new GuestWatch(context, this.#status, this.#shares, this.#usage, this.#intervals, again);
    this.#lifecycle = new Lifecycle(context, this.#intervals.grace, write, finish);
    this.#outgoing = new Outgoing(context, this.#peers, write);
    this.#tasks = new DiskTasks(context, again);
    this.#guestTasks = new GuestTasks(context);
    this.#suspension = new Suspension(context, write, finish);
    this.#changes = new Changes(context, write);
  }

  async run(): Promise<void> {
    const { signal, hypervisor, clock, log } = this.#c;
    this.#own.onChange((key, now, old) => {
      if (!now && old) this.#status.forget(old);
      if (!now || !this.#status.isOwnNews(now, old)) this.#controller.enqueue(key);
    });
    const unsubscribe = hypervisor.onChange((id) => {
      const instance = this.#own.list().find(({ metadata }) => metadata.uid === id);
      if (instance) this.#controller.enqueue(keyOf(instance));
    });
    const running = [
      this.#own.run(signal),
      this.#controller.run(signal),
      this.#usage.run(() => this.#own.list(), signal, this.#intervals.sample),
    ];
    await Promise.race([this.#own.synced, aborted(signal)]);
    void this.#controller.idle().then(() => (signal.aborted ? undefined : this.#c.onSynced?.()));
    while (!signal.aborted) {
      await this.#confine();
      await removeLeftovers(this.#c).catch((error: unknown) => log.warn("instances.sweep", { error }));
      await clock.sleep(this.#intervals.sweep, signal);
    }
    unsubscribe();
    await Promise.all(running);
  }

  /** People are told: what runs meanwhile may reach what it should not. */
  async #confine(): Promise<void> {
    const { hypervisor, host, events, log } = this.#c;
    try {
      await hypervisor.confine();
    } catch (error) {
      log.warn("instances.confine", { error });
      const why = error instanceof Error ? error.message : String(error);
      const message = `what the processes of its machines reach over the network could not be limited: ${why}`;
      events.record({ kind: "Host", name: host }, "Warning", "NotConfined", message.slice(0, TOLD_CHARS));
    }
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
    if (isTerminal(instance)) {
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
    if (!wanted(instance))
      return this.#status.finish(instance, { reason: "Requested", message: "never started" });
    if (!(await this.#custodyGiven(instance))) {
      await this.#status.write(instance, {
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
    const held = await this.#status.write(instance, {
      phase: "Preparing",
      custody: "Held",
      ...ready(instance, this.#now(), false, "Preparing", "disks and network are being prepared"),
    });
    // A connection, for as long as it waited.
    this.#peers.release(keyOf(instance));
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
      return this.#lifecycle.end(instance, {
        reason: "Killed",
        message: "its process is gone, and its host has no whole record of it, as after a power cut",
      });
    if (machine?.pausedBy === "suspend") {
      // Of a rollback whose agent died: its guest will have run on.
      if (machine.state !== "ended") await this.#tasks.dropKept(instance);
      return this.#suspension.settle(instance, machine);
    }
    if (machine?.state === "ended")
      return this.#lifecycle.end(
        instance,
        machine.end ?? { reason: "Killed", message: "its process is gone" },
      );
    const task = pendingTask(instance);
    if (task?.action === "Rollback") return this.#endForRollback(instance, machine, task);
    if (machine?.pausedBy === "lost") return this.#lost(instance, machine);
    if (!wanted(instance)) return this.#stop(instance, machine);
    if (!machine || machine.state === "incoming" || (machine.state === "paused" && phase === "Preparing"))
      return this.#start.step(instance);
    // An agent died before the guest of a clone had its own identity.
    if (machine.disconnected) return this.#start.identify(instance, machine, instance.status?.has);
    if (phase === "Preparing") return this.#start.started(instance, machine);
    await this.#lifecycle.steer(instance, machine);
    const { tellVolumes } = instance.spec;
    if (tellVolumes && instance.status?.volumes?.to !== tellVolumes)
      await this.#tellVolumes(instance, tellVolumes);
    const moving = await this.#outgoing.step(instance, machine);
    if (moving === "lost") return this.#lost(instance, machine);
    if (moving === "copies") {
      await this.#lifecycle.whileCopied(instance, machine);
      return { requeueAfterMs: COPYING_MS };
    }
    if (moving !== "stays") return moving;
    // What its guest is asked now would be in the memory that is kept: each that goes on with that would have to answer it first.
    if ((task?.template || instance.spec.suspend) && this.#watch.isAsking(instance)) return undefined;
    const busy = this.#tasks.step(instance, true);
    void this.#guestTasks.step(instance);
    if (instance.spec.suspend && !busy) {
      const suspended = await this.#suspension.suspend(instance, machine);
      if (suspended !== "not now") return suspended;
    }
    const standing = await this.#lifecycle.step(instance, machine, busy);
    if (standing !== "runs") return standing;
    // As above.
    if (busy && (task?.template || machine.pausedBy === "snapshot")) return undefined;
    const unfinished = !busy && machine.state === "running" && (await this.#changes.step(instance));
    const frozen = !busy && machine.state === "running" && (await this.#tasks.freezes.settle(instance));
    const again = await this.#watch.look(instance);
    if (frozen) return sooner(again, THAW_RETRY_MS);
    return unfinished ? sooner(again, CHANGE_RETRY_MS) : again;
  }

  /** Part of its memory was at either end of a post-copy that broke: it starts anew from its disks. */
  async #lost(instance: Instance, machine: MachineState): Promise<Again> {
    await this.#c.hypervisor.kill(machine.id);
    return this.#lifecycle.end(instance, { reason: "MemoryLost", message: LOST });
  }

  /** A migration asks what its target has to make. */
  async #tellVolumes(instance: Instance, to: string): Promise<void> {
    const { environment, log } = this.#c;
    try {
      const { volumes } = await environment.volumes(instance);
      await this.#status.write(instance, { volumes: { to, volumes } });
    } catch (error) {
      if (error instanceof ApiError) throw error;
      log.warn("instances.volumes", { instance: keyOf(instance), error });
      const message = reasonOf(error);
      await this.#status.write(instance, { volumes: { to, error: message } });
    }
  }

  // --- the end ---

  async #stop(instance: Instance, machine: MachineState | undefined): Promise<Again> {
    if (machine && machine.state !== "incoming" && !instance.spec.stop?.force) {
      const moving = await this.#outgoing.stopping(instance, machine);
      if (moving === "lost") return this.#lost(instance, machine);
      if (typeof moving !== "string") return moving;
    }
    return this.#lifecycle.stop(instance, machine);
  }

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
    return this.#lifecycle.end(instance, end);
  }

  /** After the end: nothing of it is left on this host, and then the object may go. */
  async #clean(instance: Instance, machine: MachineState | undefined): Promise<Again> {
    const { hypervisor, environment, client } = this.#c;
    this.#peers.release(keyOf(instance));
    this.#shares.forget(instance);
    this.#watch.forget(instance);
    this.#changes.forget(instance);
    this.#lifecycle.forget(instance);
    this.#outgoing.forget(instance);
    this.#suspension.forget(instance);
    this.#tasks.freezes.forget(instance);
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
}

const isServing = async (hypervisor: Hypervisor, id: MachineState["id"]): Promise<boolean> =>
  (await hypervisor.migration(id).catch(() => undefined))?.phase === "post-copy";

const sooner = (again: Again, ms: number): Again => ({
  requeueAfterMs: Math.min(again?.requeueAfterMs ?? ms, ms),
});

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
