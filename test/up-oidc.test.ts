/** `vireo up --oidc-…`, end to end: a real provider's token is taken by the server that it started, and counts for what its groups may. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { prepareProvider, type TestProvider } from "../src/api/testing/oidc.ts";
import { Stack } from "./support/stack.ts";

let provider: TestProvider;
let stack: Stack;

beforeAll(async () => {
  provider = await prepareProvider();
  await provider.start();
  stack = await Stack.create();
});
beforeEach(() => stack.keepEvidenceOnFailure());
afterAll(async () => {
  await stack?.destroy();
  await provider?.stop();
});

it("a user of the provider may do what a role gives to one of his groups", async () => {
  const ca = join(stack.home, "provider.pem");
  writeFileSync(ca, provider.ca);
  const oidc = ["--oidc-issuer", provider.issuer, "--oidc-client-id", "vireo", "--oidc-ca", ca];
  const { code, stdout, stderr } = await stack.up([...oidc, "--oidc-groups-prefix", "corp:"]);
  expect(code, stdout + stderr).toBe(0);
  const token = await provider.token({ username: "eve", claims: { groups: ["dev"] } });
  // Without the administrator's own entry: only the token counts.
  const asEve = (...args: string[]) => stack.kubectl([...args, "--token", token, "--user="]);
  const refused = await asEve("get", "vm");
  expect([refused.code, refused.stderr]).toEqual([
    1,
    expect.stringContaining(`User "${provider.issuer}#eve" cannot list`),
  ]);
  const bound = await stack.kubectl([
    "create",
    "clusterrolebinding",
    "dev",
    "--clusterrole=view",
    "--group=corp:dev",
  ]);
  expect(bound.code, bound.stderr).toBe(0);
  expect(await asEve("get", "hosts", "-o", "name")).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^host\.vireo\.dev\//),
  });
  // It runs with other options than are asked for now.
  const other = await stack.up(["--oidc-issuer", "https://login.example.org", "--oidc-client-id", "vireo"]);
  expect([other.code, other.stderr]).toEqual([
    1,
    expect.stringContaining("run `vireo down --keep` before changing --oidc"),
  ]);
});
