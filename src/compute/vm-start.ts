/**
 * The start of a machine of which no instance is live: whether it is time for it and all is there, and then the one next instance. What makes it safe
 * stands in kinds.ts: the number is raised by compare-and-swap before the instance is made.
 */
import type { Client } from "../client/client.ts";
import type { Image } from "../images/kinds.ts";
import type { Clock } from "../reconcile/clock.ts";
import type { EventRecorder } from "../reconcile/events.ts";
import type { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import type { Index } from "../reconcile/lookup.ts";
import { keyOf } from "../resource/object.ts";
import { createInstance, freshInstances, machinePart, OddInstance, takeNumber } from "./actions.ts";
import { placed, placedInterfaces } from "./changes/places.ts";
import { isLive } from "./custody.ts";
import { isKept, keepVolumes } from "./deletion.ts";
import { pinsOf } from "./hardware/kinds.ts";
import { NoAddress } from "./ipam.ts";
import type { Instance, VirtualMachine } from "./kinds.ts";
import type { MachineNumbers } from "./machine-numbers.ts";
import type { Migration } from "./migrations/kinds.ts";
import { missingOf } from "./missing.ts";
import type { Network } from "./networks/kinds.ts";
import { asSuspended, disksOf, disksOn, generationOf, resumesWith } from "./next-run.ts";
import { decideStart, type RestartLimits } from "./restart.ts";
import type { StoragePool } from "./storage/kinds.ts";
import { pending } from "./vm-status.ts";
import { about, type MachineStatusWriter } from "./vm-status-writer.ts";

/** What it needs to know. */
interface Known {
  images: Informer<Image>;
  networks: Informer<Network>;
  pools: Informer<StoragePool>;
  instances: Informer<Instance>;
  instancesByMachine: Index<Instance>;
}

interface Context {
  client: Client;
  clock: Clock;
  log: Logger;
  events: EventRecorder;
  limits: RestartLimits;
}

export class MachineStart {
  readonly #client: Client;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #events: EventRecorder;
  readonly #limits: RestartLimits;
  readonly #known: Known;
  readonly #numbers: MachineNumbers;
  readonly #status: MachineStatusWriter;
  /** When we first saw an instance ended, by our clock: hosts' clocks may be wrong. By uid. */
  readonly #endedAt = new Map<string, number>();

  constructor(context: Context, known: Known, numbers: MachineNumbers, status: MachineStatusWriter) {
    this.#client = context.client;
    this.#clock = context.clock;
    this.#log = context.log;
    this.#events = context.events;
    this.#limits = context.limits;
    this.#known = known;
    this.#numbers = numbers;
    this.#status = status;
    known.instances.onChange((_key, now, old) => {
      if (!now && old?.metadata.uid) this.#endedAt.delete(old.metadata.uid);
    });
  }

  async startOrWait(
    vm: VirtualMachine,
    instances: readonly Instance[],
    migrations: readonly Migration[],
  ): Promise<{ requeueAfterMs?: number } | undefined> {
    const last = instances.at(-1);
    const decision = decideStart(vm, last, last ? this.#endedForMs(last) : 0, this.#limits);
    if (decision.do === "stay") {
      await this.#status.write(vm, instances, migrations, decision);
      return undefined;
    }
    const busy = vm.status?.disksBusy;
    if (busy) {
      const message = `its disks are being worked on (${busy.action} of ${busy.name}); it starts after that`;
      await this.#status.write(vm, instances, migrations, pending("DisksBusy", message));
      return undefined; // The end of it changes the machine, which brings it back here.
    }
    const missing = missingOf(vm, {
      image: (name) => this.#known.images.get(name),
      hasNetwork: (name) => this.#known.networks.get(name) !== undefined,
      hasPool: (name) => this.#known.pools.get(name) !== undefined,
    });
    if (missing) {
      await this.#status.write(vm, instances, migrations, missing);
      return undefined;
    }
    // While its template is taken it waits for that anyway.
    if (!isKept(vm)) return this.startOrWait(await keepVolumes(this.#client, vm), instances, migrations);
    const { source } = vm.status ?? {};
    if (vm.spec.source && !source?.ready) {
      const why = pending("CloneWaits", source?.message ?? "waits for what it is made from (spec.source)");
      await this.#status.write(vm, instances, migrations, why);
      return undefined;
    }
    if (decision.do === "wait") {
      const { ms, totalMs, restart, why } = decision;
      const since = this.#endedAt.get(last?.metadata.uid ?? "") ?? this.#clock.now().getTime();
      const next = new Date(since + totalMs).toISOString();
      const idle = pending("BackOff", `restart ${restart} at ${next}, after ${why}`);
      await this.#status.write(vm, instances, migrations, { ...idle, nextStartTime: next });
      return { requeueAfterMs: ms };
    }
    try {
      const own = { interfaces: this.#numbers.interfaces(vm), user: this.#numbers.user(vm) };
      await this.#start(vm, own, decision.restarts, last);
    } catch (error) {
      if (error instanceof NoAddress) {
        await this.#status.write(vm, instances, migrations, pending("NoAddress", error.message));
        return { requeueAfterMs: 10_000 };
      }
      if (error instanceof OddInstance)
        return this.#status.writeOdd(vm, instances, error.message, migrations);
      if (!this.#numbers.refused(vm, error)) throw error;
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
    const { as, part } = asSuspended(numbered, instances.at(-1));
    this.#log.info("machine.start", { vm: keyOf(vm), sequence: numbered.status?.sequence });
    await createInstance(this.#client, numbered, {
      ...machinePart(as),
      ...pinsOf(as.spec.hardware, vm.status),
      ...resumesWith(vm),
      ...generationOf(as),
      ...own,
      interfaces: placedInterfaces(places.interfaces, vm.spec),
      ...(predecessor ? { predecessor } : {}),
      ...disksOf(vm, last),
      ...disksOn(
        vm,
        instances,
        (pool) => this.#known.pools.get(pool)?.spec.directory.shared === false,
        (key) => this.#known.instancesByMachine.get(key),
      ),
      ...part,
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

  #endedForMs(instance: Instance): number {
    const now = this.#clock.now().getTime();
    const uid = instance.metadata.uid ?? "";
    const since = this.#endedAt.get(uid) ?? now;
    this.#endedAt.set(uid, since);
    return now - since;
  }
}
