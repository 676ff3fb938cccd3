/**
 * The API server: HTTP/1.1 over TLS, by Kubernetes' conventions, over the kinds it is given. It knows no kind by name (but for what
 * agents may write, authorize.ts, and that Hosts are taken out, taken-out.ts); what the API does is in the Service, what it looks like on the wire is in this room:
 *
 *   request -> route.ts -> authenticate.ts -> authorizer.ts -> resource-handlers.ts -> Service
 *                     \-> pages: version, health, discovery, OpenAPI, enrolment, sessions of browsers, the web UI
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { isIP } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { ApiError, isApiError } from "../resource/errors.ts";
import { exposition } from "../telemetry/metrics.ts";
import { inRequest, requestIdFrom } from "../telemetry/request-id.ts";
import { inSpan } from "../telemetry/tracing.ts";
import type { AuditLog } from "./audit.ts";
import { auditAnswer, auditHealth, requireAudit } from "./audit-requests.ts";
import { ANONYMOUS, authenticate, type Login } from "./authenticate.ts";
import { Authorizer, ensureBuiltInRoles } from "./authorizer.ts";
import { CORE_EVENTS, withCoreEvents } from "./core-events.ts";
import { enroll } from "./enroll.ts";
import { withEscalationCheck } from "./escalation.ts";
import {
  type Exchange,
  pageNotFound,
  send,
  sendValue,
  statusOf,
  type Upgrade,
  whenOver,
} from "./exchange.ts";
import { Fairness, type Limits } from "./fairness.ts";
import { impersonate } from "./impersonate.ts";
import { createListener, type TimeLimits } from "./listener.ts";
import { Oidc, type OidcOptions } from "./oidc.ts";
import { storeError } from "./operation-errors.ts";
import { type Health, Pages } from "./pages.ts";
import { ADMINS, type Pki } from "./pki.ts";
import { isStillGood } from "./proof.ts";
import { measureRequest, seatsGauge, waitingGauge, watchesGauge } from "./request-metrics.ts";
import { handleResource } from "./resource-handlers.ts";
import type { ResourceContext } from "./resource-reads.ts";
import { parseUrl } from "./route.ts";
import { withSecrets } from "./secrets.ts";
import { withSubresources } from "./served.ts";
import type { Service } from "./service.ts";
import { answerSession } from "./session-page.ts";
import type { Sessions } from "./sessions.ts";
import type { Subresource } from "./subresource.ts";
import { SYNTHETIC, withSynthetic } from "./synthetic.ts";
import { type TakenOut, withTakenOut } from "./taken-out.ts";
import type { Tickets } from "./tickets.ts";
import type { Ui } from "./ui.ts";
import { otherVersions, withVersions } from "./versions.ts";

/** What the server logs with; structurally the Logger of the reconcile room, which this room does not import. */
export interface RequestLog {
  info(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

export interface ApiServerOptions {
  service: Service;
  pki: Pki;
  /** Address to listen on, and the name in the certificate and the URL. */
  host: string;
  /** 0: any free one. */
  port: number;
  /** Further DNS names and addresses for the certificate. */
  names?: readonly string[];
  /** How often it is looked whether the certificate is due for renewal; each hour by default. */
  renewalCheckMs?: number;
  /** How long a watch may run on after the token or certificate by which it was begun is good no more; 2 s by default. */
  recheckMs?: number;
  log?: RequestLog;
  /** Vireo's version, for /version. */
  version?: string;
  /** The lines of a backup of everything, for GET /backup; only administrators get it, for it holds all keys. */
  backup?: () => AsyncIterable<string>;
  audit?: AuditLog;
  /** That other rooms serve, in any order. */
  subresources?: readonly Subresource[];
  /** By which WebSockets may be opened. */
  tickets?: Tickets;
  /** Of browsers, which log in by POST /session. */
  sessions?: Sessions;
  /** Without it, a host that is deleted may come back by the certificate that it has. */
  takenOut?: TakenOut;
  /** Served at / to whoever asks. */
  ui?: Ui;
  /** How much one user may have of the server at once. */
  fairness?: Partial<Limits>;
  /** Connections in all; see listener.ts. */
  connections?: number;
  times?: Partial<TimeLimits>;
  /** Users of this provider may log in by its tokens. */
  oidc?: OidcOptions;
  /** What /readyz reports, one entry for each dependency. */
  health?: () => Promise<readonly Health[]>;
}

export interface ApiServer {
  /** https://host:port */
  readonly url: string;
  readonly port: number;
  /** Seats taken just now (fairness.ts), and requests that wait for some. */
  seats(): { used: number; waiting: number };
  /** Ends watches in good order, then closes all connections. */
  close(): Promise<void>;
}

/** Bytes of a refused body that are still read, so that the client can finish sending and read why. */
const MAX_DRAINED = 64 * 2 ** 20;

/** Seats of a list. */
const WIDE = 8;

export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { pki, log } = options;
  const versions = otherVersions(options.service.kinds);
  const served = [
    ...SYNTHETIC,
    CORE_EVENTS,
    // The stored versions first: they are the preferred ones.
    ...withSubresources(
      [...options.service.kinds, ...versions.map(({ kind }) => kind)],
      options.subresources ?? [],
    ),
  ];
  await ensureBuiltInRoles(options.service);
  const authorizer = await Authorizer.open(options.service);
  const { takenOut } = options;
  const service = takenOut ? withTakenOut(options.service, takenOut) : options.service;
  const context: ResourceContext = {
    service: withVersions(
      withCoreEvents(withSynthetic(withSecrets(withEscalationCheck(service, authorizer)))),
      versions,
    ),
    authorizer,
    served,
    watches: new Map(),
  };
  const oidc = options.oidc && new Oidc(options.oidc, log);
  const pages = new Pages(served, {
    version: options.version ?? "0.0.0",
    health: async () => [
      ...((await options.health?.()) ?? []),
      ...(options.audit ? [auditHealth(options.audit)] : []),
      ...(oidc ? [oidc.health()] : []),
    ],
  });
  const anyAddress = ["0.0.0.0", "::"].includes(options.host);
  const names = [...(anyAddress ? [] : [options.host]), ...(options.names ?? [])];
  let credentials = await pki.serverCredentials(names);

  const fairness = new Fairness(options.fairness);
  const known = { tokens: pki.tokens, oidc, sessions: options.sessions, takenOut };
  /** @throws ApiError Unauthorized */
  const byTicket = async (exchange: Exchange, ticket: string): Promise<Login> => {
    const used = await options.tickets?.use(ticket, `/${exchange.path.join("/")}`);
    if (!used) throw new ApiError("Unauthorized", "Unauthorized: this server gives no tickets");
    exchange.ticketFor = used.uid;
    if (!isStillGood(used.by, known))
      throw new ApiError(
        "Unauthorized",
        "Unauthorized: the login by which the ticket was asked for has ended",
      );
    return used;
  };
  const answer = async (exchange: Exchange): Promise<void> => {
    const { request, path } = exchange;
    // Known even where it is not needed: a wrong token is refused everywhere but on the health pages.
    if (Pages.isOpen(path)) return pages.open(exchange);
    if (await options.ui?.answer(exchange)) return;
    if (options.audit) requireAudit(options.audit, exchange);
    // Before a session that has ended is refused: this is the way to a new one.
    if (path.length === 1 && path[0] === "session" && options.sessions)
      return answerSession(exchange, { ...known, sessions: options.sessions }, fairness);
    const ticket = exchange.upgrade && exchange.query.get("ticket");
    const login = ticket ? await byTicket(exchange, ticket) : await authenticate(request, known);
    exchange.user = login.user;
    exchange.asked = exchange.user;
    exchange.by = login.by;
    exchange.isGood = () => isStillGood(login.by, known);
    exchange.user = impersonate(request, exchange.user, authorizer);
    // Who has not said who he is, is known by where he is.
    const who = exchange.user === ANONYMOUS ? `address ${request.socket.remoteAddress}` : exchange.user.name;
    exchange.leave = await fairness.enter(who, widthOf(exchange), exchange.over);
    if (path.length === 1 && path[0] === "enroll") {
      if (request.method !== "POST") throw new ApiError("MethodNotAllowed", "enrolment is POST /enroll");
      const name = await enroll(exchange, pki, takenOut);
      log?.info("host enrolled", { host: name, request: exchange.id });
      return;
    }
    if (exchange.user === ANONYMOUS)
      throw new ApiError("Unauthorized", "Unauthorized: show a client certificate or a bearer token");
    if (path.length === 1 && path[0] === "backup" && options.backup)
      return sendBackup(exchange, options.backup);
    if (path.length === 1 && path[0] === "metrics") return sendMetrics(exchange, authorizer);
    if (await pages.closed(exchange)) return;
    if (path[0] !== "api" && path[0] !== "apis") throw pageNotFound();
    await handleResource(exchange, context);
  };

  const handle = async (
    request: IncomingMessage,
    response: ServerResponse,
    upgrade?: Upgrade,
  ): Promise<void> => {
    const id = requestIdFrom(request.headers);
    // The same to those who look for Kubernetes' name of it.
    for (const name of ["x-request-id", "audit-id"]) response.setHeader(name, id);
    let exchange: Exchange = {
      request,
      response,
      path: [],
      query: new URLSearchParams(),
      id,
      over: whenOver(request, response),
      user: ANONYMOUS,
      by: {},
      ...(upgrade ? { upgrade } : {}),
      onAnswer: (code) => {
        if (options.audit) auditAnswer(options.audit, exchange, code);
      },
    };
    const started = performance.now();
    try {
      exchange = Object.assign(exchange, parseUrl(request.url ?? ""));
      const parent = request.headers.traceparent;
      await inRequest(id, () =>
        inSpan(`api ${request.method}`, { "http.request.method": request.method }, () => answer(exchange), {
          traceparent: typeof parent === "string" ? parent : undefined,
          end: () => ({
            "url.path": `/${exchange.path.join("/")}`,
            "http.response.status_code": exchange.response.statusCode,
            "user.name": exchange.user.name,
          }),
        }),
      );
    } catch (error) {
      // That the refusal itself cannot be recorded is another one, which needs not be.
      await refuse(exchange, error, log).catch((second: unknown) => refuse(exchange, second, log));
    }
    const ms = performance.now() - started;
    measureRequest(exchange, ms / 1000);
    const isWrite = request.method !== "GET" && request.method !== "HEAD";
    if (isWrite || response.statusCode >= 500)
      log?.info("request", {
        request: id,
        user: exchange.user.name,
        method: request.method,
        path: `/${exchange.path.join("/")}`,
        code: response.statusCode,
        ms: Math.round(ms),
      });
  };

  const secureContext = () => ({ ...credentials, ca: pki.ca, minVersion: "TLSv1.2" as const });
  const { connections, times } = options;
  const server = createListener({
    tls: secureContext(),
    handle: (request, response, upgrade) => {
      handle(request, response, upgrade).catch((error: unknown) => {
        // Not even the refusal could be told: this one request ends, the server does not.
        response.destroy();
        log?.error("request failed", { method: request.method, error });
      });
    },
    ...(connections === undefined ? {} : { connections }),
    ...(times === undefined ? {} : { times }),
    onRefused: (count, address) => log?.error("connections refused", { count, address, why: "too many" }),
  });

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, resolve);
  });
  const renew = async () => {
    try {
      const current = await pki.serverCredentials(names);
      if (current.cert === credentials.cert) return;
      credentials = current;
      server.setSecureContext(secureContext());
      log?.info("server certificate renewed");
    } catch (error) {
      log?.error("server certificate not renewed", { error });
    }
  };
  let renewing = Promise.resolve();
  const renewal = setInterval(() => {
    renewing = renewing.then(renew);
  }, options.renewalCheckMs ?? 3600_000).unref();
  // Whose token was revoked or has run out, comes again and is told so.
  const recheck = setInterval(() => {
    for (const [watch, isGood] of context.watches) if (!isGood()) watch.end();
  }, options.recheckMs ?? 2000).unref();
  const untell = [
    watchesGauge(() => [[{}, context.watches.size]]),
    seatsGauge(() => [[{}, fairness.usage().used]]),
    waitingGauge(() => [[{}, fairness.usage().waiting]]),
  ];
  const address = server.address();
  const port = typeof address === "object" && address ? address.port : options.port;
  const name = anyAddress ? "127.0.0.1" : options.host;
  return {
    url: `https://${isIP(name) === 6 ? `[${name}]` : name}:${port}`,
    port,
    seats: () => fairness.usage(),
    close: async () => {
      clearInterval(renewal);
      clearInterval(recheck);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const stop of untell) stop();
      authorizer.close();
      oidc?.close();
      for (const watch of context.watches.keys()) watch.end();
      server.closeIdleConnections();
      setTimeout(() => server.closeAllConnections(), 500).unref();
      await closed;
      // It writes files.
      await renewing;
    },
  };
}

/** Seats that a request takes: a whole list keeps the server busy for as long as many small requests. */
function widthOf({ request, path, query }: Exchange): number {
  const isCollection = request.method === "GET" && path[0] === "apis" && [4, 6].includes(path.length);
  return isCollection && !query.has("limit") ? WIDE : 1;
}

/** @throws ApiError Forbidden */
async function sendMetrics(exchange: Exchange, authorizer: Authorizer): Promise<void> {
  const { request, user } = exchange;
  if (request.method !== "GET") throw new ApiError("MethodNotAllowed", "metrics are GET /metrics");
  if (!authorizer.decidePath(user, "get", "/metrics"))
    throw new ApiError(
      "Forbidden",
      `User "${user.name}" cannot get path "/metrics": the ClusterRole monitoring allows it`,
    );
  const { contentType, text } = await exposition();
  await send(exchange, 200, Buffer.from(text), { contentType });
}

/** @throws ApiError Forbidden */
async function sendBackup(exchange: Exchange, lines: () => AsyncIterable<string>): Promise<void> {
  const { request, response, user } = exchange;
  if (request.method !== "GET") throw new ApiError("MethodNotAllowed", "a backup is GET /backup");
  if (!user.groups.includes(ADMINS))
    throw new ApiError("Forbidden", `User "${user.name}" cannot get path "/backup": only ${ADMINS} may`);
  exchange.onAnswer?.(200);
  response.writeHead(200, { "content-type": "application/x-ndjson", "cache-control": "no-store" });
  await pipeline(Readable.from(lines()), response);
}

async function refuse(exchange: Exchange, thrown: unknown, log: RequestLog | undefined): Promise<void> {
  const { request, response } = exchange;
  // Sessions and tickets are written to the store, too.
  const error = storeError(thrown);
  if (!(error instanceof ApiError) || error.code === 500)
    log?.error("request failed", {
      request: exchange.id,
      method: request.method,
      path: `/${exchange.path.join("/")}`,
      error,
      // A mistake of ours: the log has where.
      stack: error instanceof Error ? error.stack : undefined,
    });
  if (isApiError(error, "Unauthorized") && error.cause instanceof Error)
    log?.info("login refused", {
      request: exchange.id,
      from: request.socket.remoteAddress,
      why: error.cause.message,
    });
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const status = statusOf(error, exchange.id);
  if (error instanceof ApiError && error.details.retryAfterSeconds !== undefined)
    response.setHeader("retry-after", error.details.retryAfterSeconds);
  if (!request.complete) drain(request, response);
  await sendValue(exchange, status.code, status);
}

/** Reads and drops what is left of a refused body, within limits; the connection is not used again. */
function drain(request: IncomingMessage, response: ServerResponse): void {
  response.setHeader("connection", "close");
  let left = MAX_DRAINED;
  request.on("data", (part: Buffer) => {
    left -= part.length;
    if (left < 0) request.destroy();
  });
  request.on("error", () => {});
  request.resume();
  setTimeout(() => request.complete || request.destroy(), 10_000).unref();
}
