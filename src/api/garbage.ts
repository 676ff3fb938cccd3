/**
 * What becomes of objects whose owners go (metadata.ownerReferences, followed by uid).
 *
 *   Background (default)  the owner goes at once, then what it owned alone
 *   Foreground            the owner waits, marked by a finalizer, until the dependents that block it (blockOwnerDeletion) are gone
 *   Orphan                the dependents lose the reference first, and stay
 *
 * A namespace is an owner of all that is in it, always deleted in the foreground.
 *
 * It works right after each deletion, and once over everything at start: a crash between an owner's end and that of its
 * dependents leaves nothing behind. An object that cannot be deleted does not stop the work for the others. What in a namespace was
 * refused may go once something else has gone: that is tried beside the requests, none of which waits for it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Kind } from "../resource/kind.ts";
import type { OwnerReference, Resource } from "../resource/object.ts";
import { type Cache, type Cached, pluralOf } from "./cache.ts";
import { isNamespaceObject, type Namespaces } from "./namespaces.ts";
import { apiVersionOf } from "./prepare.ts";
import type { Service } from "./service.ts";

export const FOREGROUND = "foregroundDeletion";
/** Finalizers that say how to propagate; a client may not keep an object by them. */
export const PROPAGATION_FINALIZERS: readonly string[] = [FOREGROUND, "orphan"];

/** From the end of an object until what is left of its namespace is tried again: for all that go meanwhile at once. */
const AGAIN_MS = 300;
/** So many objects of a namespace are deleted at once: their writes share a group commit, and those of others get their turn in between. */
const AT_ONCE = 32;

const COLLECTOR = { name: "system:garbage-collector", groups: ["system:masters"] };

export class GarbageCollector {
  readonly #service: Pick<Service, "delete" | "patch">;
  readonly #cache: Cache;
  readonly #byPlural: ReadonlyMap<string, Kind>;
  readonly #types: ReadonlySet<string>;
  readonly #namespaces: Namespaces;
  /** Namespaces whose contents are tried again; again: something has gone since that began. */
  readonly #emptying = new Map<string, { again: boolean; over: Promise<void> }>();
  readonly #stop = new AbortController();

  constructor(
    service: Pick<Service, "delete" | "patch">,
    kinds: readonly Kind[],
    cache: Cache,
    namespaces: Namespaces,
  ) {
    this.#service = service;
    this.#cache = cache;
    this.#namespaces = namespaces;
    this.#byPlural = new Map(kinds.map((kind) => [kind.plural, kind]));
    this.#types = new Set(kinds.map((kind) => `${apiVersionOf(kind)} ${kind.kind}`));
  }

  /** Whether this object has to wait for the end of others. */
  isBlocked(object: Resource): boolean {
    const { uid = "", name } = object.metadata;
    if (isNamespaceObject(object)) return this.#namespaces.contentsOf(name).length > 0;
    return this.#cache
      .ownedBy(uid)
      .some(({ object }) =>
        object.metadata.ownerReferences?.some((r) => r.uid === uid && r.blockOwnerDeletion),
      );
  }

  /** Takes the reference to this owner from all its dependents. */
  async orphanDependents({ metadata: { uid = "" } }: Resource): Promise<void> {
    // All at once: their writes share a group commit.
    await Promise.all(
      this.#cache
        .ownedBy(uid)
        .map((dependent) => this.#keepOwners(dependent, (reference) => reference.uid !== uid)),
    );
  }

  /** After the end of an object: its dependents go, and owners that waited for it may go on. */
  async removed(object: Resource): Promise<void> {
    const { uid = "", ownerReferences = [] } = object.metadata;
    await Promise.all(this.#cache.ownedBy(uid).map((dependent) => this.settle(dependent)));
    for (const reference of ownerReferences) {
      const owner = this.#find(reference);
      if (owner) await this.#goOn(owner);
    }
    const namespace = this.#namespaces.waitingFor(object);
    if (!namespace) return;
    await this.#goOn(namespace);
    // What was refused because of this one (a machine of which it is a clone) may go now.
    this.#emptyBeside(object);
  }

  /** Begins nothing more, and waits for what it has begun by itself. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all([...this.#emptying.values()].map(({ over }) => over));
  }

  /** Deletes the object when none of its owners is there any more, else takes the missing ones out of its references. */
  async settle(dependent: Cached): Promise<void> {
    const references = dependent.object.metadata.ownerReferences ?? [];
    const present = references.filter((reference) => !this.#isGone(reference));
    if (present.length === references.length) return;
    if (present.length > 0) await this.#keepOwners(dependent, (reference) => present.includes(reference));
    else await this.#delete(dependent, "Background");
  }

  /** The dependents of an owner that is deleted in the foreground. */
  async deleteDependents(owner: Resource): Promise<void> {
    if (isNamespaceObject(owner)) return this.#deleteContents(owner.metadata.name);
    const { uid = "" } = owner.metadata;
    await Promise.all(
      this.#cache.ownedBy(uid).map((dependent) => {
        const others = dependent.object.metadata.ownerReferences?.filter((r) => r.uid !== uid) ?? [];
        return others.every((reference) => this.#isGone(reference))
          ? this.#delete(dependent, "Foreground")
          : this.#keepOwners(dependent, (reference) => reference.uid !== uid);
      }),
    );
  }

  /** Deletes what is left in the namespace of an object that has gone, and again for as long as something goes; whoever asks meanwhile is served by that. */
  #emptyBeside(gone: Resource): void {
    const { namespace } = gone.metadata;
    if (!namespace || this.#stop.signal.aborted || !this.#namespaces.waitingFor(gone)) return;
    const underWay = this.#emptying.get(namespace);
    if (underWay) {
      underWay.again = true;
      return;
    }
    const state = { again: true, over: Promise.resolve() };
    this.#emptying.set(namespace, state);
    state.over = this.#emptyWhile(state, namespace, gone);
  }

  async #emptyWhile(state: { again: boolean }, namespace: string, gone: Resource): Promise<void> {
    try {
      while (state.again) {
        await sleep(AGAIN_MS, undefined, { signal: this.#stop.signal });
        state.again = false;
        // Another one may have its name by now.
        if (this.#namespaces.waitingFor(gone)) await this.#deleteContents(namespace);
        const waiting = this.#namespaces.waitingFor(gone);
        if (waiting) await this.#goOn(waiting);
      }
    } catch {
      // ended by close(): the sweep comes back to it
    } finally {
      this.#emptying.delete(namespace);
    }
  }

  /** What has owners in the same namespace goes with them, in their way. */
  async #deleteContents(namespace: string): Promise<void> {
    const contents = this.#namespaces.contentsOf(namespace);
    const uids = new Set(contents.map(({ object }) => object.metadata.uid));
    const due = contents.filter(
      ({ object: { metadata } }) =>
        !metadata.deletionTimestamp && !metadata.ownerReferences?.some(({ uid }) => uids.has(uid)),
    );
    for (let from = 0; from < due.length && !this.#stop.signal.aborted; from += AT_ONCE)
      await Promise.all(due.slice(from, from + AT_ONCE).map((cached) => this.#delete(cached, "Background")));
  }

  /** Everything that a crash may have left half done. */
  async sweep(): Promise<void> {
    for (const cached of [...this.#cache.all()]) {
      const { metadata } = cached.object;
      if (metadata.ownerReferences?.length) await this.settle(cached);
      if (metadata.deletionTimestamp && metadata.finalizers?.includes(FOREGROUND)) {
        await this.deleteDependents(cached.object);
        await this.#goOn(cached);
      }
    }
  }

  /** Lets an owner that waits for its dependents go, once no dependent blocks it. */
  async #goOn({ key, object }: Cached): Promise<void> {
    const { finalizers = [], name, namespace, deletionTimestamp } = object.metadata;
    const kind = this.#kindOf(key);
    if (!kind || !deletionTimestamp || !finalizers.includes(FOREGROUND) || this.isBlocked(object)) return;
    const rest = finalizers.filter((finalizer) => finalizer !== FOREGROUND);
    await this.#quietly(() => this.#patchMetadata(kind, namespace, name, object, { finalizers: rest }));
  }

  #isGone({ apiVersion, kind, uid }: OwnerReference): boolean {
    // Owners of kinds that are not served here cannot be judged.
    return this.#types.has(`${apiVersion} ${kind}`) && !this.#cache.hasUid(uid);
  }

  #find({ apiVersion, kind, uid, name }: OwnerReference): Cached | undefined {
    for (const [plural, known] of this.#byPlural)
      if (known.kind === kind && apiVersionOf(known) === apiVersion && this.#cache.hasUid(uid))
        for (const cached of this.#cache.collection(plural).byKey.values())
          if (cached.object.metadata.name === name && cached.object.metadata.uid === uid) return cached;
    return undefined;
  }

  #kindOf(key: string): Kind | undefined {
    return this.#byPlural.get(pluralOf(key));
  }

  async #delete({ key, object }: Cached, propagation: "Background" | "Foreground"): Promise<void> {
    const kind = this.#kindOf(key);
    const { namespace, name, uid } = object.metadata;
    if (!kind) return;
    const request = { user: COLLECTOR, propagation, ...(uid ? { uid } : {}) };
    await this.#quietly(() => this.#service.delete(kind, namespace, name, request));
  }

  async #keepOwners({ key, object }: Cached, keep: (reference: OwnerReference) => boolean): Promise<void> {
    const kind = this.#kindOf(key);
    const { namespace, name, ownerReferences } = object.metadata;
    if (!kind) return;
    const kept = ownerReferences?.filter(keep) ?? [];
    await this.#quietly(() =>
      this.#patchMetadata(kind, namespace, name, object, { ownerReferences: kept.length > 0 ? kept : null }),
    );
  }

  #patchMetadata(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    seen: Resource,
    change: Record<string, unknown>,
  ) {
    // By compare-and-swap: the list was made from what was seen.
    const { uid, resourceVersion } = seen.metadata;
    const body = { metadata: { ...change, uid, resourceVersion } };
    return this.#service.patch(kind, namespace, name, { type: "merge", body }, { user: COLLECTOR });
  }

  /** One object that is gone already, has changed meanwhile or is refused does not stop the others; the sweep comes back to it. */
  async #quietly(act: () => Promise<unknown>): Promise<void> {
    if (this.#stop.signal.aborted) return;
    try {
      await act();
    } catch {
      // left to the next sweep
    }
  }
}
