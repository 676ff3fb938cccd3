/** The web UI in a real Chromium, served by a real control plane, over real hosts and guests. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { VirtualMachine } from "../../src/compute/kinds.ts";
import { Stack } from "../../test/support/stack.ts";
import { type Browser, launch, signIn, type Visitor, visit } from "./browser.ts";

const MANIFEST = `
apiVersion: vireo.dev/v1
kind: Image
metadata: { name: small }
spec: { recipe: { packages: [] } }
---
apiVersion: vireo.dev/v1
kind: VirtualMachine
metadata: { name: web-1, labels: { tier: web } }
spec: { memory: 128Mi, image: small, hardware: { video: vga } }
---
apiVersion: vireo.dev/v2
kind: Policy
metadata: { name: web }
spec: { selector: { matchLabels: { tier: web } }, goals: [{ goal: energy }] }
`;

let stack: Stack;
let browser: Browser;
let token: string;
let url: string;
let visitor: Visitor;

beforeAll(async () => {
  stack = await Stack.create();
  const file = join(stack.paths.state, "web.yaml");
  writeFileSync(file, MANIFEST);
  const { code, stdout, stderr } = await stack.up(["--hosts", "2", "-f", file]);
  expect(code, stdout + stderr).toBe(0);
  url = /web UI +(https:\S+)/.exec(stdout)?.[1] ?? "";
  token = (await stack.vireo(["token", "create", "anna", "--group", "system:masters"])).stdout.trim();
  browser = await launch();
  visitor = await visit(browser, url);
  await signIn(visitor.page, token);
});
afterAll(async () => {
  await browser?.close();
  await stack?.destroy();
});
beforeEach(() => stack.keepEvidenceOnFailure());

it("shows the machines, and each change of them at once", async () => {
  const { page, complaints } = visitor;
  await page.keyboard.press("g");
  await page.keyboard.press("m");
  const row = page.getByRole("row", { name: /web-1/ });
  await row.getByText("Running").waitFor();
  const at = { name: "later", namespace: "default" };
  await stack.client.create(VirtualMachine, {
    metadata: at,
    spec: { memory: "64Mi", image: "small", running: false },
  });
  await page.getByRole("link", { name: "later" }).waitFor();
  await stack.client.delete(VirtualMachine, at);
  await page.getByRole("link", { name: "later" }).waitFor({ state: "detached" });
  // A session is the cookie's, which no script sees.
  expect(await page.evaluate("document.cookie")).toBe("");
  expect(complaints).toEqual([]);
});

it("keeps nothing of a session that was ended, and says why", async () => {
  const { page } = await visit(browser, url);
  await page.goto("/machines");
  await page.getByLabel("Token").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("This token is not known here").waitFor();
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: "web-1" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token").waitFor();
  await page.reload();
  await page.getByLabel("Token").waitFor();
  expect(await page.getByRole("link", { name: "web-1" }).count()).toBe(0);
});
