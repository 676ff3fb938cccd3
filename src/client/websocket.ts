/** WebSockets to the control plane: the consoles of machines. */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { createWebSocketStream, WebSocket } from "ws";
import { ApiError } from "../resource/errors.ts";
import { errorFromAnswer } from "./answers.ts";
import type { HttpClient } from "./http.ts";

const HANDSHAKE_MS = 20_000;
const MAX_ANSWER_BYTES = 2 ** 20;

export interface OpenSocket {
  /** Binary frames, both ways. Ends when the server closes. */
  stream: Duplex;
  /** Why the server closed it, once it has: empty when it did not say. */
  why: () => string;
  /** Its code for that (RFC 6455, 7.4): 1000 is a good end; undefined until then. */
  code: () => number | undefined;
  close(): void;
}

/**
 * @param path with its query
 * @throws ApiError: what the server answered instead, ServiceUnavailable when none can be reached
 */
export async function openSocket(client: Pick<HttpClient, "way">, path: string): Promise<OpenSocket> {
  const { bases, tls, token } = client.way;
  let last: unknown;
  for (const base of bases)
    try {
      const url = new URL(path, base);
      url.protocol = "wss:";
      const headers: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
      return await connect(
        new WebSocket(url, { ...tls, headers, handshakeTimeout: HANDSHAKE_MS, perMessageDeflate: false }),
      );
    } catch (error) {
      if (error instanceof ApiError && error.code !== 503) throw error;
      last = error;
    }
  if (last instanceof ApiError) throw last;
  const why = last instanceof Error ? last.message : "no address is known";
  throw new ApiError(
    "ServiceUnavailable",
    `cannot reach ${bases.map(({ origin }) => origin).join(", ")}: ${why}`,
    {},
    { cause: last },
  );
}

function connect(socket: WebSocket): Promise<OpenSocket> {
  let why = "";
  let code: number | undefined;
  socket.on("close", (given, reason) => {
    code = given;
    why = reason.toString("utf8");
  });
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("unexpected-response", (_request, response: IncomingMessage) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      response.on("data", (part: Buffer) => {
        bytes += part.length;
        if (bytes <= MAX_ANSWER_BYTES) parts.push(part);
      });
      response.on("end", () => {
        reject(errorFromAnswer(response.statusCode, Buffer.concat(parts).toString("utf8")));
        socket.terminate();
      });
      response.on("error", reject);
    });
    socket.on("open", () => {
      const stream = createWebSocketStream(socket);
      stream.on("error", () => {});
      resolve({ stream, why: () => why, code: () => code, close: () => socket.close(1000) });
    });
  });
}
