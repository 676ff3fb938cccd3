/** A real Chromium for tests of the UI, and what each of its pages has to be: without errors, and accessible. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

export type { Browser, BrowserContext, Page };

/** Debian's; its sandbox does not work for root. */
export const launch = (): Promise<Browser> =>
  chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });

export interface Visitor {
  context: BrowserContext;
  page: Page;
  /** What the browser complained of: scripts that failed, and what the content-security policy forbade. */
  complaints: string[];
}

export async function visit(
  browser: Browser,
  url: string,
  look: { colorScheme?: "light" | "dark"; width?: number; height?: number } = {},
): Promise<Visitor> {
  const { colorScheme = "light", width = 1440, height = 900 } = look;
  const context = await browser.newContext({
    baseURL: url,
    ignoreHTTPSErrors: true,
    colorScheme,
    viewport: { width, height },
  });
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.stack ?? error.message));
  page.on("console", (message) => {
    // An answer that is an error is for the page to show.
    if (
      message.type() === "error" &&
      !/^(Failed to load resource|WebSocket connection to)/.test(message.text())
    )
      complaints.push(message.text());
  });
  return { context, page, complaints };
}

export async function signIn(page: Page, token: string): Promise<void> {
  await page.goto("/");
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("navigation", { name: "Pages" }).waitFor();
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** What is against WCAG 2.2 A and AA on the page as it is now, each with where; none is as it should be. */
export async function violations(page: Page): Promise<string[]> {
  // By the debugger, which the content-security policy does not bind.
  await page.evaluate(`window.axe ?? (() => { ${axe} })()`);
  const found: unknown = await page.evaluate(
    `axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }).then(({ violations }) =>
      violations.map(({ id, nodes }) => id + ": " + nodes.map(({ target, failureSummary }) => target + " " + failureSummary).join("; ")))`,
  );
  return found as string[];
}
