/** Watches end soon after the token or certificate by which they were begun is good no more; a connection does not outlive its certificate. */
import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Credentials, issue } from "./certificates.ts";
import { ADMINS } from "./pki.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

const VMS = "/apis/vireo.dev/v1/virtualmachines";

let stack: ApiStack;
beforeAll(async () => {
  stack = await startApiStack({ recheckMs: 50 });
});
afterAll(async () => {
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
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
