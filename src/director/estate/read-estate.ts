/** Reads the estate fresh from the API: what decides must not decide on old news. */
import { setImmediate as turn } from "node:timers/promises";
import type { Client, List } from "../../client/client.ts";
import { Host } from "../../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../../compute/kinds.ts";
import { Migration } from "../../compute/migrations/kinds.ts";
import { StoragePool } from "../../compute/storage/kinds.ts";
import type { Clock } from "../../reconcile/clock.ts";
import { Policy } from "../kinds.ts";
import { Site } from "../sites.ts";
import { type Estate, type MachineView, makeEstate, type Unread } from "./estate.ts";
import type { UseHistory } from "./history.ts";
import { KeptViews } from "./kept-views.ts";
import { tariffsOf, withTariffs } from "./tariffs.ts";

const unread = (kind: string, { skipped }: List<unknown>): Unread[] =>
  skipped.map((metadata) => ({ kind, metadata }));

/** What is read so is not changed. */
export const READ = { shared: true };

/** What machines were seen to use; absent: nobody has looked. */
export interface Seen {
  history?: UseHistory;
  clock: Clock;
}

/**
 * Has the process do first what has come meanwhile. Each part of the work on a large estate takes a tenth of a second and more; a server that did them all in one
 * go would answer nobody for seconds.
 */
export const othersFirst = (): Promise<void> => turn();

/** Others wait for so long at most, while something is done in pieces. */
const PIECE_MS = 15;

/** Does what comes in pieces, and has others first now and then. */
export async function inPieces<T>(work: Iterator<void, T>): Promise<T> {
  let begin = performance.now();
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
    if (performance.now() - begin < PIECE_MS) continue;
    await othersFirst();
    begin = performance.now();
  }
}

/** What was seen of the machines that a client has read; for a while, as it holds all that it saw. */
const known = new WeakMap<Client, { views: KeptViews; forgetting: NodeJS.Timeout }>();
const FORGOTTEN_MS = 5 * 60_000;

function viewsOf(client: Client): KeptViews {
  const { views = new KeptViews(), forgetting } = known.get(client) ?? {};
  clearTimeout(forgetting);
  known.set(client, { views, forgetting: setTimeout(() => known.delete(client), FORGOTTEN_MS).unref() });
  return views;
}

/** @param besides machines that there are not yet */
export async function readEstate(
  client: Client,
  { history, clock }: Partial<Seen> = {},
  besides: readonly VirtualMachine[] = [],
): Promise<Estate> {
  const [hosts, machines, instances, policies, migrations, pools, sites] = await Promise.all([
    client.list(Host, READ),
    client.list(VirtualMachine, READ),
    client.list(Instance, READ),
    client.list(Policy, READ),
    client.list(Migration, READ),
    client.list(StoragePool, READ),
    client.list(Site, READ),
  ]);
  await othersFirst();
  const now = clock?.now().getTime() ?? Date.now();
  const estate = makeEstate({
    hosts: hosts.items,
    machines: machines.items,
    instances: instances.items,
    policies: policies.items,
    migrations: migrations.items,
    pools: pools.items,
    unread: [
      ...unread("Host", hosts),
      ...unread("VirtualMachine", machines),
      ...unread("Instance", instances),
      ...unread("Policy", policies),
    ],
    known: viewsOf(client),
  });
  if (besides.length > 0) {
    const more = makeEstate({
      hosts: [],
      machines: besides,
      instances: [],
      policies: [],
      pools: pools.items,
    });
    estate.machines = [...estate.machines, ...more.machines].sort((a, b) => (a.key < b.key ? -1 : 1));
    estate.odd.push(...more.odd);
  }
  await othersFirst();
  const tariffs = tariffsOf(sites.items, now);
  const timed = { ...estate, hosts: withTariffs(estate.hosts, tariffs), now, sites: tariffs };
  return history && clock ? { ...timed, machines: measured(timed, history, now) } : timed;
}

function measured({ hosts, machines }: Estate, history: UseHistory, now: number): MachineView[] {
  const zones = new Map(hosts.map(({ name, tariff }) => [name, tariff?.timeZone]));
  return machines.map((machine) => {
    const use = history.useOf(machine.key, now, zones.get(machine.host ?? ""));
    return use ? { ...machine, use } : machine;
  });
}
