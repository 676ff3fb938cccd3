/** Attributes of hosts and machines that rules of policies may speak of (expressions.ts), and how each is read. Pure. */
import type { HostView, MachineView } from "../estate/estate.ts";

/** A machine as rules see it. */
export type Subject = Pick<MachineView, "name" | "namespace" | "labels" | "cpus" | "memoryBytes" | "needs">;

export type AttributeValue = string | number | boolean | readonly string[] | Record<string, string>;

interface Attribute<V> {
  /** As CEL calls it. */
  type: "string" | "int" | "double" | "bool" | "list<string>" | "map<string, string>";
  /** Undefined: it is not known. */
  of: (view: V) => AttributeValue | undefined;
}

/** What facts call 0 or nothing when it cannot be read. */
const known = <T extends string | number>(value: T | undefined): T | undefined => value || undefined;

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
    "memory.bytes": { type: "int", of: ({ memoryBytes }) => memoryBytes },
    "memory.speedMTs": { type: "int", of: ({ memoryMTs }) => known(memoryMTs) },
    "disk.ssd": { type: "bool", of: ({ ssd }) => ssd },
    "link.mbps": { type: "int", of: ({ linkMbps }) => known(linkMbps) },
    "power.idleWatts": { type: "double", of: ({ idleWatts }) => idleWatts },
    "power.maxWatts": { type: "double", of: ({ maxWatts }) => maxWatts },
  },
  machine: {
    name: { type: "string", of: ({ name }) => name },
    namespace: { type: "string", of: ({ namespace }) => namespace },
    labels: { type: "map<string, string>", of: ({ labels }) => labels },
    cpus: { type: "int", of: ({ cpus }) => cpus },
    "memory.bytes": { type: "int", of: ({ memoryBytes }) => memoryBytes },
    architecture: {
      type: "string",
      of: ({ needs }) => (needs?.offers.includes("aarch64") ? "aarch64" : "x86_64"),
    },
  },
};

export type Side = keyof typeof ATTRIBUTES;
export const SIDES: readonly Side[] = ["host", "machine"];

/** An attribute that an expression speaks of; `key`: of a map only this one. */
export interface Path {
  attribute: string;
  key?: string;
}

function read<V>(of: Record<string, Attribute<V>>, view: V, { attribute, key }: Path) {
  const value = of[attribute]?.of(view);
  if (key === undefined || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.hasOwn(value, key) ? (value as Record<string, string>)[key] : undefined;
}

/** What the paths have of it, in their order. */
export const readHost = (host: HostView, paths: readonly Path[]) =>
  paths.map((path) => read(ATTRIBUTES.host, host, path));
export const readMachine = (machine: Subject, paths: readonly Path[]) =>
  paths.map((path) => read(ATTRIBUTES.machine, machine, path));

/** "host.labels.tier" */
export const describePath = (side: Side, { attribute, key }: Path): string =>
  `${side}.${attribute}${key === undefined ? "" : /^[a-z_]\w*$/i.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`}`;

/** For `explain`: "host.cpu.mhz (int), …" */
export const attributeList = (side: Side): string =>
  Object.entries(ATTRIBUTES[side])
    .map(([path, { type }]) => `${side}.${path} (${type})`)
    .join(", ");
