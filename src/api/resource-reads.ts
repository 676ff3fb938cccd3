/** Lists and watches: the handlers that read, and what all handlers of resources have in hand (Call). */
import { randomInt } from "node:crypto";
import { ApiError, isApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Attributes, Decision } from "./authorize.ts";
import type { Authorizer } from "./authorizer.ts";
import { ChosenFields } from "./chosen-fields.ts";
import { type Exchange, flag, sendValue, statusOf } from "./exchange.ts";
import { negotiate } from "./media.ts";
import { includeOf, sendList } from "./resource-answers.ts";
import type { Target } from "./route.ts";
import type { Served } from "./served.ts";
import type { Selection, Service } from "./service.ts";
import { acceptWebSocket } from "./subresource.ts";
import { httpSink, WatchStream, webSocketSink } from "./watch-stream.ts";

export interface ResourceContext {
  service: Service;
  authorizer: Authorizer;
  served: readonly Served[];
  /** The watches and WebSockets that run, so that the server can end them in good order; and whether who watches may still do so. */
  watches: Map<{ end(): void }, () => boolean>;
}

/** A request for a resource, authorised. */
export interface Call {
  exchange: Exchange;
  context: ResourceContext;
  target: Target;
  kind: Kind;
  name: string;
  attributes: Attributes;
  decision: Extract<Decision, { allowed: true }>;
}

export function selectionOf({ exchange: { query }, target }: Call): Selection {
  const labelSelector = query.get("labelSelector");
  const fieldSelector = query.get("fieldSelector");
  return {
    ...(target.namespace ? { namespace: target.namespace } : {}),
    ...(target.name ? { name: target.name } : {}),
    ...(labelSelector ? { labelSelector } : {}),
    ...(fieldSelector ? { fieldSelector } : {}),
  };
}

/** A whole number from the query, or undefined. @throws ApiError BadRequest */
export function integer(exchange: Exchange, name: string): number | undefined {
  const text = exchange.query.get(name);
  if (!text) return undefined;
  if (!/^\d{1,15}$/.test(text))
    throw new ApiError(
      "BadRequest",
      `the parameter ${name} must be a whole number, not ${JSON.stringify(text)}`,
    );
  return Number(text);
}

/** resourceVersionMatch of a list. What would change the answer and is not understood is refused. @throws ApiError Invalid */
function isExact(query: URLSearchParams): boolean {
  const wrong = (what: string) => new ApiError("Invalid", `ListOptions.meta.k8s.io "" is invalid: ${what}`);
  if (query.has("sendInitialEvents"))
    throw wrong("sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list");
  const match = query.get("resourceVersionMatch");
  if (!match) return false;
  if (query.get("continue"))
    throw wrong(
      "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
    );
  const resourceVersion = query.get("resourceVersion");
  if (!resourceVersion)
    throw wrong(
      "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
    );
  if (match !== "Exact" && match !== "NotOlderThan")
    throw wrong(
      `resourceVersionMatch: Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan"`,
    );
  if (match === "Exact" && resourceVersion === "0")
    throw wrong(
      'resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"',
    );
  return match === "Exact";
}

export async function list(call: Call): Promise<void> {
  const { exchange, kind, context } = call;
  const media = negotiate(exchange.request.headers.accept, ["Table", "PartialObjectMetadataList"]);
  const limit = integer(exchange, "limit");
  const token = exchange.query.get("continue");
  const resourceVersion = exchange.query.get("resourceVersion");
  const exact = isExact(exchange.query);
  const result = await context.service.list(kind, {
    ...selectionOf(call),
    ...(limit ? { limit } : {}),
    ...(token ? { continue: token } : {}),
    ...(resourceVersion ? { resourceVersion } : {}),
    ...(exact ? { exact } : {}),
  });
  const metadata = {
    resourceVersion: result.resourceVersion,
    ...(result.continue ? { continue: result.continue } : {}),
    ...(result.remainingItemCount === undefined ? {} : { remainingItemCount: result.remainingItemCount }),
  };
  await sendList(call, media, metadata, result.items);
}

export async function watch(call: Call): Promise<void> {
  const { exchange, kind, context } = call;
  const { query } = exchange;
  const media = negotiate(exchange.request.headers.accept, ["Table", "PartialObjectMetadata"]);
  const sendInitialEvents = flag(query.get("sendInitialEvents"));
  // A client that asks for initial events and is not heard waits for ever: refuse what would not be understood.
  if (query.has("sendInitialEvents") && query.get("resourceVersionMatch") !== "NotOlderThan")
    throw new ApiError(
      "Invalid",
      'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires resourceVersionMatch=NotOlderThan',
    );
  const bookmarks = flag(query.get("allowWatchBookmarks"));
  const chosen = ChosenFields.of(query);
  const seconds = integer(exchange, "timeoutSeconds") || 1800 + randomInt(1800);
  // From here on errors are told as events: a browser tells its page nothing of a WebSocket that did not come about.
  const sink = exchange.upgrade ? webSocketSink(await acceptWebSocket(call)) : httpSink(exchange.response);
  const stream = new WatchStream(sink, kind, {
    media: media.yaml ? { ...media, yaml: false, contentType: "application/json" } : media,
    include: includeOf(exchange),
    ...(chosen ? { chosen } : {}),
    bookmarks,
    timeoutMs: seconds * 1000,
  });
  let stop: (() => void) | undefined;
  try {
    stop = await context.service.watch(
      kind,
      {
        ...selectionOf(call),
        resourceVersion: query.get("resourceVersion") ?? "",
        bookmarks,
        ...(sendInitialEvents ? { sendInitialEvents } : {}),
      },
      (event) => stream.push(event),
    );
  } catch (error) {
    const event = () => ({ type: "ERROR", object: statusOf(error, exchange.id) });
    if (exchange.upgrade) {
      sink.write([[Buffer.from(JSON.stringify(event()))]]);
      return sink.end();
    }
    if (!isApiError(error, "Expired")) throw error;
    // Watch clients look for this in the stream.
    return sendValue(exchange, 200, event());
  }
  const stopService = stop;
  if (exchange.over.aborted) return stopService();
  // A WebSocket is among them already.
  if (!exchange.upgrade) context.watches.set(stream, exchange.isGood ?? (() => true));
  exchange.leave?.();
  stream.start(() => {
    stopService();
    context.watches.delete(stream);
  }, exchange.over);
}
