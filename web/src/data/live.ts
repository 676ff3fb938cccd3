/**
 * Lists that keep themselves up to date: all objects of a kind are listed once, then followed by a watch, for as long as a page shows them.
 *
 * The watch is a WebSocket: of HTTP/1.1 answers a browser holds six open to one server, over all of its tabs, so two tabs with a few watches
 * each would leave no connection for anything else. Events are gathered for a moment and told to React together.
 *
 *   list ──► watch from there ──► events, bookmarks ──► closed: again from the last revision, after a wait that grows to 15 s
 *     ▲                                                    │
 *     └──────── 410 Expired, or two failures ──────────────┘        nothing heard for 90 s (bookmarks come each minute): closed by us
 */
import { QueryClient, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { isResource, rawEventFrom } from "../../../src/client/answers.ts";
import { isFields } from "../../../src/resource/fields.ts";
import { isApiError, request } from "./api.ts";
import { type Kinds, keyOf, type Plural, scopePath } from "./kinds.ts";

const PAGE = 1000;
const GATHER_MS = 120;
const SILENCE_MS = 90_000;
const MOST_WAIT_MS = 15_000;
/** How long a watch goes on after the last page that needs it: who comes back finds all of it. */
const LINGER_MS = 60_000;

export const queries = new QueryClient({
  defaultOptions: {
    queries: { retry: false, refetchOnWindowFocus: false, staleTime: 5000, structuralSharing: false },
  },
});

export type Items<T> = ReadonlyMap<string, T>;

/** Whether what the pages show is fresh; told at one place, the bar at the top. */
export interface Connection {
  state: "live" | "lost";
  /** When it was lost. */
  since: number;
}
let connection: Connection = { state: "live", since: 0 };
const connectionListeners = new Set<() => void>();
const lost = new Set<Plural>();
function tellConnection(plural: Plural, isLost: boolean): void {
  if (isLost) lost.add(plural);
  else lost.delete(plural);
  const state = lost.size > 0 ? "lost" : "live";
  if (state === connection.state) return;
  connection = { state, since: Date.now() };
  for (const listener of connectionListeners) listener();
}
export const useConnection = (): Connection =>
  useSyncExternalStore(
    (listener) => {
      connectionListeners.add(listener);
      return () => connectionListeners.delete(listener);
    },
    () => connection,
  );

/** Called when the session has ended. */
let onSignedOut: () => void = () => {};
export const whenSignedOut = (listener: () => void): void => {
  onSignedOut = listener;
};

interface ListAnswer {
  items: unknown[];
  metadata: { resourceVersion?: string; continue?: string };
}

/** Everything but what no page shows, which is a third of each object. */
function taken<P extends Plural>(object: unknown): Kinds[P] | undefined {
  if (!isResource(object)) return undefined;
  delete object.metadata.managedFields;
  // The server has validated it against the kind's schema when it was written.
  return object as Kinds[P];
}

async function listAll<P extends Plural>(
  plural: P,
  signal: AbortSignal,
): Promise<{ items: Map<string, Kinds[P]>; resourceVersion: string }> {
  const items = new Map<string, Kinds[P]>();
  let token: string | undefined;
  for (;;) {
    const query = new URLSearchParams({ limit: String(PAGE), ...(token ? { continue: token } : {}) });
    const answer = await request<ListAnswer>("GET", `${scopePath(plural)}?${query}`, { signal });
    for (const item of answer.items) {
      const object = taken<P>(item);
      if (object) items.set(keyOf(object), object);
    }
    token = answer.metadata.continue;
    if (!token) return { items, resourceVersion: answer.metadata.resourceVersion ?? "" };
  }
}

class Live<P extends Plural> {
  readonly #plural: P;
  #users = 0;
  #stop: AbortController | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #first = Promise.withResolvers<Items<Kinds[P]>>();
  #wake: () => void = () => {};

  constructor(plural: P) {
    this.#plural = plural;
    this.#first.promise.catch(() => {});
  }

  get first(): Promise<Items<Kinds[P]>> {
    return this.#first.promise;
  }

  /** @returns to be called when it is needed no more */
  acquire(): () => void {
    this.#users++;
    clearTimeout(this.#linger);
    if (!this.#stop) {
      this.#stop = new AbortController();
      void this.#run(this.#stop.signal);
    }
    return () => {
      this.#users--;
      if (this.#users > 0) return;
      clearTimeout(this.#linger);
      this.#linger = setTimeout(() => this.stop(), LINGER_MS);
    };
  }

  stop(): void {
    this.#stop?.abort();
    this.#stop = undefined;
    tellConnection(this.#plural, false);
    this.#first = Promise.withResolvers();
    this.#first.promise.catch(() => {});
    queries.removeQueries({ queryKey: ["live", this.#plural] });
  }

  /** Do not wait any longer with the next attempt. */
  hurry(): void {
    this.#wake();
  }

  #tell(items: Items<Kinds[P]>): void {
    queries.setQueryData(["live", this.#plural], items);
    this.#first.resolve(items);
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        let { items, resourceVersion } = await listAll(this.#plural, signal);
        this.#tell(items);
        for (;;) {
          tellConnection(this.#plural, false);
          const ended = await this.#watch(items, resourceVersion, signal);
          ({ items, resourceVersion } = ended);
          if (signal.aborted) return;
          if (ended.expired) break;
          if (ended.opened) failures = 0;
          else if (++failures >= 2) break;
          if (!ended.orderly) await this.#wait(failures);
        }
        if (failures > 0) tellConnection(this.#plural, true);
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        if (isApiError(error, "Unauthorized")) {
          onSignedOut();
          return;
        }
        // Without anything to show, the page says why; with something, the bar at the top says that it may be old.
        this.#first.reject(error);
        tellConnection(this.#plural, !isApiError(error, "Forbidden"));
        await this.#wait(failures);
      }
    }
  }

  #wait(failures: number): Promise<void> {
    const ms = Math.min(MOST_WAIT_MS, 500 * 2 ** Math.min(failures, 6)) * (0.7 + 0.6 * Math.random());
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #watch(
    from: Map<string, Kinds[P]>,
    since: string,
    signal: AbortSignal,
  ): Promise<{
    items: Map<string, Kinds[P]>;
    resourceVersion: string;
    opened: boolean;
    orderly: boolean;
    expired: boolean;
  }> {
    const url = new URL(scopePath(this.#plural), location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = String(
      new URLSearchParams({ watch: "true", allowWatchBookmarks: "true", resourceVersion: since }),
    );
    return new Promise((resolve) => {
      let [items, resourceVersion, opened, expired] = [from, since, false, false];
      let gathered: (() => void)[] = [];
      let timer: ReturnType<typeof setTimeout> | undefined;
      const flush = () => {
        clearTimeout(timer);
        timer = undefined;
        if (gathered.length === 0) return;
        // React sees that it is another one.
        items = new Map(items);
        for (const apply of gathered) apply();
        gathered = [];
        this.#tell(items);
      };
      const socket = new WebSocket(url);
      let silence = setTimeout(() => socket.close(), SILENCE_MS);
      const end = () => socket.close();
      signal.addEventListener("abort", end, { once: true });
      socket.onopen = () => {
        opened = true;
      };
      socket.onmessage = ({ data }: MessageEvent<string | Blob>) => {
        clearTimeout(silence);
        silence = setTimeout(() => socket.close(), SILENCE_MS);
        if (typeof data !== "string") return;
        try {
          const { type, object } = rawEventFrom(data);
          if (!isFields(object) || !isFields(object.metadata)) return;
          const version = object.metadata.resourceVersion;
          if (typeof version === "string") resourceVersion = version;
          if (type === "BOOKMARK") return;
          const made = taken<P>(object);
          if (!made) return;
          gathered.push(() => {
            if (type === "DELETED") items.delete(keyOf(made));
            else items.set(keyOf(made), made);
          });
          timer ??= setTimeout(flush, GATHER_MS);
        } catch {
          // An ERROR event, or nothing of ours: all of it anew.
          expired = true;
          socket.close();
        }
      };
      socket.onclose = ({ code }) => {
        signal.removeEventListener("abort", end);
        clearTimeout(silence);
        flush();
        resolve({ items, resourceVersion, opened, orderly: code === 1000, expired });
      };
    });
  }
}

const all = new Map<Plural, Live<Plural>>();
function liveOf<P extends Plural>(plural: P): Live<P> {
  const found = all.get(plural) ?? new Live<Plural>(plural);
  all.set(plural, found);
  // Each is kept under its own kind.
  return found as unknown as Live<P>;
}

/** Ends all watches and forgets what they brought: the next user may see something else. */
export function forgetAll(): void {
  for (const live of all.values()) live.stop();
  queries.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== "me" });
}

export const reconnectNow = (): void => {
  for (const live of all.values()) live.hurry();
};
window.addEventListener("online", reconnectNow);

const NONE: Items<never> = new Map<string, never>();

export interface LiveResult<T> {
  items: Items<T>;
  list: readonly T[];
  state: "loading" | "error" | "ready";
  error: unknown;
}

/** All objects of a kind, fresh. */
export function useLive<P extends Plural>(plural: P): LiveResult<Kinds[P]> {
  useEffect(() => liveOf(plural).acquire(), [plural]);
  const query = useQuery<Items<Kinds[P]>>({
    queryKey: ["live", plural],
    queryFn: () => liveOf(plural).first,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: Number.POSITIVE_INFINITY,
  });
  const items: Items<Kinds[P]> = query.data ?? NONE;
  const list = useMemo(() => [...items.values()], [items]);
  return {
    items,
    list,
    state: query.data ? "ready" : query.isError ? "error" : "loading",
    error: query.error,
  };
}
