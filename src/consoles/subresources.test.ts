/** Consoles through a real API server, at an agent that the test plays: whoever leaves, and whatever breaks, nothing is left and the right one is told. */
import { mkdtempSync, rmSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { request } from "node:https";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { ensureAdminKubeconfig } from "../api/kubeconfig.ts";
import { ADMINS, Pki } from "../api/pki.ts";
import { type ApiServer, startApiServer } from "../api/server.ts";
import { Tickets } from "../api/tickets.ts";
import { vnc } from "../cli/console.ts";
import { statePaths } from "../cli/paths.ts";
import { HttpClient } from "../client/http.ts";
import { openSocket } from "../client/websocket.ts";
import { Host } from "../compute/hosts/kinds.ts";
import { Instance, VirtualMachine } from "../compute/kinds.ts";
import { StoragePool } from "../compute/storage/kinds.ts";
import { openControlPlane, type TestControlPlane } from "../compute/testing/control-plane.ts";
import { silentLogger } from "../reconcile/log.ts";
import { greetServer, greetViewer, serverInit } from "./rfb/handshake.ts";
import { consoleSubresources } from "./subresources.ts";
import { accept, PretendAgent } from "./testing/pretend-agent.ts";

const NS = "default";
const PATH = `/apis/vireo.dev/v1/namespaces/${NS}/virtualmachines/web`;
const FORMAT = Buffer.from([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]);

let folder: string;
let pki: Pki;
let agent: PretendAgent;
let token: string;
let plane: TestControlPlane;
let server: ApiServer;
let client: HttpClient;
/** What the handlers were asked for, each until it has done all. */
let handled: Promise<unknown>[];
/** Resolves when the server has seen that the client has gone. */
let gone: Promise<unknown>;
const warned = vi.fn();

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-consoles-"));
  pki = await Pki.open(folder);
  agent = await PretendAgent.open(pki, "a");
  token = pki.tokens.addUser({ name: "admin", groups: [ADMINS] });
});
afterAll(() => {
  agent.close();
  rmSync(folder, { recursive: true });
});
beforeEach(async () => {
  warned.mockClear();
  handled = [];
  plane = await openControlPlane();
  await plane.client.create(StoragePool, {
    metadata: { name: "default" },
    spec: { directory: { path: "/pool", shared: true } },
  });
  await plane.client.create(Host, { metadata: { name: "a" }, spec: {} });
  const status = { subresource: "status" } as const;
  await plane.client.patch(Host, { name: "a" }, { status: { consoleAddress: agent.address } }, status);
  const vm = await plane.client.create(VirtualMachine, {
    metadata: { name: "web", namespace: NS },
    spec: { image: "web", memory: "64Mi" },
  });
  await plane.client.patch(
    VirtualMachine,
    { name: "web", namespace: NS },
    { status: { sequence: 1 } },
    status,
  );
  await plane.client.create(Instance, {
    metadata: { name: "web-1", namespace: NS },
    spec: {
      vm: "web",
      vmUid: vm.metadata.uid ?? "",
      host: "a",
      running: true,
      image: "web",
      memory: "64Mi",
      cpus: 1,
      storagePool: "default",
      interfaces: [],
    },
  });
  const running = { status: { phase: "Running", custody: "Held" } };
  await plane.client.patch(Instance, { name: "web-1", namespace: NS }, running, status);
  const { service } = plane;
  const tickets = new Tickets(plane.store);
  const made = consoleSubresources({
    service,
    issuer: pki,
    tickets,
    log: { ...silentLogger, warn: warned },
  });
  const subresources = made.map((one) => ({
    ...one,
    handle: (call: Parameters<typeof one.handle>[0]) => {
      const done = one.handle(call);
      const { over } = call.exchange;
      gone = new Promise((resolve) => over.addEventListener("abort", resolve, { once: true }));
      handled.push(done.catch(() => {}));
      return done;
    },
  }));
  server = await startApiServer({ service, pki, host: "127.0.0.1", port: 0, tickets, subresources });
  client = new HttpClient({ url: server.url, ca: pki.ca, token });
});
afterEach(async () => {
  vi.restoreAllMocks();
  client.close();
  await server.close();
  await plane.close();
});

/** A request whose client goes before it is answered, once `then` happens at the server. */
function leave(path: string, headers: Record<string, string>, then: Promise<unknown>): Promise<void> {
  const sent = request(`${server.url}${PATH}/${path}`, {
    ca: pki.ca,
    headers: { authorization: `Bearer ${token}`, ...headers },
  });
  sent.on("error", () => {});
  sent.end();
  return new Promise((resolve) => {
    sent.once("close", () => resolve());
    void then.then(() => sent.destroy());
  });
}
const UPGRADE = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

it.each([
  ["log?follow=true", {}],
  ["console", UPGRADE],
  ["screenshot", {}],
])("a client that leaves while %s looks for the machine leaves nothing behind", async (path, headers) => {
  const asked = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const { service } = plane;
  const list = service.list.bind(service);
  vi.spyOn(service, "list").mockImplementation(async (kind, options) => {
    if (kind.kind === Instance.kind) {
      asked.resolve();
      await gate.promise;
    }
    return list(kind, options);
  });
  await leave(path, headers, asked.promise);
  await gone;
  gate.resolve();
  await Promise.all(handled);
  expect(handled.length).toBe(1);
});

it("a client that leaves while its console is opened leaves nothing behind", async () => {
  const asked = Promise.withResolvers<Duplex>();
  agent.stream = asked.resolve;
  await leave("console", UPGRADE, asked.promise);
  const socket = await asked.promise;
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.resume();
  await gone;
  accept(socket);
  await closed;
  await Promise.all(handled);
});

it("an agent that dies in the middle of an answer is no fault of the control plane", async () => {
  agent.page = (response: ServerResponse) => {
    response.writeHead(200, { "content-length": "1000" });
    response.write("half", () => response.destroy());
  };
  await expect(client.request({ method: "GET", path: `${PATH}/log` })).rejects.toMatchObject({
    code: 503,
    message: expect.stringMatching(/answer of the agent of host a broke off/),
  });
});

it("a certificate that could not be made is made at the next request", async () => {
  agent.page = (response: ServerResponse) => response.writeHead(200).end("hello");
  vi.spyOn(pki, "clientCredentials").mockRejectedValueOnce(new Error("no entropy"));
  const log = async () => {
    const parts = [];
    for await (const part of client.bytes(`${PATH}/log`)) parts.push(part);
    return Buffer.concat(parts).toString();
  };
  await expect(log()).rejects.toMatchObject({ code: 500 });
  expect(await log()).toBe("hello");
});

/** The host shows a screen. @returns the first that is asked for */
function showScreen(): Promise<Duplex> {
  const asked = Promise.withResolvers<Duplex>();
  agent.stream = (socket) => {
    accept(socket);
    asked.resolve(socket);
    void greetViewer(socket)
      .then(() => socket.write(serverInit({ width: 8, height: 8, format: FORMAT }, "QEMU")))
      .catch(() => {});
  };
  return asked.promise;
}

/** A screen that a viewer is at. */
async function atScreen() {
  const asked = showScreen();
  const socket = await openSocket(client, `${PATH}/vnc`);
  await greetServer(socket.stream);
  const ended = new Promise((resolve) => socket.stream.once("end", resolve));
  return { ...socket, ended, qemu: await asked };
}

it("a viewer that speaks nonsense is told so, and so is the log", async () => {
  const { stream, ended, why, code } = await atScreen();
  stream.write(Buffer.from([77]));
  stream.resume();
  await ended;
  expect([code(), why()]).toEqual([1011, expect.stringMatching(/type 77/)]);
  expect(warned).toHaveBeenCalledWith("console.failed", expect.objectContaining({ user: "admin" }));
});

it("a viewer is not told what is for operators", async () => {
  const { stream, ended, why, code, qemu } = await atScreen();
  const { service } = plane;
  vi.spyOn(service, "get").mockRejectedValue(new Error("cannot read", { cause: new Error("/secret/path") }));
  qemu.destroy();
  stream.resume();
  await ended;
  expect([code(), why()]).toEqual([1011, "see the control plane's log"]);
  expect(warned).toHaveBeenCalled();
});

it("a viewer of a machine that ends is told why, and that nothing is wrong", async () => {
  const { stream, ended, why, code, qemu } = await atScreen();
  await plane.client.patch(VirtualMachine, { name: "web", namespace: NS }, { spec: { running: false } });
  const over = { status: { phase: "Stopped", custody: "Released" } };
  await plane.client.patch(Instance, { name: "web-1", namespace: NS }, over, { subresource: "status" });
  qemu.destroy();
  stream.resume();
  await ended;
  expect([code(), why()]).toEqual([1000, "the machine is stopped"]);
});

it("vireo vnc holds no session until a viewer comes, however late, and greets him once", async () => {
  const shown = showScreen();
  const kubeconfig = join(folder, "kubeconfig");
  ensureAdminKubeconfig(pki, kubeconfig, server.url);
  const stop = new AbortController();
  const said = Promise.withResolvers<string>();
  const options = { paths: statePaths(folder), kubeconfig, machine: "vm/web", port: 0 };
  const running = vnc({ ...options, signal: stop.signal }, said.resolve);
  const [, port] = /127\.0\.0\.1:(\d+)/.exec(await said.promise) ?? [];
  const first = await shown;
  if (!first.destroyed) await new Promise((resolve) => first.once("close", resolve));
  const viewer = connect(Number(port), "127.0.0.1");
  expect(await greetServer(viewer)).toMatchObject({ width: 8, height: 8 });
  stop.abort();
  await running;
});
