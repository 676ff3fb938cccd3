/** The disk of the control plane's store is full under the web UI: what users are told, that nothing of theirs is lost, and that all goes on when there is room again. */
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { Namespace } from "../../src/api/namespaces.ts";
import { Host } from "../../src/compute/hosts/kinds.ts";
import { Policy } from "../../src/director/kinds.ts";
import { isApiError } from "../../src/resource/errors.ts";
import { giveUp, ownFolder } from "../../src/system/testing/owned-folder.ts";
import { run, Stack, until } from "../../test/support/stack.ts";
import { type Browser, signIn, violations, visit } from "./browser.ts";
import { buildUi, openSite } from "./site.ts";

let stack: Stack;
let browser: Browser;
let disk = "";
let token: string;
let url: string;

beforeAll(async () => {
  await buildUi();
  stack = await Stack.create();
  disk = ownFolder("vireo-disk-");
  const mounted = await run("mount", ["-t", "tmpfs", "-o", "size=16m", "tmpfs", disk]);
  expect(mounted.code, mounted.stderr).toBe(0);
  // The store alone is there: the machine's own disk stays as it is.
  symlinkSync(join(disk, "store.sqlite"), stack.paths.store);
  ({ browser, url, token } = await openSite(stack, await stack.up(["--hosts", "1"])));
});
afterAll(async () => {
  await browser?.close();
  try {
    await stack?.destroy();
  } finally {
    await run("umount", ["--lazy", disk]);
    rmSync(disk, { recursive: true, force: true });
    giveUp(disk);
  }
});
beforeEach(() => stack.keepEvidenceOnFailure());

const fill = () => {
  // In small pieces: until not one page is left.
  for (let i = 0; ; i++)
    try {
      writeFileSync(join(disk, `fill-${i}`), Buffer.alloc(i < 15 ? 2 ** 20 : 4096));
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ENOSPC") return i;
      throw error;
    }
};

/** The log has room of its own where it is written anew from its beginning: that is filled, too, by what is large first, then by what is small. */
async function untilRefused(): Promise<void> {
  // Not one object for both: what was there before is written along.
  const isTaken = async (name: string, bytes: number): Promise<boolean> => {
    const annotations = { filler: `${Date.now()}`.padEnd(bytes, "x") };
    try {
      await stack.client.patch(Namespace, { name }, { metadata: { annotations } });
      return true;
    } catch (error) {
      if (isApiError(error, "ServiceUnavailable") && error.message.includes("its disk is full")) return false;
      throw error;
    }
  };
  for (let i = 0; i < 500; i++)
    if (!(await isTaken("large", 200_000)) && !(await isTaken("default", 20))) return;
  throw new Error("the disk is full, and 500 writes were taken all the same");
}

it("says what is wrong, shows what there is, and goes on when there is room again", async () => {
  const { page, complaints } = await visit(browser, url);
  await signIn(page, token);
  await page.goto("/hosts/fast-1");
  await page.getByRole("button", { name: "Cordon" }).waitFor();
  const editing = await page.context().newPage();
  await editing.goto("/director/new/policies");
  await editing.getByText("would take new-policy as it is").waitFor();

  await stack.client.create(Namespace, { metadata: { name: "large" }, spec: {} });
  const files = fill();
  await untilRefused();
  const why = "the store cannot write: its disk is full; make room where the control plane keeps its state";
  await page.getByRole("button", { name: "Cordon" }).click();
  await page.getByText(why).waitFor();
  expect(await violations(page)).toEqual([]);
  // What is in a form stays there.
  await editing.getByRole("button", { name: "Make it" }).click();
  await editing.getByText(why).waitFor();
  expect(await editing.getByRole("textbox", { name: "The object as YAML" }).innerText()).toContain(
    "new-policy",
  );
  expect(await violations(editing)).toEqual([]);
  // What there is is shown, also to who comes now; who is not signed in is told why he cannot be.
  await page.reload();
  await page.getByRole("button", { name: "Cordon" }).waitFor();
  const late = await visit(browser, url);
  await late.page.goto("/");
  await late.page.getByLabel("Token").fill(token);
  await late.page.getByRole("button", { name: "Sign in" }).click();
  await late.page.getByText(why).waitFor();
  expect(await violations(late.page)).toEqual([]);
  const ready = await page.request.get("/readyz?verbose");
  expect(await ready.text()).toContain("[-]store failed: its disk is full");
  expect((await stack.client.get(Host, { name: "fast-1" }))?.spec.unschedulable ?? false).toBe(false);

  for (let i = 0; i <= files; i++) rmSync(join(disk, `fill-${i}`), { force: true });
  await late.page.getByRole("button", { name: "Sign in" }).click();
  await late.page.getByRole("navigation", { name: "Pages" }).waitFor();
  await page.getByRole("button", { name: "Cordon" }).click();
  await page.getByRole("button", { name: "Uncordon" }).waitFor();
  await until("the host to be cordoned", 10_000, async () =>
    (await stack.client.get(Host, { name: "fast-1" }))?.spec.unschedulable ? true : undefined,
  );
  await editing.locator(".cm-content").click();
  await editing.keyboard.type(" ");
  await editing.getByText("would take new-policy as it is").waitFor();
  await editing.getByRole("button", { name: "Make it" }).click();
  await editing.getByRole("heading", { name: /new-policy/ }).waitFor();
  expect(await stack.client.get(Policy, { name: "new-policy", namespace: "default" })).toBeDefined();
  expect(await (await page.request.get("/readyz?verbose")).text()).toContain("[+]store ok");
  expect([...complaints, ...late.complaints]).toEqual([]);
});
