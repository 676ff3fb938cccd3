/**
 * Simulated hosts: so many real agents in this one process (certificates and connections of their own, registration, heartbeat, the whole protocol of their
 * instances, usage), each over a hypervisor that only pretends. For measurements of what thousands of hosts are to a control plane and a browser; no guest runs.
 *   node bench/simulated-agents.ts STATE HOSTS     (STATE: the folder of the control plane)
 *
 * Machines that the store has as running at a host run there. To be sparing (what rates is said where figures are): a heartbeat each HEARTBEAT_S, and a look at
 * each machine, with what it uses, each refreshSeconds on average. Says "ready" once all hosts are registered and all machines looked after; ends at SIGTERM.
 */
import { runAgent } from "../src/agent/agent.ts";
import type { MachineId, MachineUsage } from "../src/agent/hypervisor.ts";
import { PretendEnvironment } from "../src/agent/testing/pretend-environment.ts";
import { PretendHypervisor } from "../src/agent/testing/pretend-hypervisor.ts";
import { IDLE, PretendWorld } from "../src/agent/testing/pretend-world.ts";
import { HOSTS as OF_HOSTS, Pki } from "../src/api/pki.ts";
import { statePaths } from "../src/cli/paths.ts";
import { HttpClient } from "../src/client/http.ts";
import { openKubeconfig } from "../src/client/kubeconfig.ts";
import type { Host } from "../src/compute/hosts/kinds.ts";
import type { Instance } from "../src/compute/kinds.ts";
import { createLogger } from "../src/reconcile/log.ts";
import { isApiError } from "../src/resource/errors.ts";
import { hostUser } from "../src/resource/host-name.ts";
import { parseBytes } from "../src/resource/quantity.ts";
import { count, until } from "./measure.ts";
import { HEARTBEAT_S, inPages, refreshSeconds, SIMULATED_FACTS } from "./simulated-estate.ts";

/** So many are on their way up at once: more than a server takes up have to ask again, and again. */
const MOST_STARTING = 128;
/** How often a machine's load goes up and down. */
const WAVE_S = 240;

/** Of which machines use something, each in its own rhythm. */
class SimulatedHypervisor extends PretendHypervisor {
  readonly #world: PretendWorld;

  constructor(world: PretendWorld, host: string) {
    super(world, host);
    this.#world = world;
  }

  override async usage(id: MachineId): Promise<MachineUsage | undefined> {
    const machine = this.#world.machines.get(id);
    if (!machine) return undefined;
    const { cpus, memory } = machine.config;
    const t = (Date.now() - machine.bootedAt) / 1000;
    const phase = (machine.pid % 97) / 97;
    // The integral of 0.1 to 0.7 of its CPUs.
    const busy = 0.4 * t - 0.3 * (WAVE_S / 6.283) * Math.cos(6.283 * (t / WAVE_S + phase));
    const bytes = Math.round((20_000 + 5e6 * phase) * Math.max(0, busy + WAVE_S));
    return {
      cpuSeconds: cpus * (busy + WAVE_S),
      stealSeconds: 0,
      residentBytes: Math.round(memory * (0.3 + 0.5 * phase)),
      disks: [
        {
          disk: "root",
          readBytes: bytes,
          writtenBytes: Math.round(bytes / 2),
          reads: Math.round(bytes / 8192),
          writes: Math.round(bytes / 16_384),
          readSeconds: 0,
          writeSeconds: 0,
        },
      ],
      nics: [{ receivedBytes: bytes, sentBytes: bytes }],
    };
  }
}

const [state, hosts] = process.argv.slice(2);
// Without it, that of this machine's own installation would be meant.
if (state === undefined) throw new Error("usage: node bench/simulated-agents.ts STATE HOSTS");
const HOSTS = count(hosts, 2500, "HOSTS");
const paths = statePaths(state);
const { client, url } = openKubeconfig(paths.kubeconfig);
const pki = await Pki.open(paths.pki);
const log = createLogger("simulated");
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
const world = new PretendWorld({ random: Math.random, stepMs: 2000, breakage: 0 });
const environment = new PretendEnvironment();
for (const instance of (await inPages<Instance>(client, "instances")).items) {
  const { metadata, spec, status } = instance;
  const { host } = spec;
  if (!host || status?.custody !== "Held" || !metadata.uid) continue;
  // Safe: an Instance's uid names its machine.
  const id = metadata.uid as MachineId;
  world.add(id, {
    host,
    config: {
      id,
      name: metadata.name,
      cpus: spec.cpus,
      memory: parseBytes(spec.memory),
      // As its start made it: else no target would fit it.
      ports: status.has?.ports ?? 0,
      ...(await environment.devices(instance)),
      accelerator: "tcg",
      user: { uid: 0, gid: 0 },
    },
    pid: status.pid ?? world.nextPid,
    state: "running",
    bootedAt: Date.now() - 3_600_000,
    resets: [],
    migration: IDLE,
  });
}
/** Whether so many hosts have been taken up. */
async function areTakenUp(count: number): Promise<true | undefined> {
  const answer = await inPages<Host>(client, "hosts", "&fields=status.agent").catch((error: unknown) => {
    // It is asked again.
    if (!isApiError(error, "ServiceUnavailable")) throw error;
  });
  const up = answer?.items.filter(({ status }) => status?.agent?.syncedTime) ?? [];
  return up.length >= count || undefined;
}
const agents: Promise<void>[] = [];
for (let i = 0; i < HOSTS && !stop.signal.aborted; i++) {
  const name = `host-${i}`;
  // One for each, as in a process of its own: to listen to a signal takes the longer the more listen to it.
  const over = new AbortController();
  stop.signal.addEventListener("abort", () => over.abort());
  const { cert, key } = await pki.clientCredentials(hostUser(name), [OF_HOSTS]);
  // One address may have half of a server's connections, two a third each: no more than needed for each, from the two that each machine has.
  const agent = runAgent({
    client: new HttpClient({
      url: i % 2 ? url : url.replace("127.0.0.1", "[::1]"),
      ca: pki.ca,
      cert,
      key,
      mostAtOnce: 1,
    }),
    name,
    hypervisor: new SimulatedHypervisor(world, name),
    environment: new PretendEnvironment(),
    facts: SIMULATED_FACTS,
    capacity: { cpus: 64, memoryBytes: 256 * 2 ** 30 },
    address: `10.255.${i >> 8}.${i & 255}`,
    version: "simulated",
    log,
    signal: over.signal,
    heartbeatSeconds: HEARTBEAT_S,
    intervals: {
      probe: 5000,
      // Not all at once.
      refresh: refreshSeconds(HOSTS) * 1000 * (0.5 + i / HOSTS),
      sample: 20_000,
      sweep: 3_600_000,
      registered: 3_600_000,
    },
  });
  agents.push(agent);
  if (agents.length % (MOST_STARTING / 2) > 0 && agents.length < HOSTS) continue;
  const most = agents.length < HOSTS ? MOST_STARTING / 2 : 0;
  await until("simulated hosts to be in", () => areTakenUp(agents.length - most), {
    limitMs: 600_000,
    everyMs: 1000,
  });
}
process.stdout.write("ready\n");
await Promise.all(agents);
client.close();
