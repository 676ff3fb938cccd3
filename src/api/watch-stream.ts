/**
 * A watch as an HTTP answer, one JSON object a line, or as a WebSocket, one in each message, for as long as the client listens. A WebSocket is
 * what browsers take: of HTTP answers they hold six at a time.
 *
 * The Service pushes events; the client may be slow. Between them is a queue of references to shared objects (small, whatever
 * the objects' size); text is made only as the socket takes it, in pieces of 256 KiB. A client that takes nothing for a
 * minute, or lets the queue grow without end, is cut off: it comes back with the last resourceVersion it has seen.
 */
import type { ServerResponse } from "node:http";
import { createWebSocketStream, type WebSocket } from "ws";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { shown } from "../telemetry/request-id.ts";
import type { ChosenFields } from "./chosen-fields.ts";
import { jsonOf } from "./exchange.ts";
import type { Media } from "./media.ts";
import { groupVersion } from "./served.ts";
import type { ServiceEvent } from "./service.ts";
import { type IncludeObject, partialOf, tableOf } from "./table.ts";

const CHUNK = 256 * 1024;
const END = Buffer.from("}\n");

export interface WatchStreamOptions {
  media: Media;
  include: IncludeObject;
  /** Only these of each object. */
  chosen?: ChosenFields;
  /** Bookmarks are always asked of the Service; clients that do not know them do not get them. */
  bookmarks: boolean;
  timeoutMs: number;
  /** How long a client may take nothing. */
  stallMs?: number;
  maxQueue?: number;
}

/** Where the events go. */
export interface WatchSink {
  /** At once, so that the client knows the watch stands. */
  open(contentType: string): void;
  /** Events as they are to be sent, each in parts. @returns whether it takes more now; otherwise it says so by `drain` */
  write(events: readonly Buffer[][]): boolean;
  onDrain(listener: () => void): void;
  /** In good order. */
  end(): void;
  destroy(): void;
}

export const httpSink = (response: ServerResponse): WatchSink => ({
  open: (contentType) => {
    response.writeHead(200, { "content-type": contentType, "cache-control": "no-cache, private" });
    response.flushHeaders();
  },
  // Events of one tick go out in one write.
  write: (events) => response.write(Buffer.concat(events.flat())),
  onDrain: (listener) => response.on("drain", listener),
  end: () => response.end(),
  destroy: () => response.destroy(),
});

/** Of a request that has become a WebSocket. */
export function webSocketSink(socket: WebSocket): WatchSink {
  const stream = createWebSocketStream(socket, { decodeStrings: false });
  stream.on("error", () => {});
  // What a watcher says is of no interest; unread it would hold up the closing.
  stream.resume();
  return {
    open: () => {},
    write: (events) => {
      let takesMore = true;
      // As text: a browser hands binary messages to its page as files.
      for (const parts of events) takesMore = stream.write(Buffer.concat(parts).toString("utf8"));
      return takesMore;
    },
    onDrain: (listener) => stream.on("drain", listener),
    end: () => socket.close(1000, "come again with the last resourceVersion"),
    destroy: () => socket.terminate(),
  };
}

export class WatchStream {
  readonly #sink: WatchSink;
  readonly #kind: Kind;
  readonly #options: WatchStreamOptions;
  #queue: ServiceEvent[] = [];
  #head = 0;
  #started = false;
  #blocked = false;
  #scheduled = false;
  #ended = false;
  #withColumns = true;
  #stalled: NodeJS.Timeout | undefined;
  #timeout: NodeJS.Timeout | undefined;

  constructor(sink: WatchSink, kind: Kind, options: WatchStreamOptions) {
    this.#sink = sink;
    this.#kind = kind;
    this.#options = options;
  }

  /** Takes an event; before start() it is only kept. */
  push(event: ServiceEvent): void {
    if (this.#ended) return;
    if (event.type === "BOOKMARK" && !this.#options.bookmarks) return;
    this.#queue.push(event);
    if (this.#queue.length - this.#head > (this.#options.maxQueue ?? 200_000)) {
      this.#sink.destroy();
      return;
    }
    this.#schedule();
  }

  /** `onEnd` is called once, when it is `over`. */
  start(onEnd: () => void, over: AbortSignal): void {
    const onOver = () => {
      this.#ended = true;
      this.#queue = [];
      clearTimeout(this.#stalled);
      clearTimeout(this.#timeout);
      onEnd();
    };
    if (over.aborted) {
      onOver();
      return;
    }
    over.addEventListener("abort", onOver, { once: true });
    this.#sink.onDrain(() => {
      this.#blocked = false;
      clearTimeout(this.#stalled);
      this.#pump();
    });
    this.#sink.open(this.#options.media.contentType);
    this.#timeout = setTimeout(() => this.end(), this.#options.timeoutMs);
    this.#started = true;
    this.#pump();
  }

  /** Ends it in good order: the client starts a new watch where this one ended. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#sink.end();
  }

  #schedule(): void {
    if (this.#scheduled || !this.#started || this.#blocked) return;
    this.#scheduled = true;
    // Events of one tick go out in one write.
    setImmediate(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (!this.#ended && !this.#blocked && this.#head < this.#queue.length) {
      const events: Buffer[][] = [];
      let size = 0;
      while (size < CHUNK && this.#head < this.#queue.length) {
        const event = this.#queue[this.#head++];
        const parts = event ? this.#line(event) : [];
        if (parts.length > 0) events.push(parts);
        for (const part of parts) size += part.length;
      }
      if (this.#head === this.#queue.length) {
        this.#queue = [];
        this.#head = 0;
      }
      if (events.length > 0 && !this.#sink.write(events)) {
        this.#blocked = true;
        this.#stalled = setTimeout(() => this.#sink.destroy(), this.#options.stallMs ?? 60_000);
      }
    }
  }

  #line(event: ServiceEvent): Buffer[] {
    if (event.type === "BOOKMARK")
      return [Buffer.from(`${JSON.stringify({ type: "BOOKMARK", object: this.#bookmark(event) })}\n`)];
    if (this.#options.media.as === "") {
      const { chosen } = this.#options;
      const text = chosen ? chosen.jsonOf(this.#kind, event.object) : jsonOf(this.#kind, event.object);
      return [Buffer.from(`{"type":"${event.type}","object":`), text, END];
    }
    return [
      Buffer.from(
        `${JSON.stringify({ type: event.type, object: this.#transform(shown(this.#kind, event.object)) })}\n`,
      ),
    ];
  }

  #transform(object: Resource): object {
    const { media, include } = this.#options;
    if (media.as !== "Table") return partialOf(object, media.version);
    const withColumns = this.#withColumns;
    this.#withColumns = false;
    return tableOf(this.#kind, [object], {
      metadata: { resourceVersion: object.metadata.resourceVersion },
      version: media.version,
      include,
      withColumns,
    });
  }

  #bookmark(event: { resourceVersion: string; initialEventsEnd?: boolean }): object {
    const { media } = this.#options;
    const metadata = {
      resourceVersion: event.resourceVersion,
      creationTimestamp: null,
      ...(event.initialEventsEnd ? { annotations: { "k8s.io/initial-events-end": "true" } } : {}),
    };
    if (media.as === "") return { kind: this.#kind.kind, apiVersion: groupVersion(this.#kind), metadata };
    const apiVersion = `meta.k8s.io/${media.version}`;
    if (media.as !== "Table") return { kind: "PartialObjectMetadata", apiVersion, metadata };
    return {
      kind: "Table",
      apiVersion,
      metadata: { resourceVersion: event.resourceVersion },
      columnDefinitions: [],
      rows: [
        {
          cells: [null, ...this.#kind.columns.map(() => null)],
          object: { kind: "PartialObjectMetadata", apiVersion, metadata },
        },
      ],
    };
  }
}
