/** `vireo agent`: the agent of one real host (or of a development host in its namespace). */
import { mkdirSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import { Type } from "typebox";
import { runAgent } from "../agent/agent.ts";
import { type ConsoleListener, serveConsoles } from "../agent/consoles/listener.ts";
import { enrol, keepCertificate } from "../agent/enrol.ts";
import { type DeclaredProfile, readFacts } from "../agent/facts.ts";
import { parseAddress, serveMetrics } from "../agent/metrics-server.ts";
import { Networking } from "../agent/network/network.ts";
import { Outward } from "../agent/network/outward.ts";
import { QemuHypervisor } from "../agent/qemu/qemu-hypervisor.ts";
import { hugeBytes, readTopology, reservableOf } from "../agent/qemu/topology.ts";
import { RealEnvironment } from "../agent/real-environment.ts";
import { allowUserfaultfd } from "../agent/userfaultfd.ts";
import { HttpClient } from "../client/http.ts";
import { OVERCOMMIT } from "../compute/overcommit/given-out.ts";
import type { Reservable } from "../compute/resources/kinds.ts";
import { systemClock } from "../reconcile/clock.ts";
import type { Logger } from "../reconcile/log.ts";
import { waitForManyFiles } from "../system/many-files.ts";
import { protectFromOom } from "../system/oom.ts";
import { collectProcessMetrics } from "../telemetry/metrics.ts";
import { startTracing } from "../telemetry/tracing.ts";
import { lockFolder } from "./lock.ts";
import { readOwn } from "./own-file.ts";
import { ownLogger } from "./own-log.ts";
import type { StatePaths } from "./paths.ts";
import { stopSignal } from "./stop-signal.ts";
import { UserError } from "./user-error.ts";
import { version } from "./version.ts";

export interface AgentOptions {
  /** Addresses of the control planes. */
  join: readonly string[];
  name: string;
  address: string;
  enrolment: string;
  profile?: string;
  metrics?: string;
  vxlanPeer: readonly string[];
}

/** Requests: at its start each of an agent's machines asks, and all those of thousands of hosts would be more connections than a control plane can make in time. */
const MOST_AT_ONCE = 4;
/** Memory that stays with the host itself. */
const HOST_MEMORY_BYTES = 1024 * 2 ** 20;

/** Machines matter more than their numbers: where these cannot be served, the agent runs all the same. */
async function startMetrics(address: string, log: Logger, signal: AbortSignal): Promise<void> {
  const at = parseAddress(address);
  if (!at) throw new UserError(`--metrics ${address}: write an address and a port, such as 127.0.0.1:9464`);
  collectProcessMetrics();
  await serveMetrics(at, signal).catch((error: unknown) => log.warn("metrics.listen", { address, error }));
}

function measuredCapacity(): { cpus: number; memoryBytes: number } & Reservable {
  const topology = readTopology();
  return {
    cpus: availableParallelism() * OVERCOMMIT,
    memoryBytes: Math.max(0, totalmem() - hugeBytes(topology) - HOST_MEMORY_BYTES),
    ...reservableOf(topology),
  };
}

const cpu: Type.TUnsafe<DeclaredProfile["cpu"]> = Type.Unsafe(
  Type.Object({ model: Type.String(), threads: Type.Integer({ minimum: 1 }) }),
);
const power: Type.TUnsafe<NonNullable<DeclaredProfile["power"]>> = Type.Unsafe(
  Type.Object({ idleWatts: Type.Number(), maxWatts: Type.Number() }),
);
const Profile = Type.Object({
  cpu,
  memoryBytes: Type.Integer({ minimum: 1 }),
  power: Type.Optional(power),
});

/** Written by `vireo up`, which declares the hardware of development hosts. @throws UserError */
function readProfile(file: string): DeclaredProfile {
  const found = readOwn(
    file,
    Profile,
    "it declares the hardware of a host as the profile-*.json do that `vireo up --hosts` writes",
  );
  if (!found) throw new UserError(`--profile ${file}: there is no such file`);
  return found;
}

/** Runs until SIGTERM; the machines run on. `paths.state` is the agent's own folder. */
export async function agent(paths: StatePaths, options: AgentOptions): Promise<void> {
  waitForManyFiles();
  const log = ownLogger(`agent ${options.name}`);
  const stopTracing = await startTracing("vireo-agent", version());
  const signal = stopSignal();
  protectFromOom();
  const stateFolder = paths.state;
  mkdirSync(stateFolder, { recursive: true, mode: 0o755 });
  const unlock = await lockFolder(stateFolder);
  const { name, address } = options;
  const enrolment = {
    url: options.join,
    name,
    address,
    enrolmentFile: options.enrolment,
    stateFolder,
    log,
  };
  if (options.metrics !== undefined) await startMetrics(options.metrics, log, signal);
  const credentials = await enrol(enrolment);
  allowUserfaultfd(log);
  const client = new HttpClient({
    url: options.join,
    ca: credentials.ca,
    cert: credentials.cert,
    key: credentials.key,
    name: `agent-${name}`,
    mostAtOnce: MOST_AT_ONCE,
  });
  const profile = options.profile === undefined ? undefined : readProfile(options.profile);
  const facts = await readFacts(stateFolder, address, profile);
  log.info("agent.facts", { accelerator: facts.qemu.accelerator, reason: facts.qemu.reason });
  const networking = new Networking({ stateFolder, address, extraPeers: options.vxlanPeer });
  const environment = new RealEnvironment({
    client,
    host: name,
    address,
    platform: { ...facts.qemu, cpuModel: facts.cpu.model },
    networking,
    sharesKernel: profile !== undefined,
    log,
  });
  const hypervisor = new QemuHypervisor({
    runDirectory: join(stateFolder, "run"),
    tls: { directory: credentials.migrationsDirectory },
    ...(process.getuid?.() === 0 ? { outward: new Outward(stateFolder) } : {}),
    log,
  });
  // Connects to all that run, whether or not a control plane answers: a guest may wait for what an agent before was about to tell its QEMU (qemu/layer-merge.ts).
  void hypervisor.list().catch((error: unknown) => log.warn("agent.machines", { error }));
  const consoles = await serveConsoles({ address, credentials, consoles: hypervisor.consoles, log }).catch(
    (error: unknown): ConsoleListener | undefined => {
      log.warn("consoles.listen", { address, error });
      return undefined;
    },
  );
  const starting = environment.start(signal);
  await Promise.all([
    starting,
    keepCertificate({
      ...enrolment,
      onRenewed: (renewed) => {
        client.setCertificate(renewed);
        consoles?.setCredentials(renewed);
      },
      clock: systemClock,
      signal,
    }),
    runAgent({
      client,
      name,
      hypervisor,
      environment,
      facts,
      capacity: profile
        ? { cpus: profile.cpu.threads, memoryBytes: profile.memoryBytes }
        : measuredCapacity(),
      address,
      ...(consoles ? { consoleAddress: consoles.address } : {}),
      version: version(),
      log,
      signal,
    }),
  ]);
  consoles?.close();
  hypervisor.close();
  client.close();
  unlock();
  await stopTracing();
}
