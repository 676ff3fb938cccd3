/** The real API, reconcilers and agents over pretended guests, in this process; each can be killed as by kill -9 and started again. */
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
import { Instance } from "../../src/compute/kinds.ts";
import { until } from "../../src/compute/testing/control-plane.ts";
import { type Estate, openEstate } from "../../src/compute/testing/estate.ts";
import { silentLogger } from "../../src/reconcile/log.ts";
import { FACTS } from "../chaos/estate.ts";

export class PretendEstate {
  readonly world = new PretendWorld({ random: () => 0.5, stepMs: 2, breakage: 0 });
  readonly folder = mkdtempSync(join(tmpdir(), "vireo-pretend-"));
  readonly estate: Estate;
  /** Where the director's part binds new runs. */
  bindTo = "a";
  readonly #agents = new Map<string, () => void>();
  readonly #over = new AbortController();
  #killReconcilers: () => void = () => {};

  static async open(hosts: readonly string[]): Promise<PretendEstate> {
    const opened = new PretendEstate(await openEstate());
    await opened.startReconcilers();
    for (const host of hosts) opened.startAgent(host);
    void opened.#bindAll();
    return opened;
  }

  private constructor(estate: Estate) {
    this.estate = estate;
  }

  startAgent(name: string): void {
    this.killAgent(name);
    const stop = new AbortController();
    let dead = false;
    const files = { world: this.world, folder: this.folder, isDead: () => dead };
    const parts = {
      client: killable(this.estate.client),
      hypervisor: killable<PretendHypervisor>(new PretendHypervisor(this.world, name)),
      environment: killable<PretendEnvironment>(new PretendEnvironment(files)),
    };
    void runAgent({
      client: parts.client.object,
      name,
      hypervisor: parts.hypervisor.object,
      environment: parts.environment.object,
      facts: FACTS,
      capacity: { cpus: 4, memoryBytes: 2 ** 30 },
      address: "10.0.0.1",
      version: "test",
      log: silentLogger,
      signal: stop.signal,
      intervals: { probe: 5, refresh: 100, sweep: 1000, grace: 200 },
    });
    this.#agents.set(name, () => {
      dead = true;
      for (const part of Object.values(parts)) part.kill();
      stop.abort();
    });
  }

  killAgent(name: string): void {
    this.#agents.get(name)?.();
    this.#agents.delete(name);
  }

  /** Those of machines and migrations. */
  async startReconcilers(): Promise<void> {
    this.#killReconcilers();
    // Not waited for: what is dead does not end.
    void this.estate.stopReconcilers();
    const client = killable<Client>(this.estate.client);
    this.#killReconcilers = () => client.kill();
    await this.estate.startReconcilers(client.object);
  }

  async #bindAll(): Promise<void> {
    while (!this.#over.signal.aborted) {
      const { items } = await this.estate.client.list(Instance);
      for (const i of items)
        if (!i.spec.host) await this.estate.bind(i.metadata.name, this.bindTo).catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** The machine that runs, or stands still. */
  guest(state: "running" | "paused" = "running") {
    return until(`a guest ${state}`, async () =>
      [...this.world.machines].flatMap(([id, m]) => (m.state === state ? [{ id, ...m }] : [])).at(0),
    );
  }

  /** The guest thinks and writes. */
  async write(value: number): Promise<void> {
    const { id, config } = await this.guest();
    this.world.contents.set(config.disks[0]?.path ?? "", value);
    this.world.set(id, { memory: value });
  }

  /** What is on its disk, and in its mind. */
  async read(): Promise<[number | undefined, number | undefined]> {
    const { config, memory } = await this.guest();
    return [contentOf(this.world.contents, config.disks[0]?.path ?? ""), memory];
  }

  /** Kills an agent or the reconcilers every few ms while the work goes on. */
  async amid<T>(work: Promise<T>, seed: number, agents: readonly string[] = ["a"]): Promise<T> {
    let done = false;
    void work.then(
      () => {
        done = true;
      },
      () => {
        done = true;
      },
    );
    for (let i = seed; !done && i < seed + 25; i++) {
      await new Promise((resolve) => setTimeout(resolve, 3 + ((i * 7) % 23)));
      const agent = agents[i % (agents.length + 1)];
      if (agent) this.startAgent(agent);
      else await this.startReconcilers();
    }
    return work;
  }

  async close(): Promise<void> {
    this.#over.abort();
    for (const name of [...this.#agents.keys()]) this.killAgent(name);
    await this.estate.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
