/**
 * The one way to the control plane: agents, reconcilers, CLI and tests all use this interface and no other.
 * Implementations: HttpClient (client/http.ts, over TLS) and LocalClient (api/local.ts, in the server's process, for tests
 * that step time). Both give the same errors: ApiError.
 */
import { isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { ObjectMeta, Resource } from "../resource/object.ts";

export interface ListOptions {
  namespace?: string;
  labelSelector?: string;
  fieldSelector?: string;
  /** The caller changes nothing of what it gets: in the server's own process all who say so are given what the server itself has. */
  shared?: boolean;
  signal?: AbortSignal;
}

export interface List<T> {
  items: T[];
  /** Metadata of those left out because they do not have the shape of their kind: they exist all the same. */
  skipped: readonly ObjectMeta[];
  /** Revision of the snapshot: a watch from here misses nothing. */
  resourceVersion: string;
}

export interface PatchOptions {
  subresource?: "status";
  signal?: AbortSignal;
  /** Does not wait for other requests of this client: a sign of life. */
  urgent?: boolean;
}

/** BOOKMARK carries no object, only how far the watch has come. */
export type WatchEvent<T> =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; object: T }
  | { type: "BOOKMARK"; resourceVersion: string };

export interface ObjectName {
  name: string;
  namespace?: string;
}

export interface Client {
  /** Undefined when there is no such object; other errors are thrown, Invalid for one that is not of its kind's shape. */
  get<T extends Resource>(kind: Kind<T>, at: ObjectName, signal?: AbortSignal): Promise<T | undefined>;
  list<T extends Resource>(kind: Kind<T>, options?: ListOptions): Promise<List<T>>;
  /**
   * Events after `resourceVersion`, gap-free and in order. Ends when the server ends it or the signal aborts.
   * @throws ApiError Expired when that revision has been compacted: list again.
   */
  watch<T extends Resource>(
    kind: Kind<T>,
    options: ListOptions & { resourceVersion: string },
  ): AsyncIterable<WatchEvent<T>>;
  create<T extends Resource>(kind: Kind<T>, object: NewObject<T>, signal?: AbortSignal): Promise<T>;
  /** PUT: needs metadata.resourceVersion; @throws ApiError Conflict when it is stale. */
  update<T extends Resource>(kind: Kind<T>, object: T, signal?: AbortSignal): Promise<T>;
  /** PUT of the status subresource, with the same compare-and-swap. */
  updateStatus<T extends Resource>(kind: Kind<T>, object: T, signal?: AbortSignal): Promise<T>;
  /** JSON merge patch (RFC 7386); a metadata.resourceVersion in it makes it a compare-and-swap. */
  patch<T extends Resource>(
    kind: Kind<T>,
    at: ObjectName,
    patch: unknown,
    options?: PatchOptions,
  ): Promise<T>;
  /** Undefined when it was not there. With finalizers the object stays, marked with deletionTimestamp. */
  delete<T extends Resource>(
    kind: Kind<T>,
    at: ObjectName,
    options?: { uid?: string; resourceVersion?: string; signal?: AbortSignal },
  ): Promise<void>;
}

/** What a caller gives to create: the server fills apiVersion, kind and the rest of the metadata, and defaults in spec. */
export type NewObject<T extends Resource> = {
  metadata: T["metadata"];
  spec: PartialDeep<T["spec"]>;
};
type PartialDeep<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { [K in keyof T]?: PartialDeep<T[K]> }
    : T;

/** Compare-and-swap loop: reads, lets `change` make the new object (or undefined for "leave it"), writes, again on conflict. */
export async function modify<T extends Resource>(
  client: Client,
  kind: Kind<T>,
  at: ObjectName,
  what: "object" | "status",
  change: (current: T) => T | undefined,
): Promise<T | undefined> {
  for (let attempt = 0; ; attempt++) {
    const current = await client.get(kind, at);
    if (!current) return undefined;
    const next = change(structuredClone(current));
    if (next === undefined) return current;
    try {
      return what === "status" ? await client.updateStatus(kind, next) : await client.update(kind, next);
    } catch (error) {
      if (isApiError(error, "NotFound")) return undefined;
      if (!isApiError(error, "Conflict") || attempt >= 20) throw error;
    }
  }
}
