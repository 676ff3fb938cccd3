/**
 * Lists that keep themselves up to date: all objects of a kind are listed once, then followed by a watch, for as long as a page shows them.
 *
 * The watch is a WebSocket: of HTTP/1.1 answers a browser holds six open to one server, over all of its tabs, so two tabs with a few watches
 * each would leave no connection for anything else. Events are gathered for a moment and told to React together.
 *
 *   list ──► watch from there ──► events, bookmarks ──► closed: again from the last revision, after a wait that grows to 15 s
 *     ▲                                                    │
 *     └──────── 410 Expired, or two failures ──────────────┘        nothing heard for 90 s (bookmarks come each minute): closed by us
 *               (from the second on after a wait, too)
 */
import { QueryClient, useQuery } from "@tanstack/react-query";
import { useEffect, useMemo, useSyncExternalStore } from "react";
import { isResource, rawEventFrom } from "../../../src/client/answers.ts";
import { isFields } from "../../../src/resource/fields.ts";
import { afterWatch, type Ended } from "./again.ts";
import { isApiError, requestText } from "./api.ts";
import {
  BRIEF_FIELDS,
  type BriefPlural,
  type Briefs,
  collectionPath,
  type Kinds,
  keyOf,
  type Place,
  type Plural,
  scopePath,
} from "./kinds.ts";

const PAGE = 20_000;
const GATHER_MS = 120;
/** Pages look at all objects of a list whenever some have changed: at very many more seldom, so that they do little else. */
const TOLD_PER_MS = 20;
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
const lost = new Set<string>();
function tellConnection(key: string, isLost: boolean): void {
  if (isLost) lost.add(key);
  else lost.delete(key);
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

/** A list to be kept fresh. */
interface Source {
  /** Two of the same key are the same. */
  key: string;
  path: string;
  query: Readonly<Record<string, string>>;
}
interface Named {
  metadata: { name: string; namespace?: string };
}

/** Everything but what no page shows, which is a third of each object. */
function taken<T extends Named>(object: unknown): T | undefined {
  if (!isResource(object)) return undefined;
  delete object.metadata.managedFields;
  // The server has validated it against the kind's schema when it was written.
  return object as Named as T;
}

/** Of a list's metadata, which stands before its items. */
const CONTINUE = /^.{0,400}?"continue":"([\w=+/-]+)"/s;

async function listAll<T extends Named>(
  { path, query }: Source,
  signal: AbortSignal,
): Promise<{ items: Map<string, T>; resourceVersion: string }> {
  const items = new Map<string, T>();
  const page = (token: string | undefined) => {
    const limits = { limit: String(PAGE), ...(token ? { continue: token } : {}) };
    const asked = requestText(`${path}?${new URLSearchParams({ ...query, ...limits })}`, { signal });
    // It is waited for below, if nothing else fails before.
    asked.catch(() => {});
    return asked;
  };
  for (let asked = page(undefined); ; ) {
    const text = await asked;
    // The server makes the next page while this one is parsed.
    const early = CONTINUE.exec(text)?.[1];
    const next = early === undefined ? undefined : page(early);
    const answer = JSON.parse(text) as ListAnswer;
    for (const item of answer.items) {
      const object = taken<T>(item);
      if (object) items.set(keyOf(object), object);
    }
    const { continue: token, resourceVersion = "" } = answer.metadata;
    if (!token) return { items, resourceVersion };
    asked = next && token === early ? next : page(token);
  }
}

class Live<T extends Named> {
  readonly #source: Source;
  #users = 0;
  #stop: AbortController | undefined;
  #linger: ReturnType<typeof setTimeout> | undefined;
  #first = Promise.withResolvers<Items<T>>();
  #wake: () => void = () => {};

  constructor(source: Source) {
    this.#source = source;
    this.#first.promise.catch(() => {});
  }

  get first(): Promise<Items<T>> {
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
    // Once: another one may stand under its key by now.
    if (!this.#stop) return;
    this.#stop.abort();
    this.#stop = undefined;
    tellConnection(this.#source.key, false);
    this.#first = Promise.withResolvers();
    this.#first.promise.catch(() => {});
    all.delete(this.#source.key);
    queries.removeQueries({ queryKey: ["live", this.#source.key] });
  }

  /** Do not wait any longer with the next attempt. */
  hurry(): void {
    this.#wake();
  }

  #tell(items: Items<T>): void {
    queries.setQueryData(["live", this.#source.key], items);
    this.#first.resolve(items);
  }

  async #run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    while (!signal.aborted) {
      try {
        let { items, resourceVersion } = await listAll<T>(this.#source, signal);
        this.#tell(items);
        for (;;) {
          tellConnection(this.#source.key, false);
          const ended = await this.#watch(items, resourceVersion, signal);
          ({ items, resourceVersion } = ended);
          if (signal.aborted) return;
          const next = afterWatch(failures, ended);
          failures = next.failures;
          if (next.anew && next.wait) tellConnection(this.#source.key, true);
          if (next.wait) await this.#wait(failures);
          if (next.anew) break;
        }
      } catch (error) {
        if (signal.aborted) return;
        failures++;
        if (isApiError(error, "Unauthorized")) {
          onSignedOut();
          return;
        }
        // Without anything to show, the page says why; with something, the bar at the top says that it may be old.
        this.#first.reject(error);
        tellConnection(this.#source.key, !isApiError(error, "Forbidden"));
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
    from: Map<string, T>,
    since: string,
    signal: AbortSignal,
  ): Promise<Ended & { items: Map<string, T>; resourceVersion: string }> {
    const { path, query } = this.#source;
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    url.search = String(
      new URLSearchParams({ ...query, watch: "true", allowWatchBookmarks: "true", resourceVersion: since }),
    );
    return new Promise((resolve) => {
      let [items, resourceVersion, opened] = [from, since, false];
      let failed: Ended["error"];
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
        // What comes after something that was not understood would hide that it is missing.
        if (typeof data !== "string" || failed) return;
        try {
          const { type, object } = rawEventFrom(data);
          if (!isFields(object) || !isFields(object.metadata)) return;
          const version = object.metadata.resourceVersion;
          if (typeof version === "string") resourceVersion = version;
          if (type === "BOOKMARK") return;
          const made = taken<T>(object);
          if (!made) return;
          gathered.push(() => {
            if (type === "DELETED") items.delete(keyOf(made));
            else items.set(keyOf(made), made);
          });
          timer ??= setTimeout(flush, Math.max(GATHER_MS, items.size / TOLD_PER_MS));
        } catch (error) {
          // An ERROR event, or nothing of ours.
          failed = isApiError(error, "Expired") ? "expired" : "other";
          socket.close();
        }
      };
      socket.onclose = ({ code }) => {
        signal.removeEventListener("abort", end);
        clearTimeout(silence);
        flush();
        resolve({ items, resourceVersion, opened, orderly: code === 1000, error: failed });
      };
    });
  }
}

const all = new Map<string, Live<Named>>();
function liveOf<T extends Named>(source: Source): Live<T> {
  const found = all.get(source.key) ?? new Live<Named>(source);
  all.set(source.key, found);
  // Each is kept under its own key, which names its kind.
  return found as unknown as Live<T>;
}

/** Ends all watches and forgets what they brought: the next user may see something else. */
export function forgetAll(): void {
  for (const live of [...all.values()]) live.stop();
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

/** Whether the user's roles do not show it: the page has something else for him then, not an error. */
export const isHidden = ({ state, error }: LiveResult<unknown>): boolean =>
  state === "error" && isApiError(error, "Forbidden");

function useSource<T extends Named>(source: Source): LiveResult<T> {
  const { key } = source;
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key says all
  useEffect(() => liveOf(source).acquire(), [key]);
  const query = useQuery<Items<T>>({
    queryKey: ["live", key],
    queryFn: () => liveOf<T>(source).first,
    staleTime: Number.POSITIVE_INFINITY,
    gcTime: Number.POSITIVE_INFINITY,
  });
  const items: Items<T> = query.data ?? NONE;
  const list = useMemo(() => [...items.values()], [items]);
  return {
    items,
    list,
    state: query.data ? "ready" : query.isError ? "error" : "loading",
    error: query.error,
  };
}

/** All objects of a kind, fresh. */
export const useLive = <P extends Plural>(plural: P): LiveResult<Kinds[P]> =>
  useSource({ key: plural, path: scopePath(plural), query: {} });

/** What tables show of all objects of a kind, fresh. */
export const useBrief = <P extends BriefPlural>(plural: P): LiveResult<Briefs[P]> =>
  useSource({
    key: `${plural} in brief`,
    path: scopePath(plural),
    query: { fields: BRIEF_FIELDS[plural].join() },
  });

/** One object, fresh; `items` has it, or nothing when there is none of the name. */
export const useOne = <P extends Plural>(plural: P, { name, namespace }: Place): LiveResult<Kinds[P]> =>
  useSource({
    key: `${plural} ${namespace ?? ""}/${name}`,
    path: collectionPath(plural, namespace),
    query: { fieldSelector: `metadata.name=${name}` },
  });
