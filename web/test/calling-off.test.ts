/** What is called off while it is under way, and what fails, in a real Chromium: served by a real API server, over machines that nobody runs. */
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { type ApiStack, startApiStack } from "../../src/api/testing/stack.ts";
import { Ui } from "../../src/api/ui.ts";
import { WEB_UI } from "../../src/cli/web-ui.ts";
import { VirtualMachine } from "../../src/compute/kinds.ts";
import { Image } from "../../src/images/kinds.ts";
import { type Browser, launch, type Page, signIn, type Visitor, violations, visit } from "./browser.ts";
import { buildUi } from "./site.ts";

const MACHINES = 50;
let stack: ApiStack;
let browser: Browser;
let visitor: Visitor;
let page: Page;

beforeAll(async () => {
  await buildUi();
  stack = await startApiStack({ ui: new Ui(WEB_UI) });
  browser = await launch();
  visitor = await visit(browser, stack.server.url);
  ({ page } = visitor);
  await signIn(page, stack.pki.tokens.addUser({ name: "anna", groups: ["system:masters"] }));
});
afterAll(async () => {
  await browser?.close();
  await stack?.[Symbol.asyncDispose]();
});
afterEach(() => page.unrouteAll({ behavior: "ignoreErrors" }));

const button = (name: string) => page.getByRole("button", { name, exact: true });
const left = async () => (await stack.admin().list(VirtualMachine)).items.length;
/** Requests of this kind wait until they may go on. @returns how many wait, and what lets them and all later ones go on */
async function held(method: string, path: string) {
  let waiting = 0;
  let go = () => {};
  const open = new Promise<void>((resolve) => {
    go = resolve;
  });
  await page.route(path, async (route) => {
    if (route.request().method() !== method) return route.fallback();
    waiting++;
    await open;
    await route.continue();
  });
  return { waiting: () => waiting, go };
}

it("stops deleting many machines, says how many are gone, and is not left otherwise meanwhile", async () => {
  for (let i = 1; i <= MACHINES; i++)
    await stack.admin().create(VirtualMachine, {
      metadata: { name: `m-${i}`, namespace: "default" },
      spec: { memory: "64Mi", image: "shop", running: false },
    });
  await page.goto("/machines");
  await page.getByRole("checkbox", { name: "Choose all" }).check({ force: true });
  await page.getByText(`${MACHINES} chosen`).waitFor();
  await button("Delete…").click();
  await page.getByLabel(`Type delete ${MACHINES}`).fill(`delete ${MACHINES}`);
  const deletions = await held("DELETE", "**/virtualmachines/**");
  await button("Delete machines and disks").click();
  await expect.poll(deletions.waiting).toBe(20);
  await page.keyboard.press("Escape");
  await page.mouse.click(5, 5);
  expect(await violations(page)).toEqual([]);
  await button("Stop").click();
  expect(await button("Stopping…").isDisabled()).toBe(true);
  deletions.go();
  await page.getByText(`Stopped: 20 of ${MACHINES} machines are deleted, the others stay`).waitFor();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.getByText(`${MACHINES - 20} chosen`).waitFor();
  expect(await left()).toBe(MACHINES - 20);
});

it("tells what came of a deletion whose dialog was closed meanwhile", async () => {
  await page.goto("/machines/default/m-50");
  await page.getByRole("button", { name: "More actions" }).click();
  await page.getByRole("menuitem", { name: "Delete…" }).click();
  await page.getByLabel(/Type m-50/).fill("m-50");
  const deletions = await held("DELETE", "**/virtualmachines/**");
  await button("Delete machine and disks").click();
  await expect.poll(deletions.waiting).toBe(1);
  await button("Cancel").click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await stack.admin().delete(VirtualMachine, { name: "m-50", namespace: "default" });
  deletions.go();
  await page
    .getByRole("status")
    .getByText(/"m-50" not found/)
    .waitFor();
});

it("makes no image of a file whose import was called off while it was read", async () => {
  await page.goto("/images/import");
  await page.getByLabel("Name", { exact: true }).fill("brought");
  const buffer = Buffer.alloc(8 * 2 ** 20);
  await page
    .getByLabel("File", { exact: true })
    .setInputFiles({ name: "disk.raw", mimeType: "application/octet-stream", buffer });
  // As long as a large file takes.
  await page.evaluate(`
    const read = Blob.prototype.arrayBuffer;
    const go = new Promise((resolve) => { window.readOn = resolve; });
    window.parts = 0;
    Blob.prototype.arrayBuffer = async function () {
      await go;
      window.parts++;
      return read.call(this);
    };
  `);
  await button("Import it").click();
  await page.getByText("its SHA-256 is being told").waitFor();
  await button("Cancel").click();
  await page.getByRole("heading", { name: "Images", exact: true }).waitFor();
  await page.evaluate("window.readOn()");
  // It reads what it had begun with, and no more.
  await expect.poll(() => page.evaluate("window.parts")).toBe(1);
  await page.getByRole("link", { name: "Machines" }).click();
  await page.getByRole("link", { name: "m-49" }).waitFor();
  expect(await page.evaluate("window.parts")).toBe(1);
  expect(page.url()).toMatch(/\/machines$/);
  expect((await stack.admin().list(Image)).items).toEqual([]);
});

it("says that somebody is not signed out", async () => {
  await page.route("**/session", (route) => route.abort());
  await button("Sign out").click();
  await page.getByText("You are not signed out: the control plane does not answer").waitFor();
  await page.unrouteAll();
  await button("Sign out").click();
  await page.getByLabel("Token").waitFor();
  expect(visitor.complaints).toEqual([]);
  expect(stack.errors).toEqual([]);
});
