/** A host's agent that is played by a test: mTLS as ever, and what it answers is the test's. */

import type { ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { createSigningRequest, type Pki } from "../../api/pki.ts";
import { CONSOLE_PROTOCOL } from "../../resource/console-protocol.ts";

export class PretendAgent {
  /** "127.0.0.1:40000" */
  readonly address: string;
  /** Of each stream that was asked for; by default it is accepted and silent. */
  stream: (socket: Duplex) => void = accept;
  page: (response: ServerResponse) => void = (response) => response.writeHead(404).end();
  readonly close: () => void;

  private constructor(address: string, close: () => void) {
    this.address = address;
    this.close = close;
  }

  static async open(pki: Pki, host: string): Promise<PretendAgent> {
    const { csr, key } = await createSigningRequest(host);
    const cert = await pki.signHost(host, csr, ["127.0.0.1"]);
    const server = createServer({ ca: pki.ca, cert, key, requestCert: true });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const open = new Set<Duplex>();
    // Safe: it listens on TCP.
    const { port } = server.address() as AddressInfo;
    const agent = new PretendAgent(`127.0.0.1:${port}`, () => {
      server.close();
      server.closeAllConnections();
      for (const socket of open) socket.destroy();
    });
    server.on("request", (_request, response: ServerResponse) => agent.page(response));
    server.on("upgrade", (_request, socket: Duplex) => {
      open.add(socket);
      socket.on("error", () => {});
      agent.stream(socket);
    });
    return agent;
  }
}

export function accept(socket: Duplex): void {
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${CONSOLE_PROTOCOL}\r\n\r\n`,
  );
}
