/**
 * Removes what an agent that was killed left behind on its host: what it had made for a run that is gone, or had half made. The world is looked at
 * first and the API after that: whatever was there had its Instance before, so one that has none now has lost it. Everything is listed in an
 * Event before it is removed. What an installation did not make is never touched; each trace is known as its own by a mark, its place or its name.
 *
 * What runs without an Instance is no leftover: the store was restored from a time before it, or somebody forced its Instance away. It is
 * somebody's work and is left alone, with its tap and network; people are told.
 */
import type { Client } from "../client/client.ts";
import { Instance } from "../compute/kinds.ts";
import { Network } from "../compute/networks/kinds.ts";
import type { EventRecorder } from "../reconcile/events.ts";
import type { Logger } from "../reconcile/log.ts";
import type { HostEnvironment } from "./environment.ts";
import type { Hypervisor, MachineState } from "./hypervisor.ts";
import type { Owners } from "./traces.ts";

/** Well below what an Event's message may have. */
const LISTED_CHARS = 800;

export async function removeLeftovers(context: {
  client: Client;
  host: string;
  hypervisor: Pick<Hypervisor, "list" | "traces">;
  environment: Pick<HostEnvironment, "traces">;
  events: EventRecorder;
  log: Logger;
}): Promise<void> {
  const { client, host, hypervisor, environment, events, log } = context;
  const machines = await hypervisor.list();
  const traces = [...(await hypervisor.traces()), ...(await environment.traces())];
  if (machines.length + traces.length === 0) return;
  // Those of this host explain all of it, mostly: all Instances of a large estate are much to read for each of thousands of agents.
  const own = await ownersOf(client, { fieldSelector: `spec.host=${host}` });
  const isOrphan = ({ id, state }: MachineState, { uids, oddInstances }: Known) =>
    state !== "ended" && !uids.has(id) && !oddInstances.has(id);
  if (!machines.some((each) => isOrphan(each, own)) && traces.every((trace) => trace.isNeeded(own))) return;
  const owners = await ownersOf(client);
  for (const machine of machines) {
    if (!isOrphan(machine, owners)) continue;
    const { id, pid } = machine;
    log.warn("instances.orphan", { id, pid });
    events.record(
      { kind: "Host", name: host },
      "Warning",
      "OrphanFound",
      `process ${pid} runs a machine (${id}) that has no Instance; it is left running: end the process if it is not wanted any more`,
    );
  }
  const left = traces.filter((trace) => !trace.isNeeded(owners));
  if (left.length === 0) return;
  for (const list of listed(left.map(({ what }) => what))) {
    log.info("leftovers.removed", { list });
    events.record(
      { kind: "Host", name: host },
      "Normal",
      "LeftoversRemoved",
      `left over from work that was cut short, needed by nothing, and removed: ${list}`,
    );
  }
  await events.flushed();
  for (const { what, remove } of left)
    await remove().catch((error: unknown) => log.warn("leftovers.remove", { what, error }));
}

interface Known extends Owners {
  uids: ReadonlySet<string>;
}

async function ownersOf(client: Client, selection: { fieldSelector?: string } = {}): Promise<Known> {
  const instances = await client.list(Instance, selection);
  const networks = await client.list(Network);
  return {
    instances: instances.items,
    uids: new Set(instances.items.flatMap(({ metadata: { uid } }) => uid ?? [])),
    oddInstances: new Set(instances.skipped.flatMap(({ uid }) => uid ?? [])),
    networks: new Set(
      [...networks.items.map(({ metadata }) => metadata), ...networks.skipped].map((m) => m.name),
    ),
  };
}

/** In as many texts as it takes. */
function listed(names: readonly string[]): string[] {
  const texts: string[] = [];
  for (const name of names) {
    const last = texts.at(-1);
    if (last !== undefined && last.length + name.length < LISTED_CHARS)
      texts[texts.length - 1] = `${last}, ${name}`;
    else texts.push(name);
  }
  return texts;
}
