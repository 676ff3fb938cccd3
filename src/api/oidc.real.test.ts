/** Login by a real OpenID Connect provider: good tokens, bad ones, rotated keys, a provider that is away. */
import { createHmac } from "node:crypto";
import { exportSPKI, generateKeyPair, importJWK, SignJWT } from "jose";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { VirtualMachine } from "../compute/kinds.ts";
import { KUBECTLS, Kubectl } from "./testing/kubectl.ts";
import { prepareProvider, type TestProvider } from "./testing/oidc.ts";
import { raw } from "./testing/raw.ts";
import { type ApiStack, startApiStack } from "./testing/stack.ts";

const VMS = "/apis/vireo.dev/v1/namespaces/default/virtualmachines";
const WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEW = JSON.stringify({ apiVersion: "authentication.k8s.io/v1", kind: "SelfSubjectReview" });

let provider: TestProvider;
let stack: ApiStack;
const logged: string[] = [];
const log = (event: string, fields?: Record<string, unknown>) =>
  void logged.push(JSON.stringify({ event, ...fields }));

const codeOf = async (token: string) => (await raw(stack, "GET", VMS, { token })).code;
async function userInfo(token: string): Promise<unknown> {
  const answer = await raw(stack, "POST", WHOAMI, { token, body: REVIEW });
  return { code: answer.code, status: answer.body.status };
}

beforeAll(async () => {
  provider = await prepareProvider();
  // It is not started yet: the server starts all the same.
  const { issuer, ca } = provider;
  stack = await startApiStack({
    log: { info: log, error: log },
    oidc: { issuer, ca, clientId: "vireo", retryMs: 100, refreshMs: 200, cooldownMs: 0 },
  });
});
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]();
  await provider?.stop();
});

it("a provider that is away at the start stops nobody but its own users, and is asked again", async () => {
  await expect.poll(() => logged.join("\n")).toContain("oidc.issuer-unreachable");
  const ready = await raw(stack, "GET", "/readyz?verbose");
  expect(ready.code).toBe(200);
  expect(ready.text).toContain("[-]oidc failed: the issuer does not answer");
  expect((await stack.admin().list(VirtualMachine)).items).toEqual([]);
  const early = await raw(stack, "GET", VMS, { token: "a.b.c" });
  expect([early.code, early.headers["retry-after"]]).toEqual([503, "5"]);
  await provider.start();
  await expect.poll(async () => (await raw(stack, "GET", "/readyz?verbose")).text).toContain("[+]oidc ok");
  expect(logged.join("\n")).toContain("oidc.ready");
});

it("a user of the provider is ISSUER#SUB with prefixed groups, and may do what these may", async () => {
  const token = await provider.token({ username: "eve", claims: { groups: ["dev", "system:masters"] } });
  expect(await userInfo(token)).toEqual({
    code: 201,
    status: {
      userInfo: {
        username: `${provider.issuer}#eve`,
        groups: ["oidc:dev", "oidc:system:masters", "system:authenticated"],
      },
    },
  });
  expect(await codeOf(token)).toBe(403);
});

it.each(KUBECTLS)("%s --token: a role that is bound to a group of the provider counts", async (path) => {
  const kubectl = new Kubectl(path, stack);
  await kubectl.ok("create", "namespace", "shop");
  await kubectl.ok("create", "rolebinding", "dev", "--clusterrole=edit", "--group=oidc:dev", "-n", "shop");
  const token = await provider.token({ username: "eve", claims: { groups: ["dev"] } });
  const as = (...args: string[]) => [
    ...args,
    "--token",
    token,
    "--user=",
    "--insecure-skip-tls-verify=false",
  ];
  expect(await kubectl.ok(...as("get", "vm", "-n", "shop", "-o", "name"))).toBe("");
  expect(await kubectl.fails(...as("get", "vm", "-n", "default"))).toContain(
    `User "${provider.issuer}#eve" cannot list`,
  );
  expect(await kubectl.ok(...as("auth", "can-i", "create", "vm", "-n", "shop"))).toBe("yes\n");
  const old = await provider.token({ username: "eve", claims: { groups: ["dev"] }, ttl: -60 });
  expect(await kubectl.fails("get", "vm", "-n", "shop", "--token", old, "--user=")).toMatch(
    /Unauthorized|logged in/,
  );
  await kubectl.ok("delete", "namespace", "shop");
});

it("refuses what is forged, run out, or for somebody else: the reason is in the log, not in the answer", async () => {
  const good = await provider.token({ username: "eve" });
  const [head = "", body = "", signature = ""] = good.split(".");
  const claims = JSON.parse(Buffer.from(body, "base64url").toString());
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const stranger = (await generateKeyPair("RS256", { extractable: true })).privateKey;
  const [jwk] = provider.publicKeys();
  const kid = jwk?.kid ?? "";
  const signed = (more: object, key = stranger) =>
    new SignJWT({ ...claims, ...more }).setProtectedHeader({ alg: "RS256", kid }).sign(key);
  // The classic: the public key, which everybody knows, taken for a secret one.
  const publicKey = await importJWK({ ...jwk, ext: true }, "RS256", { extractable: true });
  const pem = publicKey instanceof Uint8Array ? "" : await exportSPKI(publicKey);
  const hmac = `${encoded({ alg: "HS256", kid })}.${body}`;
  const bad: [string, string, RegExp][] = [
    ["of another payload", `${head}.${encoded({ ...claims, sub: "root" })}.${signature}`, /SIGNATURE/],
    ["of another key", await signed({}), /SIGNATURE/],
    [
      "of an unknown key",
      await new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "x" }).sign(stranger),
      /NO_MATCHING_KEY/,
    ],
    ["without a signature", `${encoded({ alg: "none" })}.${body}.`, /ALG|alg/],
    ["cut", good.slice(0, -8), /SIGNATURE/],
    [
      "HMAC with the public key",
      `${hmac}.${createHmac("sha256", pem).update(hmac).digest("base64url")}`,
      /ALG/,
    ],
    ["run out", await provider.token({ username: "eve", ttl: -60 }), /EXPIRED/],
    ["for another client", await provider.token({ username: "eve", client: "other" }), /aud/],
    ["of another issuer", await provider.sign({ ...claims, iss: "https://x" }), /iss/],
    ["without an end", await provider.sign({ ...claims, exp: undefined }), /exp/],
    ["of a user without a name", await provider.sign({ ...claims, sub: "" }), /sub/],
    [
      "not yet good",
      await provider.token({ username: "eve", claims: { nbf: Math.floor(Date.now() / 1000) + 900 } }),
      /nbf/,
    ],
    ["without meaning", "a.b.c", /JW[ST]/],
    ["with odd groups", await provider.token({ username: "eve", claims: { groups: [{ a: 1 }] } }), /groups/],
  ];
  expect(await codeOf(await provider.sign(claims))).toBe(403);
  for (const [what, token, why] of bad) {
    logged.length = 0;
    const answer = await raw(stack, "GET", VMS, { token });
    expect([what, answer.code, answer.body.message]).toEqual([
      what,
      401,
      "Unauthorized: the bearer token is not known or has run out",
    ]);
    const line = logged.find((each) => each.includes("login refused")) ?? "no line";
    expect([what, line]).toEqual([what, expect.stringMatching(why)]);
    expect(line).not.toContain(token);
  }
  expect(await codeOf(good)).toBe(403);
});

it("a token is good for its own client only; an address is a name only if the issuer has verified it", async () => {
  const token = await provider.token({ username: "eve", client: "vireo-ec" });
  expect(await codeOf(token)).toBe(401);
  await using other = await startApiStack({
    oidc: { issuer: provider.issuer, ca: provider.ca, clientId: "vireo-ec", usernameClaim: "email" },
  });
  const at = (claims: object) => provider.token({ username: "eve", client: "vireo-ec", claims });
  const code = async (claims: object) =>
    (await raw(other, "POST", WHOAMI, { token: await at(claims), body: REVIEW })).code;
  await expect.poll(() => code({ email: "eve@example.org" })).toBe(201);
  expect(await code({ email: "eve@example.org", email_verified: false })).toBe(401);
  expect(await code({ email: "system:admin" })).toBe(401);
  expect(await code({})).toBe(401);
});

it("takes up new keys at once, and drops old ones within the time of a refresh", async () => {
  const old = await provider.token({ username: "eve" });
  await provider.stop();
  // The provider is away: its users go on working.
  await expect.poll(async () => (await raw(stack, "GET", "/readyz?verbose")).text).toContain("[-]oidc");
  expect(await codeOf(old)).toBe(403);
  await provider.newKeys();
  await provider.start();
  expect(await codeOf(await provider.token({ username: "eve" }))).toBe(403);
  await expect.poll(() => codeOf(old)).toBe(401);
});

it("does not trust a provider with a certificate of another CA", async () => {
  const said = vi.fn();
  await using other = await startApiStack({
    log: { info() {}, error: said },
    oidc: { issuer: provider.issuer, ca: stack.pki.ca, clientId: "vireo" },
  });
  await expect.poll(() => said.mock.calls.length).toBe(1);
  expect(String(said.mock.calls[0]?.[1]?.error)).toMatch(/certificate/);
  const token = await provider.token({ username: "eve" });
  expect((await raw(other, "GET", VMS, { token })).code).toBe(503);
});
