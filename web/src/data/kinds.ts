/** The kinds that the pages show, by the words of their paths. Of the server's code only types come along. */

import type { Host } from "../../../src/compute/hosts/kinds.ts";
import type { Instance, Network, StoragePool, VirtualMachine } from "../../../src/compute/kinds.ts";
import type { Migration } from "../../../src/compute/migrations/kinds.ts";
import type { Rollback, Snapshot } from "../../../src/compute/snapshots/kinds.ts";
import type { Plan, Policy } from "../../../src/director/kinds.ts";
import type { Site } from "../../../src/director/sites.ts";
import type { Image } from "../../../src/images/kinds.ts";
import type { Event } from "../../../src/reconcile/kinds.ts";
import type { Resource } from "../../../src/resource/object.ts";
import { scope } from "./scope.ts";

export type {
  Event,
  Host,
  Image,
  Instance,
  Migration,
  Network,
  Plan,
  Policy,
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
  plans: Plan;
  images: Image;
  networks: Network;
  storagepools: StoragePool;
  sites: Site;
  events: Event;
}
export type Plural = keyof Kinds;

/** "namespace/name", or the name alone of what is in no namespace. */
export const keyOf = ({ metadata }: Pick<Resource, "metadata">): string =>
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
