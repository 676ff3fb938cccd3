/** The JeOS studio in a real Chromium, with a real control plane that builds: what images are built of, and files that come along with them. */
import { existsSync, mkdirSync, readdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { packTar } from "../../src/images/archives/pack.ts";
import { Image, ImageBuild } from "../../src/images/kinds.ts";
import { Stack, until } from "../../test/support/stack.ts";
import { type Browser, type Page, signIn, type Visitor, violations, visit } from "./browser.ts";
import { buildUi, openSite } from "./site.ts";

let stack: Stack;
let browser: Browser;
let visitor: Visitor;
let page: Page;

beforeAll(async () => {
  await buildUi();
  stack = await Stack.create();
  // A machine that has all but zypper.
  const programs = join(stack.home, "bin");
  mkdirSync(programs);
  for (const name of new Set(["/usr/sbin", "/usr/bin"].flatMap((folder) => readdirSync(folder)))) {
    const found = ["/usr/bin", "/usr/sbin"].map((folder) => join(folder, name)).find(existsSync);
    if (found && name !== "zypper") symlinkSync(found, join(programs, name));
  }
  const up = await stack.up(["--hosts", "1"], { env: { PATH: programs } });
  const site = await openSite(stack, up);
  ({ browser } = site);
  visitor = await visit(browser, site.url);
  ({ page } = visitor);
  await signIn(page, site.token);
});
afterAll(async () => {
  await browser?.close();
  await stack?.destroy();
});
beforeEach(() => stack.keepEvidenceOnFailure());

const button = (name: string) => page.getByRole("button", { name });
/** Opens one of the folded parts of the form. */
const unfold = (name: string | RegExp) => page.locator("summary", { hasText: name }).click();

it("says what images can be built of here, and why not of the others", async () => {
  await page.goto("/images/new");
  await unfold("Built of Debian 12 (bookworm)");
  const leap = page.getByRole("radio", { name: /openSUSE Leap 15\.6/ });
  expect(await leap.isDisabled()).toBe(true);
  await page.getByText("Images of openSUSE Leap 15.6 are built by zypper, for which").waitFor();
  expect(await violations(page)).toEqual([]);
});

it("searches the packages of the distribution that is chosen", async () => {
  await page.getByLabel("Search packages").fill("nginx-light");
  const version = page.locator(".packages li", { hasText: "nginx-light" }).first();
  await version.getByText(/deb12/).waitFor({ timeout: 60_000 });
  await page.getByRole("radio", { name: /Debian 13/ }).check();
  await page.getByLabel("Search packages").fill("nginx-light");
  // Its lists are fetched first.
  await version.getByText(/deb13/).waitFor({ timeout: 120_000 });
  await page.getByRole("button", { name: "Add nginx-light" }).click();
  await page.getByText(/\d+ that come along/).waitFor({ timeout: 60_000 });
  await page.getByRole("button", { name: "Take out nginx-light" }).first().click();
});

it("builds of RPMs in the mode that they have, with names that are typed and keys that are given", async () => {
  await page.getByLabel("Name", { exact: true }).fill("hat");
  await page.getByRole("radio", { name: /Fedora Linux 43/ }).check();
  await page.getByText("Packages of fedora-43 cannot be picked here").waitFor();
  await page.getByLabel("Names of packages").fill("bash  openssh-server");
  await page.keyboard.press("Enter");
  await page.getByText("is known when it is built").waitFor();
  // What is for slim images alone says why there are none.
  await page.getByText("Images of Fedora Linux 43 are full:").first().waitFor();
  expect(await page.getByRole("radio", { name: /Any hypervisor/ }).isDisabled()).toBe(true);
  await unfold("System, boot, kernel");
  expect(await page.getByRole("radio", { name: /^full/ }).isChecked()).toBe(true);
  expect(await violations(page)).toEqual([]);
  // Nobody's own machine has Fedora's keys.
  await page.getByText(/The keys of Fedora Linux 43 .* are not on the control plane/).waitFor();
  const send = page.getByRole("button", { name: "Build it" });
  expect(await send.getAttribute("aria-disabled")).toBe("true");
  const key = page.getByLabel("Keys that its packages are signed with");
  await key.fill("no key");
  await send.click();
  await page.getByText(/mirror\.key.*is no public key in ASCII armor/).waitFor();
  // The head of a key.
  const armored = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQABBA==\n-----END PGP PUBLIC KEY BLOCK-----\n";
  await key.fill(armored);
  await page.getByLabel("Mirror").fill("http://127.0.0.1:9/fedora");
  await unfold("The recipe as YAML");
  await page.locator("pre.yaml", { hasText: 'release: "43"' }).waitFor();
  await send.click();
  await page.getByRole("heading", { name: "hat" }).waitFor();
  const made = (await stack.client.list(ImageBuild)).items.find(({ spec }) => spec.image === "hat");
  expect(made?.spec.recipe).toEqual({
    distribution: "fedora",
    release: "43",
    mode: "full",
    packages: ["bash", "openssh-server"],
    mirror: { uri: "http://127.0.0.1:9/fedora", key: armored },
  });
  // Nobody is at that mirror.
  await page.getByText("Failed", { exact: true }).first().waitFor({ timeout: 60_000 });
  await page
    .getByText(/127\.0\.0\.1:9/)
    .first()
    .waitFor();
});

/** Not compressed, of as many bytes of content. */
async function tar(name: string, bytes: number): Promise<string> {
  const folder = join(stack.home, name);
  mkdirSync(folder);
  const content = join(folder, "data");
  writeFileSync(content, Buffer.alloc(bytes, name));
  const path = join(stack.home, `${name}.tar`);
  await packTar(path, [{ name: "shop/data", path: content, bytes, mode: 0o644 }]);
  return path;
}

it("says what is wrong with an archive before it is sent", async () => {
  await page.goto("/images/new");
  await page.getByLabel("Name", { exact: true }).fill("shop");
  await unfold("Files in archives");
  const choose = page.getByLabel("Add a tar archive");
  const packed = Buffer.alloc(100);
  await choose.setInputFiles({ name: "a.tar", mimeType: "application/x-tar", buffer: gzipSync(packed) });
  await page.getByText("a.tar is compressed: unpack it with gzip -d.").waitFor();
  expect(await button("Build it").getAttribute("aria-disabled")).toBe("true");
  await page.getByRole("button", { name: "Take out a.tar" }).click();
  const large = join(stack.home, "large.tar");
  writeFileSync(large, "");
  truncateSync(large, 5 * 2 ** 30);
  await choose.setInputFiles(large);
  await page.getByText("large.tar has 5 GiB; 4 GiB is the most.").waitFor();
  expect(await violations(page)).toEqual([]);
  await page.getByRole("button", { name: "Take out large.tar" }).click();
});

it("sends an archive with its build, and stops when that is called off", async () => {
  const slow = await visitor.context.newCDPSession(page);
  await slow.send("Network.enable");
  // So that it is seen on its way.
  const line = { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 1_500_000 };
  await slow.send("Network.emulateNetworkConditions", line);
  const archive = await tar("app", 20 * 2 ** 20);
  await page.getByLabel("Add a tar archive").setInputFiles(archive);
  await page.getByLabel("Folder of the image that app.tar is unpacked in").fill("/opt");
  await button("Build it").click();
  await page.getByText("app.tar is waited for").waitFor();
  await page.getByText(/^[369] MiB of 20\.0 MiB/).waitFor();
  expect(await violations(page)).toEqual([]);
  const of = async () => (await stack.client.list(ImageBuild, { fieldSelector: "spec.image=shop" })).items;
  await page.getByRole("button", { name: "Cancel" }).click();
  await until("the build to end", 20_000, async () =>
    (await of())[0]?.status?.phase === "Cancelled" ? true : undefined,
  );
  await page.getByText("app.tar is waited for").waitFor({ state: "detached" });
  // Again; the page is left on the way, and goes on with the same file.
  await page.getByRole("button", { name: "Build again" }).click();
  const again = page.getByLabel("Choose the same file to go on");
  await again.setInputFiles({ name: "b.tar", mimeType: "application/x-tar", buffer: Buffer.from("another") });
  await page.getByText(/b\.tar is another file/).waitFor();
  await again.setInputFiles(archive);
  await page.getByText(/^[369] MiB of 20\.0 MiB/).waitFor();
  await page.reload();
  await slow.send("Network.emulateNetworkConditions", { ...line, uploadThroughput: -1 });
  await again.waitFor();
  await page.getByText(/^(3|6|9|12|15|18) MiB of 20\.0 MiB/).waitFor();
  await again.setInputFiles(archive);
  await page.getByRole("heading", { name: /shop.*Ready/ }).waitFor({ timeout: 150_000 });
  const [image] = (await stack.client.list(Image)).items;
  expect(image?.spec.recipe?.archives).toMatchObject([{ file: "app.tar", path: "/opt" }]);
  const files = await page.request.get("/apis/vireo.dev/v1/images/shop/file?format=files");
  expect(await files.text()).toMatch(/\.\/opt\/shop\/data .*size=20971520/);
  expect(visitor.complaints).toEqual([]);
});
