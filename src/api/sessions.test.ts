/** Browsers' sessions and the pages of the web UI, at a real server over TLS. */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { VirtualMachine } from "../compute/kinds.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { Store } from "../store/store.ts";
import { ADMINS } from "./pki.ts";
import { Sessions } from "./sessions.ts";
import { type RawAnswer, raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";
import { Ui } from "./ui.ts";

const VMS = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";
const vm = (name: string) =>
  JSON.stringify({
    apiVersion: "vireo.dev/v1",
    kind: "VirtualMachine",
    metadata: { name },
    spec: { memory: "64Mi", image: "shop" },
  });

let folder: string;
let stack: ApiStack;
let origin: string;
let token: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "vireo-ui-"));
  mkdirSync(join(folder, "assets"));
  writeFileSync(
    join(folder, "index.html"),
    `<meta property="csp-nonce" nonce="CSP_NONCE"><script type="module" src="/assets/a.js"></script>`,
  );
  writeFileSync(join(folder, "assets/a.js"), "export const a = 1;\n".repeat(100));
  stack = await startApiStack({ ui: new Ui(folder) });
  origin = stack.server.url;
  token = stack.pki.tokens.addUser({ name: "anna", groups: [ADMINS] });
});
afterAll(async () => {
  expect(stack.errors).toEqual([]);
  await stack[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
});

const signIn = (with_: string, headers: Record<string, string> = { origin }) =>
  raw(stack, "POST", "/session", { body: JSON.stringify({ token: with_ }), headers });
const cookieOf = ({ headers }: RawAnswer) => String(headers["set-cookie"]).split(";")[0] ?? "";

describe("a session", () => {
  it("is a cookie that no script can read and no other site's page can send", async () => {
    const answer = await signIn(token);
    expect([answer.code, answer.body.user]).toEqual([201, "anna"]);
    expect(String(answer.headers["set-cookie"])).toMatch(
      /^__Host-vireo=[\w-]{43}; Path=\/; Max-Age=43200; HttpOnly; Secure; SameSite=Strict$/,
    );
    expect(answer.text).not.toContain(token);
    const cookie = cookieOf(answer);
    const read = await raw(stack, "GET", VMS, { headers: { cookie } });
    expect([read.code, read.body.kind]).toEqual([200, "VirtualMachineList"]);
    const mine = await raw(stack, "POST", VMS, { body: vm("by-session"), headers: { cookie, origin } });
    expect(mine.code).toBe(201);
  });

  it("is not begun by a wrong token, without one, or by another site's page", async () => {
    expect((await signIn("wrong")).code).toBe(401);
    expect((await signIn("")).code).toBe(400);
    expect((await signIn(token, { origin: "https://evil.example" })).code).toBe(403);
    expect((await signIn(token, {})).code).toBe(403);
    expect((await raw(stack, "GET", "/session")).code).toBe(405);
  });

  it.each([
    ["another site", { origin: "https://evil.example", "sec-fetch-site": "cross-site" }],
    ["another port of this host", { origin: "https://127.0.0.1:1", "sec-fetch-site": "same-site" }],
    ["another port, by a browser that tells no more", { origin: "https://127.0.0.1:1" }],
    ["a sandboxed frame", { origin: "null", "sec-fetch-site": "cross-site" }],
    ["nobody knows whom", {}],
  ])("writes nothing for a page of %s", async (_, headers) => {
    const cookie = cookieOf(await signIn(token));
    const forged = { ...(headers as Record<string, string>), cookie };
    const made = await raw(stack, "POST", VMS, { body: vm("forged"), headers: forged });
    expect([made.code, made.body.reason]).toEqual([403, "Forbidden"]);
    expect((await raw(stack, "DELETE", "/session", { headers: forged })).code).toBe(403);
    expect(await stack.admin().get(VirtualMachine, { name: "forged", namespace: "default" })).toBeUndefined();
    // It goes on for its own pages.
    expect((await raw(stack, "GET", VMS, { headers: { cookie } })).code).toBe(200);
  });

  it("ends when its user signs out, for every copy of the cookie", async () => {
    const cookie = cookieOf(await signIn(token));
    const out = await raw(stack, "DELETE", "/session", { headers: { cookie, origin } });
    expect(out.code).toBe(200);
    expect(String(out.headers["set-cookie"])).toMatch(/^__Host-vireo=; Path=\/; Max-Age=0; /);
    const after = await raw(stack, "GET", VMS, { headers: { cookie } });
    expect([after.code, after.body.message]).toEqual([
      401,
      "Unauthorized: the session has ended; sign in again",
    ]);
  });

  it("ends with the token that began it", async () => {
    const own = stack.pki.tokens.addUser({ name: "ben", groups: [ADMINS] });
    const cookie = cookieOf(await signIn(own));
    const { id } = stack.pki.tokens.listUsers().find(({ user }) => user.name === "ben") ?? { id: "" };
    stack.pki.tokens.revoke(id);
    const after = await raw(stack, "GET", VMS, { headers: { cookie } });
    expect([after.code, after.body.message]).toEqual([
      401,
      "Unauthorized: the token of this session was revoked or has run out; sign in again",
    ]);
  });

  it("gives way to a bearer token", async () => {
    const cookie = cookieOf(await signIn(token));
    const none = stack.pki.tokens.addUser({ name: "nobody", groups: [] });
    expect((await raw(stack, "GET", VMS, { token: none, headers: { cookie } })).code).toBe(403);
  });
});

describe("a watch as a WebSocket", () => {
  const open = (headers: Record<string, string>, query: string) => {
    const url = `${origin.replace("https", "wss")}${VMS}?watch=true&${query}`;
    return new WebSocket(new URL(url), { ca: stack.pki.ca, headers });
  };
  const messages = (socket: WebSocket, count: number) =>
    new Promise<Record<string, unknown>[]>((resolve, reject) => {
      const got: Record<string, unknown>[] = [];
      socket.on("error", reject);
      socket.on("close", () => resolve(got));
      socket.on("message", (data, isBinary) => {
        // A browser's page would get binary messages as files.
        expect(isBinary).toBe(false);
        got.push(JSON.parse(data.toString()));
        if (got.length === count) socket.close();
      });
    });

  it("tells each event in a message of its own", async () => {
    const cookie = cookieOf(await signIn(token));
    const { resourceVersion } = await stack.admin().list(VirtualMachine);
    const socket = open({ cookie, origin }, `resourceVersion=${resourceVersion}`);
    const got = messages(socket, 2);
    for (const name of ["first", "second"])
      await stack.admin().create(VirtualMachine, {
        metadata: { name, namespace: "default" },
        spec: { memory: "64Mi", image: "shop" },
      });
    expect(await got).toMatchObject([
      { type: "ADDED", object: { metadata: { name: "first" } } },
      { type: "ADDED", object: { metadata: { name: "second" } } },
    ]);
  });

  it("tells in an event why there is none", async () => {
    const cookie = cookieOf(await signIn(token));
    const got = messages(open({ cookie, origin }, "resourceVersion=1&fieldSelector=spec.nothing%3D1"), 1);
    expect(await got).toMatchObject([{ type: "ERROR", object: { kind: "Status", code: 400 } }]);
  });

  it.each([
    ["another site", "https://evil.example", ""],
    ["another port, with an empty ticket", "https://127.0.0.1:1", "&ticket="],
    ["another port, with an empty ticket before one", "https://127.0.0.1:1", "&ticket=&ticket=x"],
    ["another site, with a ticket of that name only", "https://evil.example", "&ticket"],
  ])("is refused to a page of %s", async (_, foreign, query) => {
    const cookie = cookieOf(await signIn(token));
    const socket = open({ cookie, origin: foreign }, `resourceVersion=0${query}`);
    const code = await new Promise<number | undefined>((resolve) => {
      socket.on("error", () => {});
      socket.on("open", () => {
        resolve(101);
        socket.terminate();
      });
      socket.on("unexpected-response", (_request, response: IncomingMessage) => {
        resolve(response.statusCode);
        socket.terminate();
      });
    });
    expect(code).toBe(403);
  });

  it("ends with the session", async () => {
    const cookie = cookieOf(await signIn(token));
    const socket = open({ cookie, origin }, "resourceVersion=0");
    await new Promise<void>((resolve) => socket.on("open", resolve));
    const ended = new Promise<number>((resolve) => socket.on("close", resolve));
    await raw(stack, "DELETE", "/session", { headers: { cookie, origin } });
    expect(await ended).toBe(1012);
  });
});

describe("the web UI", () => {
  const page = (path: string, headers: Record<string, string> = { accept: "text/html,*/*" }) =>
    raw(stack, "GET", path, { headers });

  it.each(["/", "/machines/default/web-1", "/estate?q=x"])(
    "is at %s for everybody, under a strict policy",
    async (path) => {
      const { code, headers, text } = await page(path);
      expect(code).toBe(200);
      const policy = String(headers["content-security-policy"]);
      expect(policy).toMatch(/default-src 'none'; script-src 'self'; /);
      expect(policy).not.toContain("unsafe");
      expect(policy).toContain("frame-ancestors 'none'");
      const nonce = /'nonce-([^']+)'/.exec(policy)?.[1] ?? "";
      expect(text).toContain(`nonce="${nonce}"`);
      expect((await page(path)).headers["content-security-policy"]).not.toBe(policy);
      expect(headers).toMatchObject({
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
      });
    },
  );

  it("sends its files packed, to be kept", async () => {
    const packed = await page("/assets/a.js", { "accept-encoding": "gzip, br" });
    expect(packed.headers).toMatchObject({
      "content-encoding": "br",
      "content-type": "text/javascript; charset=utf-8",
      "cache-control": "public, max-age=31536000, immutable",
    });
    expect((await page("/assets/a.js", {})).text).toMatch(/^export const a/);
    const again = await page("/assets/a.js", { "if-none-match": String(packed.headers.etag) });
    expect(again.code).toBe(304);
  });

  it("has nothing but its own files, and leaves the API's paths alone", async () => {
    expect((await page("/assets/none.js")).code).toBe(401);
    expect((await page("/assets/..%2findex.html")).code).toBe(400);
    expect((await page("/nothing", {})).code).toBe(401);
    expect((await page("/apis")).code).toBe(401);
    expect((await page("/metrics")).code).toBe(401);
    expect((await page("/version")).body.major).toBe("1");
  });

  it("that was not built says how it comes about", async () => {
    const without = await startApiStack({ ui: new Ui(join(folder, "nowhere")) });
    const { code, body } = await raw(without, "GET", "/", { headers: { accept: "text/html" } });
    expect([code, body.message]).toEqual([404, expect.stringContaining("./vireo up")]);
    await without[Symbol.asyncDispose]();
  });
});

describe("sessions in the store", () => {
  let store: Store;
  let now = 1_000_000;
  const ANNA = { name: "anna", groups: ["devs"] };
  const request = (cookie: string) => ({ headers: { cookie } }) as IncomingMessage;
  beforeAll(async () => {
    store = await openSqliteStore(join(folder, "store.db"));
  });
  afterAll(() => store.close());

  it("are hashes alone, end after twelve hours, and are taken away then", async () => {
    const sessions = new Sessions(store, { now: () => now });
    const { cookie } = await sessions.begin({ token: "secret-token", user: ANNA });
    const text = JSON.stringify(await store.range(""));
    expect(text).not.toContain("secret-token");
    expect(text).not.toContain(/=([^;]+)/.exec(cookie)?.[1]);
    const { key = "" } = (await sessions.find(request(cookie))) ?? {};
    expect(sessions.isStillGood(key)).toBe(true);
    now += 12 * 3600_000;
    expect(sessions.isStillGood(key)).toBe(false);
    await expect(sessions.find(request(cookie))).rejects.toMatchObject({ reason: "Unauthorized" });
    await sessions.begin({ token: "other", user: ANNA });
    expect((await store.range("")).entries).toHaveLength(1);
  });

  it("end no later than the login of an OIDC provider", async () => {
    const sessions = new Sessions(store, { now: () => now });
    const user = ANNA;
    const { cookie, expires } = await sessions.begin({ user, expires: now + 60_000 });
    expect(expires.getTime()).toBe(now + 60_000);
    expect((await sessions.find(request(cookie)))?.kept.user).toEqual(user);
    now += 60_000;
    await expect(sessions.find(request(cookie))).rejects.toMatchObject({ reason: "Unauthorized" });
  });

  it.each([
    ["within five seconds", 5000],
    ["also when their clock is put back by an hour", -3_600_000],
  ])("that end at one control plane end at the others %s", async (_, later) => {
    const [one, other] = [new Sessions(store, { now: () => now }), new Sessions(store, { now: () => now })];
    const { cookie } = await one.begin({ token: "t", user: ANNA });
    expect(await other.find(request(cookie))).toBeDefined();
    await one.end(request(cookie));
    await expect(one.find(request(cookie))).rejects.toMatchObject({ reason: "Unauthorized" });
    now += later;
    await expect(other.find(request(cookie))).rejects.toMatchObject({ reason: "Unauthorized" });
  });

  it("are twenty of each user at most: the oldest goes, that of a revoked token first, and those of others stay", async () => {
    const sessions = new Sessions(store, { now: () => now });
    const ben = await sessions.begin({ token: "ben's", user: { name: "ben", groups: [] } });
    let revoked = "";
    const begin = async (token: string) =>
      (await sessions.begin({ token, user: ANNA }, (hash) => hash !== revoked)).cookie;
    const cookies: string[] = [];
    for (let i = 0; i < 20; i++) cookies.push(await begin(i === 7 ? "lost" : "t"));
    const isGood = (cookie = "") =>
      sessions.find(request(cookie)).then(
        () => true,
        () => false,
      );
    const ended = async () => {
      const good = await Promise.all(cookies.map(isGood));
      return good.flatMap((each, i) => (each ? [] : [i]));
    };
    expect(await ended()).toEqual([]);
    revoked = createHash("sha256").update("lost").digest("hex");
    cookies.push(await begin("t"));
    expect(await ended()).toEqual([7]);
    cookies.push(await begin("t"));
    expect(await ended()).toEqual([0, 7]);
    expect(await isGood(ben.cookie)).toBe(true);
  });

  it("of which one is odd hinder nobody", async () => {
    const sessions = new Sessions(store, { now: () => now });
    for (const [i, value] of ["{", "null", '{"expires":1e99}'].entries())
      await store.commit({ key: `sessions/odd-${i}`, value, expected: 0 });
    const { cookie } = await sessions.begin({ token: "t", user: ANNA });
    expect(await sessions.find(request(cookie))).toBeDefined();
    expect(JSON.stringify(await store.range(""))).not.toContain("odd-");
  });
});
