/** Get, list and watch: everything that only reads. */
import { ApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { positionIn } from "../resource/sorted.ts";
import { type Change, Compacted, type Store } from "../store/store.ts";
import { type Cache, type Cached, endOf, keyFor } from "./cache.ts";
import { objectOf, previousOf } from "./changed-objects.ts";
import { notFound } from "./not-found.ts";
import { equalityOf, type Predicate, parseFieldSelector, parseLabelSelector } from "./selectors.ts";
import type { ListRequest, ListResult, Selection, ServiceEvent, WatchRequest } from "./service.ts";

/** How many list snapshots are kept for clients that page; older pages answer 410 Expired, and the client starts again. */
const SNAPSHOTS = 20;
/** How often a quiet watch is told how far it has come: clients know by it that it lives, and resume from there. */
const BOOKMARK_MS = 60_000;

function predicateOf(kind: Kind, selection: Selection): Predicate {
  const labels = parseLabelSelector(selection.labelSelector);
  const fields = parseFieldSelector(selection.fieldSelector, kind);
  const { name } = selection;
  return (object) =>
    (name === undefined || object.metadata.name === name) &&
    (!labels || labels(object)) &&
    (!fields || fields(object));
}

const prefixOf = (kind: Kind, namespace: string | undefined) =>
  namespace ? `${kind.plural}/${namespace}/` : `${kind.plural}/`;

export class Reader {
  readonly #store: Store;
  readonly #cache: Cache;
  readonly #snapshots = new Map<string, readonly Cached[]>();

  constructor(store: Store, cache: Cache) {
    this.#store = store;
    this.#cache = cache;
  }

  get(kind: Kind, namespace: string | undefined, name: string): Resource {
    return this.entry(kind, namespace, name).object;
  }

  entry(kind: Kind, namespace: string | undefined, name: string): Cached {
    const found = this.#cache.get(keyFor(kind.plural, namespace, name));
    if (!found) throw notFound(kind, name);
    return found;
  }

  list(kind: Kind, request: ListRequest): ListResult {
    this.#refuseFuture(request.resourceVersion);
    const start = request.continue === undefined ? undefined : decodeContinue(request.continue);
    const prefix = prefixOf(kind, request.namespace);
    const matches = predicateOf(kind, request);
    const at =
      start ?? (request.exact ? { revision: Number(request.resourceVersion), start: "" } : undefined);
    const selective = request.labelSelector || request.fieldSelector || request.name;
    if (!at && !selective && !request.limit)
      return {
        items: this.#cache.collection(kind.plural).objectsUnder(prefix),
        resourceVersion: String(this.#cache.revision),
      };
    const equality = at ? undefined : equalityOf(kind, request);
    const { entries, revision } = equality
      ? { entries: this.#cache.collection(kind.plural).having(equality), revision: this.#cache.revision }
      : this.#snapshot(kind, at);
    const items: Resource[] = [];
    // A page is read from its own range alone: thousands of clients read large lists by pages.
    const end = positionIn(entries, endOf(prefix));
    let next: string | undefined;
    let rest = 0;
    for (let i = positionIn(entries, start && start.start > prefix ? start.start : prefix); i < end; i++) {
      const entry = entries[i];
      if (!entry || !matches(entry.object)) continue;
      if (request.limit && items.length >= request.limit) {
        next = entry.key;
        rest = end - i;
        break;
      }
      items.push(entry.object);
    }
    if (next !== undefined)
      this.#keep(kind, revision, equality ? this.#cache.collection(kind.plural).sorted() : entries);
    return {
      items,
      resourceVersion: String(revision),
      ...(next === undefined ? {} : { continue: encodeContinue(revision, next) }),
      ...(next === undefined || selective ? {} : { remainingItemCount: rest }),
    };
  }

  #snapshot(kind: Kind, start: { revision: number; start: string } | undefined) {
    if (!start || start.revision === -1 || start.revision === this.#cache.revision)
      return { entries: this.#cache.collection(kind.plural).sorted(), revision: this.#cache.revision };
    const entries = this.#snapshots.get(`${kind.plural}@${start.revision}`);
    if (!entries)
      throw new ApiError(
        "Expired",
        start.start === ""
          ? `The resourceVersion for the provided list is too old: ${start.revision}`
          : "The provided continue parameter is too old to display a consistent list result. You can start a new list without it, or use the continue token in this response to retrieve the rest of what there is now.",
        {},
        start.start === "" ? {} : { continue: encodeContinue(-1, start.start) },
      );
    return { entries, revision: start.revision };
  }

  #keep(kind: Kind, revision: number, entries: readonly Cached[]): void {
    this.#snapshots.set(`${kind.plural}@${revision}`, entries);
    const [oldest] = this.#snapshots.keys();
    if (this.#snapshots.size > SNAPSHOTS && oldest !== undefined) this.#snapshots.delete(oldest);
  }

  #refuseFuture(resourceVersion: string | undefined): void {
    if (!resourceVersion) return;
    if (!/^\d{1,15}$/.test(resourceVersion))
      throw new ApiError(
        "BadRequest",
        `resourceVersion: ${JSON.stringify(resourceVersion)} is not a revision`,
      );
    if (Number(resourceVersion) > this.#cache.revision)
      throw new ApiError(
        "Timeout",
        `Too large resource version: ${resourceVersion}, current: ${this.#cache.revision}`,
        {
          causes: [{ field: "", reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
          retryAfterSeconds: 1,
        },
      );
  }

  async watch(
    kind: Kind,
    request: WatchRequest,
    onEvent: (event: ServiceEvent) => void,
  ): Promise<() => void> {
    const fromStart =
      request.sendInitialEvents || request.resourceVersion === "" || request.resourceVersion === "0";
    this.#refuseFuture(request.resourceVersion);
    const matches = predicateOf(kind, request);
    const prefix = prefixOf(kind, request.namespace);
    let from = Number(request.resourceVersion || 0);
    if (fromStart) {
      from = this.#cache.revision;
      for (const { object } of this.#cache.collection(kind.plural).under(prefix))
        if (matches(object)) onEvent({ type: "ADDED", object });
      if (request.sendInitialEvents)
        onEvent({ type: "BOOKMARK", resourceVersion: String(from), initialEventsEnd: true });
    }
    try {
      const onChange = (change: Change) => {
        const event = eventOf(change, matches);
        if (event) onEvent(event);
      };
      const stop =
        this.#cache.feed.follow(prefix, from, onChange, equalityOf(kind, request)) ??
        (await this.#store.watch(prefix, from, onChange));
      if (!request.bookmarks) return stop;
      // What the cache has seen has been handed over here, too: all are told of a change in one go.
      const timer = setInterval(
        () => onEvent({ type: "BOOKMARK", resourceVersion: String(this.#cache.revision) }),
        BOOKMARK_MS,
      ).unref();
      return () => {
        clearInterval(timer);
        stop();
      };
    } catch (error) {
      if (error instanceof Compacted)
        throw new ApiError(
          "Expired",
          `too old resource version: ${from} (${error.oldest})`,
          {},
          { cause: error },
        );
      throw error;
    }
  }
}

/** An object that starts or stops to match is ADDED or DELETED for this watcher. */
function eventOf(change: Change, matches: Predicate): ServiceEvent | undefined {
  const object = objectOf(change);
  if (change.type === "delete") {
    if (!matches(object)) return undefined;
    const metadata = { ...object.metadata, resourceVersion: String(change.revision) };
    return { type: "DELETED", object: { ...object, metadata } };
  }
  const previous = previousOf(change);
  const did = previous !== undefined && matches(previous);
  const does = matches(object);
  if (!does && !did) return undefined;
  return { type: does ? (did ? "MODIFIED" : "ADDED") : "DELETED", object };
}

function encodeContinue(revision: number, start: string): string {
  return Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: revision, start })).toString("base64url");
}

function decodeContinue(token: string): { revision: number; start: string } {
  try {
    const value: unknown = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (typeof value === "object" && value !== null) {
      const [revision, start] = [Reflect.get(value, "rv"), Reflect.get(value, "start")];
      if (typeof revision === "number" && typeof start === "string") return { revision, start };
    }
  } catch {
    // told below
  }
  throw new ApiError("BadRequest", "continue: the token is not one that this server gave");
}
