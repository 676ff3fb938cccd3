/** The kinds that the pages show, by the words of their paths. Of the server's code only types come along. */

import type { Host } from "../../../src/compute/hosts/kinds.ts";
import type { Instance, VirtualMachine } from "../../../src/compute/kinds.ts";
import type { Migration } from "../../../src/compute/migrations/kinds.ts";
import type { Network } from "../../../src/compute/networks/kinds.ts";
import type { Rollback, Snapshot } from "../../../src/compute/snapshots/kinds.ts";
import type { StoragePool } from "../../../src/compute/storage/kinds.ts";
import type { Policy } from "../../../src/director/kinds.ts";
import type { Plan } from "../../../src/director/planning/kinds.ts";
import type { Site } from "../../../src/director/sites.ts";
import type { Distribution, Image, ImageBuild } from "../../../src/images/kinds.ts";
import type { PowerPolicy } from "../../../src/power/policies/kinds.ts";
import type { Event } from "../../../src/reconcile/kinds.ts";
import type { Resource } from "../../../src/resource/object.ts";
import { scope } from "./scope.ts";

export type {
  Distribution,
  Event,
  Host,
  Image,
  ImageBuild,
  Instance,
  Migration,
  Network,
  Plan,
  Policy,
  PowerPolicy,
  Resource,
  Rollback,
  Site,
  Snapshot,
  StoragePool,
  VirtualMachine,
};

export interface Kinds {
  virtualmachines: VirtualMachine;
  instances: Instance;
  hosts: Host;
  migrations: Migration;
  snapshots: Snapshot;
  rollbacks: Rollback;
  policies: Policy;
  powerpolicies: PowerPolicy;
  plans: Plan;
  images: Image;
  imagebuilds: ImageBuild;
  distributions: Distribution;
  networks: Network;
  storagepools: StoragePool;
  sites: Site;
  events: Event;
}
export type Plural = keyof Kinds;

/** Of an object what its name is made of, and the fields at these paths ("status.phase"); a path goes through arrays. */
export type Brief<T, Path extends string> = All<Path extends unknown ? At<T, Path> : never> & {
  metadata: Pick<Resource["metadata"], "name" | "namespace" | "uid" | "resourceVersion">;
};
type At<T, Path extends string> = T extends readonly (infer Item)[]
  ? At<Item, Path>[]
  : T extends object
    ? Path extends `${infer Key}.${infer Rest}`
      ? { [K in keyof Pick<T, Key & keyof T>]: At<T[K], Rest> }
      : Pick<T, Path & keyof T>
    : T;
type All<Each> = (Each extends unknown ? (each: Each) => void : never) extends (all: infer Every) => void
  ? Every
  : never;

/** What tables, the map and the search show of these kinds: there may be tens of thousands of them, or each is large. Lists of whole ones do not fit a browser. */
export const BRIEF_FIELDS = {
  virtualmachines: [
    "metadata.labels",
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "spec.running",
    "spec.paused",
    "spec.suspended",
    "spec.deletionProtection",
    "spec.cpus",
    "spec.memory",
    "status.phase",
    "status.host",
    "status.usage.cpus",
    "status.usage.hostMemoryBytes",
    "status.usage.disk.readBytesPerSecond",
    "status.usage.disk.writtenBytesPerSecond",
    "status.usage.network",
    "status.interfaces.address",
  ],
  hosts: [
    "metadata.labels",
    "spec.site",
    "spec.rack",
    "spec.unschedulable",
    "spec.maintenance",
    "spec.overcommit",
    "spec.watts",
    "status.capacity",
    "status.power",
    "status.conditions",
    "status.facts.power",
    "status.facts.memory.swapBytes",
    "status.facts.cpu.model",
    "status.facts.source",
  ],
  images: ["status.phase"],
  plans: ["spec.trigger", "status.phase"],
} as const;
export type BriefPlural = keyof typeof BRIEF_FIELDS;
export type Briefs = { [P in BriefPlural]: Brief<Kinds[P], (typeof BRIEF_FIELDS)[P][number]> };
export type Machine = Briefs["virtualmachines"];
export type HostBrief = Briefs["hosts"];

/** "namespace/name", or the name alone of what is in no namespace. */
export const keyOf = ({ metadata }: { metadata: { name: string; namespace?: string } }): string =>
  metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;

export interface Place {
  name: string;
  namespace?: string | undefined;
}

/** The version in which each kind is read and written; found out by discovery. */
const versions = new Map<string, string>();
const namespaced = new Set<string>();
const GROUP = "vireo.dev";
const versionOf = (plural: Plural) => versions.get(plural) ?? "v1";
export const apiVersionOf = (plural: Plural): string => `${GROUP}/${versionOf(plural)}`;

/** Of a kind that is served in several versions the newest, which is the one that the types above are of. */
export function learnVersions(
  served: readonly { group: string; version: string; plural: string; namespaced: boolean }[],
): void {
  for (const kind of served) if (kind.namespaced) namespaced.add(kind.plural);
  const number = (version: string) => Number(/^v(\d+)/.exec(version)?.[1] ?? 0);
  for (const { group, version, plural } of served)
    if (group === GROUP && number(version) > number(versions.get(plural) ?? "v0"))
      versions.set(plural, version);
}

export const collectionPath = (plural: Plural, namespace?: string): string =>
  `/apis/${apiVersionOf(plural)}${namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`}/${plural}`;

/** Where all that is shown of a kind is listed. */
export const scopePath = (plural: Plural): string =>
  collectionPath(plural, scope && namespaced.has(plural) ? scope : undefined);

export const objectPath = (plural: Plural, { name, namespace }: Place): string =>
  `${collectionPath(plural, namespace)}/${encodeURIComponent(name)}`;
