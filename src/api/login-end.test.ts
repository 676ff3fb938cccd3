/** Watches and consoles end soon after the login by which they were begun is good no more; a connection does not outlive its certificate. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { Agent, request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { VirtualMachine } from "../compute/kinds.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { type Credentials, issue } from "./certificates.ts";
import { sendValue } from "./exchange.ts";
import { ADMINS } from "./pki.ts";
import { acceptWebSocket, type Subresource } from "./subresource.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";
import { Tickets } from "./tickets.ts";

const VMS = "/apis/vireo.dev/v1/virtualmachines";

let folder: string;
let store: Store;
let stack: ApiStack;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-logins-"));
  store = await openSqliteStore(join(folder, "store.sqlite"));
  const tickets = new Tickets(store);
  const console: Subresource = {
    of: VirtualMachine,
    name: "console",
    methods: { GET: "create", POST: "create" },
    answers: "ConsoleTicket",
    handle: async (call) => {
      if (call.exchange.upgrade) return void (await acceptWebSocket(call));
      const path = `/${call.exchange.path.join("/")}`;
      return sendValue(call.exchange, 201, await tickets.issue(call.exchange, path, "uid"));
    },
  };
  stack = await startApiStack({ recheckMs: 50, tickets, subresources: [console] });
});
afterAll(async () => {
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
  await store.close();
  rmSync(folder, { recursive: true });
});

/** Of an administrator, good for some seconds more. */
async function certificateFor(seconds: number): Promise<Credentials> {
  const pem = (name: string) => readFileSync(join(stack.folder, "pki", name), "utf8");
  return issue(
    { cert: pem("ca.crt"), key: pem("ca.key") },
    {
      subject: { commonName: "ann", organizations: [ADMINS] },
      names: [],
      usage: ["client"],
      days: seconds / (24 * 3600),
    },
  );
}

/** @returns the answer's code, and what settles when the answer ends in good order */
function get(agent: Agent, path: string, token?: string): Promise<{ code: number; ended: Promise<void> }> {
  return new Promise((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    request(`${stack.server.url}${path}`, { agent, headers })
      .on("response", (answer) => {
        answer.resume();
        const ended = new Promise<void>((done, failed) => {
          answer.on("end", done);
          answer.on("error", failed);
        });
        resolve({ code: answer.statusCode ?? 0, ended });
      })
      .on("error", reject)
      .end();
  });
}
const agentWith = (credentials: Partial<Credentials> = {}) =>
  new Agent({ ca: stack.pki.ca, keepAlive: true, maxSockets: 1, ...credentials });

it("when the token is revoked; the watches of others go on", async () => {
  const [ann, bob] = ["ann", "bob"].map((name) => stack.pki.tokens.addUser({ name, groups: [ADMINS] }));
  const watch = (token?: string) => get(agentWith(), `${VMS}?watch=1`, token);
  const [first, second] = [await watch(ann), await watch(bob)];
  expect([first.code, second.code]).toEqual([200, 200]);
  const id = stack.pki.tokens.listUsers().find(({ user }) => user.name === "ann")?.id ?? "";
  expect(stack.pki.tokens.revoke(id)).toBe(true);
  await first.ended;
  expect((await watch(ann)).code).toBe(401);
  const still = await Promise.race([second.ended.then(() => "ended"), get(agentWith(), VMS, bob)]);
  expect(still).toMatchObject({ code: 200 });
});

it("when the token has run out", async () => {
  const token = stack.pki.tokens.addUser({ name: "eve", groups: [ADMINS] }, { ttlMs: 700 });
  const { code, ended } = await get(agentWith(), `${VMS}?watch=1`, token);
  expect(code).toBe(200);
  await ended;
  expect((await get(agentWith(), VMS, token)).code).toBe(401);
});

it("when the certificate has run out; nor is anything else answered on the connection", async () => {
  const credentials = await certificateFor(2);
  const [watching, kept] = [agentWith(credentials), agentWith(credentials)];
  const { code, ended } = await get(watching, `${VMS}?watch=1`);
  expect([code, (await get(kept, VMS)).code]).toEqual([200, 200]);
  await ended;
  expect((await get(kept, VMS)).code).toBe(401);
  for (const agent of [watching, kept]) agent.destroy();
});

describe("a console that was opened by a ticket", () => {
  const PATH = "/apis/vireo.dev/v1/namespaces/default/virtualmachines/web/console";
  const origin = () => stack.server.url;
  const revoke = (name: string) => {
    const id = stack.pki.tokens.listUsers().find(({ user }) => user.name === name)?.id ?? "";
    expect(stack.pki.tokens.revoke(id)).toBe(true);
  };
  const ticketBy = async (headers: Record<string, string>) => {
    const { body, code } = await raw(stack, "POST", PATH, { headers, body: "{}" });
    expect(code).toBe(201);
    return String(body.ticket);
  };
  const open = (ticket: string): Promise<{ closed: Promise<number> }> =>
    new Promise((resolve, reject) => {
      const socket = new WebSocket(new URL(`${PATH}?ticket=${ticket}`, stack.server.url), {
        ca: stack.pki.ca,
      });
      const closed = new Promise<number>((done) => socket.on("close", done));
      socket.on("error", reject);
      socket.on("open", () => resolve({ closed }));
    });

  it("ends when the token by which the ticket was asked for is revoked; nor is one opened by it then", async () => {
    const token = stack.pki.tokens.addUser({ name: "zoe", groups: [ADMINS] });
    const headers = { authorization: `Bearer ${token}` };
    const [{ closed }, unused] = [await open(await ticketBy(headers)), await ticketBy(headers)];
    revoke("zoe");
    expect(await closed).toBe(1012);
    await expect(open(unused)).rejects.toThrow("401");
  });

  it("ends when its user signs out, and when the token of his session is revoked", async () => {
    const token = stack.pki.tokens.addUser({ name: "max", groups: [ADMINS] });
    const signIn = async () => {
      const body = JSON.stringify({ token });
      const { headers } = await raw(stack, "POST", "/session", { body, headers: { origin: origin() } });
      return { cookie: String(headers["set-cookie"]).split(";")[0] ?? "", origin: origin() };
    };
    const [first, second] = [await signIn(), await signIn()];
    const [one, other] = [await open(await ticketBy(first)), await open(await ticketBy(second))];
    await raw(stack, "DELETE", "/session", { headers: first });
    expect(await one.closed).toBe(1012);
    revoke("max");
    expect(await other.closed).toBe(1012);
  });
});
