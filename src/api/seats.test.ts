/** Seats of requests whose clients went away while they waited, or before their answer's turn on the connection, are given back. */
import type { ClientRequest } from "node:http";
import { Agent, request } from "node:https";
import { connect } from "node:tls";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ADMINS } from "./pki.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

const VMS = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";
const ONE = `${VMS}?limit=1`;

let stack: ApiStack;
let token: string;
beforeEach(async () => {
  stack = await startApiStack({ fairness: { each: 2, total: 2 } });
  token = stack.pki.tokens.addUser({ name: "eve", groups: [ADMINS] });
});
afterEach(() => stack[Symbol.asyncDispose]());

/** A POST whose body does not come, so that it keeps its seat. */
function hold(): ClientRequest {
  const sent = request(`${stack.server.url}${VMS}`, {
    method: "POST",
    agent: new Agent({ ca: stack.pki.ca }),
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json", "content-length": 10 },
  });
  sent.on("error", () => {});
  sent.write("{");
  return sent;
}
const busy = () => expect.poll(() => stack.server.seats());

it("of one that waited in the queue", async () => {
  const holders = [hold(), hold()];
  await busy().toMatchObject({ used: 2 });
  const gone = Array.from({ length: 4 }, () => {
    const sent = request(`${stack.server.url}${ONE}`, {
      agent: new Agent({ ca: stack.pki.ca }),
      headers: { authorization: `Bearer ${token}` },
    });
    sent.on("error", () => {}).end();
    return sent;
  });
  await busy().toEqual({ used: 2, waiting: 4 });
  for (const sent of gone) sent.destroy();
  await busy().toEqual({ used: 2, waiting: 0 });
  for (const sent of holders) sent.destroy();
  await busy().toEqual({ used: 0, waiting: 0 });
  expect((await raw(stack, "GET", ONE, { token })).code).toBe(200);
});

it("of those that were sent after one another on a connection that was closed", async () => {
  const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`;
  const socket = connect({ host: "127.0.0.1", port: stack.server.port, ca: stack.pki.ca });
  socket.on("error", () => {});
  // The first one is never over: the answers of the others wait for it.
  socket.write(get(`${VMS}?watch=1`) + get(ONE) + get(ONE) + get(ONE));
  // The watch gives its seat back once it runs.
  await busy().toEqual({ used: 2, waiting: 1 });
  socket.destroy();
  await busy().toEqual({ used: 0, waiting: 0 });
  expect((await raw(stack, "GET", ONE, { token })).code).toBe(200);
});
