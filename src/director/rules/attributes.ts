/** Attributes of hosts and machines that rules of policies may speak of (expressions.ts), and how each is read. Pure. */
import type { HostView, MachineView } from "../estate/estate.ts";

/** A machine as rules see it. */
export type Subject = Pick<
  MachineView,
  | "name"
  | "namespace"
  | "labels"
  | "cpus"
  | "memoryBytes"
  | "needs"
  | "use"
  | "dirtyBytesPerSecond"
  | "latencySensitivity"
>;

export type AttributeValue = string | number | boolean | readonly string[] | Record<string, string>;

interface Attribute<V> {
  /** As CEL calls it. */
  type: "string" | "int" | "double" | "bool" | "list<string>" | "map<string, string>";
  /** Undefined: it is not known. */
  of: (view: V) => AttributeValue | undefined;
  /** It changes by itself, with the hour or with what is measured. */
  momentary?: true;
}

/** What facts call 0 or nothing when it cannot be read. */
const known = <T extends string | number>(value: T | undefined): T | undefined => value || undefined;

/** Undefined of none: a machine without memory modules, or disks, is one that does not tell them. */
const some = <T>(all: readonly T[] | undefined): readonly T[] | undefined =>
  all && all.length > 0 ? all : undefined;
const each = <T>(all: readonly T[] | undefined, of: (one: T) => string | undefined) => {
  const told = all?.flatMap((one) => of(one) ?? []);
  return some([...new Set(told)].sort());
};

/** To two digits: machines that use about the same are judged together. */
const about = (value: number | undefined) => (value === undefined ? undefined : Number(value.toPrecision(2)));

/** All modules have it, one has not, or it is not known of all. */
function eccOf({ facts }: HostView): boolean | undefined {
  const modules = facts?.memory.modules ?? [];
  if (modules.some(({ ecc }) => ecc === false)) return false;
  return modules.length > 0 && modules.every(({ ecc }) => ecc) ? true : undefined;
}

const least = (all: readonly number[] | undefined) => all && known(Math.min(...(some(all) ?? [0])));

/** How many modules the node has that has the fewest; undefined unless each module's node is known. */
function fewestOnANode({ facts }: HostView): number | undefined {
  const { numaNodes = [], memory = { modules: [] } } = facts ?? {};
  const { modules } = memory;
  if (modules.length === 0 || numaNodes.length === 0) return undefined;
  if (modules.some(({ numaNode }) => numaNode === undefined)) return undefined;
  return Math.min(...numaNodes.map(({ id }) => modules.filter(({ numaNode }) => numaNode === id).length));
}

export const ATTRIBUTES: {
  host: Record<string, Attribute<HostView>>;
  machine: Record<string, Attribute<Subject>>;
} = {
  host: {
    name: { type: "string", of: ({ name }) => name },
    site: { type: "string", of: ({ site }) => site },
    rack: { type: "string", of: ({ rack }) => rack },
    row: { type: "string", of: ({ row }) => row },
    feed: { type: "string", of: ({ feed }) => feed },
    dedicatedTo: { type: "string", of: ({ dedicatedTo }) => dedicatedTo ?? "" },
    labels: { type: "map<string, string>", of: ({ labels = {} }) => labels },
    accelerator: { type: "string", of: ({ accelerator }) => accelerator },
    offers: { type: "list<string>", of: ({ has }) => has?.offers ?? [] },
    "cpu.model": { type: "string", of: ({ cpuModel }) => known(cpuModel) },
    "cpu.sockets": { type: "int", of: ({ sockets }) => known(sockets) },
    "cpu.cores": { type: "int", of: ({ cores }) => known(cores) },
    "cpu.threads": { type: "int", of: ({ threads }) => known(threads) },
    "cpu.mhz": { type: "int", of: ({ mhz }) => known(mhz) },
    "cpu.smt": { type: "bool", of: ({ facts }) => facts?.cpu.smt },
    "cpu.vendor": { type: "string", of: ({ facts }) => facts?.cpu.vendor },
    "cpu.family": { type: "int", of: ({ facts }) => facts?.cpu.family },
    "cpu.level": { type: "int", of: ({ facts }) => facts?.cpu.level },
    "cpu.flags": { type: "list<string>", of: ({ facts }) => facts?.cpu.flags },
    "cpu.guests": { type: "list<string>", of: ({ has }) => has?.guestCpus },
    "numa.nodes": { type: "int", of: ({ facts }) => facts?.numaNodes?.length },
    "numa.memoryBytes": {
      type: "int",
      of: ({ facts }) => least(facts?.numaNodes?.map(({ memoryBytes }) => memoryBytes)),
    },
    "numa.modules": { type: "int", of: fewestOnANode },
    "memory.bytes": { type: "int", of: ({ memoryBytes }) => memoryBytes },
    "memory.modules": { type: "int", of: ({ facts }) => known(facts?.memory.modules.length) },
    "memory.moduleBytes": {
      type: "int",
      of: ({ facts }) => least(facts?.memory.modules.map(({ sizeBytes }) => sizeBytes)),
    },
    "memory.types": {
      type: "list<string>",
      of: ({ facts }) => each(facts?.memory.modules, ({ type }) => type),
    },
    "memory.swapBytes": { type: "int", of: ({ facts }) => facts?.memory.swapBytes },
    "memory.speedMTs": { type: "int", of: ({ memoryMTs }) => known(memoryMTs) },
    "memory.ecc": { type: "bool", of: eccOf },
    "memory.errorsLastDay": { type: "int", of: ({ memoryErrorsLastDay }) => memoryErrorsLastDay },
    "disk.ssd": { type: "bool", of: ({ ssd }) => ssd },
    "disk.count": { type: "int", of: ({ facts }) => known(facts?.disks.length) },
    "disk.bytes": {
      type: "int",
      of: ({ facts }) => known(facts?.disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)),
    },
    "disk.kinds": {
      type: "list<string>",
      of: ({ facts }) => each(facts?.disks, ({ kind }) => (kind === "unknown" ? undefined : kind)),
    },
    "disk.transports": {
      type: "list<string>",
      of: ({ facts }) => each(facts?.disks, ({ transport }) => transport),
    },
    "disk.iops": { type: "int", of: ({ budget }) => budget?.iops },
    "disk.bytesPerSecond": { type: "int", of: ({ budget }) => budget?.diskBytes },
    "link.mbps": { type: "int", of: ({ linkMbps }) => known(linkMbps) },
    "link.count": { type: "int", of: ({ facts }) => facts?.links.filter(({ up }) => up).length },
    "link.bytesPerSecond": { type: "int", of: ({ budget }) => budget?.networkBytes },
    "power.idleWatts": { type: "double", of: ({ idleWatts }) => idleWatts },
    "power.maxWatts": { type: "double", of: ({ maxWatts }) => maxWatts },
    "power.supplies": { type: "int", of: ({ facts }) => known(facts?.powerSupplies?.length) },
    "power.price": { type: "double", of: ({ tariff }) => tariff?.price, momentary: true },
    "power.carbon": { type: "double", of: ({ tariff }) => tariff?.carbon, momentary: true },
    "power.pue": { type: "double", of: ({ tariff }) => tariff?.pue, momentary: true },
  },
  machine: {
    name: { type: "string", of: ({ name }) => name },
    namespace: { type: "string", of: ({ namespace }) => namespace },
    labels: { type: "map<string, string>", of: ({ labels }) => labels },
    cpus: { type: "int", of: ({ cpus }) => cpus },
    "memory.bytes": { type: "int", of: ({ memoryBytes }) => memoryBytes },
    latencySensitivity: {
      type: "string",
      of: ({ latencySensitivity = "normal" }) => latencySensitivity,
    },
    "use.cpus": { type: "double", of: ({ use }) => about(use?.expected), momentary: true },
    "use.memoryBytes": { type: "int", of: ({ use }) => about(use?.demand?.memoryBytes), momentary: true },
    "use.iops": { type: "int", of: ({ use }) => about(use?.demand?.iops), momentary: true },
    "use.diskBytesPerSecond": {
      type: "int",
      of: ({ use }) => about(use?.demand?.diskBytes),
      momentary: true,
    },
    "use.networkBytesPerSecond": {
      type: "int",
      of: ({ use }) => about(use?.demand?.networkBytes),
      momentary: true,
    },
    "use.dirtyBytesPerSecond": {
      type: "int",
      of: ({ dirtyBytesPerSecond }) => about(dirtyBytesPerSecond),
      momentary: true,
    },
    architecture: {
      type: "string",
      of: ({ needs }) => (needs?.offers.includes("aarch64") ? "aarch64" : "x86_64"),
    },
  },
};

export type Side = keyof typeof ATTRIBUTES;
export const SIDES: readonly Side[] = ["host", "machine"];

/** An attribute that an expression speaks of; `key`: of a map only this one, of a list only whether this is in it. */
export interface Path {
  attribute: string;
  key?: string;
}

const isList = (value: AttributeValue): value is readonly string[] => Array.isArray(value);

function read<V>(of: Record<string, Attribute<V>>, view: V, { attribute, key }: Path) {
  const value = of[attribute]?.of(view);
  if (key === undefined || typeof value !== "object") return value;
  if (isList(value)) return value.includes(key);
  return Object.hasOwn(value, key) ? value[key] : undefined;
}

/** What the paths have of it, in their order. */
export const readHost = (host: HostView, paths: readonly Path[]) =>
  paths.map((path) => read(ATTRIBUTES.host, host, path));
export const readMachine = (machine: Subject, paths: readonly Path[]) =>
  paths.map((path) => read(ATTRIBUTES.machine, machine, path));

/** "map" or "list" of those that have members; undefined of what is one value. */
export function membersIn(side: Side, attribute: string): "map" | "list" | undefined {
  const [kind] = ATTRIBUTES[side][attribute]?.type.split("<") ?? [];
  return kind === "map" || kind === "list" ? kind : undefined;
}

/** Whether what it reads changes by itself, so that one look says little of the next. */
export const isMomentary = (side: Side, { attribute }: Path): boolean =>
  ATTRIBUTES[side][attribute]?.momentary ?? false;

/** "host.labels.tier", "\"avx2\" in host.cpu.flags" */
export function describePath(side: Side, { attribute, key }: Path): string {
  const whole = `${side}.${attribute}`;
  if (key === undefined) return whole;
  if (membersIn(side, attribute) === "list") return `${JSON.stringify(key)} in ${whole}`;
  return /^[a-z_]\w*$/i.test(key) ? `${whole}.${key}` : `${whole}[${JSON.stringify(key)}]`;
}

/** For `explain`: "host.cpu.mhz (int), …" */
export const attributeList = (side: Side): string =>
  Object.entries(ATTRIBUTES[side])
    .map(([path, { type }]) => `${side}.${path} (${type})`)
    .join(", ");
