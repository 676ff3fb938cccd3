/**
 * A watch as an HTTP answer: one JSON object a line, for as long as the client listens.
 *
 * The Service pushes events; the client may be slow. Between them is a queue of references to shared objects (small, whatever
 * the objects' size); text is made only as the socket takes it, in pieces of 256 KiB. A client that takes nothing for a
 * minute, or lets the queue grow without end, is cut off: it comes back with the last resourceVersion it has seen.
 */
import type { ServerResponse } from "node:http";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { shown } from "../telemetry/request-id.ts";
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
  /** Bookmarks are always asked of the Service; clients that do not know them do not get them. */
  bookmarks: boolean;
  timeoutMs: number;
  /** How long a client may take nothing. */
  stallMs?: number;
  maxQueue?: number;
}

export class WatchStream {
  readonly #response: ServerResponse;
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

  constructor(response: ServerResponse, kind: Kind, options: WatchStreamOptions) {
    this.#response = response;
    this.#kind = kind;
    this.#options = options;
  }

  /** Takes an event; before start() it is only kept. */
  push(event: ServiceEvent): void {
    if (this.#ended) return;
    if (event.type === "BOOKMARK" && !this.#options.bookmarks) return;
    this.#queue.push(event);
    if (this.#queue.length - this.#head > (this.#options.maxQueue ?? 200_000)) {
      this.#response.destroy();
      return;
    }
    this.#schedule();
  }

  /** Sends the headers at once, so that the client knows the watch stands. `onEnd` is called once, when it is `over`. */
  start(onEnd: () => void, over: AbortSignal): void {
    const response = this.#response;
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
    response.on("drain", () => {
      this.#blocked = false;
      clearTimeout(this.#stalled);
      this.#pump();
    });
    response.writeHead(200, {
      "content-type": this.#options.media.contentType,
      "cache-control": "no-cache, private",
    });
    response.flushHeaders();
    this.#timeout = setTimeout(() => this.end(), this.#options.timeoutMs);
    this.#started = true;
    this.#pump();
  }

  /** Ends it in good order: the client starts a new watch where this one ended. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#response.end();
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
      const parts: Buffer[] = [];
      let size = 0;
      while (size < CHUNK && this.#head < this.#queue.length) {
        const event = this.#queue[this.#head++];
        for (const part of event ? this.#line(event) : []) {
          parts.push(part);
          size += part.length;
        }
      }
      if (this.#head === this.#queue.length) {
        this.#queue = [];
        this.#head = 0;
      }
      if (parts.length > 0 && !this.#response.write(Buffer.concat(parts, size))) {
        this.#blocked = true;
        this.#stalled = setTimeout(() => this.#response.destroy(), this.#options.stallMs ?? 60_000);
      }
    }
  }

  #line(event: ServiceEvent): Buffer[] {
    if (event.type === "BOOKMARK")
      return [Buffer.from(`${JSON.stringify({ type: "BOOKMARK", object: this.#bookmark(event) })}\n`)];
    if (this.#options.media.as === "")
      return [Buffer.from(`{"type":"${event.type}","object":`), jsonOf(this.#kind, event.object), END];
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
