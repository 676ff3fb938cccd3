/** A small estate for tests of the reconcilers: the agent's and the director's part are played by hand. */
import type { Client } from "../../client/client.ts";
import { modify } from "../../client/client.ts";
import { Image } from "../../images/kinds.ts";
import { systemClock } from "../../reconcile/clock.ts";
import { silentLogger } from "../../reconcile/log.ts";
import { setCondition } from "../../resource/object.ts";
import { Host, type HostFacts } from "../hosts/kinds.ts";
import { INSTANCE_FINALIZER, Instance, VirtualMachine } from "../kinds.ts";
import { runMigrationReconciler } from "../migrations/reconciler.ts";
import { Network } from "../networks/kinds.ts";
import { StoragePool } from "../storage/kinds.ts";
import { runVirtualMachineReconciler } from "../vm-reconciler.ts";
import { openControlPlane, untilObject } from "./control-plane.ts";

export const NS = "default";
const now = () => new Date().toISOString();

export interface Estate {
  client: Client;
  /** Kills nothing, but ends the reconcilers and starts new ones, as after a crash between two writes. */
  restartReconcilers(): Promise<void>;
  stopReconcilers(): Promise<void>;
  /** Starts them where they are stopped; `through` is what they see of the API. */
  startReconcilers(through?: Client): Promise<void>;
  vm(name: string, wanted?: (vm: VirtualMachine) => boolean, what?: string): Promise<VirtualMachine>;
  instance(name: string, wanted?: (i: Instance) => boolean, what?: string): Promise<Instance>;
  createMachine(name: string, spec?: Partial<VirtualMachine["spec"]>): Promise<VirtualMachine>;
  /** The director's part. */
  bind(instance: string, host: string): Promise<void>;
  /** The agent's part: writes status fields. */
  report(instance: string, status: Partial<NonNullable<Instance["status"]>>): Promise<void>;
  /** The agent's part: the run has ended. */
  end(instance: string, reason: EndReason, message?: string): Promise<void>;
  /** The agent's part: the instance is deleted and its process is gone. */
  finalize(instance: string): Promise<void>;
  hostReady(name: string, status: "True" | "Unknown"): Promise<void>;
  /** What the host is made of: declaredFacts. */
  hostFacts(...of: Parameters<typeof declaredFacts>): Promise<void>;
  /** Machine from nothing to Running on a host. */
  runMachine(name: string, host: string, spec?: Partial<VirtualMachine["spec"]>): Promise<void>;
  close(): Promise<void>;
}
type EndReason = NonNullable<NonNullable<Instance["status"]>["end"]>["reason"];

/** Of a host with 4 cores of 2000 MHz and 1 GiB, but for what is told. */
export function declaredFacts(name: string, told: Partial<HostFacts> & { mhz?: number } = {}): HostFacts {
  const { mhz = 2000, ...more } = told;
  return {
    source: "declared",
    cpu: { model: "x", sockets: 1, cores: 4, threads: 4, mhz },
    memory: { totalBytes: 2 ** 30, modules: [] },
    disks: [],
    links: [],
    qemu: { version: "7.2", accelerator: "tcg", reason: "played" },
    kernel: "6.1",
    bootId: name,
    ...more,
  };
}

export async function openEstate(options: { image?: boolean } = {}): Promise<Estate> {
  const plane = await openControlPlane();
  const { client } = plane;
  let stop = new AbortController();
  let running: Promise<unknown> = Promise.resolve();
  const start = (through: Client = client) => {
    stop = new AbortController();
    const context = { client: through, clock: systemClock, log: silentLogger, signal: stop.signal };
    running = Promise.all([
      runVirtualMachineReconciler({ ...context, restart: { baseMs: 30, maxMs: 200 } }),
      runMigrationReconciler(context),
    ]);
  };
  await client.create(StoragePool, {
    metadata: { name: "default" },
    spec: { directory: { path: "/pool", shared: true } },
  });
  await client.create(Network, { metadata: { name: "default" }, spec: { subnet: "10.77.0.0/24" } });
  const estate: Estate = {
    client,
    stopReconcilers: async () => {
      stop.abort();
      await running;
    },
    startReconcilers: async (through) => start(through),
    restartReconcilers: async () => {
      await estate.stopReconcilers();
      start();
    },
    vm: (name, wanted = () => true, what = "existing") =>
      untilObject(client, VirtualMachine, { name, namespace: NS }, what, wanted),
    instance: (name, wanted = () => true, what = "existing") =>
      untilObject(client, Instance, { name, namespace: NS }, what, wanted),
    createMachine: (name, spec = {}) =>
      client.create(VirtualMachine, {
        metadata: { name, namespace: NS },
        spec: { image: "web", memory: "64Mi", ...spec },
      }),
    bind: async (name, host) => {
      await client.patch(
        Instance,
        { name, namespace: NS },
        { spec: { host, placement: { reason: `${host} is best` } } },
      );
    },
    report: async (name, status) => {
      await modify(client, Instance, { name, namespace: NS }, "status", (i) => ({
        ...i,
        status: { ...i.status, ...status },
      }));
    },
    end: (name, reason, message = "played") =>
      estate.report(name, {
        phase: reason === "Requested" || reason === "GuestShutdown" ? "Stopped" : "Failed",
        custody: "Released",
        end: { reason, message, time: now() },
      }),
    finalize: async (name) => {
      await estate.instance(name, (i) => i.metadata.deletionTimestamp !== undefined, "being deleted");
      await estate.report(name, { custody: "Released" });
      await modify(client, Instance, { name, namespace: NS }, "object", (i) => ({
        ...i,
        metadata: {
          ...i.metadata,
          finalizers: (i.metadata.finalizers ?? []).filter((f) => f !== INSTANCE_FINALIZER),
        },
      }));
    },
    hostReady: async (name, status) => {
      await modify(client, Host, { name }, "status", (h) => ({
        ...h,
        status: {
          ...h.status,
          capacity: { cpus: 4, memory: "1Gi" },
          conditions: setCondition(
            h.status?.conditions,
            { type: "Ready", status, reason: "Test", message: "played" },
            now(),
          ),
        },
      }));
    },
    hostFacts: async (name, told) => {
      const facts = declaredFacts(name, told);
      await modify(client, Host, { name }, "status", (h) => ({ ...h, status: { ...h.status, facts } }));
    },
    runMachine: async (name, host, spec) => {
      await estate.createMachine(name, spec);
      await estate.instance(`${name}-1`);
      await estate.bind(`${name}-1`, host);
      await estate.report(`${name}-1`, { custody: "Held", phase: "Preparing" });
      await estate.report(`${name}-1`, { phase: "Running", startedTime: now(), addresses: ["10.77.0.3"] });
      await estate.vm(name, (vm) => vm.status?.phase === "Running", "Running");
    },
    close: async () => {
      await estate.stopReconcilers();
      await plane.close();
    },
  };
  for (const name of ["a", "b", "c"]) {
    await client.create(Host, { metadata: { name }, spec: {} });
    await estate.hostReady(name, "True");
  }
  if (options.image !== false) await createImage(client);
  start();
  return estate;
}

export async function createImage(client: Client): Promise<void> {
  await client.create(Image, { metadata: { name: "web" }, spec: { file: "web.qcow2" } });
  await imageStatus(client, { phase: "Ready", file: "web.qcow2" });
}

export async function imageStatus(client: Client, status: NonNullable<Image["status"]>): Promise<void> {
  await client.patch(Image, { name: "web" }, { status }, { subresource: "status" });
}
