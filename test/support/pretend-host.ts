/**
 * One host with a real agent over pretended guests whose disks tell what was written last, beside the real API and reconcilers; agent and
 * reconcilers can be killed at any moment.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runAgent } from "../../src/agent/agent.ts";
import { killable } from "../../src/agent/testing/killable.ts";
import { PretendEnvironment } from "../../src/agent/testing/pretend-environment.ts";
import { PretendHypervisor } from "../../src/agent/testing/pretend-hypervisor.ts";
import { contentOf } from "../../src/agent/testing/pretend-layers.ts";
import { PretendWorld } from "../../src/agent/testing/pretend-world.ts";
import type { Client } from "../../src/client/client.ts";
import { runCloneReconciler } from "../../src/compute/clones/reconciler.ts";
import { Instance } from "../../src/compute/kinds.ts";
import { runSnapshotReconciler } from "../../src/compute/snapshots/reconciler.ts";
import { until } from "../../src/compute/testing/control-plane.ts";
import { type Estate, openEstate } from "../../src/compute/testing/estate.ts";
import { systemClock } from "../../src/reconcile/clock.ts";
import { silentLogger } from "../../src/reconcile/log.ts";
import { FACTS } from "../chaos/estate.ts";

export class PretendHost {
  readonly estate: Estate;
  readonly world = new PretendWorld({ random: () => 0.5, stepMs: 2, breakage: 0 });
  readonly folder = mkdtempSync(join(tmpdir(), "vireo-pretend-"));
  readonly #over = new AbortController();
  #killAgent = () => {};
  #killReconcilers = () => {};

  static async open(): Promise<PretendHost> {
    const host = new PretendHost(await openEstate());
    host.startAgent();
    host.startReconcilers();
    void host.#bindAll();
    return host;
  }

  private constructor(estate: Estate) {
    this.estate = estate;
  }

  /** After a kill -9 of the one before. */
  startAgent(): void {
    this.#killAgent();
    const stop = new AbortController();
    let dead = false;
    const files = { world: this.world, folder: this.folder, isDead: () => dead };
    const parts = {
      client: killable(this.estate.client),
      hypervisor: killable<PretendHypervisor>(new PretendHypervisor(this.world, "a")),
      environment: killable<PretendEnvironment>(new PretendEnvironment(files)),
    };
    void runAgent({
      client: parts.client.object,
      name: "a",
      hypervisor: parts.hypervisor.object,
      environment: parts.environment.object,
      facts: FACTS,
      capacity: { cpus: 16, memoryBytes: 2 ** 34 },
      address: "10.0.0.1",
      version: "test",
      log: silentLogger,
      signal: stop.signal,
      intervals: { probe: 5, refresh: 100, sweep: 1000, grace: 5 },
    });
    this.#killAgent = () => {
      dead = true;
      for (const part of Object.values(parts)) part.kill();
      stop.abort();
    };
  }

  /** After a kill -9 of those before. `through`: what they see of the API. */
  startReconcilers(through: Client = this.estate.client): void {
    this.#killReconcilers();
    const stop = new AbortController();
    const client = killable<Client>(through);
    const context = {
      client: client.object,
      clock: systemClock,
      log: silentLogger,
      signal: stop.signal,
      retryMs: 50,
    };
    void runSnapshotReconciler(context);
    void runCloneReconciler(context);
    this.#killReconcilers = () => {
      client.kill();
      stop.abort();
    };
  }

  /** Kills and starts them anew every few ms, in turn, while the work goes on. */
  async amid<T>(work: Promise<T>, seed: number): Promise<T> {
    let done = false;
    void work
      .catch(() => undefined)
      .finally(() => {
        done = true;
      });
    for (let i = seed; !done && i < seed + 25; i++) {
      await new Promise((resolve) => setTimeout(resolve, 3 + ((i * 7) % 23)));
      if (i % 2 === 0) this.startAgent();
      else this.startReconcilers();
    }
    return work;
  }

  /** The pretended machine of this name that runs. */
  runs(vm = "web") {
    return until(`${vm} running`, () =>
      Promise.resolve(
        [...this.world.machines.values()].find(
          ({ state, config }) => state === "running" && config.name.replace(/-\d+$/, "") === vm,
        ),
      ),
    );
  }

  /** The guest writes. */
  async write(value: number, vm = "web"): Promise<void> {
    const [disk] = (await this.runs(vm)).config.disks;
    this.world.contents.set(disk?.path ?? "", value);
  }
  /** The guest, if it runs now, writes what it has in mind. */
  both(value: number): void {
    for (const machine of this.world.machines.values())
      if (machine.state === "running") {
        machine.memory = value;
        this.world.contents.set(machine.config.disks[0]?.path ?? "", value);
      }
  }
  /** What the guest reads. */
  async read(vm = "web"): Promise<number | undefined> {
    const [disk] = (await this.runs(vm)).config.disks;
    return contentOf(this.world.contents, disk?.path ?? "");
  }
  /** What the guest has in mind: lost when it boots. */
  async think(value: number, vm = "web"): Promise<void> {
    (await this.runs(vm)).memory = value;
  }
  async thinks(vm = "web"): Promise<number | undefined> {
    return (await this.runs(vm)).memory;
  }

  /** The director's part. */
  async #bindAll(): Promise<void> {
    const { estate } = this;
    while (!this.#over.signal.aborted) {
      const { items } = await estate.client.list(Instance);
      for (const i of items) if (!i.spec.host) await estate.bind(i.metadata.name, "a").catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async close(): Promise<void> {
    this.#over.abort();
    this.#killAgent();
    this.#killReconcilers();
    await this.estate.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
