/** An installation of its own under the web UI as it is now, for tests in a browser. */
import { join } from "node:path";
import { expect } from "vitest";
import { ROOT, run, type Stack } from "../../test/support/stack.ts";
import { type Browser, launch, type Page, type Visitor } from "./browser.ts";

/** The launcher builds the UI when it has changed: so it is not of before, also when one file of tests is run by itself. */
export async function buildUi(): Promise<void> {
  const built = await run(join(ROOT, "vireo"), ["test", "--help"], { timeoutMs: 200_000 });
  expect(built.code, built.stderr).toBe(0);
}

export interface Site {
  browser: Browser;
  url: string;
  /** Of anna, who may do everything. */
  token: string;
}

/** What the parts of one story share: its installation, and the page of who is signed in. */
export interface Ui extends Site {
  stack: Stack;
  visitor: Visitor;
  page: Page;
}

/** @param up what `vireo up` said: with the address of the UI */
export async function openSite(stack: Stack, up: Awaited<ReturnType<Stack["up"]>>): Promise<Site> {
  expect(up.code, up.stdout + up.stderr).toBe(0);
  const url = /web UI +(https:\S+)/.exec(up.stdout)?.[1] ?? "";
  const { stdout } = await stack.vireo(["token", "create", "anna", "--group", "system:masters"]);
  return { browser: await launch(), url, token: stdout.trim() };
}
