/**
 * Where control planes reach the consoles of this host: HTTPS at the host's own address, for callers whose certificate is the control plane's and nobody
 * else. Users come through the API server, which knows who may see what.
 *
 *   GET /machines/UID/serial?from=POSITION   upgraded: what the guest says from there on, and what is typed
 *   GET /machines/UID/serial?tailLines=N     the same, from the last lines on
 *   GET /machines/UID/vnc                    upgraded: RFB, as QEMU speaks it
 *   GET /machines/UID/log?tailLines=N        what the guest said last
 *   GET /machines/UID/screenshot             PNG
 *
 * The control plane dials, as Kubernetes' API server does to its kubelets: whichever one a user came to reaches any host, without a connection of
 * each agent to each control plane that waits for somebody to look. Certificates are checked at both ends.
 */
import type { IncomingMessage } from "node:http";
import { createServer, type Server } from "node:https";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import type { Logger } from "../../reconcile/log.ts";
import { CONSOLE_PROTOCOL, CONTROL_PLANE_USER, POSITION_HEADER } from "../../resource/console-protocol.ts";
import type { HostCredentials } from "../enrol.ts";
import { HypervisorError, type MachineId } from "../hypervisor.ts";
import type { MachineConsoles } from "./machine-consoles.ts";
import type { SerialLog } from "./serial-log.ts";

/** Tried first, so that firewalls can know it; any free one when it is taken (several agents at one address). */
const PORT = 7443;
const PART_BYTES = 256 * 1024;
const DEFAULT_LINES = 100;

type Consoles = Pick<MachineConsoles, "serial" | "display" | "screenshot">;

type Credentials = Pick<HostCredentials, "ca" | "cert" | "key">;

export interface ListenerOptions {
  address: string;
  credentials: Credentials;
  consoles: Consoles;
  log: Logger;
}

export interface ConsoleListener {
  /** "10.0.0.1:7443" */
  readonly address: string;
  setCredentials(credentials: Credentials): void;
  close(): void;
}

type Request = { id: MachineId; what: string; query: URLSearchParams };

/** @throws Error when nobody can listen at the address */
export async function serveConsoles(options: ListenerOptions): Promise<ConsoleListener> {
  const { consoles, log } = options;
  const tls = ({ ca, cert, key }: Credentials) => ({ ca, cert, key, minVersion: "TLSv1.2" as const });
  const server = createServer(
    { ...tls(options.credentials), requestCert: true, rejectUnauthorized: true },
    (request, response) => {
      const end = (code: number, body: string | Buffer, type = "text/plain; charset=utf-8") =>
        response.writeHead(code, { "content-type": type }).end(body);
      const asked = parse(request);
      if (!isControlPlane(request)) return end(403, "only control planes are answered here\n");
      if (asked?.what === "log")
        return void answer(consoles.serial(asked.id), ({ log }) =>
          end(200, Buffer.concat([...tail(log, asked.query)]), "application/octet-stream"),
        );
      if (asked?.what === "screenshot")
        return void answer(consoles.screenshot(asked.id), (picture) => end(200, picture, "image/png"));
      return end(404, "no such page\n");

      function answer<T>(work: Promise<T>, done: (result: T) => unknown): Promise<unknown> {
        return work.then(done).catch((error: unknown) => {
          const { code, text } = refusal(error, log);
          end(code, text);
        });
      }
    },
  );
  const open = new Set<Duplex>();
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    socket.on("error", () => {});
    void upgrade(request, socket, head, consoles, log);
  });
  server.on("tlsClientError", (_error, socket) => socket.destroy());
  const port = await listen(server, options.address);
  return {
    address: options.address.includes(":") ? `[${options.address}]:${port}` : `${options.address}:${port}`,
    setCredentials: (credentials) => server.setSecureContext(tls(credentials)),
    close: () => {
      server.close();
      server.closeAllConnections();
      for (const socket of open) socket.destroy();
    },
  };
}

function listen(server: Server, host: string): Promise<number> {
  const once = (port: number) =>
    new Promise<number>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host, port }, () => {
        server.off("error", reject);
        const address = server.address();
        resolve(typeof address === "object" && address ? address.port : port);
      });
    });
  return once(PORT).catch(() => once(0));
}

/** The certificate has been checked against the CA already; now whose it is. */
function isControlPlane({ socket }: IncomingMessage): boolean {
  return (
    socket instanceof TLSSocket &&
    socket.authorized &&
    socket.getPeerCertificate().subject.CN === CONTROL_PLANE_USER
  );
}

function parse({ url = "", method }: IncomingMessage): Request | undefined {
  const [path = "", query] = url.split("?", 2);
  const match = /^\/machines\/([0-9a-f-]{36})\/([a-z]+)$/.exec(path);
  const [, id, what] = match ?? [];
  if (method !== "GET" || !id || !what) return undefined;
  // The uid of an Instance: whoever has none of it here is told so.
  return { id: id as MachineId, what, query: new URLSearchParams(query) };
}

async function upgrade(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  consoles: Consoles,
  log: Logger,
): Promise<void> {
  const refuse = (code: number, text: string) =>
    socket.end(
      `HTTP/1.1 ${code} Refused\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
    );
  const accept = (headers: readonly string[]) =>
    socket.write(
      [
        "HTTP/1.1 101 Switching Protocols",
        "Connection: Upgrade",
        `Upgrade: ${CONSOLE_PROTOCOL}`,
        ...headers,
        "",
        "",
      ].join("\r\n"),
    );
  if (!isControlPlane(request)) return void refuse(403, "only control planes are answered here\n");
  const asked = parse(request);
  if (request.headers.upgrade !== CONSOLE_PROTOCOL || !asked || !["serial", "vnc"].includes(asked.what))
    return void refuse(404, "no such page\n");
  let console: Duplex;
  let headers: string[] = [];
  try {
    if (asked.what === "vnc") console = await consoles.display(asked.id);
    else {
      const port = await consoles.serial(asked.id);
      const from = begin(port.log, asked.query);
      console = port.view(from);
      headers = [`${POSITION_HEADER}: ${from}`];
    }
  } catch (error) {
    const { code, text } = refusal(error, log);
    return void refuse(code, text);
  }
  // The control plane may have hung up meanwhile.
  if (socket.destroyed) return void console.destroy();
  accept(headers);
  if (head.length > 0) socket.unshift(head);
  join(socket, console);
}

/** What comes from one goes to the other, until one ends; what it has said by then still arrives. */
function join(socket: Duplex, console: Duplex): void {
  for (const [from, to] of [
    [socket, console],
    [console, socket],
  ] as const) {
    from.pipe(to);
    from.on("error", () => {});
    from.once("close", () => {
      if (from.readableEnded) to.end();
      else to.destroy();
    });
  }
}

/** Where to begin: never before what is kept, nor behind what there is. */
function begin(log: SerialLog, query: URLSearchParams): number {
  const from = query.get("from");
  if (from !== null && /^\d{1,15}$/.test(from)) return Math.min(Math.max(Number(from), log.start), log.end);
  const lines = query.get("tailLines") ?? "";
  return log.lastLines(/^\d{1,15}$/.test(lines) ? Number(lines) : DEFAULT_LINES);
}

function* tail(log: SerialLog, query: URLSearchParams): Generator<Buffer> {
  for (let at = begin(log, query); at < log.end; ) {
    const { from, bytes } = log.read(at, PART_BYTES);
    if (bytes.length === 0) return;
    yield bytes;
    at = from + bytes.length;
  }
}

function refusal(error: unknown, log: Logger): { code: number; text: string } {
  if (error instanceof HypervisorError) return { code: 409, text: error.message };
  log.warn("consoles.request", { error });
  return { code: 500, text: "the log of the host's agent tells why\n" };
}
