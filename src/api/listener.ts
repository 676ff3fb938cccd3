/** The HTTPS listener: TLS, limits of connections, and time limits, so that nobody holds on to the server by doing nothing slowly. */
import { type IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { Socket } from "node:net";
import type { TlsOptions } from "node:tls";
import { MAX_BODY } from "./body.ts";
import { Connections, clientOf, connectionLimit } from "./connections.ts";
import type { Upgrade } from "./exchange.ts";
import { attach, wantsWebSocket } from "./subresource.ts";

/** Milliseconds. */
export interface TimeLimits {
  /** For the TLS handshake. */
  handshake: number;
  /** For the headers of a request, counted from the connection or from the first byte. */
  headers: number;
  /** For a whole request with its body. */
  request: number;
  /** For which a client may take nothing of an answer that is ready. (Watches see to this themselves.) */
  answer: number;
  /** How often it is looked whether a limit is over. */
  check: number;
}

const TIME_LIMITS: TimeLimits = {
  handshake: 10_000,
  headers: 10_000,
  request: 30_000,
  answer: 60_000,
  check: 2000,
};
/** How long a client may take to hear that it was cut off. */
const LAST_WORDS_MS = 1000;
/** Refused connections are told of so often: they may be very many. */
const REFUSALS_EVERY_MS = 60_000;

/** Answers to what Node's parser refuses before a request is there. */
const NOT_HTTP: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: "431 Request Header Fields Too Large",
  ERR_HTTP_REQUEST_TIMEOUT: "408 Request Timeout",
};

export interface ListenerOptions {
  tls: TlsOptions;
  handle: (request: IncomingMessage, response: ServerResponse, upgrade?: Upgrade) => void;
  /** Connections in all; by default 20,000, or what the limit of open files leaves room for. */
  connections?: number;
  times?: Partial<TimeLimits>;
  /** Called at most once a minute, with how many were refused since the last time and where the last one came from. */
  onRefused?: (count: number, address: string) => void;
}

/** Not listening yet. */
export function createListener(options: ListenerOptions): Server {
  const { onRefused } = options;
  const times = { ...TIME_LIMITS, ...options.times };
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    // Until all of it is taken; then the connection may be idle for longer again.
    response.once("prefinish", () => request.socket.setTimeout(times.answer));
    options.handle(request, response);
  };
  const server = createServer(
    {
      ...options.tls,
      requestCert: true,
      // Clients with a token have no certificate; a wrong certificate is refused by authenticate().
      rejectUnauthorized: false,
      // Longer than clients keep idle connections, so that they close first and never write into a closed one.
      keepAliveTimeout: 120_000,
      handshakeTimeout: times.handshake,
      headersTimeout: times.headers,
      requestTimeout: times.request,
      connectionsCheckingInterval: times.check,
      shouldUpgradeCallback: wantsWebSocket,
    },
    handle,
  );
  server.on("upgrade", (request: IncomingMessage, socket: Socket, head: Buffer) => {
    const response = new ServerResponse(request);
    socket.setTimeout(0);
    attach(response, { socket, head });
    options.handle(request, response, { socket, head });
  });
  // Whoever asks first need not send what will be refused.
  server.on("checkContinue", (request: IncomingMessage, response: ServerResponse) => {
    if (!(Number(request.headers["content-length"] ?? 0) > MAX_BODY)) response.writeContinue();
    handle(request, response);
  });
  // Whatever is not TLS, or not HTTP, or too slow: its connection is closed, the server lives on.
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable) return void socket.destroy();
    const line = NOT_HTTP[error.code ?? ""] ?? "400 Bad Request";
    const close = () => socket.destroy();
    // Not only ended: the other side might go on sending for as long as it likes.
    socket.end(`HTTP/1.1 ${line}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, close);
    setTimeout(close, LAST_WORDS_MS).unref();
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());

  const connections = new Connections(options.connections ?? connectionLimit());
  let refused = 0;
  let told = Number.NEGATIVE_INFINITY;
  server.on("connection", (socket: Socket) => {
    if (connections.admit(socket)) return;
    const from = clientOf(socket.remoteAddress ?? "");
    socket.destroy();
    refused++;
    if (performance.now() - told < REFUSALS_EVERY_MS) return;
    onRefused?.(refused, from);
    told = performance.now();
    refused = 0;
  });
  return server;
}
