/**
 * The operations on resources with Kubernetes' semantics, over the store: class Operations implements Service.
 * Source: Kubernetes API concepts and conventions; what clients really need was measured with kubectl 1.20 to 1.33.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { ApiError, invalidField, isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import { type Resource, timestamp } from "../resource/object.ts";
import type { Store, Write } from "../store/store.ts";
import { Cache, type Cached, keyFor } from "./cache.ts";
import { ATTEMPTS, Commits, KEEP_REVISIONS } from "./commits.ts";
import {
  applyConfig,
  decodeConfig,
  isSameWrite,
  type ManagedFields,
  recordWrite,
  setManagedFields,
} from "./fields/record.ts";
import { FOREGROUND, GarbageCollector, PROPAGATION_FINALIZERS } from "./garbage.ts";
import { isNamespace, Namespaces, TERMINATING } from "./namespaces.ts";
import { notFound } from "./not-found.ts";
import { checkPreconditions } from "./operation-errors.ts";
import { overwrite, preconditionFailed, settleNamespace } from "./overwrite.ts";
import { jsonPatch, mergePatch } from "./patch.ts";
import { decode, finish, forbidden, invalid, resourceName, SERVER_FIELDS } from "./prepare.ts";
import { Reader } from "./reader.ts";
import type {
  DeleteRequest,
  ListRequest,
  ListResult,
  Patch,
  Service,
  ServiceEvent,
  WatchRequest,
  WriteOptions,
  Written,
} from "./service.ts";
import { settleStored } from "./stored.ts";
import { inStoredVersions } from "./stored-versions.ts";
import { type Prepared, Turns } from "./turns.ts";

/** Names that generateName makes are tried so often before the client is told of a collision. */
const GENERATED_NAMES = 8;
export class Operations implements Service {
  readonly kinds: readonly Kind[];
  /** Objects that were found not to have the shape of their kind, marked so that only people see them. */
  invalid: readonly Resource[] = [];
  /** As of the store; also when an object comes that was written by a newer version. */
  readonly failed: Promise<Error>;
  readonly #cache: Cache;
  readonly #reader: Reader;
  readonly #turns: Turns;
  readonly #commits: Commits;
  readonly #namespaces: Namespaces;
  readonly #garbage: GarbageCollector;
  readonly #now: () => Date;
  /** uid of what this server is deleting: it looks after the dependents itself. */
  readonly #deleting = new Set<string | undefined>();

  private constructor(store: Store, kinds: readonly Kind[], cache: Cache, now: () => Date) {
    this.kinds = kinds;
    this.failed = store.failed;
    this.#cache = cache;
    this.#reader = new Reader(store, cache);
    this.#turns = new Turns(store, cache);
    this.#commits = new Commits(store, cache, this.#turns);
    this.#namespaces = new Namespaces(kinds, cache);
    this.#garbage = new GarbageCollector(this, kinds, cache, this.#namespaces);
    this.#now = now;
    cache.onDelete = (object) => {
      // Deleted by another server, which may not know yet of dependents that were made through this one. What fails here is done by
      // the sweep at the next start.
      if (!this.#deleting.has(object.metadata.uid)) this.#garbage.removed(object).catch(() => undefined);
    };
  }

  /**
   * Loads the store into memory, brings what is stored up to the kinds, and finishes deletions that a crash cut short. `now` is the clock of
   * metadata's times. @throws StoredVersionError when a newer version wrote into the store
   */
  static async open(
    store: Store,
    kinds: readonly Kind[],
    options: { now?: () => Date } = {},
  ): Promise<Operations> {
    const old = new Set<string>();
    const current = inStoredVersions(store, kinds, (key) => old.add(key));
    const cache = await Cache.load(current);
    const operations = new Operations(current, kinds, cache, options.now ?? (() => new Date()));
    // What there is can be read all the same, and the next compaction does the work of this one.
    await current.compact(current.revision() - KEEP_REVISIONS).catch(() => undefined);
    operations.invalid = await settleStored(current, cache, kinds, old);
    await operations.#namespaces.ensure(current, operations.#now());
    await operations.#garbage.sweep();
    return operations;
  }

  /** Waits for what it deletes by itself; it writes nothing more then. */
  async close(): Promise<void> {
    await this.#garbage.close();
    this.#cache.close();
  }

  async get(kind: Kind, namespace: string | undefined, name: string): Promise<Resource> {
    await this.#commits.catchUp();
    return this.#reader.get(kind, namespace, name);
  }

  async list(kind: Kind, request: ListRequest): Promise<ListResult> {
    await this.#commits.catchUp(request.resourceVersion);
    return this.#reader.list(kind, request);
  }

  async watch(
    kind: Kind,
    request: WatchRequest,
    onEvent: (event: ServiceEvent) => void,
  ): Promise<() => void> {
    await this.#commits.catchUp(request.resourceVersion || "0");
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
    const { managedFields } = object.metadata;
    const managed = () => recordWrite(kind, undefined, object, managedFields, options, this.#now());
    return this.#create(kind, namespace, object, { options, managed, warnings });
  }

  /** `managed`: the managedFields of the object when all else of it is settled. `warnings`: those of its decoding. */
  async #create(
    kind: Kind,
    namespace: string | undefined,
    object: Resource,
    {
      options,
      managed,
      warnings,
    }: { options: WriteOptions; managed: () => ManagedFields; warnings: readonly string[] },
  ): Promise<Written> {
    const { metadata } = object;
    if (metadata.resourceVersion)
      throw new ApiError(
        "BadRequest",
        "metadata.resourceVersion: should not be set on objects to be created",
      );
    settleNamespace(kind, namespace, object);
    const generate = metadata.name ? undefined : metadata.generateName;
    for (const field of SERVER_FIELDS) if (field !== "generateName") Reflect.deleteProperty(metadata, field);
    delete metadata.managedFields;
    metadata.uid = randomUUID();
    metadata.creationTimestamp = timestamp(this.#now());
    metadata.generation = 1;
    if (kind.hasStatus) delete object.status;
    const exists = () =>
      new ApiError("AlreadyExists", `${resourceName(kind)} ${JSON.stringify(metadata.name)} already exists`, {
        name: metadata.name,
        group: kind.group,
        kind: kind.plural,
      });
    let warned: string[] = [];
    const prepare = (): Prepared<Resource> => {
      let key = "";
      for (let attempt = 0; ; attempt++) {
        if (generate) metadata.name = `${generate}${randomBytes(3).toString("hex").slice(0, 5)}`;
        key = keyFor(kind.plural, metadata.namespace, metadata.name);
        if (!this.#turns.read(key)) break;
        if (!generate || attempt >= GENERATED_NAMES) throw exists();
      }
      this.#namespaces.require(kind, object, this.#turns);
      warned = finish(kind, object, undefined, this.#turns.lookup);
      setManagedFields(object, managed());
      if (options.dryRun) return { done: () => object };
      return this.#commits.put(kind, key, object, 0);
    };
    const made = await this.#commits.again(kind, metadata.name, prepare);
    if (!options.dryRun && metadata.ownerReferences?.length) await this.#settleOwners(kind, made);
    return { object: made, warnings: [...warnings, ...warned], created: true };
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
        invalidField("metadata.resourceVersion", "0x0: must be specified for an update"),
      ]);
    await this.#commits.catchUp(next.metadata.resourceVersion);
    const make = () => ({ object: structuredClone(next) });
    const { object, warned } = await this.#change(kind, namespace, name, make, options);
    return { object, warnings: [...warnings, ...warned], created: false };
  }

  async patch(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    patch: Patch,
    options: WriteOptions,
  ): Promise<Written> {
    if (patch.type === "apply") return this.#apply(kind, namespace, name, patch, options);
    let warnings: string[] = [];
    const apply = patch.type === "merge" ? mergePatch : jsonPatch;
    const make = (current: Resource) => {
      warnings = [];
      return { object: decode(kind, apply(current, patch.body), options, warnings) };
    };
    const { object, warned } = await this.#change(kind, namespace, name, make, options);
    return { object, warnings: [...warnings, ...warned], created: false };
  }

  /** Server-side apply: makes the object when there is none. */
  async #apply(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    { body, force, mayCreate }: Extract<Patch, { type: "apply" }>,
    options: WriteOptions,
  ): Promise<Written> {
    const warnings: string[] = [];
    const config = decodeConfig(kind, namespace, name, body, options, warnings);
    const apply = (live: Resource | undefined) =>
      applyConfig(kind, live, config, { ...options, force }, this.#now());
    for (let attempt = 0; ; attempt++)
      try {
        const { object, warned } = await this.#change(kind, namespace, name, apply, options);
        return { object, warnings: [...warnings, ...warned], created: false };
      } catch (error) {
        if (!isApiError(error, "NotFound") || options.subresource) throw error;
        if (!mayCreate)
          throw new ApiError("Forbidden", `${error.message}, and ${options.user.name} may not create it`);
        const { uid } = config.metadata;
        if (uid) throw preconditionFailed(kind, name, "UID", uid, undefined);
        const { object, managedFields } = apply(undefined);
        try {
          const managed = () => managedFields;
          return await this.#create(kind, namespace, object, { options, managed, warnings });
        } catch (lost) {
          // Somebody else made it in between: then it is one to change.
          if (!isApiError(lost, "AlreadyExists") || attempt >= ATTEMPTS) throw lost;
        }
      }
  }

  async delete(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    request: DeleteRequest,
  ): Promise<{ object: Resource; gone: boolean }> {
    const prepare = (): Prepared<{ object: Resource; gone: boolean }> => {
      const current = this.#current(kind, namespace, name);
      const { object } = current;
      checkPreconditions(kind, object, request);
      const { metadata } = object;
      const finalizers = (metadata.finalizers ?? []).filter((f) => !PROPAGATION_FINALIZERS.includes(f));
      const why = metadata.deletionTimestamp ? undefined : kind.admitDelete?.(object, this.#turns.lookup);
      if (why !== undefined) throw forbidden(kind, name, why);
      const waits = isNamespace(kind)
        ? this.#namespaces.firstOf(name, this.#turns.lookup) !== undefined
        : request.propagation === "Foreground" && this.#garbage.isBlocked(object);
      if (waits) finalizers.push(FOREGROUND);
      if (finalizers.length === 0) {
        const done = () => ({ object, gone: true });
        return request.dryRun ? { done } : { write: this.#removal(current), done };
      }
      if (metadata.deletionTimestamp) return { done: () => ({ object, gone: false }) };
      const marked: Resource = {
        ...object,
        ...(isNamespace(kind) ? TERMINATING : {}),
        metadata: {
          ...metadata,
          finalizers,
          deletionTimestamp: timestamp(this.#now()),
          deletionGracePeriodSeconds: 0,
          generation: (metadata.generation ?? 0) + 1,
        },
      };
      if (request.dryRun) return { done: () => ({ object: marked, gone: false }) };
      const { write, done } = this.#commits.put(kind, current.key, marked, current.revision);
      return { write, done: (revision) => ({ object: done(revision), gone: false }) };
    };
    if (request.propagation === "Orphan" && !request.dryRun) {
      const { object } = this.#reader.entry(kind, namespace, name);
      checkPreconditions(kind, object, request);
      await this.#garbage.orphanDependents(object);
    }
    const result = await this.#commits.again(kind, name, prepare);
    if (request.dryRun) return result;
    if (result.gone) await this.#removed(result.object);
    else if (result.object.metadata.finalizers?.includes(FOREGROUND))
      await this.#garbage.deleteDependents(result.object);
    return result;
  }

  // --- inside ---

  #current(kind: Kind, namespace: string | undefined, name: string): Cached {
    const found = this.#turns.read(keyFor(kind.plural, namespace, name));
    if (!found) throw notFound(kind, name);
    return found;
  }

  /** Read, change, check, compare-and-swap. */
  async #change(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    make: (current: Resource) => { object: Resource; managedFields?: ManagedFields },
    options: WriteOptions,
  ): Promise<{ object: Resource; warned: readonly string[] }> {
    let removed = false;
    let warned: readonly string[] = [];
    const prepare = (): Prepared<Resource> => {
      const current = this.#current(kind, namespace, name);
      const { object: old, key, revision } = current;
      const made = make(old);
      const { managedFields: sent } = made.object.metadata;
      const { merged: next, warnings } = overwrite(
        kind,
        old,
        made.object,
        options.subresource,
        this.#turns.lookup,
      );
      warned = warnings;
      const managed = made.managedFields ?? recordWrite(kind, old, next, sent, options, this.#now());
      setManagedFields(next, managed);
      removed = false;
      if (isSameWrite(next, old)) return { done: () => old };
      if (options.dryRun) return { done: () => next };
      removed = next.metadata.deletionTimestamp !== undefined && !next.metadata.finalizers?.length;
      const left =
        removed && isNamespace(kind) ? this.#namespaces.firstOf(name, this.#turns.lookup) : undefined;
      if (left) throw forbidden(kind, name, `${left.kind} ${left.metadata.name} is still in it`);
      return removed
        ? { write: this.#removal(current), done: () => next }
        : this.#commits.put(kind, key, next, revision);
    };
    const object = await this.#commits.again(kind, name, prepare);
    if (removed) await this.#removed(object);
    return { object, warned };
  }

  async #removed(object: Resource): Promise<void> {
    try {
      await this.#garbage.removed(object);
    } finally {
      this.#deleting.delete(object.metadata.uid);
    }
  }

  #removal({ key, object, revision }: Cached): Write {
    this.#deleting.add(object.metadata.uid);
    return { key, expected: revision, value: undefined };
  }

  /** An object made while its owner went has missed the owner's end. */
  async #settleOwners(kind: Kind, { metadata }: Resource): Promise<void> {
    const made = this.#cache.get(keyFor(kind.plural, metadata.namespace, metadata.name));
    if (made) await this.#garbage.settle(made);
  }
}
