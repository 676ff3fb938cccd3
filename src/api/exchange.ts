/** One request and its answer, as all handlers see them; how answers are written. */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { promisify } from "node:util";
import { constants, gzip } from "node:zlib";
import { stringify } from "yaml";
import { ApiError } from "../resource/errors.ts";
import type { Kind } from "../resource/kind.ts";
import type { Resource } from "../resource/object.ts";
import { shown } from "../telemetry/request-id.ts";
import type { Proof } from "./proof.ts";
import type { User } from "./service.ts";

const compress = promisify(gzip);
/** Below this, compressing costs more than it saves. */
const GZIP_FROM = 128 * 1024;

/** What is left of a request for another protocol. */
export interface Upgrade {
  socket: Duplex;
  /** What came behind the request already. */
  head: Buffer;
}

export interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The path, split at "/", each part decoded: ["apis", "vireo.dev", …]. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
  /** Named in the log and in the answer's X-Request-Id. */
  readonly id: string;
  /** Aborted once the answer was sent, or its connection is gone. */
  readonly over: AbortSignal;
  /** Of a request for a resource that is served. */
  target?: { verb: string; resource: string };
  user: User;
  /** Who really asks, when it is as somebody else. */
  asked?: User;
  /** Of a request for a WebSocket. */
  readonly upgrade?: Upgrade;
  /** Who came by a ticket: the uid of the object that it is for. */
  ticketFor?: string;
  /** Written to the audit log although it is a read. */
  isAudited?: boolean;
  /** By what he has shown who he is. */
  by: Proof;
  /** Whether that is still good: asked of what runs on, such as a watch. */
  isGood?: () => boolean;
  /** Gives the request's seats back before it ends: for what runs on, such as a watch. */
  leave?: () => void;
  /** Called with the answer's code just before it leaves. */
  readonly onAnswer?: (code: number) => void;
}

const unanswered = new WeakMap<Socket, AbortController[]>();
/** One for all: making an error costs more than the rest of the end of a request. */
const OVER = new DOMException("the request is over", "AbortError");

/** By itself, so that the connection does not hold the first of its requests for as long as it is open. */
function unansweredOf(socket: Socket): AbortController[] {
  const known = unanswered.get(socket);
  if (known) return known;
  const all: AbortController[] = [];
  unanswered.set(socket, all);
  socket.once("close", () => {
    for (const each of [...all]) each.abort(OVER);
  });
  return all;
}

/**
 * Aborted once the answer was sent, or its connection is gone. Node tells an answer that its connection is gone only if it is its turn on it: of
 * requests sent after one another without waiting (pipelining), all but the first would hold what they hold for ever.
 */
export function whenOver({ socket }: IncomingMessage, response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  const all = unansweredOf(socket);
  all.push(controller);
  response.once("close", () => {
    all.splice(all.indexOf(controller), 1);
    controller.abort(OVER);
  });
  return controller.signal;
}

const serialised = new WeakMap<object, Buffer>();

/** The JSON for clients of an object that never changes (what the Service hands out): made once, however many read and watch it. */
export function jsonOf(kind: Kind, object: Resource): Buffer {
  const kept = serialised.get(object);
  if (kept) return kept;
  const made = Buffer.from(JSON.stringify(shown(kind, object)));
  serialised.set(object, made);
  return made;
}

/** Clients take only so many bytes of headers. */
const WARNINGS = 20;
const WARNING_LENGTH = 300;

/** Header values may have only visible ASCII; kubectl prints the quoted text. */
export function warningHeaders(warnings: readonly string[]): string[] {
  const more = warnings.length - WARNINGS;
  return [...warnings.slice(0, WARNINGS), ...(more > 0 ? [`and ${more} more`] : [])].map((text) => {
    const plain = text.replaceAll("…", "...");
    const cut = plain.length > WARNING_LENGTH ? `${plain.slice(0, WARNING_LENGTH - 3)}...` : plain;
    return `299 - ${JSON.stringify(cut).replace(/[^\x20-\x7e]/g, "?")}`;
  });
}

export async function send(
  exchange: Exchange,
  code: number,
  body: Buffer,
  options: { contentType?: string; warnings?: readonly string[]; headers?: Record<string, string> } = {},
): Promise<void> {
  const { request, response } = exchange;
  if (response.destroyed) return;
  exchange.onAnswer?.(code);
  const headers: Record<string, string | number | string[]> = {
    "content-type": options.contentType ?? "application/json",
    "cache-control": "no-cache, private",
    "x-content-type-options": "nosniff",
    ...options.headers,
  };
  if (options.warnings?.length) headers.warning = warningHeaders(options.warnings);
  let bytes = body;
  if (body.length >= GZIP_FROM && /\bgzip\b/.test(String(request.headers["accept-encoding"] ?? ""))) {
    bytes = await compress(body, { level: constants.Z_BEST_SPEED });
    headers["content-encoding"] = "gzip";
    headers.vary = "Accept-Encoding";
  }
  headers["content-length"] = bytes.length;
  response.writeHead(code, headers);
  response.end(request.method === "HEAD" ? undefined : bytes);
}

export function sendValue(
  exchange: Exchange,
  code: number,
  value: object,
  options: { contentType?: string; warnings?: readonly string[]; yaml?: boolean } = {},
): Promise<void> {
  const { yaml, ...rest } = options;
  if (yaml)
    return send(exchange, code, Buffer.from(stringify(value, { aliasDuplicateObjects: false })), {
      ...rest,
      contentType: "application/yaml",
    });
  return send(exchange, code, Buffer.from(JSON.stringify(value)), rest);
}

/** The Status object of an error. Of errors that are not ApiErrors nothing leaves the process but the request's id. */
export function statusOf(error: unknown, requestId: string) {
  const known =
    error instanceof ApiError
      ? error
      : new ApiError(
          "InternalError",
          `internal error: the server's log has the details under request ${requestId}`,
        );
  const hasDetails = Object.keys(known.details).length > 0;
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: known.continue === undefined ? {} : { continue: known.continue },
    status: "Failure",
    message: known.message,
    reason: known.reason,
    ...(hasDetails ? { details: known.details } : {}),
    code: known.code,
  };
}

/** A page that does not exist: told from a missing object by having no name in its details. */
export function pageNotFound(): ApiError {
  return new ApiError("NotFound", "the server could not find the requested resource");
}

/** Go's ParseBool: Python clients send "True". An empty value counts as true. */
export function flag(value: string | null): boolean {
  return value !== null && ["", "1", "t", "T", "true", "TRUE", "True"].includes(value);
}
