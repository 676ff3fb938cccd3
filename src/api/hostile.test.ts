/** What an attacker or a broken client sends: a clear 4xx each time, and the server lives on. */
import { readFileSync } from "node:fs";
import { request } from "node:https";
import { connect as connectTcp } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { VirtualMachine } from "../compute/kinds.ts";
import { isApiError } from "../resource/errors.ts";
import { createCa, issue } from "./certificates.ts";
import { ADMINS } from "./pki.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

const VMS = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";
const vm = (name: string) => ({
  apiVersion: "vireo.dev/v1",
  kind: "VirtualMachine",
  metadata: { name },
  spec: { memory: "64Mi", image: "shop" },
});

describe("hostile input", () => {
  let stack: ApiStack;
  let token: string;
  beforeAll(async () => {
    stack = await startApiStack();
    token = stack.pki.tokens.addUser({ name: "admin", groups: [ADMINS] });
  });
  afterAll(async () => {
    // Every refusal was meant: none was an exception that nobody expected.
    expect(stack.errors).toEqual([]);
    await stack[Symbol.asyncDispose]();
  });
  const post = (body: string | Buffer, contentType = "application/json", path = VMS) =>
    raw(stack, "POST", path, { token, body, headers: { "content-type": contentType } });

  it("refuses a manifest of 50 MB with the limit in the message", async () => {
    const body = Buffer.alloc(50 * 2 ** 20, 0x20);
    const answer = await post(body);
    expect(answer.code).toBe(413);
    expect(answer.body).toMatchObject({
      reason: "RequestEntityTooLarge",
      message: expect.stringContaining("3145728"),
    });
  });

  it.each([
    ["announced", {}],
    ["not announced", { "transfer-encoding": "chunked" }],
  ])("refuses 100 MB, %s, and keeps none of it", async (_what, headers) => {
    const size = 100 * 2 ** 20;
    const used = () => process.memoryUsage().arrayBuffers;
    const before = used();
    let most = 0;
    const watching = setInterval(() => {
      most = Math.max(most, used() - before);
    }, 5);
    // Made as it is sent, so that what this process holds is the server's.
    const part = Buffer.alloc(64 * 1024, 0x20);
    const code = await new Promise<number>((resolve, reject) => {
      const sent = request(`${stack.server.url}${VMS}`, {
        method: "POST",
        ca: stack.pki.ca,
        agent: false,
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
          ...("transfer-encoding" in headers ? headers : { "content-length": size }),
        },
      });
      sent.on("response", (answer) => resolve(answer.resume().statusCode ?? 0));
      // What comes after the answer: the server does not read it to its end.
      sent.on("error", reject);
      let left = size;
      const more = () => {
        while (left > 0 && !sent.destroyed) {
          left -= part.length;
          if (!sent.write(part)) return void sent.once("drain", more);
        }
        sent.end();
      };
      more();
    });
    clearInterval(watching);
    expect(code).toBe(413);
    expect(most).toBeLessThan(20 * 2 ** 20);
  });

  it("refuses it also when the length is not announced", async () => {
    const body = Buffer.alloc(8 * 2 ** 20, 0x20);
    const answer = await raw(stack, "POST", VMS, {
      token,
      body,
      headers: { "transfer-encoding": "chunked" },
    });
    expect(answer.code).toBe(413);
  });

  it("refuses a YAML bomb", async () => {
    const levels = ["a: &a [x, x, x, x, x, x, x, x, x]"];
    for (const [name, before] of ["ba", "cb", "dc", "ed", "fe", "gf", "hg", "ih"].map((pair) =>
      pair.split(""),
    ))
      levels.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join(", ")}]`);
    const answer = await post(levels.join("\n"), "application/yaml");
    expect(answer.code).toBe(400);
    expect(answer.body.message).toMatch(/alias/i);
  });

  it("refuses deep nesting in JSON and in YAML", async () => {
    for (const [body, type] of [
      [`${"[".repeat(100_000)}${"]".repeat(100_000)}`, "application/json"],
      [`${'{"a":'.repeat(50_000)}1${"}".repeat(50_000)}`, "application/json"],
      [`${"[".repeat(50_000)}${"]".repeat(50_000)}`, "application/yaml"],
      [`${"- ".repeat(20_000)}x`, "application/yaml"],
    ] as const) {
      const answer = await post(body, type);
      expect(answer.code).toBe(400);
      expect(answer.body.message).toMatch(/nested deeper than 100 levels|YAML/);
    }
  });

  it("refuses invalid UTF-8, half JSON, several YAML documents, other types", async () => {
    expect((await post(Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]))).body).toMatchObject({
      code: 400,
      message: "the body is not valid UTF-8",
    });
    expect((await post('{"kind":')).body).toMatchObject({
      code: 400,
      message: expect.stringContaining("not JSON"),
    });
    expect((await post("")).code).toBe(400);
    expect((await post("[]")).code).toBe(400);
    expect((await post("null")).code).toBe(400);
    expect((await post("a: 1\n---\nb: 2\n", "application/yaml")).code).toBe(400);
    expect((await post("a: 1\na: 2\n", "application/yaml")).body.message).toMatch(/unique/);
    expect((await post("<vm/>", "text/xml")).code).toBe(415);
    expect((await post("k8s\0\xff\xff\xff\xff", "application/vnd.kubernetes.protobuf")).code).toBe(400);
  });

  it("does not let __proto__ and constructor reach prototypes", async () => {
    const body = JSON.stringify(vm("proto")).replace('"spec":{', '"spec":{"__proto__":{"polluted":true},');
    expect((await post(body)).code).toBe(201);
    expect(
      (await post(body.replace('"proto"', '"proto2"'), "application/json", `${VMS}?fieldValidation=Strict`))
        .code,
    ).toBe(400);
    for (const patch of [
      '{"__proto__":{"polluted":true}}',
      '{"metadata":{"labels":{"__proto__":"x"}}}',
      '{"constructor":{"prototype":{"polluted":true}}}',
      '{"spec":{"__proto__":{"polluted":true}}}',
    ]) {
      const answer = await raw(stack, "PATCH", `${VMS}/proto`, {
        token,
        body: patch,
        headers: { "content-type": "application/merge-patch+json" },
      });
      expect(answer.code).toBeLessThan(500);
    }
    for (const path of [
      "/__proto__/polluted",
      "/spec/__proto__/polluted",
      "/constructor/prototype/polluted",
    ]) {
      const answer = await raw(stack, "PATCH", `${VMS}/proto`, {
        token,
        body: JSON.stringify([{ op: "add", path, value: true }]),
        headers: { "content-type": "application/json-patch+json" },
      });
      expect(answer.code).toBeLessThan(500);
    }
    expect(Reflect.get({}, "polluted")).toBeUndefined();
    expect((await raw(stack, "GET", "/apis/__proto__/v1", { token })).code).toBe(404);
    expect((await raw(stack, "GET", "/openapi/v3/__proto__", { token })).code).toBe(404);
  });

  it("refuses paths that mean something else than they say", async () => {
    for (const [path, code] of [
      [`${VMS}/%2e%2e`, 400],
      [`${VMS}/..`, 400],
      [`${VMS}/%2E%2E/hosts`, 400],
      [`${VMS}/a%2fb`, 400],
      [`${VMS}/a%252fb`, 400],
      [`${VMS}/a%00b`, 400],
      [`${VMS}/%zz`, 400],
      [`${VMS}/%ff`, 400],
      [`//apis/vireo.dev/v1/hosts`, 404],
      [`/apis/vireo.dev/v1//hosts`, 404],
      [`${VMS}/a/b/c/d`, 404],
      [`${VMS}/UPPER`, 404],
      [`/apis/vireo.dev/v1/namespaces/default/hosts`, 404],
      [`/apis/vireo.dev/v2/hosts`, 404],
    ] as const)
      expect([path, (await raw(stack, "GET", path, { token })).code]).toEqual([path, code]);
  });

  it("refuses wrong parameters, verbs and media types", async () => {
    const code = async (method: string, path: string, headers: Record<string, string> = {}) =>
      (await raw(stack, method, path, { token, headers, ...(method === "GET" ? {} : { body: "{}" }) })).code;
    expect(await code("GET", `${VMS}?limit=-1`)).toBe(400);
    expect(await code("GET", `${VMS}?limit=1e9`)).toBe(400);
    expect(await code("GET", `${VMS}?continue=%00%ff`)).toBe(400);
    expect(await code("GET", `${VMS}?labelSelector=${"a!!,".repeat(1000)}`)).toBe(400);
    expect(await code("GET", `${VMS}?fieldSelector=spec.nothing%3D1`)).toBe(400);
    expect(await code("GET", `${VMS}?watch=1&timeoutSeconds=x`)).toBe(400);
    expect(await code("GET", `${VMS}?watch=1&sendInitialEvents=true`)).toBe(422);
    expect(await code("GET", VMS, { accept: "application/vnd.kubernetes.protobuf" })).toBe(406);
    expect(await code("POST", `${VMS}?dryRun=maybe`)).toBe(400);
    expect(await code("POST", `${VMS}?fieldValidation=sometimes`)).toBe(400);
    expect(await code("DELETE", `${VMS}/x?propagationPolicy=sideways`)).toBe(400);
    expect(await code("POST", "/apis/vireo.dev/v1/virtualmachines")).toBe(405);
    expect(await code("OPTIONS", VMS)).toBe(405);
    expect(
      await code("PATCH", `${VMS}/x`, { "content-type": "application/strategic-merge-patch+json" }),
    ).toBe(415);
    expect(await code("PATCH", `${VMS}/x`, { "content-type": "application/apply-patch+cbor" })).toBe(415);
    expect(await code("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions")).toBe(405);
    expect(await code("POST", "/version")).toBe(405);
    expect(await code("GET", `${VMS}?x=${"y".repeat(40_000)}`)).toBe(431);
  });

  it("tells duplicate fields", async () => {
    const body = JSON.stringify(vm("twice")).replace('"image":"shop"', '"image":"a","image":"shop"');
    const strict = await post(body, "application/json", `${VMS}?fieldValidation=Strict`);
    expect(strict.body).toMatchObject({
      code: 400,
      message: expect.stringContaining('duplicate field "spec.image"'),
    });
    const warned = await post(body);
    expect(warned.code).toBe(201);
    expect(String(warned.headers.warning)).toContain("spec.image");
  });

  it("keeps control and non-ASCII characters out of headers", async () => {
    const body = JSON.stringify({ ...vm("odd"), "evil\r\nSet-Cookie: x=1 \u{1F600}": 1 });
    const answer = await post(body);
    expect(answer.code).toBe(201);
    expect(answer.headers["set-cookie"]).toBeUndefined();
    expect(
      (await raw(stack, "GET", "/healthz", { headers: { "x-request-id": "a b" } })).headers["x-request-id"],
    ).not.toBe("a b");
  });

  it("lets nobody in with a token or certificate that is not good, and says no more than that", async () => {
    const get = (headers: Record<string, string>) => raw(stack, "GET", VMS, { headers });
    const old = stack.pki.tokens.addUser({ name: "old", groups: [ADMINS] }, { ttlMs: -1 });
    const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const claims = encoded({ sub: "admin", groups: [ADMINS], exp: 4e9 });
    for (const authorization of [
      `Bearer ${old}`,
      `Bearer ${token}x`,
      `Bearer ${token.slice(1)}`,
      // Nobody's tokens of this form are taken here.
      `Bearer ${encoded({ alg: "none" })}.${claims}.`,
      `Bearer ${encoded({ alg: "HS256" })}.${claims}.c2lnbmF0dXJl`,
      "Bearer",
      "Bearer ",
      `Bearer ${token} ${token}`,
      `Basic ${Buffer.from(`admin:${token}`).toString("base64")}`,
      token,
      "Bearer ../../etc/passwd",
      `Bearer ${"a".repeat(10_000)}`,
    ]) {
      const answer = await get({ authorization });
      expect([authorization, answer.code, answer.body.message]).toEqual([
        authorization,
        401,
        "Unauthorized: the bearer token is not known or has run out",
      ]);
    }
    expect((await get({ authorization: `Bearer ${token}` })).code).toBe(200);

    const pem = (name: string) => readFileSync(join(stack.folder, "pki", name), "utf8");
    const own = { cert: pem("ca.crt"), key: pem("ca.key") };
    const wanted = {
      subject: { commonName: "admin", organizations: [ADMINS] },
      names: [],
      usage: ["client" as const],
      days: 1,
    };
    const stranger = await createCa(`vireo ${new Date().toISOString()}`);
    for (const [what, credentials] of [
      ["of another CA", await issue(stranger, wanted)],
      ["that is a CA itself", stranger],
      ["that has run out", await issue(own, { ...wanted, days: -0.01 })],
      ["that is a server's", await issue(own, { ...wanted, usage: ["server"] })],
      ["that names nobody", await issue(own, { ...wanted, subject: { commonName: "" } })],
    ] as const) {
      const error = await stack
        .client({ cert: credentials.cert, key: credentials.key })
        .list(VirtualMachine)
        .catch((reason: unknown) => reason);
      expect([what, isApiError(error, "Unauthorized") || error]).toEqual([what, true]);
    }
    const good = stack.client(await issue(own, wanted));
    expect((await good.list(VirtualMachine)).items.length).toBeGreaterThan(0);
  });

  it("lives on after plain text and cut requests", async () => {
    for (const text of ["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00", "\0".repeat(100)])
      await new Promise<void>((resolve) => {
        const socket = connectTcp(stack.server.port, "127.0.0.1", () => socket.end(text));
        socket.on("error", () => {});
        socket.on("close", () => resolve());
        socket.resume();
      });
    expect((await stack.admin().list(VirtualMachine)).items.length).toBeGreaterThan(0);
  });
});
