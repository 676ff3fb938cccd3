/**
 * The beginning of a run that has custody of its disks: what it needs is made ready, and its guest boots, or goes on with memory that is kept for it: of a suspended
 * machine, of a snapshot, or of the template that it is an instant clone of. Each step finds what was done before it; killed anywhere, it is done again.
 */
import { CLONED, NOT_INSTANT } from "../../compute/clones/kinds.ts";
import { pinsIn } from "../../compute/hardware/kinds.ts";
import type { Instance, Platform } from "../../compute/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import type { EventRecorder } from "../../reconcile/events.ts";
import type { Logger } from "../../reconcile/log.ts";
import { ApiError } from "../../resource/errors.ts";
import { getCondition, keyOf } from "../../resource/object.ts";
import { bothOf } from "../both.ts";
import { FOREIGN_DISK, ForeignDiskError } from "../disks/bases.ts";
import { StillPreparing } from "../disks/copies.ts";
import type { SavedMachine } from "../disks/volumes.ts";
import type { HostEnvironment, Prepared } from "../environment.ts";
import { type Hypervisor, HypervisorError, type MachineConfig, type MachineState } from "../hypervisor.ts";
import { PrepareError } from "../prepare-error.ts";
import { formatList } from "../qemu/topology.ts";
import { reasonOf } from "../reasons.ts";
import { amountsOf, asKept, beginning } from "./changes.ts";
import { type Identity, identify } from "./identity.ts";
import { type Again, about, conditionOf, type InstanceStatus, idOf, ready } from "./instance-status.ts";
import { panicAction } from "./lifecycle.ts";
import type { Shares } from "./shares.ts";
import type { StatusWriter } from "./status-writer.ts";

interface Context {
  host: string;
  hypervisor: Hypervisor;
  environment: HostEnvironment;
  platform: Platform;
  clock: Clock;
  log: Logger;
  events: EventRecorder;
}

export class Start {
  readonly #c: Context;
  readonly #status: StatusWriter;
  readonly #shares: Shares;
  readonly #probeMs: number;

  /** @param probeMs between two looks at what is not ready yet */
  constructor(context: Context, status: StatusWriter, shares: Shares, probeMs: number) {
    this.#c = context;
    this.#status = status;
    this.#shares = shares;
    this.#probeMs = probeMs;
  }

  /** @throws PrepareError, of which people have been told; ApiError */
  async step(instance: Instance): Promise<Again> {
    const { hypervisor } = this.#c;
    let prepared: MachineConfig & Pick<Prepared, "saved" | "notInstant">;
    try {
      prepared = await this.prepare(instance);
    } catch (error) {
      if (!(error instanceof StillPreparing)) throw error;
      await this.#status.write(instance, ready(instance, this.#now(), false, "Copying", error.message));
      return { requeueAfterMs: this.#probeMs };
    }
    const { saved, notInstant, ...config } = prepared;
    // One whose QEMU is there has that memory already, which is forgotten just before it runs.
    const boots = notInstant && !(await hypervisor.get(idOf(instance)));
    if (boots && !getCondition(instance.status?.conditions, CLONED))
      await this.#cloned(instance, "False", NOT_INSTANT, `it boots: ${notInstant}`);
    try {
      if (saved) return await this.#goOn(instance, config, saved);
      const machine = await hypervisor.start(config, "run");
      // An agent died between the memory's coming in and this; or between the spawn and `cont`.
      if (machine.state === "paused" && !machine.pausedBy?.startsWith("user"))
        await hypervisor.resume(machine.id);
      return await this.started(instance, machine);
    } catch (error) {
      if (!(error instanceof HypervisorError)) throw error;
      const end = { reason: "StartFailed", message: error.message } as const;
      await hypervisor.kill(idOf(instance), end);
      return this.#status.finish(instance, end);
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
    try {
      // Neither needs the other; what it has is told before it runs.
      await bothOf(
        hypervisor.loadMemory(machine.id, saved.file),
        this.#status.write(instance, { has: kept.has }),
      );
    } catch (error) {
      if (!(error instanceof HypervisorError)) throw error;
      if (saved.cloned)
        return this.#boot(instance, `it could not go on with the memory of its template: ${error.message}`);
      // It is still there, and nothing has run: whoever it is decides what becomes of it.
      const message = `it could not go on with the memory that is kept: ${error.message}`;
      const end = { reason: "ResumeFailed", message } as const;
      await hypervisor.kill(machine.id, end);
      return this.#status.finish(instance, end);
    }
    // A clone has to run to get an identity of its own; it is paused after that.
    await hypervisor.setPaused(machine.id, saved.cloned ? false : (instance.spec.paused ?? false));
    // Asked for before it runs: its guest's time is not spent on that.
    const identity = saved.cloned ? environment.identity(instance) : undefined;
    identity?.catch(() => undefined); // awaited below
    if (saved.cloned) await hypervisor.disconnect(machine.id);
    await (await environment.layers(instance)).memories.resumed();
    await hypervisor.resume(machine.id);
    return identity
      ? this.identify(instance, machine, kept.has, identity)
      : this.started(instance, machine, kept.has);
  }

  /** The guest runs as that of its template, without a link. One that cannot become another boots as one. */
  async identify(
    instance: Instance,
    machine: MachineState,
    has: InstanceStatus["has"],
    identity: Promise<Identity> = this.#c.environment.identity(instance),
  ): Promise<Again> {
    const why = await identify(this.#c.hypervisor, instance, await identity);
    if (why === undefined) {
      await this.#cloned(
        instance,
        "True",
        "Resumed",
        "its guest went on as that of its template, with an identity of its own",
      );
      return this.started(instance, machine, has);
    }
    return this.#boot(instance, why);
  }

  /** Instead of going on as an instant clone. The memory is forgotten only once its QEMU is gone: an agent that finds one which waits for memory has to know which. */
  async #boot(instance: Instance, why: string): Promise<Again> {
    const { hypervisor, environment } = this.#c;
    const id = idOf(instance);
    const told = await this.#cloned(instance, "False", NOT_INSTANT, `it boots: ${why}`);
    await hypervisor.kill(id, { reason: "StartFailed", message: why });
    await (await environment.layers(instance)).memories.resumed();
    await hypervisor.forget(id);
    const { phase: _, has: _has, ...status } = told.status ?? {};
    return this.step({ ...instance, status });
  }

  /** @returns the instance, which says so */
  async #cloned(
    instance: Instance,
    status: "True" | "False",
    reason: string,
    message: string,
  ): Promise<Instance> {
    const condition = { type: CLONED, status, reason, message };
    const told = await this.#status.write(instance, conditionOf(instance, this.#now(), condition));
    const type = status === "True" ? "Normal" : "Warning";
    this.#c.events.record(about(instance), type, reason === NOT_INSTANT ? "NotInstant" : reason, message);
    return told ?? instance;
  }

  /** @throws StillPreparing; PrepareError, of which people have been told; ApiError */
  async prepare(instance: Instance): Promise<MachineConfig & Pick<Prepared, "saved" | "notInstant">> {
    const { environment, hypervisor, events, log, host } = this.#c;
    try {
      // One whose QEMU is there already has what it has.
      const lack = (await hypervisor.get(idOf(instance))) ? undefined : environment.memoryLack(instance);
      if (lack) throw new PrepareError(lack);
      const { isolated, ...prepared } = await environment.prepare(instance);
      if (isolated) {
        const condition = {
          type: "NetworkReady",
          status: "False",
          reason: "UserNetwork",
          message: isolated,
        } as const;
        await this.#status.write(instance, conditionOf(instance, this.#now(), condition));
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
      await this.#status.write(instance, ready(instance, this.#now(), false, "PrepareFailed", message));
      const reason = error instanceof ForeignDiskError ? FOREIGN_DISK : "PrepareFailed";
      events.record(about(instance), "Warning", reason, message);
      throw new PrepareError(message, { cause: error });
    }
  }

  /** Its guest runs, or is to stand still from the beginning. @param went what it has, when it went on with memory */
  async started(instance: Instance, machine: MachineState, went?: InstanceStatus["has"]): Promise<Again> {
    const has = went ?? instance.status?.has ?? beginning(instance);
    await this.#shares.set(instance);
    await this.#status.write(instance, {
      phase: "Starting",
      pid: machine.pid,
      has,
      machineType: machine.machineType,
      ...(machine.guestCpu ? { guestCpu: machine.guestCpu } : {}),
      ...this.hostOf(machine),
      startedTime: this.#now(),
      ...ready(
        instance,
        this.#now(),
        false,
        "Booting",
        `the guest ${went ? "goes on with its memory" : "is booting"}`,
      ),
    });
    return { requeueAfterMs: this.#probeMs };
  }

  /** What is told of a machine's host: what it can go on with, and what of it is its own. */
  hostOf({ accelerator, place }: MachineState): Platform & Pick<InstanceStatus, "hostCpus" | "numaNode"> {
    return {
      ...this.#c.platform,
      // What is not of the host's architecture is emulated, whatever the host can do.
      ...(accelerator ? { accelerator } : {}),
      ...(place?.cpus ? { hostCpus: formatList(place.cpus) } : {}),
      ...(place?.node === undefined ? {} : { numaNode: place.node }),
    };
  }

  #now(): string {
    return this.#c.clock.now().toISOString();
  }
}

/** What a machine is, whichever host it runs on. */
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
