/** The director's view of the world: plain data made from API objects. Everything that plans reads only this. Pure. */
import type { Has, Needs } from "../../compute/hardware/kinds.ts";
import type { Host, HostFacts } from "../../compute/hosts/kinds.ts";
import { budgetOf, type Io } from "../../compute/io/kinds.ts";
import type { Instance, LatencySensitivity, Platform, VirtualMachine } from "../../compute/kinds.ts";
import { isFinal, linksOf, type Migration } from "../../compute/migrations/kinds.ts";
import { givenOutBy, OVERCOMMIT } from "../../compute/overcommit/kinds.ts";
import type { Reservable, Reserved } from "../../compute/resources/kinds.ts";
import type { StoragePool } from "../../compute/storage/kinds.ts";
import { heldForPower, isClosed, isEmptied } from "../../power/kinds.ts";
import { invalidity } from "../../resource/invalid.ts";
import { getCondition, type ObjectMeta } from "../../resource/object.ts";
import { parseBytes } from "../../resource/quantity.ts";
import { positionIn } from "../../resource/sorted.ts";
import type { DOMAINS, Policy } from "../kinds.ts";
import { isLeftForMemory } from "./failing-memory.ts";
import { KeptViews } from "./kept-views.ts";
import { localPoolsIn, namespaceOf } from "./machine-views.ts";
import type { Tariff, Tariffs } from "./tariffs.ts";
import type { MachineUse } from "./use.ts";
import { powerFiguresOf } from "./watts.ts";

export interface HostView {
  name: string;
  ready: boolean;
  /** Why it takes no new machines; undefined when it does. */
  closed?: string;
  /** Its machines are to leave it. */
  maintenance?: boolean;
  /** The same for a wake test, as far as the limits of their moves, what they like and the room of others let them. */
  emptied?: boolean;
  /** Its machines are to stay. */
  cordoned?: boolean;
  site: string;
  rack: string;
  row?: string;
  /** Its power feed. */
  feed?: string;
  /** "namespace/name" of the policy whose machines alone it takes. */
  dedicatedTo?: string;
  labels?: Record<string, string>;
  /** Virtual CPUs that may be given out. */
  cpus: number;
  /** Those that it really has, for what machines are measured to use (use.ts); half of the virtual ones when not told. */
  processors?: number;
  /** Memory that may be given out. */
  memoryBytes: number;
  /** What it really has of it for machines, of which policies' limits are shares; as much as may be given out when not told. */
  ownMemoryBytes?: number;
  /** Of one core, nominal; 0: not known. */
  mhz: number;
  cores: number;
  sockets?: number;
  threads?: number;
  cpuModel: string;
  /** Megatransfers per second of the slowest memory module. */
  memoryMTs?: number;
  idleWatts?: number;
  maxWatts?: number;
  /** At 0, 10 … 100 % of its processors' time (watts.ts). */
  wattsCurve?: readonly number[];
  accelerator: Platform["accelerator"];
  /** What it has for guests that not every host has. */
  has?: Has;
  /** What it can give to one machine alone. */
  reservable?: Reservable;
  ssd: boolean;
  linkMbps: number;
  /** What a move gets of the link that has its address; absent: its agent does not tell which that is. */
  moveMbps?: number;
  /** What its machines may use at most by their limits; of what is absent nothing is said. */
  budget?: Partial<Io>;
  /** What it is made of, for rules of policies; absent of one that is only declared (simulate/hosts.ts). */
  facts?: HostFacts;
  /** Corrected errors of its memory within a day; absent where nobody counts them. */
  memoryErrorsLastDay?: number;
  /** What power costs and emits at its site now (tariffs.ts). */
  tariff?: Tariff;
}

export type Level = (typeof DOMAINS)[number];

/** Those of two sites that are called the same are two. */
export function domainOf(
  { name, site, rack, row, feed }: Pick<HostView, "name" | Exclude<Level, "host">>,
  level: Level,
): string {
  switch (level) {
    case "host":
      return name;
    case "rack":
      return `${site} ${rack}`;
    // A rack without row, and a host without feed, fails by itself.
    case "row":
      return `${site} ${row ?? `rack ${rack}`}`;
    case "feed":
      return `${site} ${feed ?? `host ${name}`}`;
    case "site":
      return site;
  }
}

export interface MachineView {
  /** "namespace/name" */
  key: string;
  namespace: string;
  name: string;
  labels: Record<string, string>;
  cpus: number;
  memoryBytes: number;
  /** Throughput that it may use by its own limits; absent: it has none. */
  io?: Io;
  /** Absent: normal. */
  latencySensitivity?: LatencySensitivity;
  /** What it was measured to use; absent until it is known well enough (history.ts). */
  use?: MachineUse;
  /** How fast its guest writes to its memory, as measured last; absent: nobody has measured it where it runs. */
  dirtyBytesPerSecond?: number;
  /** Where it runs or is bound to run. */
  host?: string;
  /** It is on no host and not to come to one until somebody starts it. */
  off?: boolean;
  /** A host it is moving to: it counts on both. */
  movingTo?: string;
  /** What its run began on; a host where it cannot go on is none for it while it runs. */
  platform?: Platform & { guestCpu?: string };
  /** It is to go on with memory that was kept on this. */
  resumes?: Platform & { guestCpu?: string };
  /** What a host has to have for it. */
  needs?: Needs;
  /** What it has of its host alone, or is to have. */
  reserved?: Reserved;
  /** The only host that can start it, because it has its disks. A run can be moved away from there, with them. */
  disksOn?: string;
  /** Its disks are on its host alone: nothing but a move gets them away. */
  localDisks?: boolean;
  /** So much of them, as far as it is declared. */
  localDiskBytes?: number;
  /** May be moved: it runs and nothing else is being done with it. */
  movable: boolean;
  /** Since when it has been on its host, ms since the epoch. */
  since: number;
  /** Hosts that it was moved away from, and when, ms since the epoch. */
  left?: { host: string; at: number }[];
  /** Moves of plans that came to nothing, one after the other: how many, when the last ended (ms since the epoch), and why. */
  failed?: { times: number; at: number; why: string };
}

export interface Estate {
  hosts: HostView[];
  machines: MachineView[];
  policies: Policy[];
  /** Ms since the epoch; absent: no goal has its time. */
  now?: number;
  /** What power costs and emits now. */
  sites?: Tariffs;
  /** Moves that no plan made and that came to a good end, the oldest first; absent: nobody has looked. */
  asked?: readonly Migration[];
  /** Objects that make no sense, with what is wrong: skipped, never in the way of the others. */
  odd: { object: string; message: string }[];
}

export function viewHost(host: Host): HostView | undefined {
  const { status, spec, metadata } = host;
  const { facts, capacity, memoryErrors } = status ?? {};
  const given = givenOutBy(host);
  if (!facts || !capacity || !given) return undefined;
  const ready = getCondition(status?.conditions, "Ready")?.status === "True";
  const failing = isLeftForMemory(host);
  const closed = spec.maintenance
    ? "it is in maintenance"
    : failing
      ? "its memory is failing (condition MemoryFailing)"
      : spec.unschedulable
        ? "it is marked unschedulable"
        : (heldForPower(host) ?? (ready ? undefined : "it is not ready"));
  const budget = budgetOf(spec.budget);
  const speeds = facts.memory.modules.flatMap(({ speedMTs }) => speedMTs || []);
  return {
    name: metadata.name,
    ready,
    ...(closed ? { closed } : {}),
    ...(spec.maintenance || failing ? { maintenance: true } : {}),
    ...(isEmptied(host) && !failing && !isClosed(spec) ? { emptied: true } : {}),
    ...(spec.unschedulable ? { cordoned: true } : {}),
    site: spec.site ?? "",
    rack: spec.rack ?? metadata.name,
    ...(spec.row ? { row: spec.row } : {}),
    ...(spec.feed ? { feed: spec.feed } : {}),
    ...(spec.dedicatedTo ? { dedicatedTo: spec.dedicatedTo } : {}),
    ...(metadata.labels ? { labels: metadata.labels } : {}),
    cpus: given.cpus,
    processors: capacity.cpus / OVERCOMMIT,
    memoryBytes: given.memoryBytes,
    ownMemoryBytes: parseBytes(capacity.memory),
    mhz: facts.cpu.mhz,
    cores: facts.cpu.cores,
    sockets: facts.cpu.sockets,
    threads: facts.cpu.threads,
    cpuModel: facts.cpu.model,
    ...(speeds.length > 0 ? { memoryMTs: Math.min(...speeds) } : {}),
    ...powerFiguresOf(host),
    accelerator: facts.qemu.accelerator,
    has: facts.qemu,
    reservable: given.reservable,
    ssd: facts.disks.some((disk) => disk.kind === "ssd"),
    ...linksOf(facts),
    ...(budget ? { budget } : {}),
    facts,
    ...(memoryErrors ? { memoryErrorsLastDay: sumOf(memoryErrors.modules) } : {}),
  };
}

const sumOf = (modules: readonly { correctedLastDay: number }[]) =>
  modules.reduce((sum, { correctedLastDay }) => sum + correctedLastDay, 0);

/** An object of which only the metadata can be read. */
export interface Unread {
  kind: string;
  metadata: ObjectMeta;
}

type Past = Pick<MachineView, "left" | "failed">;

const endOf = ({ status }: Migration) => Date.parse(status?.finishedTime ?? "") || 0;

/** By machine: what came of its migrations that are over. */
function pastMoves(migrations: readonly Migration[]): Map<string, Past> {
  const past = new Map<string, Past>();
  for (const migration of migrations.filter(isFinal).sort((a, b) => endOf(a) - endOf(b))) {
    const { phase, from, message = "" } = migration.status ?? {};
    const key = `${namespaceOf(migration)}/${migration.spec.vm}`;
    const { left = [], failed } = past.get(key) ?? {};
    const at = endOf(migration);
    if (phase === "Succeeded") past.set(key, from ? { left: [...left, { host: from, at }] } : { left });
    // Nothing is Cancelled but by a user, who stopped the plan, say: that is no trouble of the machine's.
    else if (migration.spec.plan && phase !== "Cancelled")
      past.set(key, { left, failed: { times: (failed?.times ?? 0) + 1, at, why: message } });
  }
  return past;
}

/** By machine: where a Migration that is not over moves it, "" while nobody knows. Its target may not exist yet; its room is taken all the same. */
function goals(migrations: readonly Migration[]): Map<string, string> {
  return new Map(
    migrations
      .filter((migration) => !isFinal(migration))
      .map((migration) => [`${namespaceOf(migration)}/${migration.spec.vm}`, migration.spec.to ?? ""]),
  );
}

export function makeEstate(objects: {
  hosts: readonly Host[];
  machines: readonly VirtualMachine[];
  instances: readonly Instance[];
  policies: readonly Policy[];
  migrations?: readonly Migration[];
  pools?: readonly StoragePool[];
  unread?: readonly Unread[];
  /** What was seen of the machines when they were read before. */
  known?: KeptViews;
}): Estate {
  const { unread = [], known = new KeptViews() } = objects;
  const unreadInstances = unread.filter(({ kind }) => kind === "Instance").map(({ metadata }) => metadata);
  const localPools = localPoolsIn(objects.pools ?? []);
  const { views: machines, odd: oddMachines } = known.look({
    machines: objects.machines,
    instances: objects.instances,
    unread: unreadInstances,
    localPools,
  });
  const past = pastMoves(objects.migrations ?? []);
  const goingTo = goals(objects.migrations ?? []);
  // Of a large estate few were moved lately.
  for (const key of new Set([...past.keys(), ...goingTo.keys()])) {
    const at = positionIn(machines, key);
    const view = machines[at];
    if (view?.key !== key) continue;
    const to = goingTo.get(key);
    machines[at] = {
      ...view,
      ...past.get(key),
      ...(to === undefined ? {} : { movable: false }),
      ...(to && view.host && to !== view.host && !view.movingTo ? { movingTo: to } : {}),
    };
  }
  const odd: Estate["odd"] = unread.map((object) => ({
    object: `${object.kind}/${object.metadata.name}`,
    message: invalidity(object) ?? "it does not have the shape of its kind",
  }));
  odd.push(...oddMachines);
  const hosts = objects.hosts.flatMap((host) => {
    try {
      return viewHost(host) ?? [];
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      odd.push({ object: `Host/${host.metadata.name}`, message });
      return [];
    }
  });
  return {
    hosts: hosts.sort((a, b) => (a.name < b.name ? -1 : 1)),
    machines,
    policies: [...objects.policies].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1)),
    odd,
    asked: (objects.migrations ?? [])
      .filter(({ spec, status }) => !spec.plan && status?.phase === "Succeeded")
      .sort((a, b) => endOf(a) - endOf(b)),
  };
}
