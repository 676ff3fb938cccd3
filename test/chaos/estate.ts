/** An estate of one seed: a control plane, three hosts and a user, in this process, over a pretended world that outlives them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runAgent } from "../../src/agent/agent.ts";
import { killable } from "../../src/agent/testing/killable.ts";
import { diskOf, LOCAL_POOL, PretendEnvironment } from "../../src/agent/testing/pretend-environment.ts";
import { PretendHypervisor } from "../../src/agent/testing/pretend-hypervisor.ts";
import { PretendWorld } from "../../src/agent/testing/pretend-world.ts";
import type { Client } from "../../src/client/client.ts";
import type { HostFacts } from "../../src/compute/hosts/kinds.ts";
import { runHostReconciler } from "../../src/compute/hosts/reconciler.ts";
import { Instance, VirtualMachine } from "../../src/compute/kinds.ts";
import { Migration } from "../../src/compute/migrations/kinds.ts";
import { runMigrationReconciler } from "../../src/compute/migrations/reconciler.ts";
import { Network } from "../../src/compute/networks/kinds.ts";
import { StoragePool } from "../../src/compute/storage/kinds.ts";
import { runVirtualMachineReconciler } from "../../src/compute/vm-reconciler.ts";
import { runScheduler } from "../../src/director/planning/scheduler.ts";
import { Image } from "../../src/images/kinds.ts";
import { systemClock } from "../../src/reconcile/clock.ts";
import { createLogger, type Logger } from "../../src/reconcile/log.ts";
import { isApiError } from "../../src/resource/errors.ts";
import { Random } from "./random.ts";
import { Server } from "./server.ts";

export const HOSTS = ["h1", "h2", "h3"];
export const NS = "default";

interface Running {
  kill: () => void;
}

/** Watches that volumes are destroyed only of machines that nothing runs of and that are being deleted, or have moved away with them. */
class WatchedEnvironment extends PretendEnvironment {
  readonly #world: PretendWorld;
  readonly #host: string;
  readonly #mayDestroy: (instance: Instance) => Promise<boolean>;

  constructor(world: PretendWorld, host: string, mayDestroy: (instance: Instance) => Promise<boolean>) {
    super(undefined, { world, host });
    this.#world = world;
    this.#host = host;
    this.#mayDestroy = mayDestroy;
  }

  override async destroyVolumes(instance: Instance): Promise<void> {
    const disk = diskOf(instance);
    this.#world.trace.push(`destroy ${disk} (${instance.spec.vm}) on ${this.#host}`);
    const copy = this.#world.local.at(disk, this.#host);
    if (copy && this.#world.local.isElsewhere(disk, this.#host)) {
      await super.destroyVolumes(instance);
      this.destroyed.pop(); // they live on elsewhere
      return;
    }
    // An agent that was killed after it had destroyed its host's copy does so again: there is nothing left on this host to lose.
    if (!copy && instance.spec.storagePool === LOCAL_POOL) return;
    if (this.#world.writersOf(disk).length > 0)
      this.#world.violations.push(
        `the volumes of ${instance.spec.vm} were destroyed under a running machine`,
      );
    if (!(await this.#mayDestroy(instance)))
      this.#world.violations.push(`the volumes of ${instance.spec.vm} were destroyed, and nobody deleted it`);
    await super.destroyVolumes(instance);
  }
}

export class Estate {
  readonly random: Random;
  readonly world: PretendWorld;
  readonly log: Logger;
  readonly server: Server;
  /** The user's own connection. */
  readonly user: Client;
  /** Machines the user has asked to delete. */
  readonly deleted = new Set<string>();
  readonly #folder = mkdtempSync(join(tmpdir(), "vireo-chaos-"));
  /** The store's file, for tests that write to it behind the API's back. */
  readonly storePath = join(this.#folder, "store.db");
  readonly #environments: Map<string, WatchedEnvironment>;
  /** Where its machines have their disks: in about every second run their hosts do not share them. */
  readonly storagePool: string;
  readonly #agents = new Map<string, Running>();
  #reconcilers: Running[] = [];
  #over = false;
  readonly #planes: number;

  constructor(seed: number) {
    this.random = new Random(seed);
    this.world = new PretendWorld({ random: () => this.random.next(), stepMs: 4, breakage: 0.1 });
    this.log = createLogger("chaos", (line) => this.trace(line.trim()));
    this.server = new Server(this.storePath);
    this.user = this.server.connection();
    const mayDestroy = async ({ spec }: Instance) => {
      const vms = await this.ask("check", (client) => client.list(VirtualMachine));
      const vm = vms?.items.find(({ metadata }) => metadata.uid === spec.vmUid);
      return !vm || vm.metadata.deletionTimestamp !== undefined;
    };
    this.#environments = new Map(
      HOSTS.map((host) => [host, new WatchedEnvironment(this.world, host, mayDestroy)]),
    );
    this.storagePool = Math.floor(seed / 4) % 2 === 1 ? LOCAL_POOL : "default";
    // Every fourth run has two control planes that both believe to lead: compare-and-swap alone has to be enough.
    this.#planes = seed % 4 === 0 ? 2 : 1;
  }

  trace(line: string): void {
    this.world.trace.push(`${(performance.now() % 1e6).toFixed(1)} ${line}`);
  }

  async open(): Promise<void> {
    await this.startControlPlane();
    await this.user.create(StoragePool, {
      metadata: { name: "default" },
      spec: { directory: { path: "/pretend", shared: true } },
    });
    await this.user.create(StoragePool, {
      metadata: { name: LOCAL_POOL },
      spec: { directory: { path: "/local" } },
    });
    await this.user.create(Network, { metadata: { name: "default" }, spec: { subnet: "10.9.0.0/24" } });
    await this.user.create(Image, { metadata: { name: "web" }, spec: { file: "web.qcow2" } });
    const status = { phase: "Ready", file: "web.qcow2" };
    await this.user.patch(Image, { name: "web" }, { status }, { subresource: "status" });
    for (const host of HOSTS) this.startAgent(host);
  }

  async startControlPlane(): Promise<void> {
    const client = await this.server.start();
    for (let plane = 0; plane < this.#planes; plane++) {
      const stop = new AbortController();
      const wrapped = killable(client);
      const context = {
        client: wrapped.object,
        clock: systemClock,
        log: this.log.child({ plane }),
        signal: stop.signal,
      };
      void runVirtualMachineReconciler({ ...context, restart: { baseMs: 10, maxMs: 100 } });
      void runMigrationReconciler({ ...context, prepareTimeoutMs: 5000 });
      void runHostReconciler(context);
      void runScheduler(context);
      this.#reconcilers.push({
        kill: () => {
          wrapped.kill();
          stop.abort(); // only ends its timers: it is cut off already
        },
      });
    }
  }

  async killControlPlane(): Promise<void> {
    this.trace("KILL control plane");
    for (const reconciler of this.#reconcilers.splice(0)) reconciler.kill();
    await this.server.kill();
  }

  startAgent(host: string): void {
    if (this.#over) return;
    const stop = new AbortController();
    const client = killable(this.server.connection());
    const hypervisor = killable(new PretendHypervisor(this.world, host));
    const own = this.#environments.get(host);
    if (!own) throw new Error(`there is no host ${host}`);
    const environment = killable(own);
    void runAgent({
      client: client.object,
      name: host,
      hypervisor: hypervisor.object,
      environment: environment.object,
      facts: FACTS,
      capacity: { cpus: 64, memoryBytes: 64 * 2 ** 30 },
      address: host,
      version: "test",
      log: this.log.child({ host }),
      signal: stop.signal,
      heartbeatSeconds: 0.5,
      intervals: { probe: 4, refresh: 500, sweep: 300, grace: 5 },
    });
    this.#agents.set(host, {
      kill: () => {
        for (const part of [client, hypervisor, environment]) part.kill();
        stop.abort();
      },
    });
  }

  killAgent(host: string): void {
    this.trace(`KILL agent ${host}`);
    this.#agents.get(host)?.kill();
    this.#agents.delete(host);
  }

  hasAgent(host: string): boolean {
    return this.#agents.has(host);
  }

  /** A user's request: tried again while the control plane is away, as people do. */
  async ask<T>(what: string, request: (client: Client) => Promise<T>): Promise<T | undefined> {
    this.trace(`user: ${what}`);
    for (;;) {
      try {
        return await request(this.user);
      } catch (error) {
        if (isApiError(error, "AlreadyExists", "NotFound", "Invalid")) return undefined;
        if (!isApiError(error, "ServiceUnavailable", "Conflict")) throw error;
        await systemClock.sleep(3);
      }
    }
  }

  /** Until some machine runs, so that what follows hits running ones; not for long. */
  async someRun(): Promise<void> {
    for (let i = 0; i < 100; i++) {
      const { items } = await this.user.list(VirtualMachine);
      if (items.some((vm) => vm.status?.phase === "Running")) return;
      await systemClock.sleep(5);
    }
  }

  /** What is wrong now, if anything: the end state that every run has to reach. */
  async complaints(): Promise<string[]> {
    const vms = (await this.user.list(VirtualMachine)).items;
    const instances = (await this.user.list(Instance)).items;
    const wrong: string[] = [];
    const machines = [...this.world.machines.entries()].filter(([, m]) => m.state !== "ended");
    for (const vm of vms) {
      const { name } = vm.metadata;
      const own = instances.filter((i) => i.spec.vmUid === vm.metadata.uid);
      const disk = `/pretend/${vm.metadata.uid}`;
      const alive = machines.filter(([, m]) => m.config.disks.some((d) => d.path === disk));
      const phase = vm.status?.phase;
      if (vm.metadata.deletionTimestamp) wrong.push(`${name} is still being deleted`);
      else if (vm.spec.running) {
        if (phase !== "Running") wrong.push(`${name} should run, and is ${phase}`);
        if (alive.length !== 1) wrong.push(`${name} should run once, and runs ${alive.length} times`);
        else if (alive[0]?.[1].state !== "running") wrong.push(`${name}'s machine is ${alive[0]?.[1].state}`);
        else if (alive[0]?.[1].host !== vm.status?.host)
          wrong.push(`${name} runs on ${alive[0]?.[1].host}, and says ${vm.status?.host}`);
      } else {
        if (phase !== "Stopped") wrong.push(`${name} should be stopped, and is ${phase}`);
        if (alive.length > 0) wrong.push(`${name} should be stopped, and runs ${alive.length} times`);
      }
      const live = own.filter((i) => i.status?.custody !== "Released");
      if (live.length !== (vm.spec.running ? 1 : 0)) wrong.push(`${name} has ${live.length} live instances`);
      if (own.length > 1) wrong.push(`${name} has ${own.length} instances`);
      if ([...this.#environments.values()].some(({ destroyed }) => destroyed.includes(disk)))
        wrong.push(`the volumes of ${name} are gone`);
    }
    for (const name of this.deleted)
      if (vms.some((vm) => vm.metadata.name === name)) wrong.push(`${name} is there`);
    for (const { metadata, status } of (await this.user.list(Migration)).items)
      if (!["Succeeded", "Failed", "Cancelled"].includes(status?.phase ?? ""))
        wrong.push(`migration ${metadata.name} is ${status?.phase}`);
    const known = new Set(vms.map((vm) => vm.metadata.uid));
    for (const i of instances)
      if (!known.has(i.spec.vmUid)) wrong.push(`instance ${i.metadata.name} has no machine`);
    for (const [, m] of machines)
      if (!vms.some((vm) => m.config.disks.some((d) => d.path === `/pretend/${vm.metadata.uid}`)))
        wrong.push(`${m.config.name}@${m.host} runs without a machine`);
    return wrong;
  }

  async close(): Promise<void> {
    this.#over = true;
    for (const host of HOSTS) if (this.hasAgent(host)) this.killAgent(host);
    await this.killControlPlane();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export const FACTS: HostFacts = {
  source: "declared",
  cpu: { model: "pretend", sockets: 1, cores: 64, threads: 64, mhz: 3000 },
  memory: { totalBytes: 64 * 2 ** 30, modules: [] },
  disks: [],
  links: [],
  qemu: { version: "0", accelerator: "tcg", reason: "pretended" },
  kernel: "0",
  bootId: "0",
};
