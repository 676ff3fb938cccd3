/**
 * The Namespace kind, Kubernetes' own (v1): a project, with its own names, roles and quotas. It has to be there before anything can be
 * made in it, so that a mistyped name does not become a project that no quota limits. One that is deleted takes no new objects,
 * and is there until the last of its own is gone: garbage.ts sees to that.
 */
import { Type } from "typebox";
import { ApiError, invalidValue } from "../resource/errors.ts";
import { type Kind, type Lookup, Words } from "../resource/kind.ts";
import { type Resource, timestamp } from "../resource/object.ts";
import type { Store } from "../store/store.ts";
import { type Cache, type Cached, keyFor } from "./cache.ts";
import { forbidden } from "./prepare.ts";
import { settle, storedForm } from "./stored.ts";
import type { Turns } from "./turns.ts";

/** The one that is always there. */
const DEFAULT = "default";

export const Namespace: Kind = {
  group: "",
  version: "v1",
  kind: "Namespace",
  plural: "namespaces",
  singular: "namespace",
  shortNames: ["ns"],
  categories: [],
  namespaced: false,
  schema: Type.Object(
    {
      spec: Type.Optional(Type.Object({ finalizers: Type.Optional(Type.Array(Type.String())) })),
      status: Type.Optional(
        Type.Object(
          { phase: Words(["Active", "Terminating"], { default: "Active" }) },
          {
            default: {},
            description:
              "Terminating: it is being deleted, and is there until the last object in it is gone.",
          },
        ),
      ),
    },
    { description: "Namespace is a project: it has its own names, roles and quotas." },
  ),
  hasStatus: true,
  columns: [
    { name: "Status", type: "string", jsonPath: ".status.phase" },
    { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
  ],
  selectableFields: ["status.phase"],
  check: ({ metadata: { name } }, old) =>
    old || /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(name)
      ? []
      : [
          invalidValue(
            "metadata.name",
            name,
            "must be a label of at most 63 lower-case letters, digits and '-'",
          ),
        ],
};

export const keepDefault = ({ metadata: { name } }: Resource) =>
  name === DEFAULT ? "this namespace may not be deleted" : undefined;

export const isNamespace = (kind: Kind) => kind.group === "" && kind.plural === Namespace.plural;
export const isNamespaceObject = ({ apiVersion, kind }: Resource) =>
  apiVersion === Namespace.version && kind === Namespace.kind;
const keyOfNamespace = (name: string) => keyFor(Namespace.plural, undefined, name);

/** What its status says from the moment at which it is deleted. */
export const TERMINATING = { status: { phase: "Terminating" } };

/** What the server has to know of the namespaces; without that kind among those it serves, every namespace counts as there. */
export class Namespaces {
  readonly #cache: Cache;
  /** Kinds with namespaces; undefined: the kind Namespace is not served. */
  readonly #kinds: readonly Kind[] | undefined;

  constructor(kinds: readonly Kind[], cache: Cache) {
    this.#cache = cache;
    this.#kinds = kinds.some(isNamespace) ? kinds.filter(({ namespaced }) => namespaced) : undefined;
  }

  /**
   * That an object may be made there, until it is made. Inside `prepare` of a write.
   * @throws ApiError NotFound, Forbidden when it is being deleted
   */
  require(kind: Kind, { metadata }: Resource, turns: Turns): void {
    const name = metadata.namespace;
    if (!this.#kinds || !name || !kind.namespaced) return;
    const found = turns.pin(keyOfNamespace(name));
    if (!found)
      throw new ApiError(
        "NotFound",
        `namespaces ${JSON.stringify(name)} not found: create it first (kubectl create namespace ${name}), or mend the name`,
        { name, group: "", kind: Namespace.plural },
      );
    if (!found.object.metadata.deletionTimestamp) return;
    const message = `unable to create new content in namespace ${name} because it is being terminated`;
    throw forbidden(kind, metadata.name, message, [
      { field: "metadata.namespace", reason: "NamespaceTerminating", message },
    ]);
  }

  /** One of the objects in it; undefined: there is none, and will be none until the write is made. Inside `prepare`. */
  firstOf(name: string, lookup: Lookup): Resource | undefined {
    for (const kind of this.#kinds ?? []) {
      const [first] = lookup.list(kind, name);
      if (first) return first;
    }
    return undefined;
  }

  /** All objects in it. */
  contentsOf(name: string): Cached[] {
    return (this.#kinds ?? []).flatMap(({ plural }) => [
      ...this.#cache.collection(plural).under(`${plural}/${name}/`),
    ]);
  }

  /** The namespace that waits for the end of its last object, when that object was of it. */
  waitingFor({ metadata: { namespace } }: Resource): Cached | undefined {
    const found = this.#kinds && namespace ? this.#cache.get(keyOfNamespace(namespace)) : undefined;
    return found?.object.metadata.deletionTimestamp ? found : undefined;
  }

  /** Makes the default one, and those of objects that were stored before namespaces had to be made. */
  async ensure(store: Store, now: Date): Promise<void> {
    if (!this.#kinds) return;
    const names = new Set([DEFAULT]);
    for (const { object } of this.#cache.all())
      if (object.metadata.namespace) names.add(object.metadata.namespace);
    await Promise.all(
      [...names]
        .filter((name) => !this.#cache.get(keyOfNamespace(name)))
        .map((name) => settle(store, { key: keyOfNamespace(name), expected: 0, value: made(name, now) })),
    );
  }
}

function made(name: string, now: Date): string {
  return storedForm({
    apiVersion: Namespace.version,
    kind: Namespace.kind,
    metadata: { name, uid: crypto.randomUUID(), creationTimestamp: timestamp(now), generation: 1 },
    status: { phase: "Active" },
  });
}
