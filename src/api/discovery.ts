/** Discovery: which groups, versions and resources there are; in the classic form and in the aggregated one (kubectl 1.26 and later). */
import { createHash } from "node:crypto";
import type { Kind } from "../resource/kind.ts";
import { SCALE } from "./scale.ts";
import { groupVersion, type Served } from "./served.ts";

const SUBRESOURCE_VERBS = ["get", "patch", "update"];

type KindName = Pick<Kind, "group" | "version" | "kind">;

/** The subresources of a kind, with the kind of object that each is. */
function subresourcesOf(served: Served): { name: string; of: KindName; verbs: readonly string[] }[] {
  const { kind, verbs, subresources = [] } = served;
  if (!verbs.includes("update")) return [];
  return [
    ...(kind.hasStatus ? [{ name: "status", of: kind, verbs: SUBRESOURCE_VERBS }] : []),
    ...(kind.scale ? [{ name: "scale", of: SCALE, verbs: SUBRESOURCE_VERBS }] : []),
    ...subresources.map(({ name, answers, methods }) => ({
      name,
      of: { group: kind.group, version: kind.version, kind: answers ?? kind.kind },
      verbs: [...new Set(Object.values(methods))],
    })),
  ];
}

interface Group {
  name: string;
  versions: Map<string, Served[]>;
}

export class Discovery {
  readonly #all: readonly Served[];
  constructor(all: readonly Served[]) {
    this.#all = all;
  }

  #groups(): Group[] {
    const groups = new Map<string, Group>();
    for (const served of this.#all) {
      const { group: name, version } = served.kind;
      const group = groups.get(name) ?? { name, versions: new Map() };
      groups.set(name, group);
      group.versions.set(version, [...(group.versions.get(version) ?? []), served]);
    }
    return [...groups.values()];
  }

  /** GET /api */
  coreVersions(host: string): object {
    return {
      kind: "APIVersions",
      versions: ["v1"],
      serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: host }],
    };
  }

  /** GET /apis */
  groupList(): object {
    const groups = this.#groups().filter((group) => group.name !== "");
    return { kind: "APIGroupList", apiVersion: "v1", groups: groups.map(describeGroup) };
  }

  /** GET /apis/GROUP */
  group(name: string): object | undefined {
    const group = this.#groups().find((candidate) => candidate.name === name && name !== "");
    return group && { kind: "APIGroup", apiVersion: "v1", ...describeGroup(group) };
  }

  /** GET /apis/GROUP/VERSION and /api/v1 */
  resources(group: string, version: string): object | undefined {
    const found = this.#all.filter(({ kind }) => kind.group === group && kind.version === version);
    if (found.length === 0) return undefined;
    return {
      kind: "APIResourceList",
      apiVersion: "v1",
      groupVersion: group ? `${group}/${version}` : version,
      resources: found.flatMap(classicResources),
    };
  }

  /** GET /api (core) and /apis with `as=APIGroupDiscoveryList`. */
  aggregated(core: boolean, version: string): object {
    return {
      kind: "APIGroupDiscoveryList",
      apiVersion: `apidiscovery.k8s.io/${version}`,
      metadata: {},
      items: this.#groups()
        .filter((group) => (group.name === "") === core)
        .map((group) => ({
          metadata: { name: group.name, creationTimestamp: null },
          versions: [...group.versions].map(([name, all]) => ({
            version: name,
            freshness: "Current",
            resources: all.map(aggregatedResource),
          })),
        })),
    };
  }

  /** Groups with versions, as OpenAPI v3 divides them: "apis/vireo.dev/v1". */
  documents(): Map<string, Served[]> {
    const documents = new Map<string, Served[]>();
    for (const served of this.#all) {
      const name = `${served.kind.group ? "apis" : "api"}/${groupVersion(served.kind)}`;
      documents.set(name, [...(documents.get(name) ?? []), served]);
    }
    return documents;
  }
}

function describeGroup(group: Group) {
  const versions = [...group.versions.keys()].map((version) => ({
    groupVersion: `${group.name}/${version}`,
    version,
  }));
  return { name: group.name, versions, preferredVersion: versions[0] };
}

function classicResources(served: Served) {
  const { kind, verbs } = served;
  return [
    {
      name: kind.plural,
      singularName: kind.singular,
      namespaced: kind.namespaced,
      kind: kind.kind,
      verbs,
      ...(kind.shortNames.length ? { shortNames: kind.shortNames } : {}),
      ...(kind.categories.length ? { categories: kind.categories } : {}),
      storageVersionHash: createHash("sha256").update(kind.plural).digest("base64").slice(0, 12),
    },
    ...subresourcesOf(served).map(({ name, of, verbs }) => ({
      name: `${kind.plural}/${name}`,
      singularName: "",
      namespaced: kind.namespaced,
      ...(of === kind ? {} : { group: of.group, version: of.version }),
      kind: of.kind,
      verbs,
    })),
  ];
}

function aggregatedResource(served: Served) {
  const { kind, verbs } = served;
  const responseKind = { group: kind.group, version: kind.version, kind: kind.kind };
  return {
    resource: kind.plural,
    responseKind,
    scope: kind.namespaced ? "Namespaced" : "Cluster",
    singularResource: kind.singular,
    verbs,
    shortNames: kind.shortNames,
    categories: kind.categories,
    subresources: subresourcesOf(served).map(({ name, of, verbs }) => ({
      subresource: name,
      responseKind: { group: of.group, version: of.version, kind: of.kind },
      verbs,
    })),
  };
}
