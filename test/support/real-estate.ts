/**
 * Two control planes over one store, the reconcilers, and the agents of two hosts with real QEMUs whose guests are boot sectors: all that stands between a
 * user and his machine, without images and networks, so that it stands in a second. Everything is gone in the end.
 */
import { chownSync, existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runAgent } from "../../src/agent/agent.ts";
import { type ConsoleListener, serveConsoles } from "../../src/agent/consoles/listener.ts";
import type { Prepared } from "../../src/agent/environment.ts";
import { QemuHypervisor } from "../../src/agent/qemu/qemu-hypervisor.ts";
import { PretendEnvironment } from "../../src/agent/testing/pretend-environment.ts";
import { USER } from "../../src/agent/testing/real-machines.ts";
import { createSigningRequest, HOSTS, Pki } from "../../src/api/pki.ts";
import { type ApiServer, type ApiServerOptions, startApiServer } from "../../src/api/server.ts";
import { Tickets } from "../../src/api/tickets.ts";
import type { Client } from "../../src/client/client.ts";
import type { ConnectionOptions } from "../../src/client/connection.ts";
import { HttpClient } from "../../src/client/http.ts";
import { hardwareOf } from "../../src/compute/hardware/kinds.ts";
import { runHostReconciler } from "../../src/compute/hosts/reconciler.ts";
import { Instance, VirtualMachine } from "../../src/compute/kinds.ts";
import { Migration } from "../../src/compute/migrations/kinds.ts";
import { runMigrationReconciler } from "../../src/compute/migrations/reconciler.ts";
import { StoragePool } from "../../src/compute/storage/kinds.ts";
import {
  openControlPlane,
  type TestControlPlane,
  untilObject,
} from "../../src/compute/testing/control-plane.ts";
import { createImage } from "../../src/compute/testing/estate.ts";
import { runVirtualMachineReconciler } from "../../src/compute/vm-reconciler.ts";
import { consoleSubresources } from "../../src/consoles/subresources.ts";
import { writeBootDisk } from "../../src/qemu/testing/boot-sectors.ts";
import { systemClock } from "../../src/reconcile/clock.ts";
import { silentLogger } from "../../src/reconcile/log.ts";
import { hostUser } from "../../src/resource/host-name.ts";
import { giveUp, ownFolder } from "../../src/system/testing/owned-folder.ts";
import { FACTS } from "../chaos/estate.ts";

export const NS = "default";
const LONG_MS = 60_000;

/** A real disk that boots a guest, on a folder that both hosts see; the rest is pretended: no network, no snapshots. */
class Disks extends PretendEnvironment {
  override readonly bindAddress = "127.0.0.1";
  readonly #folder: string;
  readonly #guest: Parameters<typeof writeBootDisk>[1];

  constructor(folder: string, guest: Parameters<typeof writeBootDisk>[1]) {
    super();
    this.#folder = folder;
    this.#guest = guest;
  }

  override async prepare({ spec }: Instance): Promise<Prepared> {
    const path = join(this.#folder, `${spec.vm}.raw`);
    if (!existsSync(path)) writeBootDisk(path, this.#guest);
    chownSync(path, USER.uid, USER.gid);
    return {
      disks: [{ path, format: "raw", readOnly: false }],
      nics: [],
      hardware: hardwareOf(spec.hardware),
      user: USER,
      accelerator: "tcg",
    };
  }
}

export interface Agent {
  hypervisor: QemuHypervisor;
  listener: ConsoleListener;
  /** Its machines run on. */
  end(): Promise<void>;
}

export class RealEstate {
  readonly folder = ownFolder("vireo-estate-");
  readonly servers: ApiServer[] = [];
  readonly agents = new Map<string, Agent>();
  readonly pki: Pki;
  #pkiFolder = "";
  readonly #plane: TestControlPlane;
  readonly #guest: Parameters<typeof writeBootDisk>[1];
  readonly #stop = new AbortController();
  readonly #clients: HttpClient[] = [];
  #reconcilers: Promise<unknown> = Promise.resolve();

  private constructor(plane: TestControlPlane, pki: Pki, guest: Parameters<typeof writeBootDisk>[1]) {
    this.#plane = plane;
    this.pki = pki;
    this.#guest = guest;
  }

  static async open(
    guest: Parameters<typeof writeBootDisk>[1],
    options: { ticketTtlMs?: number } & Pick<ApiServerOptions, "audit" | "log"> = {},
  ): Promise<RealEstate> {
    const pkiFolder = mkdtempSync(join(tmpdir(), "vireo-pki-"));
    const estate = new RealEstate(await openControlPlane(), await Pki.open(pkiFolder), guest);
    estate.#pkiFolder = pkiFolder;
    const { client, service, store } = estate.#plane;
    await client.create(StoragePool, {
      metadata: { name: "default" },
      spec: { directory: { path: estate.folder, shared: true } },
    });
    await createImage(client);
    const { ticketTtlMs, ...more } = options;
    for (let i = 0; i < 2; i++) {
      const tickets = new Tickets(store, ticketTtlMs === undefined ? {} : { ttlMs: ticketTtlMs });
      const subresources = consoleSubresources({ service, issuer: estate.pki, tickets, log: silentLogger });
      estate.servers.push(
        await startApiServer({
          service,
          pki: estate.pki,
          host: "127.0.0.1",
          port: 0,
          tickets,
          subresources,
          recheckMs: 100,
          ...more,
        }),
      );
    }
    const context = { client, clock: systemClock, log: silentLogger, signal: estate.#stop.signal };
    estate.#reconcilers = Promise.all([
      runVirtualMachineReconciler({ ...context, restart: { baseMs: 30, maxMs: 200 } }),
      runMigrationReconciler(context),
      runHostReconciler(context),
    ]);
    for (const host of ["a", "b"]) await estate.startAgent(host);
    return estate;
  }

  get client(): Client {
    return this.#plane.client;
  }

  /** Of one of the control planes. */
  connect(options: Omit<ConnectionOptions, "url" | "ca">, server = 0): HttpClient {
    const url = this.servers[server]?.url ?? "";
    const made = new HttpClient({ url, ca: this.pki.ca, ...options });
    this.#clients.push(made);
    return made;
  }

  async startAgent(name: string): Promise<void> {
    const { csr, key } = await createSigningRequest(name);
    const cert = await this.pki.signHost(name, csr, ["127.0.0.1"]);
    const hypervisor = new QemuHypervisor({ runDirectory: join(this.folder, name), log: silentLogger });
    const credentials = { ca: this.pki.ca, cert, key };
    const listener = await serveConsoles({
      address: "127.0.0.1",
      credentials,
      consoles: hypervisor.consoles,
      log: silentLogger,
    });
    const stop = new AbortController();
    const client = this.connect(await this.pki.clientCredentials(hostUser(name), [HOSTS]));
    mkdirSync(join(this.folder, "disks"), { recursive: true });
    const running = runAgent({
      client,
      name,
      hypervisor,
      environment: new Disks(join(this.folder, "disks"), this.#guest),
      facts: FACTS,
      capacity: { cpus: 8, memoryBytes: 2 ** 33 },
      address: "127.0.0.1",
      consoleAddress: listener.address,
      version: "test",
      log: silentLogger,
      signal: stop.signal,
      heartbeatSeconds: 1,
      intervals: { probe: 20, refresh: 500, sweep: 1000, grace: 5 },
    });
    this.agents.set(name, {
      hypervisor,
      listener,
      end: async () => {
        stop.abort();
        await running;
        listener.close();
        hypervisor.close();
        this.agents.delete(name);
      },
    });
  }

  /** A machine, running on a host. */
  async runMachine(name: string, host: string, spec: Partial<VirtualMachine["spec"]> = {}): Promise<void> {
    await this.client.create(VirtualMachine, {
      metadata: { name, namespace: NS },
      spec: { image: "web", memory: "64Mi", networks: [], readiness: { none: true }, ...spec },
    });
    await this.bind(`${name}-1`, host);
    await this.until(name, "Running");
  }

  /** The director's part. */
  async bind(instance: string, host: string): Promise<void> {
    await untilObject(this.client, Instance, { name: instance, namespace: NS }, "existing", () => true);
    await this.client.patch(
      Instance,
      { name: instance, namespace: NS },
      { spec: { host, placement: { reason: "of the test" } } },
    );
  }

  until(name: string, phase: string): Promise<VirtualMachine> {
    const at = { name, namespace: NS };
    return untilObject(this.client, VirtualMachine, at, phase, (vm) => vm.status?.phase === phase, LONG_MS);
  }

  /** To the other host, live, to its end. */
  async migrate(vm: string): Promise<void> {
    const found = await this.client.get(VirtualMachine, { name: vm, namespace: NS });
    const to = found?.status?.host === "a" ? "b" : "a";
    const at = { name: `${vm}-to-${to}`, namespace: NS };
    await this.client.create(Migration, { metadata: at, spec: { vm, to } });
    const { status } = await untilObject(
      this.client,
      Migration,
      at,
      "over",
      ({ status }) => ["Succeeded", "Failed"].includes(status?.phase ?? ""),
      LONG_MS,
    );
    if (status?.phase !== "Succeeded") throw new Error(`the migration failed: ${status?.message}`);
    await this.client.delete(Migration, at);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#reconcilers;
    for (const { hypervisor, end } of [...this.agents.values()]) {
      const machines = await hypervisor.list();
      await end();
      for (const { id } of machines) await hypervisor.kill(id);
      hypervisor.close();
    }
    for (const client of this.#clients) client.close();
    for (const server of this.servers) await server.close();
    await this.#plane.close();
    for (const folder of [this.folder, this.#pkiFolder]) rmSync(folder, { recursive: true, force: true });
    giveUp(this.folder);
  }
}
