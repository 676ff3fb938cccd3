/**
 * What the API does, without HTTP: the operations on resources, with Kubernetes' semantics. The HTTP server parses,
 * authorises, and calls one function of this interface; LocalClient calls the same functions in-process.
 * Implementation: operations.ts (class Operations).
 */
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";

export interface User {
  name: string;
  groups: readonly string[];
}

export interface WriteOptions {
  user: User;
  dryRun?: boolean;
  /** Unknown and duplicate fields: Strict refuses, Warn (default) warns, Ignore says nothing; they are always dropped. */
  fieldValidation?: "Strict" | "Warn" | "Ignore";
  fieldManager?: string;
  /** scale: a main write that is recorded as one of that subresource. */
  subresource?: "status" | "scale";
  /** Duplicate keys found while parsing the body (paths); reported like unknown fields. */
  duplicateFields?: readonly string[];
}

export interface Written {
  object: Resource;
  warnings: readonly string[];
  created: boolean;
}

export interface Selection {
  namespace?: string;
  name?: string;
  labelSelector?: string;
  fieldSelector?: string;
}

export interface ListRequest extends Selection {
  limit?: number;
  continue?: string;
  resourceVersion?: string;
  /** The list of exactly this resourceVersion; Expired when it is not kept. */
  exact?: boolean;
}

export interface ListResult {
  items: readonly Resource[];
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

export interface WatchRequest extends Selection {
  /** "" or "0": everything that exists first, as ADDED. */
  resourceVersion: string;
  /** WatchList: initial events, then a bookmark annotated k8s.io/initial-events-end. */
  sendInitialEvents?: boolean;
  bookmarks?: boolean;
}

export type ServiceEvent =
  | { type: "ADDED" | "MODIFIED" | "DELETED"; object: Resource }
  | { type: "BOOKMARK"; resourceVersion: string; initialEventsEnd?: boolean };

export interface DeleteRequest {
  user: User;
  dryRun?: boolean;
  uid?: string;
  resourceVersion?: string;
  propagation?: "Background" | "Foreground" | "Orphan";
}

/** apply: server-side apply; `force` takes over what others have set, `mayCreate` says whether it may make the object. */
export type Patch =
  | { type: "merge" | "json"; body: unknown }
  | { type: "apply"; body: unknown; force: boolean; mayCreate: boolean };

/** All throw ApiError. Objects returned are shared and must not be changed. */
export interface Service {
  readonly kinds: readonly Kind[];
  get(kind: Kind, namespace: string | undefined, name: string): Promise<Resource>;
  list(kind: Kind, request: ListRequest): Promise<ListResult>;
  /** Events are handed over in order, without gaps. @throws Expired when the revision has been compacted. @returns stop function */
  watch(kind: Kind, request: WatchRequest, onEvent: (event: ServiceEvent) => void): Promise<() => void>;
  create(kind: Kind, namespace: string | undefined, body: unknown, options: WriteOptions): Promise<Written>;
  /** PUT. */
  update(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    body: unknown,
    options: WriteOptions,
  ): Promise<Written>;
  patch(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    patch: Patch,
    options: WriteOptions,
  ): Promise<Written>;
  /** The object when it stays because of finalizers (gone: false) or as it was at the end (gone: true). */
  delete(
    kind: Kind,
    namespace: string | undefined,
    name: string,
    request: DeleteRequest,
  ): Promise<{ object: Resource; gone: boolean }>;
}
