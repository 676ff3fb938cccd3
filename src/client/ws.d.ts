/** The types of what we use of ws, which has none of its own. */
declare module "ws" {
  import type { EventEmitter } from "node:events";
  import type { ClientRequest, IncomingMessage } from "node:http";
  import type { Duplex } from "node:stream";

  interface ClientOptions {
    ca?: unknown;
    cert?: unknown;
    key?: unknown;
    minVersion?: string | undefined;
    headers?: Readonly<Record<string, string>>;
    handshakeTimeout?: number;
    perMessageDeflate?: boolean;
  }

  export class WebSocket extends EventEmitter {
    constructor(url: URL, options?: ClientOptions);
    close(code?: number, reason?: string): void;
    ping(): void;
    terminate(): void;
    on(event: "close", listener: (code: number, reason: Buffer) => void): this;
    on(event: "error", listener: (error: Error) => void): this;
    on(event: "message", listener: (data: Buffer, isBinary: boolean) => void): this;
    on(event: "open" | "pong", listener: () => void): this;
    on(
      event: "unexpected-response",
      listener: (request: ClientRequest, response: IncomingMessage) => void,
    ): this;
  }

  export class WebSocketServer {
    constructor(options: {
      noServer: true;
      clientTracking?: boolean;
      perMessageDeflate?: boolean;
      maxPayload?: number;
      handleProtocols?: (asked: Set<string>) => string | false;
    });
    handleUpgrade(
      request: IncomingMessage,
      socket: Duplex,
      head: Buffer,
      done: (socket: WebSocket) => void,
    ): void;
  }

  export function createWebSocketStream(socket: WebSocket, options?: { decodeStrings?: boolean }): Duplex;
}
