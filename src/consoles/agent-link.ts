/** From a control plane to the consoles of a host: mTLS to its agent (agent/consoles/listener.ts), which proves to be that host's by its certificate. */
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import type { Duplex } from "node:stream";
import { CONSOLE_PROTOCOL, CONTROL_PLANE_USER, POSITION_HEADER } from "../resource/console-protocol.ts";
import { ApiError } from "../resource/errors.ts";
import { hostDnsName } from "../resource/host-name.ts";

/** To connect and to get an answer. */
const ANSWER_MS = 10_000;
/** Certificates are made in memory, for as long, and made anew long before. */
const CERTIFICATE_DAYS = 30;
const RENEW_MS = 24 * 3600_000;
const MAX_BYTES = 64 * 2 ** 20;

/** What it needs of the Pki. */
export interface Issuer {
  readonly ca: string;
  clientCredentials(
    name: string,
    groups: readonly string[],
    days: number,
  ): Promise<{ cert: string; key: string }>;
}

export interface Place {
  host: string;
  /** "10.0.0.1:7443" */
  address: string;
}

export interface Stream {
  socket: Duplex;
  /** Of a serial port: that of the first byte. */
  position: number;
}

export class AgentLink {
  readonly #issuer: Issuer;
  #kept: { credentials: Promise<{ cert: string; key: string }>; since: number } | undefined;

  constructor(issuer: Issuer) {
    this.#issuer = issuer;
  }

  /** Bytes both ways. @throws ApiError: Conflict when the machine has no such console, ServiceUnavailable when the host does not answer */
  open(place: Place, path: string): Promise<Stream> {
    return this.#ask(place, path, true, async (response, socket) => {
      if (!socket) throw await refusal(place, response);
      return { socket, position: Number(response.headers[POSITION_HEADER] ?? 0) };
    });
  }

  /** A page. @throws ApiError as open */
  page(place: Place, path: string): Promise<Buffer> {
    return this.#ask(place, path, false, async (response) => {
      if (response.statusCode !== 200) throw await refusal(place, response);
      return bodyOf(place, response);
    });
  }

  async #ask<T>(
    place: Place,
    path: string,
    upgrade: boolean,
    answered: (response: IncomingMessage, socket: Duplex | undefined) => Promise<T>,
  ): Promise<T> {
    const { cert, key } = await this.#credentials();
    const { hostname, port } = new URL(`https://${place.address}`);
    return new Promise<T>((resolve, reject) => {
      const sent = request({
        host: hostname.replace(/^\[|\]$/g, ""),
        port: port || 443,
        path,
        agent: false,
        ca: this.#issuer.ca,
        cert,
        key,
        minVersion: "TLSv1.2",
        // Checked against its certificate: another host at that address is not taken for it.
        servername: hostDnsName(place.host),
        ...(upgrade ? { headers: { connection: "Upgrade", upgrade: CONSOLE_PROTOCOL } } : {}),
      });
      const timer = setTimeout(() => sent.destroy(new Error(`no answer within ${ANSWER_MS} ms`)), ANSWER_MS);
      sent.on("response", (response) => {
        void answered(response, undefined)
          .then(resolve, reject)
          .finally(() => clearTimeout(timer));
      });
      sent.on("upgrade", (response, socket, head) => {
        clearTimeout(timer);
        socket.on("error", () => {});
        socket.setKeepAlive(true, 15_000);
        if (head.length > 0) socket.unshift(head);
        void answered(response, socket).then(resolve, reject);
      });
      sent.on("error", (cause) => {
        clearTimeout(timer);
        const text = `the agent of host ${place.host} does not answer at ${place.address}: ${cause.message}`;
        reject(new ApiError("ServiceUnavailable", text, {}, { cause }));
      });
      sent.end();
    });
  }

  #credentials(): Promise<{ cert: string; key: string }> {
    const now = Date.now();
    if (this.#kept && now - this.#kept.since <= RENEW_MS) return this.#kept.credentials;
    const credentials = this.#issuer.clientCredentials(CONTROL_PLANE_USER, [], CERTIFICATE_DAYS);
    const kept = { credentials, since: now };
    this.#kept = kept;
    credentials.catch(() => {
      if (this.#kept === kept) this.#kept = undefined;
    });
    return credentials;
  }
}

/** @throws ApiError ServiceUnavailable */
async function bodyOf({ host }: Place, response: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of response) {
      parts.push(part);
      bytes += part.length;
      if (bytes > MAX_BYTES) throw new Error(`it is longer than ${MAX_BYTES} bytes`);
    }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : cause;
    const text = `the answer of the agent of host ${host} broke off: ${why}`;
    throw new ApiError("ServiceUnavailable", text, {}, { cause });
  }
  return Buffer.concat(parts);
}

async function refusal(place: Place, response: IncomingMessage): Promise<ApiError> {
  const text = (await bodyOf(place, response)).toString("utf8").trim();
  if (response.statusCode === 409) return new ApiError("Conflict", text);
  return new ApiError("ServiceUnavailable", `the agent of host ${place.host} refused: ${text}`);
}
