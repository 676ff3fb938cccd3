/**
 * How requests come to a control plane, and what becomes of them.
 *
 * One that got no answer (refused, reset, timed out) is an ApiError ServiceUnavailable or Timeout with the system's error as its
 * cause. Whether a write that got no answer was done is not known: the caller reads again, as all reconcilers do. Repeated here are
 * only reads whose kept-alive connection turned out to be closed, and what the server refused for now with a time to come again
 * (503 and 429 with retryAfterSeconds, as client-go does), within the time that a request may take.
 */
import type { IncomingMessage } from "node:http";
import { Agent, type AgentOptions, request } from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import { ApiError, isApiError } from "../resource/errors.ts";
import { currentRequest } from "../telemetry/request-id.ts";
import { traceparent } from "../telemetry/tracing.ts";
import { errorFromAnswer } from "./answers.ts";
import { lines } from "./lines.ts";
import { Places } from "./places.ts";

/** As many as a server answers of one user at once (api/fairness.ts). */
const MOST_AT_ONCE = 32;

export interface ConnectionOptions {
  /** https://host:port of the control plane; of several, one is used until it does not answer, then the next. */
  url: string | readonly string[];
  /** Certificate of the control plane's CA, PEM. Nothing else is trusted. */
  ca: string;
  /** Bearer token, or a client certificate with its key (PEM). */
  token?: string;
  cert?: string;
  key?: string;
  /** Name by which writes are recorded (fieldManager). */
  name?: string;
  /** How long one request may take, once it is under way (mostAtOnce); 30 s by default. Watches are not limited by it. */
  timeoutMs?: number;
  /** Requests, but watches and urgent ones, under way at once, each on a connection; 32 by default. The others wait here, without one, rather than at the server. */
  mostAtOnce?: number;
  /** A watch without a byte for this long is taken for dead (the server sends bookmarks each minute); 150 s by default. */
  watchIdleMs?: number;
  /** What the server says of a request that it has done all the same (the header Warning). */
  onWarning?: (text: string) => void;
}

/** A request in HTTP's own words, for what the typed methods do not cover (tables, discovery, kinds without a declaration). */
export interface Call {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** Path with its query. */
  path: string;
  /** Sent as JSON; bytes as they are. */
  body?: unknown;
  /** Of the body; application/json by default. */
  contentType?: string;
  /** What form of answer is asked for; application/json by default. It has to be a JSON one. */
  accept?: string;
  signal?: AbortSignal | undefined;
  /** Goes at once, however many others are under way. */
  urgent?: boolean | undefined;
  /** Of a file only these bytes: the first, and the last. */
  range?: { first: number; last: number } | undefined;
}

/** Addresses of control planes, the one in use first, and what is shown to them. */
export interface Way {
  bases: readonly URL[];
  tls: AgentOptions;
  token?: string;
}

/** An answer, and which control plane gave it. */
interface Answer {
  response: IncomingMessage;
  base: URL;
  /** From here on it may take as long as it does. */
  unlimited: () => void;
}

/** Bytes of a file, and how many it has. */
export interface FilePart {
  bytes: Buffer;
  totalBytes: number;
}

export class Connection {
  readonly #options: ConnectionOptions;
  readonly #bases: readonly URL[];
  #current = 0;
  readonly #watches = new Map<IncomingMessage, URL>();
  readonly #agent: Agent;
  /** Each holds a socket as long as it goes on. */
  readonly #endless: Agent;
  readonly #places: Places;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#places = new Places(options.mostAtOnce ?? MOST_AT_ONCE);
    this.#bases = [options.url].flat().map((url) => new URL(url));
    for (const { protocol, href } of this.#bases)
      if (protocol !== "https:")
        throw new Error(`the control plane's address must start with https://, got ${href}`);
    const tls: AgentOptions = { ca: options.ca, minVersion: "TLSv1.2" };
    if (options.cert !== undefined) tls.cert = options.cert;
    if (options.key !== undefined) tls.key = options.key;
    this.#agent = new Agent({
      ...tls,
      keepAlive: true,
      maxFreeSockets: 16,
      scheduling: "lifo",
    });
    this.#endless = new Agent(tls);
  }

  /** The control plane in use. */
  get #base(): URL {
    const base = this.#bases[this.#current];
    if (!base) throw new Error("the client was given no control plane's address");
    return base;
  }

  /** The next control plane takes over, unless another request has seen to that already. */
  #leave(base: URL): void {
    if (base !== this.#base || this.#bases.length === 1) return;
    this.#current = (this.#current + 1) % this.#bases.length;
    // Its watches may be as silent as it is; they go on at the next one.
    for (const [response, from] of this.#watches) if (from === base) response.destroy();
  }

  get way(): Way {
    const { ca, cert, key } = this.#agent.options;
    const { token } = this.#options;
    return {
      bases: [...this.#bases.slice(this.#current), ...this.#bases.slice(0, this.#current)],
      tls: {
        minVersion: "TLSv1.2",
        ...(ca ? { ca } : {}),
        ...(cert ? { cert } : {}),
        ...(key ? { key } : {}),
      },
      ...(token === undefined ? {} : { token }),
    };
  }

  setCertificate({ cert, key }: { cert: string; key: string }): void {
    for (const { options } of [this.#agent, this.#endless]) Object.assign(options, { cert, key });
  }

  close(): void {
    this.#agent.destroy();
    this.#endless.destroy();
  }

  /** @returns the parsed JSON of the answer @throws ApiError */
  json(call: Call): Promise<unknown> {
    return this.#whole(call, (body, { headers }) => {
      for (const warning of warningsIn(headers.warning)) this.#options.onWarning?.(warning);
      return JSON.parse(body.toString("utf8"));
    });
  }

  /** A part of a file; of its last part less may come than was asked for. @throws ApiError */
  part(path: string, first: number, bytes: number, signal?: AbortSignal): Promise<FilePart> {
    const range = { first, last: first + bytes - 1 };
    return this.#whole({ method: "GET", path, range, signal }, (body, { headers, statusCode }) => {
      const total = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers["content-range"] ?? "");
      if (statusCode !== 206 || Number(total?.[1]) !== first)
        throw new ApiError(
          "NotAcceptable",
          `${this.#base.origin} does not give out parts of files: it is of an older Vireo`,
        );
      return { bytes: body, totalBytes: Number(total?.[2]) };
    });
  }

  /** @param read what is made of the answer. @throws ApiError */
  async #whole<T>(call: Call, read: (body: Buffer, response: IncomingMessage) => T): Promise<T> {
    const timeoutMs = this.#timeoutMs;
    const until = Date.now() + timeoutMs;
    try {
      for (let tried = 1; ; tried++) {
        const { response, base } = await this.#send(call, timeoutMs);
        const body = await bodyOf(response);
        if ((response.statusCode ?? 500) < 300) return read(body, response);
        const error = errorFromAnswer(response.statusCode, body.toString("utf8"));
        // Only these have certainly done nothing: cut off from the store, or too busy.
        if (!isApiError(error, "ServiceUnavailable", "TooManyRequests")) throw error;
        if (error.code === 503) {
          this.#leave(base);
          if (tried < this.#bases.length) continue;
        }
        // Who is too busy is asked again, but when it said.
        const waitMs = (error.details.retryAfterSeconds ?? Number.POSITIVE_INFINITY) * 1000;
        if (Date.now() + waitMs > until) throw error;
        await sleep(waitMs, undefined, call.signal ? { signal: call.signal } : {});
      }
    } catch (error) {
      if (call.signal?.aborted) throw call.signal.reason;
      throw this.#asApiError(error);
    }
  }

  /** The lines of an answer that has no end: a watch. @throws ApiError */
  async *watched(call: Call): AsyncGenerator<string> {
    const { signal } = call;
    try {
      const { response, base } = await this.#send(call, this.#timeoutMs);
      if (response.statusCode !== 200) throw errorFromAnswer(response.statusCode, await textOf(response));
      // From here on only silence limits it.
      response.socket.setTimeout(this.#options.watchIdleMs ?? 150_000, () => response.destroy());
      this.#watches.set(response, base);
      try {
        yield* lines(response);
      } finally {
        this.#watches.delete(response);
      }
    } catch (error) {
      if (signal?.aborted) return;
      throw this.#asApiError(error);
    }
  }

  /** A page that is no JSON, as it comes; once it has begun, only silence limits it. Ends when the signal aborts. @throws ApiError */
  async *bytes(path: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
    const timeoutMs = this.#timeoutMs;
    try {
      const { response, base, unlimited } = await this.#send({ method: "GET", path, signal }, timeoutMs);
      if (response.statusCode !== 200) throw errorFromAnswer(response.statusCode, await textOf(response));
      // One that follows something may have nothing to say.
      if (isEndless(path)) return yield* response;
      unlimited();
      const silent = () =>
        response.destroy(
          new ApiError("Timeout", `nothing more came from ${base.origin} for ${timeoutMs} ms`),
        );
      const parts: AsyncIterator<Buffer> = response[Symbol.asyncIterator]();
      try {
        for (;;) {
          // Whoever takes it may take his time.
          const timer = setTimeout(silent, timeoutMs);
          const { value, done } = await parts.next().finally(() => clearTimeout(timer));
          if (done) return;
          yield value;
        }
      } finally {
        response.destroy();
      }
    } catch (error) {
      if (!signal?.aborted) throw this.#asApiError(error);
    }
  }

  get #timeoutMs(): number {
    // Where another one may answer, waiting is worth less.
    return this.#options.timeoutMs ?? (this.#bases.length > 1 ? 10_000 : 30_000);
  }

  async #send(call: Call, timeoutMs: number): Promise<Answer> {
    call.signal?.throwIfAborted();
    for (let tried = 1; ; tried++) {
      try {
        return await this.#once(call, timeoutMs);
      } catch (error) {
        if (call.signal?.aborted) throw error;
        if (wasClosed(call, error)) return this.#once(call, timeoutMs);
        if (tried >= this.#bases.length || !(call.method === "GET" || wasNotSent(error))) throw error;
      }
    }
  }

  async #once(call: Call, timeoutMs: number): Promise<Answer> {
    const leave = isEndless(call.path) || call.urgent ? () => {} : await this.#places.take(call.signal);
    // While it waited another one may have come into use.
    const base = this.#base;
    try {
      return await this.#exchange(call, base, timeoutMs, leave);
    } catch (error) {
      leave();
      if (!call.signal?.aborted && !wasClosed(call, error)) this.#leave(base);
      throw error;
    }
  }

  /** @param over called when all of the answer has been read, or will not be */
  #exchange(call: Call, base: URL, timeoutMs: number, over: () => void): Promise<Answer> {
    const endless = isEndless(call.path);
    const body =
      call.body === undefined || Buffer.isBuffer(call.body)
        ? call.body
        : Buffer.from(JSON.stringify(call.body));
    const [id, parent] = [currentRequest(), traceparent()];
    return new Promise((resolve, reject) => {
      const sent = request({
        agent: endless ? this.#endless : this.#agent,
        host: base.hostname.replace(/^\[|\]$/g, ""),
        port: base.port || 443,
        method: call.method,
        path: call.path,
        headers: {
          accept: call.accept ?? "application/json",
          "user-agent": this.#options.name ?? "vireo",
          ...(id ? { "x-request-id": id } : {}),
          ...(parent ? { traceparent: parent } : {}),
          ...(call.range ? { range: `bytes=${call.range.first}-${call.range.last}` } : {}),
          ...(this.#options.token ? { authorization: `Bearer ${this.#options.token}` } : {}),
          ...(body
            ? { "content-type": call.contentType ?? "application/json", "content-length": body.length }
            : {}),
        },
        ...(call.signal ? { signal: call.signal } : {}),
      });
      // Covers connecting, too: a host that is down does not answer at all.
      const timer = setTimeout(
        () => sent.destroy(new ApiError("Timeout", `no answer from ${base.origin} within ${timeoutMs} ms`)),
        timeoutMs,
      );
      sent.on("socket", (socket) => socket.setKeepAlive(true, 30_000));
      sent.on("response", (response) => {
        const unlimited = () => clearTimeout(timer);
        if (endless) unlimited();
        else response.once("close", unlimited);
        response.once("close", over);
        resolve({ response, base, unlimited });
      });
      sent.on("error", (error) => {
        clearTimeout(timer);
        const retriable = sent.reusedSocket && "code" in error && error.code === "ECONNRESET";
        reject(retriable ? new ReusedSocketError(error) : error);
      });
      sent.end(body);
    });
  }

  #asApiError(error: unknown): unknown {
    if (error instanceof ApiError) return error;
    if (error instanceof SyntaxError)
      return new ApiError(
        "InternalError",
        `${this.#base.origin} answered something that is not JSON`,
        {},
        { cause: error },
      );
    const cause = error instanceof ReusedSocketError ? error.cause : error;
    const why = cause instanceof Error ? cause.message || cause.name : String(cause);
    return new ApiError("ServiceUnavailable", `cannot reach ${this.#base.origin}: ${why}`, {}, { cause });
  }
}

/** Of a watch, or a log that goes on. */
const isEndless = (path: string): boolean => /[?&](watch|follow)=true/.test(path);

/** Whether the server closed the kept-alive connection just as it was used, by a request that may be made again. */
const wasClosed = ({ method }: Call, error: unknown): boolean =>
  method === "GET" && error instanceof ReusedSocketError;

/** Whether no connection came about: then the request cannot have been done. */
function wasNotSent(error: unknown): boolean {
  return (
    error instanceof Error &&
    "code" in error &&
    ["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND"].includes(String(error.code))
  );
}

class ReusedSocketError extends Error {
  constructor(cause: unknown) {
    super("the kept-alive connection was closed", { cause });
  }
}

async function bodyOf(response: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part);
  return Buffer.concat(parts);
}

const textOf = async (response: IncomingMessage) => (await bodyOf(response)).toString("utf8");

/** The texts of the header, each quoted behind its code and agent: 299 - "text". */
function* warningsIn(header: string | string[] | undefined): Generator<string> {
  for (const [, quoted = ""] of String(header ?? "").matchAll(/\b299 \S+ "((?:[^"\\]|\\.)*)"/g))
    yield quoted.replace(/\\(.)/g, "$1");
}
