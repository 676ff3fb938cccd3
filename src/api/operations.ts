/**
 * The operations on resources with Kubernetes' semantics, over the store: class Operations implements Service.
 * Source: Kubernetes API concepts and conventions; what clients really need was measured with kubectl 1.20 to 1.33.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { ApiError } from "../resource/errors.ts";
import type { Kind, Lookup } from "../resource/kind.ts";
import { type Resource, timestamp } from "../resource/object.ts";
import { CompareFailed, type Store } from "../store/store.ts";
import { Cache, type Cached, keyFor } from "./cache.ts";
import { jsonPatch, mergePatch } from "./patch.ts";
import { decode, finish, invalid, resourceName, SERVER_FIELDS } from "./prepare.ts";
import { notFound, Reader } from "./reader.ts";
import type {
  DeleteRequest,
  ListRequest,
  ListResult,
  Service,
  ServiceEvent,
  WatchRequest,
  WriteOptions,
  Written,
} from "./service.ts";

/** History kept for watches that come back: at 100 writes/s more than three minutes. */
const KEEP_REVISIONS = 20_000;
/** A write without a precondition that loses a race is tried again on the new state. */
const ATTEMPTS = 10;
const PROPAGATION_FINALIZERS = ["orphan", "foregroundDeletion"];

const modified = (kind: Kind, name: string, cause?: unknown) =>
  new ApiError(
    "Conflict",
    `Operation cannot be fulfilled on ${resourceName(kind)} ${JSON.stringify(name)}: the object has been modified; please apply your changes to the latest version and try again`,
    { name, group: kind.group, kind: kind.plural },
    { cause },
  );

export class Operations implements Service {
  readonly kinds: readonly Kind[];
  readonly #store: Store;
  readonly #cache: Cache;
  readonly #reader: Reader;
  readonly #now: () => Date;
  #compactAt: number;

  private constructor(store: Store, kinds: readonly Kind[], cache: Cache, now: () => Date) {
    this.kinds = kinds;
    this.#store = store;
    this.#cache = cache;
    this.#reader = new Reader(store, cache);
    this.#now = now;
    this.#compactAt = store.revision() + KEEP_REVISIONS / 2;
  }

  /** Loads the store into memory. `now` is the clock of creationTimestamp and deletionTimestamp. */
  static async open(
    store: Store,
    kinds: readonly Kind[],
    options: { now?: () => Date } = {},
  ): Promise<Operations> {
    return new Operations(store, kinds, await Cache.load(store), options.now ?? (() => new Date()));
  }

  close(): void {
    this.#cache.close();
  }

  async get(kind: Kind, namespace: string | undefined, name: string): Promise<Resource> {
    return this.#reader.get(kind, namespace, name);
  }

  async list(kind: Kind, request: ListRequest): Promise<ListResult> {
    return this.#reader.list(kind, request);
  }

  watch(kind: Kind, request: WatchRequest, onEvent: (event: ServiceEvent) => void): Promise<() => void> {
    return this.#reader.watch(kind, request, onEvent);
  }

  async create(
    kind: Kind,
    namespace: string | undefined,
    body: unknown,
    options: WriteOptions,
  ): Promise<Written> {
    const warnings: string[] = [];
    const object = decode(kind, body, options, warnings);
    const { metadata } = object;
    if (metadata.resourceVersion)
      throw new ApiError(
        "BadRequest",
        "metadata.resourceVersion: should not be set on objects to be created",
      );
    this.#settleNamespace(kind, namespace, object);
    if (!metadata.name && metadata.generateName)
      metadata.name = `${metadata.generateName}${randomBytes(3).toString("hex").slice(0, 5)}`;
    for (const field of SERVER_FIELDS) if (field !== "generateName") Reflect.deleteProperty(metadata, field);
    delete metadata.managedFields;
    metadata.uid = randomUUID();
    metadata.creationTimestamp = timestamp(this.#now());
    metadata.generation = 1;
    if (kind.hasStatus) delete object.status;
    finish(kind, object, undefined, this.#lookup);
    const key = keyFor(kind.plural, metadata.namespace, metadata.name);
    const exists = (cause?: unknown) =>
      new ApiError(
        "AlreadyExists",
        `${resourceName(kind)} ${JSON.stringify(metadata.name)} already exists`,
        { name: metadata.name, group: kind.group, kind: kind.plural },
        { cause },
      );
    if (this.#cache.collection(kind.plural).byKey.has(key)) throw exists();
    if (options.dryRun) return { object, warnings, created: true };
    try {
      return { object: await this.#put(key, object, 0), warnings, created: true };
    } catch (error) {
      if (error instanceof CompareFailed) throw exists(error);
      throw error;
    }
  }

  async update(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    body: unknown,
    options: WriteOptions,
  ): Promise<Written> {
    const warnings: string[] = [];
    const next = decode(kind, body, options, warnings);
    if (!next.metadata.resourceVersion)
      throw invalid(kind, name, [
        {
          field: "metadata.resourceVersion",
          reason: "FieldValueInvalid",
          message: "Invalid value: 0x0: must be specified for an update",
        },
      ]);
    const object = await this.#change(kind, namespace, name, () => structuredClone(next), options);
    return { object, warnings, created: false };
  }

  async patch(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    patch: { type: "merge" | "json"; body: unknown },
    options: WriteOptions,
  ): Promise<Written> {
    let warnings: string[] = [];
    const apply = patch.type === "merge" ? mergePatch : jsonPatch;
    const object = await this.#change(
      kind,
      namespace,
      name,
      (current) => {
        warnings = [];
        return decode(kind, apply(current, patch.body), options, warnings);
      },
      options,
      // The patched object carries the stored resourceVersion; it is a precondition only when the patch names it.
      patch.type === "merge" ? hasResourceVersion(patch.body) : false,
    );
    return { object, warnings, created: false };
  }

  async delete(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    request: DeleteRequest,
  ): Promise<{ object: Resource; gone: boolean }> {
    for (let attempt = 0; ; attempt++) {
      const current = this.#current(kind, namespace, name);
      const { metadata } = current.object;
      const precondition = (what: string, wanted: string | undefined, found: string | undefined) => {
        if (wanted !== undefined && wanted !== found)
          throw new ApiError(
            "Conflict",
            `Precondition failed: ${what} in precondition: ${wanted}, ${what} in object meta: ${found}`,
            {
              name,
              group: kind.group,
              kind: kind.plural,
            },
          );
      };
      precondition("UID", request.uid, metadata.uid);
      precondition("ResourceVersion", request.resourceVersion, metadata.resourceVersion);
      const finalizers = (metadata.finalizers ?? []).filter((f) => !PROPAGATION_FINALIZERS.includes(f));
      const dependents = request.propagation === "Orphan" ? [] : this.#dependentsOf(current.object);
      try {
        if (finalizers.length === 0) {
          if (!request.dryRun) await this.#remove(current);
          if (!request.dryRun) await this.#collect(current.object, dependents, request);
          return { object: current.object, gone: true };
        }
        if (metadata.deletionTimestamp) return { object: current.object, gone: false };
        const object: Resource = {
          ...current.object,
          metadata: {
            ...metadata,
            finalizers,
            deletionTimestamp: timestamp(this.#now()),
            deletionGracePeriodSeconds: 0,
            generation: (metadata.generation ?? 0) + 1,
          },
        };
        if (request.dryRun) return { object, gone: false };
        return { object: await this.#put(current.key, object, current.revision), gone: false };
      } catch (error) {
        if (!(error instanceof CompareFailed)) throw error;
        if (attempt >= ATTEMPTS) throw modified(kind, name, error);
      }
    }
  }

  // --- inside ---

  readonly #lookup: Lookup = {
    list: <T extends Resource>(kind: Kind<T>, namespace?: string): readonly T[] =>
      this.#cache
        .collection(kind.plural)
        .sorted()
        .filter(({ object }) => !namespace || object.metadata.namespace === namespace)
        // Safe: a collection holds only objects that the schema of its kind accepted.
        .map(({ object }) => object as T),
  };

  #current(kind: Kind, namespace: string | undefined, name: string): Cached {
    const found = this.#cache.collection(kind.plural).byKey.get(keyFor(kind.plural, namespace, name));
    if (!found) throw notFound(kind, name);
    return found;
  }

  #settleNamespace(kind: Kind, namespace: string | undefined, object: Resource): void {
    const { metadata } = object;
    if (!kind.namespaced) {
      delete metadata.namespace;
      return;
    }
    if (metadata.namespace && namespace && metadata.namespace !== namespace)
      throw new ApiError(
        "BadRequest",
        `metadata.namespace: the namespace of the object (${metadata.namespace}) is not that of the request (${namespace})`,
      );
    metadata.namespace = namespace ?? metadata.namespace ?? "default";
  }

  /** Read, change, check, compare-and-swap. Without a precondition of the client a lost race is tried again. */
  async #change(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    make: (current: Resource) => Resource,
    options: WriteOptions,
    conditional = true,
  ): Promise<Resource> {
    for (let attempt = 0; ; attempt++) {
      const current = this.#current(kind, namespace, name);
      const old = current.object;
      const next = this.#merge(kind, namespace, name, old, make(old), options, conditional);
      if (isDeepStrictEqual(next, old) || options.dryRun) return next;
      try {
        if (next.metadata.deletionTimestamp && (next.metadata.finalizers ?? []).length === 0) {
          const dependents = this.#dependentsOf(old);
          await this.#remove(current);
          await this.#collect(old, dependents, { user: options.user });
          return next;
        }
        return await this.#put(current.key, next, current.revision);
      } catch (error) {
        if (!(error instanceof CompareFailed)) throw error;
        if (conditional || attempt >= ATTEMPTS) throw modified(kind, name, error);
      }
    }
  }

  /** What the stored object becomes when a client writes `next` over `old`. @throws ApiError */
  #merge(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    old: Resource,
    next: Resource,
    options: WriteOptions,
    conditional: boolean,
  ): Resource {
    const given = next.metadata;
    if (given.name !== name)
      throw new ApiError(
        "BadRequest",
        `metadata.name: the name of the object (${given.name}) is not the name on the URL (${name})`,
      );
    this.#settleNamespace(kind, namespace, next);
    if (given.uid && given.uid !== old.metadata.uid)
      throw new ApiError(
        "Conflict",
        `Precondition failed: UID in precondition: ${given.uid}, UID in object meta: ${old.metadata.uid}`,
        { name, group: kind.group, kind: kind.plural },
      );
    if (conditional && given.resourceVersion && given.resourceVersion !== old.metadata.resourceVersion)
      throw modified(kind, name);
    let merged: Resource;
    if (options.subresource === "status") merged = { ...structuredClone(old), status: next.status };
    else {
      merged = next;
      for (const field of SERVER_FIELDS) {
        const value: unknown = Reflect.get(old.metadata, field);
        if (value === undefined) Reflect.deleteProperty(merged.metadata, field);
        else Reflect.set(merged.metadata, field, value);
      }
      delete merged.metadata.managedFields;
      if (kind.hasStatus) merged.status = structuredClone(old.status);
    }
    if (merged.status === undefined) delete merged.status;
    merged.metadata.resourceVersion = old.metadata.resourceVersion ?? "";
    finish(kind, merged, old, this.#lookup);
    if (old.metadata.deletionTimestamp) {
      const added = (merged.metadata.finalizers ?? []).find(
        (f) => !(old.metadata.finalizers ?? []).includes(f),
      );
      if (added)
        throw invalid(kind, name, [
          {
            field: "metadata.finalizers",
            reason: "FieldValueForbidden",
            message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
          },
        ]);
    }
    const wanted = ({ metadata: _m, status: _s, ...rest }: Resource) => rest;
    if (options.subresource !== "status" && !isDeepStrictEqual(wanted(merged), wanted(old)))
      merged.metadata.generation = (old.metadata.generation ?? 0) + 1;
    return merged;
  }

  async #put(key: string, object: Resource, expected: number): Promise<Resource> {
    const value = (revision: number) =>
      JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } });
    const [entry] = await this.#store.commit([{ key, expected, value }]);
    this.#compact();
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(entry?.revision) } };
  }

  async #remove(current: Cached): Promise<void> {
    await this.#store.commit([{ key: current.key, expected: current.revision, value: undefined }]);
  }

  #compact(): void {
    const revision = this.#store.revision();
    if (revision < this.#compactAt) return;
    this.#compactAt = revision + KEEP_REVISIONS / 2;
    void this.#store.compact(revision - KEEP_REVISIONS);
  }

  #dependentsOf(owner: Resource): { kind: Kind; object: Resource }[] {
    const { uid } = owner.metadata;
    return this.kinds.flatMap((kind) =>
      this.#cache
        .collection(kind.plural)
        .sorted()
        .filter(({ object }) => object.metadata.ownerReferences?.some((reference) => reference.uid === uid))
        .map(({ object }) => ({ kind, object })),
    );
  }

  /** Background propagation: what the deleted object owned alone goes, too. One odd dependent does not stop the others. */
  async #collect(
    owner: Resource,
    dependents: { kind: Kind; object: Resource }[],
    request: DeleteRequest,
  ): Promise<void> {
    for (const { kind, object } of dependents) {
      const others = object.metadata.ownerReferences?.filter((r) => r.uid !== owner.metadata.uid) ?? [];
      if (others.length > 0) continue;
      await this.delete(kind, object.metadata.namespace, object.metadata.name, { user: request.user }).catch(
        (error: unknown) => {
          if (!(error instanceof ApiError)) throw error;
        },
      );
    }
  }
}

function hasResourceVersion(patch: unknown): boolean {
  const metadata: unknown =
    typeof patch === "object" && patch !== null ? Reflect.get(patch, "metadata") : undefined;
  return (
    typeof metadata === "object" && metadata !== null && Boolean(Reflect.get(metadata, "resourceVersion"))
  );
}
