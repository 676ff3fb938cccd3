/**
 * `vireo up`: brings a whole installation up on this machine, and attaches to it when it runs already.
 *
 *   control plane -> hosts (this machine, or N development hosts in namespaces) -> default pool and network -> manifests ->
 *   images built, machines running -> table -> events, until Ctrl-C
 *
 * Ctrl-C ends only the watching; everything runs on until `vireo down`. Each step makes only what is missing, so an `up`
 * that was interrupted is finished by the next one.
 */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Client } from "../client/client.ts";
import type { HttpClient } from "../client/http.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import { Network } from "../compute/networks/kinds.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { KINDS } from "../kinds.ts";
import { Event } from "../reconcile/kinds.ts";
import { isApiError } from "../resource/errors.ts";
import { parseSubnet, reservedOf, vniOf } from "../resource/subnet.ts";
import { applyDocument } from "./apply.ts";
import { connect } from "./connect.ts";
import { ensureRunning, isAlive, tailOf } from "./daemons.ts";
import { ensureAccess, ensureDevelopmentNetwork, machinesSubnetOf } from "./devnet.ts";
import { localOf, planInstallation, refuseOther } from "./installation.ts";
import { kindIn, readDocuments } from "./manifest.ts";
import type { StatePaths } from "./paths.ts";
import {
  readRecord,
  readSettings,
  type Settings,
  type UpRecord,
  urlsOf,
  writeRecord,
  writeSettings,
} from "./record.ts";
import { table } from "./table.ts";
import { UserError } from "./user-error.ts";
import { httpAnswer, isReady, waitForMachines } from "./watch-vms.ts";
import { hasWebUi } from "./web-ui.ts";

/** What is not given is as it was for the last `up`. */
export interface UpOptions extends Settings {
  files: readonly string[];
  timeoutMs: number;
  detach: boolean;
}

/** Applied once all hosts are there: else the first host that is ready gets all machines. What is built for them is begun before. */
const OF_MACHINES = ["VirtualMachine", "Snapshot", "Rollback", "Migration"];

async function until<T>(
  what: string,
  timeoutMs: number,
  look: () => Promise<T | undefined>,
  onTimeout: () => string,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > deadline)
      throw new UserError(`${what} did not happen within ${timeoutMs / 1000} s\n${onTimeout()}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** One after the other: the first makes the certificates that the others use. */
async function startControlPlanes(paths: StatePaths, record: UpRecord): Promise<HttpClient> {
  for (const [i, daemon] of record.controlPlanes.entries()) {
    const started = ensureRunning(daemon);
    record.controlPlanes[i] = started;
    writeRecord(paths, record);
    const url = urlsOf(record)[i] ?? "";
    await until(
      `the start of the ${started.name}`,
      // One that runs is only slow: the machine is busy.
      120_000,
      async () => {
        if (!isAlive(started))
          throw new UserError(`the ${started.name} ended; the end of ${started.log}:\n${tailOf(started)}`);
        if (!existsSync(paths.kubeconfig)) return undefined;
        const client = connect(paths.kubeconfig, [url]);
        return client.list(Host).then(
          () => true,
          () => undefined,
        );
      },
      () => tailOf(started),
    );
  }
  return connect(paths.kubeconfig, urlsOf(record));
}

async function ensureDefaults(client: Client, paths: StatePaths, record: UpRecord): Promise<void> {
  const ignoreExisting = (error: unknown) => {
    if (!isApiError(error, "AlreadyExists")) throw error;
  };
  const ensurePool = async (name: string, directory: StoragePool["spec"]["directory"]) => {
    if (await client.get(StoragePool, { name })) return;
    await client.create(StoragePool, { metadata: { name }, spec: { directory } }).catch(ignoreExisting);
  };
  // On one machine all hosts see the same folder: shared storage.
  await ensurePool("default", { path: paths.pool, shared: true });
  if (record.network) {
    for (const { name } of record.network.hosts)
      mkdirSync(localOf(paths, name), { recursive: true, mode: 0o755 });
    mkdirSync(paths.local, { recursive: true, mode: 0o755 });
    await ensurePool("local", { path: paths.local, shared: false });
  }
  const subnet = machinesSubnetOf(record.network);
  if (!(await client.get(Network, { name: "default" })))
    await client.create(Network, { metadata: { name: "default" }, spec: { subnet } }).catch(ignoreExisting);
}

async function showTable(client: Client, vms: readonly VirtualMachine[]): Promise<string> {
  const rows = await Promise.all(
    vms.map(async (vm) => {
      const address = vm.status?.interfaces?.[0]?.address ?? "";
      const http = vm.spec.readiness?.http;
      const url = http && address ? `http://${address}:${http.port}${http.path ?? "/"}` : undefined;
      const current =
        (await client.get(VirtualMachine, {
          name: vm.metadata.name,
          namespace: vm.metadata.namespace ?? "default",
        })) ?? vm;
      return [
        vm.metadata.name,
        current.status?.host ?? "",
        address,
        url ? await httpAnswer(url) : "-",
        current.status?.why ?? "",
      ];
    }),
  );
  return table(["VM", "HOST", "ADDRESS", "HTTP", "WHY"], rows);
}

/** @throws UserError */
export async function up(
  paths: StatePaths,
  options: UpOptions,
  print: (line: string) => void,
): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new UserError("vireo up needs root: it makes bridges, taps and namespaces. Run it with sudo.");
  const { files, timeoutMs, detach, ...given } = options;
  const before = readSettings(paths);
  const settings: Settings = { ...before, ...given };
  const begin = performance.now();
  const seconds = () => `${((performance.now() - begin) / 1000).toFixed(1)} s`;
  const step = (line: string) => print(`[${seconds().padStart(7)}] ${line}`);
  // Bad manifests are found before anything is started.
  const documents = (await Promise.all(files.map(readDocuments)))
    .flat()
    .map((document) => ({ document, kind: kindIn(KINDS, document) }));
  mkdirSync(paths.state, { recursive: true, mode: 0o755 });
  mkdirSync(join(paths.pool, "images"), { recursive: true, mode: 0o755 });

  const existing = readRecord(paths);
  refuseOther(paths, { existing, before, given });
  const record = existing ?? (await planInstallation(paths, settings));
  if (!existing) writeSettings(paths, settings);
  writeRecord(paths, record);
  if (record.network) {
    step(
      `hosts      ${record.network.hosts.map((host) => host.name).join(", ")} in network namespaces (declared hardware)`,
    );
    await ensureDevelopmentNetwork(record.network);
  }
  const client = await startControlPlanes(paths, record);
  step(`API        ${urlsOf(record).join(", ")}, kubeconfig ${paths.kubeconfig}`);
  if (hasWebUi()) step(`web UI     ${urlsOf(record)[0]}/ (sign in by a token: \`vireo token create NAME\`)`);
  await ensureDefaults(client, paths, record);
  /** Agents that are started now: what the store says of their machines is of before. */
  const startedAt = new Map<string, number>();
  for (const [i, agent] of record.agents.entries()) {
    if (!isAlive(agent)) startedAt.set(agent.name, Date.now());
    record.agents[i] = ensureRunning(agent);
    // After each: one that is not written down would be started twice.
    writeRecord(paths, record);
  }
  const apply = async (which: (kind: string) => boolean) => {
    for (const { document, kind } of documents) {
      if (!which(kind.kind)) continue;
      const result = await applyDocument(client, kind, document, { forceConflicts: true });
      step(`${kind.singular}/${document.object.metadata.name} ${result}`);
    }
  };
  await apply((kind) => !OF_MACHINES.includes(kind));
  if (record.network) {
    const network = record.network;
    for (const { spec } of (await client.list(Network)).items) {
      const subnet = parseSubnet(spec.subnet);
      await ensureAccess(network, {
        vni: vniOf(spec),
        address: reservedOf(subnet),
        prefixLength: subnet.prefixLength,
        mtu: spec.mtu,
      });
    }
  }
  await until(
    "the hosts' enrolment",
    60_000,
    async () => {
      const dead = record.agents.find((agent) => !isAlive(agent));
      if (dead) throw new UserError(`${dead.name} ended; the end of ${dead.log}:\n${tailOf(dead)}`);
      const hosts = (await client.list(Host)).items.filter(
        (host) =>
          record.agents.some(({ name }) => name === `agent ${host.metadata.name}`) &&
          isReady(host, startedAt.get(`agent ${host.metadata.name}`)),
      );
      return hosts.length >= record.agents.length ? hosts : undefined;
    },
    () => record.agents.map((agent) => `${agent.log}:\n${tailOf(agent, 3)}`).join("\n"),
  );
  step(`hosts      ${record.network ? `all ${record.agents.length} are` : "this machine is"} ready`);
  await apply((kind) => OF_MACHINES.includes(kind));

  const { running, missing } = await waitForMachines(client, step, timeoutMs);
  if (running.length > 0) print(`\n${await showTable(client, running)}\n`);
  for (const line of missing) step(`MISSING    ${line}`);
  step(`done. export KUBECONFIG=${paths.kubeconfig}; kubectl get vm; \`vireo down --keep\` stops everything`);
  if (!detach) await followEvents(client, print);
  if (missing.length > 0) throw new UserError(`not all that should run does:\n  ${missing.join("\n  ")}`);
}

/** Prints events as they come, until Ctrl-C. */
async function followEvents(client: Client, print: (line: string) => void): Promise<void> {
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  print("Events (Ctrl-C ends the watching; everything runs on):");
  while (!stop.signal.aborted) {
    try {
      const { resourceVersion } = await client.list(Event, { signal: stop.signal });
      for await (const change of client.watch(Event, { resourceVersion, signal: stop.signal })) {
        if (change.type === "BOOKMARK" || change.type === "DELETED") continue;
        const { about, reason, message, lastTime } = change.object.spec;
        print(`${lastTime.slice(11, 19)}  ${about.kind}/${about.name}  ${reason}: ${message}`);
      }
    } catch (error) {
      if (stop.signal.aborted) break;
      print(
        `(the control plane does not answer: ${error instanceof Error ? error.message : error}; trying again)`,
      );
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}
