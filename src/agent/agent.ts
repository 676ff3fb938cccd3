/** The host agent: registers its host, keeps its heartbeat, runs its instances. Everything it needs is handed in. */
import type { Client } from "../client/client.ts";
import { Host, type HostFacts } from "../compute/hosts/kinds.ts";
import type { Reservable } from "../compute/resources/kinds.ts";
import { backoffMs } from "../reconcile/backoff.ts";
import { type Clock, systemClock } from "../reconcile/clock.ts";
import { EventRecorder } from "../reconcile/events.ts";
import { Informer } from "../reconcile/informer.ts";
import type { Logger } from "../reconcile/log.ts";
import { isApiError } from "../resource/errors.ts";
import { formatBytes } from "../resource/quantity.ts";
import { newOpener } from "../resource/sealed.ts";
import type { HostEnvironment } from "./environment.ts";
import { runHeartbeat } from "./heartbeat.ts";
import type { Hypervisor } from "./hypervisor.ts";
import { runMemoryErrors } from "./memory-errors.ts";
import { runParting } from "./parting.ts";
import { type Intervals, runInstances } from "./runs/instances.ts";
import { wakeNeighbours } from "./waking.ts";

export interface AgentContext {
  client: Client;
  name: string;
  hypervisor: Hypervisor;
  environment: HostEnvironment;
  facts: HostFacts;
  /** What may be given to machines. */
  capacity: { cpus: number; memoryBytes: number } & Reservable;
  /** Where other hosts reach this one. */
  address: string;
  /** Where control planes reach its consoles; none when absent. */
  consoleAddress?: string;
  version: string;
  clock?: Clock;
  log: Logger;
  signal: AbortSignal;
  heartbeatSeconds?: number;
  intervals?: Partial<Intervals & { registered: number }>;
}

/** What is new with each start. */
interface Since {
  startedTime: string;
  sealingKey: string;
}

const MiB = 2 ** 20;
/** Between two looks whether the Host is still there. */
const REGISTERED_MS = 60_000;

/** Runs until the signal aborts. The machines run on after that. */
export async function runAgent(context: AgentContext): Promise<void> {
  const { client, name, log, signal, clock = systemClock } = context;
  const events = new EventRecorder(client, "agent", log, clock, name);
  // A new key for each start: what was sealed for the one before cannot be opened any more by anybody.
  const opener = newOpener();
  const since = { startedTime: clock.now().toISOString(), sealingKey: opener.publicKey };
  await register(context, clock, since);
  if (signal.aborted) return;
  // One for all who read it: each watch is a connection, and the control plane has those of thousands of agents.
  const own = new Informer(client, Host, { fieldSelector: `metadata.name=${name}`, log, clock });
  wakeNeighbours({ client, host: name, own, events, log });
  await Promise.all([
    runHeartbeat({ client, host: name, seconds: context.heartbeatSeconds ?? 10, clock, log, signal }),
    stayRegistered(context, clock, since),
    // A development host has no memory of its own that could fail, nor may it switch off the machine that it is a part of.
    ...(context.facts.source === "measured"
      ? [
          runMemoryErrors({ client, host: name, clock, log, signal }),
          runParting({ client, host: name, own, hypervisor: context.hypervisor, clock, log, signal }),
        ]
      : []),
    runInstances({
      client,
      host: name,
      hypervisor: context.hypervisor,
      environment: context.environment,
      platform: { accelerator: context.facts.qemu.accelerator, cpuModel: context.facts.cpu.model },
      opener,
      clock,
      log,
      events,
      signal,
      onSynced: () => reportSynced(context, clock),
      ...(context.intervals ? { intervals: context.intervals } : {}),
    }),
    own.run(signal),
  ]);
}

/** Who has just started everything (`vireo up`) waits for it. Tries until the control plane takes it. */
async function reportSynced({ client, name, log, signal }: AgentContext, clock: Clock): Promise<void> {
  const status = { agent: { syncedTime: clock.now().toISOString() } };
  for (let failures = 0; !signal.aborted; failures++)
    try {
      await client.patch(Host, { name }, { status }, { subresource: "status", signal });
      return;
    } catch (error) {
      // It is told when the Host has been made again (stayRegistered).
      if (isApiError(error, "NotFound")) return;
      // Said once, not each time.
      if (failures === 0 && !signal.aborted) log.warn("agent.synced", { host: name, error });
      await clock.sleep(backoffMs(failures), signal);
    }
}

/** Makes the Host when it is new, and tells what it is made of. Tries until the control plane takes it. */
async function register(context: AgentContext, clock: Clock, since: Since): Promise<void> {
  const { client, name, log, signal, facts, capacity, address, consoleAddress, version } = context;
  const { memoryBytes, ...rest } = capacity;
  const status = {
    address,
    // A patch takes away what an earlier agent wrote.
    consoleAddress: consoleAddress ?? null,
    facts,
    capacity: { ...rest, memory: formatBytes(Math.floor(memoryBytes / MiB) * MiB) },
    agent: { version, ...since, syncedTime: null },
  };
  while (!signal.aborted) {
    try {
      if (!(await client.get(Host, { name }, signal)))
        await client.create(Host, { metadata: { name }, spec: {} }, signal).catch((error: unknown) => {
          if (!isApiError(error, "AlreadyExists")) throw error;
        });
      await client.patch(Host, { name }, { status }, { subresource: "status", signal });
      log.info("agent.registered", { host: name });
      return;
    } catch (error) {
      if (!signal.aborted) log.warn("agent.register", { host: name, error });
      await clock.sleep(1000, signal);
    }
  }
}

/**
 * A Host that is not there although the agent is let in (a backup from before was restored) is made again, and one that others made in its place is told what it is: its
 * machines run on, and else they would be Unknown until the agent is started anew, and nothing would be placed there. Who is deleted by users is let in no more.
 */
async function stayRegistered(context: AgentContext, clock: Clock, since: Since): Promise<void> {
  const { client, name, log, signal } = context;
  for (;;) {
    await clock.sleep(context.intervals?.registered ?? REGISTERED_MS, signal);
    if (signal.aborted) return;
    try {
      if ((await client.get(Host, { name }, signal))?.status?.agent) continue;
    } catch {
      // The heartbeat tells of a control plane that does not answer.
      continue;
    }
    log.warn("agent.unregistered", {
      host: name,
      message: "its Host is gone, or was made anew by others; it is told again what it is",
    });
    await register(context, clock, since);
    await reportSynced(context, clock);
  }
}
