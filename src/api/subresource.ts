/**
 * Subresources of a kind that are no part of its object, such as the console of a machine: their room hands them to the server, which authorises their
 * requests, audits them and calls. A request for a WebSocket comes to `handle` as any other; `acceptWebSocket` turns it into one.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import { ApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Exchange, Upgrade } from "./exchange.ts";
import type { Call } from "./resource-reads.ts";

export interface Subresource {
  /** In each of its versions. */
  of: Pick<Kind, "group" | "plural" | "kind">;
  /** "console" */
  name: string;
  /** The verb of RBAC that each HTTP method takes. */
  methods: Readonly<Partial<Record<"GET" | "POST", string>>>;
  /** In discovery: the kind of what it answers, when it is another than the object's own. */
  answers?: string;
  /** @throws ApiError */
  handle(call: Call): Promise<void>;
}

/** What one frame of a client may hold. */
const MAX_FRAME_BYTES = 2 ** 20;
const PING_MS = 30_000;

const sockets = new WebSocketServer({
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: MAX_FRAME_BYTES,
  // noVNC of before 1.0 and others ask for it; it changes nothing.
  handleProtocols: (asked) => (asked.has("binary") ? "binary" : false),
});

/** Whether a request asks for a WebSocket; all others that ask for another protocol are answered in this one. */
export const wantsWebSocket = ({ method, headers }: IncomingMessage): boolean =>
  method === "GET" && headers.upgrade?.toLowerCase() === "websocket";

/**
 * Answers the request with a WebSocket. From here on it holds no seat, and ends when the server does or when whoever asked has no right to it any more.
 * @throws ApiError BadRequest when it does not ask for one, Forbidden when a page of somebody else's does, by the login of a browser
 */
export async function acceptWebSocket(call: Call): Promise<WebSocket> {
  const { exchange, attributes } = call;
  const { request, response, upgrade } = exchange;
  if (!upgrade)
    throw new ApiError(
      "BadRequest",
      `${attributes.resource}/${attributes.subresource} is a WebSocket: the request needs the headers of one (RFC 6455)`,
    );
  refuseForeignPage(exchange);
  const version = request.headers["sec-websocket-version"];
  const key = request.headers["sec-websocket-key"] ?? "";
  if (version !== "13" || !/^[+/0-9A-Za-z]{22}==$/.test(key))
    throw new ApiError("BadRequest", "the headers are not those of a WebSocket of version 13 (RFC 6455)");
  if (exchange.over.aborted) throw gone();
  exchange.onAnswer?.(101);
  detach(response, upgrade.socket);
  const socket = await new Promise<WebSocket>((resolve, reject) => {
    exchange.over.addEventListener("abort", () => reject(gone()), { once: true });
    sockets.handleUpgrade(request, upgrade.socket, upgrade.head, resolve);
  });
  exchange.leave?.();
  const leave = whileAllowed(call, () =>
    socket.close(1012, "the control plane ends, or your right to this has; come again"),
  );
  let answered = true;
  const ping = setInterval(() => {
    if (!answered) return socket.terminate();
    answered = false;
    socket.ping();
  }, PING_MS);
  socket.on("pong", () => {
    answered = true;
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    clearInterval(ping);
    leave();
  });
  return socket;
}

const gone = () => new ApiError("BadRequest", "the client has gone");

/** Calls `end` when the server ends, or when whoever asked has no right to it any more. @returns to be called when it is over */
export function whileAllowed({ exchange, context, attributes }: Call, end: () => void): () => void {
  const { user, isGood = () => true } = exchange;
  const running = { end };
  context.watches.set(running, () => isGood() && context.authorizer.decide(user, attributes).allowed);
  return () => void context.watches.delete(running);
}

/**
 * Begins an answer that goes on for as long as the client stays: it holds no seat, and ends when the server does or when whoever asked has no right to it any more.
 * @returns to be called when it is over
 */
export function beginStream(call: Call, contentType: string): () => void {
  const { exchange } = call;
  const { response } = exchange;
  const leave = whileAllowed(call, () => response.end());
  exchange.onAnswer?.(200);
  response.writeHead(200, { "content-type": contentType, "cache-control": "no-store" });
  response.flushHeaders();
  exchange.leave?.();
  return leave;
}

/**
 * A browser sends its login (a session's cookie, a client certificate) along whichever page asks; a ticket or token somebody must have been given.
 * A ticket is what the login was by, not what the address has: one that is empty was not.
 */
function refuseForeignPage({ request, ticketFor }: Exchange): void {
  const { origin, host, authorization } = request.headers;
  if (origin === undefined || authorization !== undefined || ticketFor !== undefined) return;
  if (URL.canParse(origin) && new URL(origin).host === host) return;
  throw new ApiError("Forbidden", `a page of ${origin} may open this only with a ticket or a token`);
}

/** An answer to a request that Node has taken from its HTTP server: errors are told in HTTP as ever. */
export function attach(response: ServerResponse, { socket }: Upgrade): void {
  response.shouldKeepAlive = false;
  // Safe: the HTTP server's sockets are sockets.
  response.assignSocket(socket as Parameters<ServerResponse["assignSocket"]>[0]);
  response.once("finish", () => socket.end());
  socket.on("error", () => {});
}

function detach(response: ServerResponse, socket: Duplex): void {
  response.detachSocket(socket as Parameters<ServerResponse["detachSocket"]>[0]);
}
