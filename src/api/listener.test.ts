/** Clients that hold on to the server: by many connections, or by doing nothing slowly. Each is cut, and the others are served. */
import { mkdtempSync, rmSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Server } from "node:https";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "node:tls";
import { beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { Connections, clientOf, connectionLimit } from "./connections.ts";
import { createListener, type ListenerOptions } from "./listener.ts";
import { Pki } from "./pki.ts";

const TIMES = { handshake: 300, headers: 300, request: 600, answer: 300, check: 50 };

let tls: ListenerOptions["tls"];
let server: Server;
let port = 0;
const sockets: Socket[] = [];

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), "vireo-listener-"));
  const pki = await Pki.open(folder);
  tls = { ...(await pki.serverCredentials([])), ca: pki.ca };
  rmSync(folder, { recursive: true });
});
/** Reads the body, then answers "ok". */
function answerOk(request: IncomingMessage, response: ServerResponse): void {
  request.on("error", () => {});
  request.on("end", () => response.end("ok")).resume();
}
async function listen(options: Partial<ListenerOptions> = {}): Promise<void> {
  server = createListener({ tls, handle: answerOk, times: TIMES, ...options });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  onTestFinished(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
  const address = server.address();
  port = typeof address === "object" && address ? address.port : 0;
}
const open = () => new Promise<number>((done) => server.getConnections((_error, count) => done(count)));

/** A connection, with what came back on it, and what settles when it is closed. `from`: its own address, of 127.0.0.0/8. */
async function client(
  from = "127.0.0.1",
): Promise<{ socket: Socket; text: () => string; closed: Promise<void> }> {
  const tcp = connectTcp({ host: "127.0.0.1", port, localAddress: from });
  const socket = connect({ socket: tcp, rejectUnauthorized: false });
  sockets.push(tcp, socket);
  let text = "";
  socket.on("data", (part: Buffer) => {
    text += part.toString();
  });
  for (const each of [tcp, socket]) each.on("error", () => {});
  const closed = new Promise<void>((done) => tcp.once("close", () => done()));
  await Promise.race([new Promise((done) => socket.once("secureConnect", done)), closed]);
  return { socket, text: () => text, closed };
}
/** Sends one byte after the other, as slowly as it can without being idle. */
function drip(socket: Socket): void {
  const timer = setInterval(() => socket.writable && socket.write("a"), 20);
  socket.once("close", () => clearInterval(timer));
  onTestFinished(() => clearInterval(timer));
}
const REQUEST = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

describe("slow clients are cut off:", () => {
  it.each([
    ["nothing is said, not even TLS", undefined],
    ["headers drip", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "],
    ["nothing is said after TLS", ""],
    ["a body drips", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"],
    ["a chunked body drips", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n"],
  ])("%s", async (_what, begin) => {
    await listen();
    if (begin === undefined) {
      const tcp = connectTcp(port, "127.0.0.1")
        .on("error", () => {})
        .resume();
      sockets.push(tcp);
      await new Promise((done) => tcp.once("close", done));
    } else {
      const { socket, closed, text } = await client();
      socket.write(begin);
      if (begin !== "") drip(socket);
      await closed;
      expect(text()).toMatch(/^$|408 Request Timeout/);
    }
    await expect.poll(open).toBe(0);
  });

  it("an answer is not taken", async () => {
    await listen({ handle: (_request, response) => response.end(Buffer.alloc(64 * 2 ** 20)) });
    const { socket } = await client();
    socket.pause();
    socket.write(REQUEST);
    await expect.poll(open).toBe(1);
    await expect.poll(open, { timeout: 5000 }).toBe(0);
  });

  it("who was cut off and sends on is not waited for", async () => {
    await listen();
    const { socket, closed } = await client();
    socket.write("NONSENSE\r\n\r\n");
    drip(socket);
    await closed;
    await expect.poll(open).toBe(0);
  });

  it("but not who takes long over an answer that is still being made, nor who is idle between requests", async () => {
    // A busy machine may take long to greet.
    const times = { ...TIMES, handshake: 15_000 };
    await listen({ times, handle: (_request, response) => setTimeout(() => response.end("ok"), 900) });
    const { socket, text } = await client();
    socket.write(REQUEST);
    await expect.poll(text).toContain("200 OK");
    await new Promise((done) => setTimeout(done, 600));
    socket.write(REQUEST);
    await expect.poll(() => text().split("200 OK").length).toBe(3);
  });
});

describe("too many connections:", () => {
  it("one client gets half of them, the next half of the rest, and a third one is still served", async () => {
    const onRefused = vi.fn();
    await listen({ connections: 40, onRefused, times: {} });
    const many = (from: string) => Promise.all(Array.from({ length: 50 }, () => client(from)));
    await many("127.0.0.2");
    await expect.poll(open).toBe(20);
    await many("127.0.0.3");
    await expect.poll(open).toBe(30);
    const { socket, text } = await client("127.0.0.4");
    socket.write(REQUEST);
    await expect.poll(text).toContain("200 OK");
    // Told once in a while, not each time.
    expect(onRefused.mock.calls).toEqual([[1, "127.0.0.2"]]);
    // Who goes makes room.
    for (const each of sockets) each.destroy();
    await expect.poll(open).toBe(0);
    const again = await client("127.0.0.2");
    again.socket.write(REQUEST);
    await expect.poll(again.text).toContain("200 OK");
  });

  it("a client is an address, or with IPv6 a network", () => {
    expect(clientOf("::ffff:10.0.0.1")).toBe(clientOf("10.0.0.1"));
    expect(clientOf("2001:db8::1")).toBe(clientOf("2001:db8:0:0:ffff::9"));
    expect(clientOf("2001:db8:1::1")).not.toBe(clientOf("2001:db8:2::1"));
    expect(clientOf("::1")).toBe("0:0:0:0::/64");
    expect(clientOf("")).toBe("");
  });

  it("the limit leaves files for other things", () => {
    expect(connectionLimit("Max open files            1024                 1024                 files")).toBe(
      819,
    );
    expect(connectionLimit("Max open files            unlimited            unlimited            files")).toBe(
      20_000,
    );
    expect(connectionLimit("")).toBe(20_000);
    expect(new Connections(0).admit({ remoteAddress: "10.0.0.1", once: () => expect.fail() } as never)).toBe(
      false,
    );
  });
});

it("who asks first does not send a body that is too large", async () => {
  await listen({
    handle: (request, response) => {
      if (Number(request.headers["content-length"]) > 1000)
        response.writeHead(413, { connection: "close" }).end();
      else answerOk(request, response);
    },
  });
  const ask = async (length: number) => {
    const { socket, text } = await client();
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: ${length}\r\n\r\n`);
    return { socket, text };
  };
  const large = await ask(100 * 2 ** 20);
  await expect.poll(large.text).toMatch(/^HTTP\/1.1 413/);
  const small = await ask(3);
  await expect.poll(small.text).toMatch(/^HTTP\/1.1 100 Continue/);
  small.socket.write("abc");
  await expect.poll(small.text).toContain("200 OK");
});
