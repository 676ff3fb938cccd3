/**
 * The web UI in a real Chromium, served by a real control plane, over real hosts and guests: one stack, a few small guests, one story.
 * With VIREO_PICTURES=docs/images it also makes the pictures of the documentation.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Host } from "../../src/compute/hosts/kinds.ts";
import { VirtualMachine } from "../../src/compute/kinds.ts";
import { Rollback, Snapshot } from "../../src/compute/snapshots/kinds.ts";
import { Image } from "../../src/images/kinds.ts";
import { Stack, until } from "../../test/support/stack.ts";
import { type Browser, type Page, signIn, type Visitor, violations, visit } from "./browser.ts";
import { consoles } from "./consoles.ts";
import { director } from "./director.ts";
import { ensurePair, estate } from "./estate.ts";
import { looks } from "./looks.ts";
import { buildUi, openSite, type Ui } from "./site.ts";

const MANIFEST = `
apiVersion: vireo.dev/v1
kind: Image
metadata: { name: small }
spec:
  recipe:
    packages: []
    services: [{ name: hello, command: /srv/hello }, { name: keys, command: /srv/keys }]
    files:
      - path: /srv/hello
        mode: "0755"
        content: |
          #!/bin/sh
          while :; do n=$((n+1)); echo "hello from the guest $n" | tee /dev/ttyS0 >/dev/tty0; sleep 2; done
      - path: /srv/keys
        mode: "0755"
        content: |
          #!/bin/sh
          exec </dev/tty1
          while read -r line; do echo "typed: $line" >/dev/ttyS0; done
---
apiVersion: vireo.dev/v1
kind: VirtualMachine
metadata: { name: web-1, labels: { app: shop, tier: web } }
spec: { memory: 256Mi, image: small, hardware: { video: vga } }
---
apiVersion: vireo.dev/v2
kind: Policy
metadata: { name: web }
spec: { selector: { matchLabels: { tier: web } }, goals: [{ goal: energy }] }
`;
const at = { name: "web-1", namespace: "default" };
const MACHINE = "/machines/default/web-1";

let stack: Stack;
let browser: Browser;
let token: string;
let url: string;
let visitor: Visitor;
let page: Page;

beforeAll(async () => {
  await buildUi();
  stack = await Stack.create();
  const file = join(stack.home, "web.yaml");
  writeFileSync(file, MANIFEST);
  // All hosts first: the machine is placed by its policy, not by which of them was ready sooner.
  const hosts = await stack.up(["--hosts", "2"]);
  expect(hosts.code, hosts.stdout + hosts.stderr).toBe(0);
  ({ browser, url, token } = await openSite(stack, await stack.up(["-f", file])));
  for (const [name, rack] of [
    ["fast-1", "a1"],
    ["frugal-1", "a2"],
  ] as const)
    await stack.client.patch(Host, { name }, { spec: { site: "north", rack } });
  visitor = await visit(browser, url);
  ({ page } = visitor);
  await signIn(page, token);
});
afterAll(async () => {
  await browser?.close();
  await stack?.destroy();
});
beforeEach(() => stack.keepEvidenceOnFailure());

/** As they are by then, for the parts of the story that have files of their own. */
const ui = (): Ui => ({ stack, browser, url, token, visitor, page });
const machine = async (name = at.name) => stack.client.get(VirtualMachine, { ...at, name });

it("shows the machines, and each change of them at once", async () => {
  await page.keyboard.press("g");
  await page.keyboard.press("m");
  await page.getByRole("row", { name: /web-1/ }).getByText("Running").waitFor();
  const later = { name: "later", namespace: "default" };
  await stack.client.create(VirtualMachine, {
    metadata: later,
    spec: { memory: "64Mi", image: "small", running: false },
  });
  await page.getByRole("link", { name: "later" }).waitFor();
  await stack.client.delete(VirtualMachine, later);
  await page.getByRole("link", { name: "later" }).waitFor({ state: "detached" });
  // A session is the cookie's, which no script sees.
  expect(await page.evaluate("document.cookie")).toBe("");
});

it("keeps nothing of a session that was ended, and says why a token is none", async () => {
  const { page, context } = await visit(browser, url);
  await page.goto("/machines");
  await page.getByLabel("Token").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByText("This token is not known here").waitFor();
  expect(await violations(page)).toEqual([]);
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("link", { name: "web-1" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Token").waitFor();
  await page.reload();
  await page.getByLabel("Token").waitFor();
  expect(await page.getByRole("link", { name: "web-1" }).count()).toBe(0);
  await context.close();
});

it("shows one namespace to a user who may see no other", async () => {
  const made = await stack.kubectl(
    "create rolebinding eve --clusterrole=edit --user=eve -n default".split(" "),
  );
  expect(made.code, made.stderr).toBe(0);
  const own = (await stack.vireo(["token", "create", "eve"])).stdout.trim();
  const { page, context } = await visit(browser, url);
  await signIn(page, own);
  await page.goto("/machines");
  await page.getByText("Cannot load the machines").waitFor();
  expect(await violations(page)).toEqual([]);
  await page.getByLabel("Show only the namespace").fill("default");
  await page.getByRole("button", { name: "Show it" }).click();
  await page.getByRole("link", { name: "web-1" }).waitFor();
  await page.getByRole("button", { name: "Only default" }).waitFor();
  // What the roles of this namespace allow can be asked of many as of one.
  const reviewed = page.waitForResponse(/selfsubjectrulesreviews/);
  await page.getByRole("row", { name: /web-1/ }).getByRole("checkbox").check({ force: true });
  await (await reviewed).finished();
  await page.evaluate("new Promise((shown) => setTimeout(shown, 200))");
  for (const name of ["Stop", "Restart", "Delete…"])
    expect(await page.getByRole("button", { name }).getAttribute("aria-disabled"), name).toBe(null);
  // What is not of the namespace is not shown, and that is no error.
  for (const [path, text] of [
    ["/estate", "Hosts are shown to those who run them"],
    ["/hosts", "Hosts are shown to those who run them"],
    ["/director", "Plans, power and sites are of all namespaces"],
    ["/activity", "Running now"],
    ["/images", "A machine is made of one by its name"],
    ["/machines/new", "Give it a name"],
    [MACHINE, "How each host would be judged"],
  ] as const) {
    await page.goto(path);
    await page.getByText(text).first().waitFor();
    await page.locator("[aria-busy]").waitFor({ state: "detached" });
    expect(await page.getByRole("alert").count(), path).toBe(0);
    expect(await violations(page), path).toEqual([]);
  }
  await context.close();
});

it("does with many machines what is asked of them, and deletes them once their names were shown", async () => {
  const names = ["many-1", "many-2"];
  for (const name of names)
    await stack.client.create(VirtualMachine, {
      metadata: { name, namespace: "default" },
      spec: { memory: "64Mi", image: "small", running: false, stop: { graceSeconds: 1 } },
    });
  const running = async () => Promise.all(names.map(async (name) => (await machine(name))?.spec.running));
  await page.goto("/machines?q=many");
  for (const name of names)
    await page
      .getByRole("row", { name: new RegExp(name) })
      .getByRole("checkbox")
      .check({ force: true });
  await page.getByText("2 chosen").waitFor();
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.getByText("Start: asked of 2 of 2").waitFor();
  expect(await running()).toEqual([true, true]);
  await page.getByRole("button", { name: "Stop", exact: true }).click();
  await page.getByText("Stop: asked of 2 of 2").waitFor();
  expect(await running()).toEqual([false, false]);
  await page.getByRole("button", { name: "Delete…" }).click();
  const shown = page.getByRole("list", { name: "Machines to be deleted" }).getByRole("listitem");
  expect(await shown.allTextContents()).toEqual(names.map((name) => `default/${name}`));
  expect(await violations(page)).toEqual([]);
  await page.getByLabel("Type delete 2").fill("delete 2");
  await page.getByRole("button", { name: "Delete machines and disks" }).click();
  for (const name of names)
    await page.getByRole("link", { name }).waitFor({ state: "detached", timeout: 60_000 });
});

director(ui, at);

it("makes a machine, and says before where it will be and why", async () => {
  await page.keyboard.press("c");
  await page.getByLabel("Name", { exact: true }).fill("web-2");
  await page.getByLabel("Memory").fill("17Q");
  await page.getByText("unknown unit").first().waitFor();
  await page.getByLabel("Memory").fill("96Mi");
  await page.getByLabel("Labels").fill("app=shop");
  const verdict = page.locator(".note.ok", { hasText: /^On / });
  await verdict.waitFor();
  const host = /On (\S+)\./.exec((await verdict.textContent()) ?? "")?.[1];
  expect(await violations(page)).toEqual([]);
  await page.getByRole("button", { name: "Make the machine" }).click();
  await page.getByRole("heading", { name: /web-2/ }).waitFor();
  await page.getByRole("heading", { name: /web-2.*Running/ }).waitFor({ timeout: 60_000 });
  expect((await machine("web-2"))?.status?.host).toBe(host);
});

it("picks packages, says what they weigh, and builds an image of them", async () => {
  // They boot meanwhile.
  await ensurePair(stack, at);
  await page.goto("/images");
  await page.getByRole("button", { name: "New image" }).click();
  await page.getByLabel("Search packages").fill("nginx-light");
  await page.getByRole("button", { name: "Add nginx-light" }).waitFor({ timeout: 60_000 });
  await page.keyboard.press("Enter");
  await page.getByText(/\d+ that come along/).waitFor({ timeout: 60_000 });
  expect(await page.locator(".figure", { hasText: "installed" }).textContent()).toMatch(/\d MiB/);
  await page.getByLabel("Search packages").fill("exim4-daemon-light");
  await page.getByRole("button", { name: "Add exim4-daemon-light" }).click();
  await page.getByLabel("Search packages").fill("postfix");
  await page.getByRole("button", { name: "Add postfix", exact: true }).click();
  await page
    .getByText(/choose one of them/)
    .first()
    .waitFor();
  expect(await violations(page)).toEqual([]);
  for (const name of ["exim4-daemon-light", "postfix"])
    await page
      .getByRole("button", { name: `Take out ${name}` })
      .first()
      .click();
  await page.getByLabel("Name", { exact: true }).fill("shop");
  await page
    .getByText(/choose one of them/)
    .first()
    .waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Build it" }).click();
  await page.getByRole("heading", { name: /shop.*Ready/ }).waitFor({ timeout: 150_000 });
  await page.getByRole("button", { name: "Log" }).first().click();
  await page.getByRole("log", { name: /shop/ }).getByText("nginx-light").first().waitFor();
  expect(await violations(page)).toEqual([]);
  const image = await stack.client.get(Image, { name: "shop" });
  expect(image?.status?.packages?.map(({ name }) => name)).toContain("nginx-light");
  // A channel is pointed to what it is now.
  await page.getByRole("button", { name: "Point a channel here" }).first().click();
  await page.getByRole("dialog").getByLabel("Channel").fill("stable");
  await page.getByRole("button", { name: "Point it here" }).click();
  await page.getByText("shop:stable", { exact: false }).first().waitFor();
  expect((await stack.client.get(Image, { name: "shop" }))?.spec.channels).toEqual([
    { name: "stable", version: image?.status?.version },
  ]);
  // What is known against its packages, by a list: the very packages that it has.
  await page.getByText("Signed", { exact: true }).waitFor();
  const mended = { status: "resolved", fixed_version: "999", urgency: "high" };
  const list = { nginx: { "CVE-2099-1": { description: "of the test", releases: { bookworm: mended } } } };
  await page.getByLabel("A list to compare its packages with").setInputFiles({
    name: "tracker.json",
    mimeType: "application/json",
    buffer: Buffer.from(JSON.stringify(list)),
  });
  await page.getByRole("row", { name: /nginx-light.*CVE-2099-1.*999.*high/ }).waitFor();
  expect(await violations(page)).toEqual([]);
  const begun = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download disk" }).click();
  const download = await begun;
  expect(download.suggestedFilename()).toBe(image?.status?.file);
  await download.cancel();
});

it("imports a disk as an image, from a file here", async () => {
  await page.goto("/images");
  await page.getByRole("button", { name: "Import" }).click();
  await page.getByRole("heading", { name: "Import an image" }).waitFor();
  expect(await violations(page)).toEqual([]);
  await page.getByLabel("Name", { exact: true }).fill("brought");
  // More than one part.
  const disk = Buffer.alloc(4 * 2 ** 20);
  disk.write("a disk", 2 ** 20);
  disk.writeUInt16LE(0xaa55, 510);
  await page
    .getByLabel("File", { exact: true })
    .setInputFiles({ name: "disk.raw", mimeType: "application/octet-stream", buffer: disk });
  await page.getByRole("button", { name: "Import it" }).click();
  await page.getByRole("heading", { name: /brought.*Ready/ }).waitFor({ timeout: 60_000 });
  expect(await violations(page)).toEqual([]);
  expect((await stack.client.get(Image, { name: "brought" }))?.status?.virtualBytes).toBe(disk.length);
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByLabel(/Type brought/).fill("brought");
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.waitForURL("**/images");
});

consoles(ui, MACHINE);

estate(ui, at);

it("takes a snapshot and goes back to it", async () => {
  await page.goto(`${MACHINE}/snapshots`);
  await page.getByRole("button", { name: "Take a snapshot" }).click();
  await page.getByRole("dialog").getByLabel("Name").fill("before");
  await page.getByRole("button", { name: "Take it" }).click();
  const row = page.locator(".tree-row", { hasText: "before" }).first();
  await row.getByText("Ready").waitFor({ timeout: 30_000 });
  await page.getByText("You are here").waitFor();
  await row.getByRole("button", { name: "Roll back" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Roll back" }).click();
  await until(
    "the rollback",
    60_000,
    async () =>
      (await stack.client.list(Rollback)).items.some(({ status }) => status?.phase === "Succeeded") ||
      undefined,
  );
  await page.getByRole("heading", { name: /web-1.*Running/ }).waitFor({ timeout: 60_000 });
});

it("shows a snapshot while it is taken, and calls off one that only waits", async () => {
  const agent = `agent ${(await machine())?.status?.host}`;
  await stack.kill(agent);
  const make = (name: string) =>
    stack.client.create(Snapshot, {
      metadata: { name, namespace: "default" },
      spec: { vm: at.name, quiesce: false },
    });
  const line = (name: string) => page.getByRole("listitem").filter({ hasText: `Snapshot ${name} ` });
  await make("begun");
  await page.goto("/activity");
  await line("begun").getByText("is being taken").waitFor();
  await line("begun").getByText("It has begun, and is carried out").waitFor({ state: "attached" });
  await make("waits");
  await line("waits").getByText("Pending").waitFor();
  expect(await violations(page)).toEqual([]);
  await line("waits").getByRole("button", { name: "Cancel" }).click();
  await page.getByText("the snapshot waits is called off").waitFor();
  await line("waits").waitFor({ state: "detached" });
  await stack.restart(agent);
  await line("begun").getByText("Ready").waitFor({ timeout: 60_000 });
});

it("is used by the keyboard alone", async () => {
  await page.goto("/estate");
  await page.getByRole("application", { name: "Map of the hosts" }).focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/hosts\/(fast|frugal)-1/);
  await page.keyboard.press("/");
  await page.getByRole("combobox").fill("web-1");
  await page.keyboard.press("Enter");
  await page.waitForURL(`**${MACHINE}`);
  for (const [words, path] of [
    ["small image", "/images/small"],
    ["succeeded plan", "/director/plans/*"],
    ["north site", "/director/sites/north"],
    ["night power", "/director/powerpolicies/night"],
  ] as const) {
    await page.keyboard.press("/");
    await page.getByRole("combobox").fill(words);
    await page.getByRole("option").first().waitFor();
    await page.keyboard.press("Enter");
    await page.waitForURL(`**${path}`);
  }
  await page.goto(MACHINE);
  await page.getByRole("button", { name: "More actions" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("menuitem", { name: /Resume/ }).waitFor();
  // What is not possible is there, and says why.
  await page.getByText("It is not paused: it is Running.").waitFor();
  await page.keyboard.press("Escape");
});

looks(ui, MACHINE);

/*
 * Answers are patched here, because no real server gives them: one that runs has all kinds in one memory, and answers lists of each or of none;
 * that it hangs, is killed, or cannot write is tested with real ones, below and in full-disk.test.ts. The scripts are those that other tests run on.
 */
it("what cannot be had leaves the rest as it is", async () => {
  const { page, context } = await visit(browser, url);
  await signIn(page, token);
  await page.route(/\/plans\?/, (route) =>
    route.fulfill({ status: 500, json: { kind: "Status", reason: "InternalError", message: "not today" } }),
  );
  await page.goto("/director");
  await page.getByRole("heading", { name: "Cannot load the plans" }).waitFor();
  const policy = page.getByRole("link", { name: "web", exact: true });
  await policy.waitFor();
  await page.getByRole("heading", { name: "Power policies", exact: true }).waitFor();
  await page.route(/\/assets\/palette-/, (route) => route.abort());
  await page.keyboard.press("/");
  await page.getByRole("heading", { name: "This page failed" }).waitFor();
  await policy.waitFor();
  await page.getByRole("button", { name: "Close" }).click();
  await page.getByRole("heading", { name: "This page failed" }).waitFor({ state: "detached" });
  // So it is after an update, which has other scripts.
  await page.route(/\/$/, (route) => route.fulfill({ contentType: "text/html", body: "<p>another</p>" }));
  await page.route(/\/assets\/activity-/, (route) => route.abort());
  await page.getByRole("link", { name: "Activity" }).click();
  await page.getByRole("heading", { name: "Vireo was updated" }).waitFor();
  await context.close();
});

it("says of a control plane that hangs that what was asked may have been done all the same", async () => {
  const { page, context } = await visit(browser, url);
  // Only what the page waits for is hurried; the server is stopped in earnest.
  await page.clock.install();
  await signIn(page, token);
  await page.goto("/hosts/frugal-1");
  const cordon = page.getByRole("button", { name: "Cordon", exact: true });
  await cordon.waitFor();
  const { pid } = stack.daemon("control-plane");
  if (pid === undefined) throw new Error("the control plane has no process");
  process.kill(pid, "SIGSTOP");
  try {
    const asked = page.waitForRequest((request) => request.method() === "PATCH");
    await cordon.click();
    await asked;
    await page.clock.fastForward(31_000);
    await page.getByText(/said nothing for 30 s; it may have been done all the same/).waitFor();
    expect(await violations(page)).toEqual([]);
  } finally {
    process.kill(pid, "SIGCONT");
  }
  // What the page asked had reached it.
  await page.getByRole("button", { name: "Uncordon" }).click();
  await cordon.waitFor();
  await context.close();
});

it("says that it has lost the control plane, and goes on by itself when that is back", async () => {
  await page.goto("/machines");
  await page.getByRole("link", { name: "web-1" }).waitFor();
  await stack.kill("control-plane");
  await page.getByText("No connection since").waitFor({ timeout: 30_000 });
  const whole = page.viewportSize();
  await page.setViewportSize({ width: 390, height: 844 });
  expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(0);
  expect(await violations(page)).toEqual([]);
  if (whole) await page.setViewportSize(whole);
  // What is asked for meanwhile is refused with the reason, and a page that was not loaded yet waits.
  const checkbox = page.getByRole("row", { name: /web-1/ }).getByRole("checkbox");
  await checkbox.check({ force: true });
  await page.getByRole("button", { name: "Stop", exact: true }).click();
  await page.getByText("the control plane does not answer").first().waitFor();
  expect(await violations(page)).toEqual([]);
  await page.getByRole("link", { name: "Images" }).click();
  await page
    .getByText(/Cannot load the images|Loading the page/)
    .first()
    .waitFor();
  await page.getByRole("link", { name: "Machines" }).click();
  // What was known is still there.
  await page.getByRole("link", { name: "web-1" }).waitFor();
  await stack.restart("control-plane");
  await page.getByText("No connection since").waitFor({ state: "detached", timeout: 40_000 });
  await stack.client.patch(
    VirtualMachine,
    { ...at, name: "web-2" },
    { metadata: { labels: { app: "bakery" } } },
  );
  await page.getByLabel("Filter machines").fill("app=bakery");
  await page.getByRole("link", { name: "web-2" }).waitFor();
  expect(await page.getByRole("link", { name: "web-1" }).count()).toBe(0);
});

it("deletes only what is called by its name", async () => {
  await page.goto("/machines/default/web-2");
  await page.getByRole("button", { name: "More actions" }).click();
  await page.getByRole("menuitem", { name: "Delete…" }).click();
  const button = page.getByRole("button", { name: "Delete machine and disks" });
  expect(await button.isDisabled()).toBe(true);
  await page.getByLabel(/Type web-2/).fill("web-2");
  await button.click();
  await page.waitForURL("**/machines");
  await page.getByRole("link", { name: "web-2" }).waitFor({ state: "detached", timeout: 60_000 });
  expect(visitor.complaints).toEqual([]);
});
