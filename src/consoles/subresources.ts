/**
 * The consoles of machines, as subresources of VirtualMachine:
 *
 *   GET  …/virtualmachines/NAME/console      WebSocket: the serial port. ?tailLines=N: begins with the last lines (100)
 *   GET  …/virtualmachines/NAME/vnc          WebSocket: the screen, RFB
 *   POST …/console, …/vnc                    a ticket for one GET of the same path: ?ticket=…
 *   GET  …/virtualmachines/NAME/log          what the guest said last on the serial port. ?tailLines=N, ?follow=true
 *   GET  …/virtualmachines/NAME/screenshot   PNG
 *
 * To open a console is to be at the machine's keyboard: it takes the verb `create` on the subresource, also for the GET, so that roles which let read
 * everything do not let in.
 */
import type { Duplex } from "node:stream";
import { createWebSocketStream, type WebSocket } from "ws";
import { flag, send, sendValue } from "../api/exchange.ts";
import { LocalClient } from "../api/local.ts";
import { found } from "../api/not-found.ts";
import { type Call, integer } from "../api/resource-reads.ts";
import type { Service } from "../api/service.ts";
import { acceptWebSocket, beginStream, type Subresource } from "../api/subresource.ts";
import type { Tickets } from "../api/tickets.ts";
import type { Client } from "../client/client.ts";
import { VirtualMachine } from "../compute/kinds.ts";
import type { Logger } from "../reconcile/log.ts";
import { ApiError } from "../resource/errors.ts";
import { AgentLink, type Issuer } from "./agent-link.ts";
import { type Attendance, attendAll, firstStream } from "./attend.ts";
import { ProtocolError } from "./rfb/parse.ts";
import { type Run, Runs } from "./runs.ts";
import { SerialSession } from "./serial-session.ts";
import { VncSession } from "./vnc-session.ts";

const DEFAULT_LINES = 100;
const MAX_REASON_BYTES = 120;

export interface ConsoleOptions {
  service: Service;
  issuer: Issuer;
  tickets: Tickets;
  log: Logger;
}

/** For ApiServerOptions.subresources. */
export function consoleSubresources(options: ConsoleOptions): Subresource[] {
  const consoles = new Consoles(options);
  const interactive = (name: string, open: (call: Call) => Promise<void>): Subresource => ({
    of: VirtualMachine,
    name,
    methods: { GET: "create", POST: "create" },
    answers: "ConsoleTicket",
    handle: (call) => (call.exchange.request.method === "POST" ? consoles.ticket(call) : open(call)),
  });
  return [
    interactive("console", (call) => consoles.console(call)),
    interactive("vnc", (call) => consoles.vnc(call)),
    {
      of: VirtualMachine,
      name: "log",
      methods: { GET: "get" },
      handle: (call) => consoles.log(call),
    },
    {
      of: VirtualMachine,
      name: "screenshot",
      methods: { GET: "get" },
      handle: (call) => consoles.screenshot(call),
    },
  ];
}

class Consoles {
  readonly #options: ConsoleOptions;
  readonly #client: Client;
  readonly #link: AgentLink;

  constructor(options: ConsoleOptions) {
    this.#options = options;
    this.#client = new LocalClient(options.service);
    this.#link = new AgentLink(options.issuer);
  }

  async ticket(call: Call): Promise<void> {
    const { exchange } = call;
    const { metadata } = await this.#machine(call);
    const path = `/${exchange.path.join("/")}`;
    const { ticket, expires } = await this.#options.tickets.issue(exchange, path, metadata.uid ?? "");
    await sendValue(exchange, 201, {
      kind: "ConsoleTicket",
      apiVersion: "vireo.dev/v1",
      ticket,
      expires: expires.toISOString(),
    });
  }

  async console(call: Call): Promise<void> {
    const lines = linesOf(call);
    const path = (run: Run) => SerialSession.firstPath(run, lines);
    await this.#open(call, path, (viewer) => new SerialSession(viewer, lines, viewer));
  }

  async vnc(call: Call): Promise<void> {
    const { namespace, name } = call.target;
    await this.#open(call, VncSession.path, (viewer) => new VncSession(viewer, `${namespace}/${name}`));
  }

  async log(call: Call): Promise<void> {
    const { exchange } = call;
    const lines = linesOf(call);
    await this.#withRun(call, async (run, runs, signal) => {
      const contentType = "text/plain; charset=utf-8";
      if (!flag(exchange.query.get("follow"))) {
        const text = await this.#link.page(run, `/machines/${run.uid}/log?tailLines=${lines}`);
        return send(exchange, 200, text, { contentType });
      }
      const { response } = exchange;
      const leave = beginStream(call, contentType);
      const session = new SerialSession(response, lines);
      await attendAll(runs, this.#link, session, { first: undefined, signal }).finally(leave);
      response.end();
    });
  }

  async screenshot(call: Call): Promise<void> {
    await this.#withRun(call, async (run) => {
      const picture = await this.#link.page(run, `/machines/${run.uid}/screenshot`);
      call.exchange.isAudited = true;
      await send(call.exchange, 200, picture, {
        contentType: "image/png",
        headers: { "cache-control": "no-store" },
      });
    });
  }

  /** @throws ApiError when the machine does not run */
  async #withRun(
    call: Call,
    use: (run: Run, runs: Runs, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    const vm = await this.#machine(call);
    const done = new AbortController();
    const signal = AbortSignal.any([call.exchange.over, done.signal]);
    try {
      const runs = await Runs.open(this.#client, vm, signal);
      const run = await runs.run();
      if (!run) throw notRunning(vm, runs.over ?? "it does not run yet");
      await use(run, runs, signal);
    } finally {
      done.abort();
    }
  }

  /** Connected to the machine first, if it runs: what is wrong there is told in HTTP, before there is a WebSocket. */
  async #open(
    call: Call,
    path: (run: Run) => string,
    sessionOf: (viewer: Duplex) => Attendance,
  ): Promise<void> {
    const { exchange } = call;
    const { log } = this.#options;
    const vm = await this.#machine(call);
    const done = new AbortController();
    const signal = AbortSignal.any([exchange.over, done.signal]);
    let first: Awaited<ReturnType<typeof firstStream>>;
    try {
      const runs = await Runs.open(this.#client, vm, signal);
      if (runs.over) throw notRunning(vm, runs.over);
      first = await firstStream(runs, this.#link, path);
      exchange.isAudited = true;
      const socket = await acceptWebSocket(call);
      const viewer = createWebSocketStream(socket);
      viewer.on("error", () => {});
      viewer.once("close", () => done.abort());
      const about = { request: exchange.id, user: exchange.user.name, path: `/${exchange.path.join("/")}` };
      log.info("console.opened", about);
      void attendAll(runs, this.#link, sessionOf(viewer), { first, signal })
        .then(
          (why = "ended") => close(socket, 1000, why),
          (error: unknown) => {
            log.warn("console.failed", { ...about, error });
            close(socket, 1011, reasonFor(error));
          },
        )
        .finally(() => {
          done.abort();
          // The viewer's answer to the close comes behind whatever he still sends.
          viewer.resume();
          log.info("console.closed", about);
        });
    } catch (error) {
      done.abort();
      first?.stream.socket.destroy();
      throw error;
    }
  }

  /** @throws ApiError NotFound; Unauthorized when the ticket was for another machine of the same name */
  async #machine({ exchange, target, name, kind, context }: Call): Promise<VirtualMachine> {
    // Answers as for the machine itself when there is none.
    await context.service.get(kind, target.namespace, name);
    const vm = await found(this.#client, VirtualMachine, { namespace: target.namespace ?? "", name });
    if (exchange.ticketFor !== undefined && exchange.ticketFor !== vm.metadata.uid)
      throw new ApiError("Unauthorized", "Unauthorized: the ticket is for a machine that is no more");
    return vm;
  }
}

function notRunning({ metadata }: VirtualMachine, why: string): ApiError {
  return new ApiError("Conflict", `vm/${metadata.name}: ${why}; it has a console only while it runs`, {
    name: metadata.name,
    kind: "virtualmachines",
  });
}

function close(socket: WebSocket, code: number, why: string): void {
  socket.close(code, Buffer.from(why).subarray(0, MAX_REASON_BYTES).toString("utf8"));
}

/** For viewers. What else went wrong is for operators. */
const reasonFor = (error: unknown): string =>
  error instanceof ApiError || error instanceof ProtocolError ? error.message : "see the control plane's log";

/** @throws ApiError BadRequest */
const linesOf = ({ exchange }: Call): number => integer(exchange, "tailLines") ?? DEFAULT_LINES;
